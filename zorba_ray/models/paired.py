"""The cheap forward pair (algorithm.md §4): prefix once, frozen blocks on [h⁺; h⁻], active blocks once per sign.

Shapes: B batch rows, T tokens, H hidden width.

The model's own outer forward is kept: embeddings, masks and rotary tables come from it, in any architecture. Only the
`forward` of the blocks, and of the leaf modules inside them, is wrapped on the instance; parameter names do not change.

- `prefix` runs the outer forward on the batch [B]: blocks below s (the first active one) compute, blocks from s on only
  note what they were given. Once more on the doubled batch [2B], with no block computing, for what frozen blocks from s
  on are given there. So no argument is ever doubled or halved by guessing.
- `pairs` runs the blocks from s on with these arguments, block by block, then the outer forward on [2B] with the last
  block handing over the result, for what follows the blocks.

θ is never written: a leaf module of an active block computes with a copy of its tensors, perturbed into a scratch
buffer. One client needs a buffer as large as the largest leaf. Several clients that share a direction take a block's
perturbed tensors together, one sign at a time, from a buffer as large as the largest block: each is drawn once for all.
They never share a matrix product, whose rows may depend on how many there are: a client's numbers are its own.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend, Distribution, TensorStream, factors, tensor_stream
from zorba_ray.errors import ModelError
from zorba_ray.models.low_rank_leaf import half_of, is_linear, linear_pair
from zorba_ray.models.manifest import Manifest, Scope, TensorEntry, padded

Forward = Callable[..., Any]


@dataclass(frozen=True)
class Perturbation:
    """θ ± μz on the active blocks, for one direction of one client and step."""

    seed: int
    """seed64 of (round, stream, step)."""
    direction: int
    scale: float
    """μ."""
    distribution: Distribution
    overlay: Mapping[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    """(block, slot) -> flat fp32 tensor that stands for θ there (local steps); absent: θ itself."""


@dataclass(frozen=True)
class Prefix:
    """What all directions on one batch share."""

    inputs: dict[str, torch.Tensor]
    """Arguments of the outer forward, doubled: [2B, …]."""
    active: frozenset[int]
    first: int
    hidden_BTH: torch.Tensor
    calls: dict[int, "_Call"]
    """Block from `first` on -> its arguments beside the hidden state, for the rows that it runs on: [B] where a sign
    at a time, else [2B]."""


_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass
class _Pass:
    """An outer forward in which some blocks do not compute."""

    computing: int
    """Blocks below this one compute."""
    noting: frozenset[int]
    """Blocks whose arguments are noted."""
    calls: dict[int, _Call]
    reached: torch.Tensor | None = None
    """Hidden state that the first block which does not compute was given."""
    result: torch.Tensor | None = None
    """What the last block returns instead of what it was given."""


class PairedBackbone:
    """A backbone (no head) whose blocks can run plainly, as a prefix, or as a forward pair."""

    def __init__(
        self,
        backbone: nn.Module,
        blocks: nn.ModuleList,
        parameters: Mapping[str, torch.Tensor],
        manifest: Manifest,
        scope: Scope,
        directions: DirectionBackend,
        rank: int = 0,
    ) -> None:
        """`parameters`: manifest name -> flat fp32 view of θ. `rank`: of the directions of matrices; 0: dense.

        Raises:
            ModelError: a tensor in scope does not belong to a leaf module, so it cannot be swapped.
        """
        self.backbone = backbone
        self._directions = directions
        self._theta = parameters
        # A cache of keys would carry one sign's or direction's values into the next.
        accepted = inspect.signature(backbone.forward).parameters
        self._options = {"use_cache": False} if "use_cache" in accepted else {}
        self._visits: list[int] = []
        self._pass: _Pass | None = None
        self._perturbation: Perturbation | None = None
        self._rank = rank
        self._sign = 0.0
        self._both = False
        """An active block runs on [x⁺; x⁻] at once, as low-rank directions allow."""
        self._together: dict[str, torch.Tensor] = {}
        """Name -> perturbed tensor of the block at hand, where several clients take it together."""
        self._forwards: list[Forward] = []
        self._tuples = [False] * len(blocks)
        self._scoped = [manifest.scoped(index, scope) for index in range(len(blocks))]
        self._block_scratch: torch.Tensor | None = None
        largest = 0
        for index, block in enumerate(blocks):
            # A tensor is known by its place in the arena, whatever it is called and however often it is used.
            entries = {parameters[entry.name].data_ptr(): entry for entry in self._scoped[index]}
            reached: set[int] = set()
            for leaf in block.modules():
                places = {name: parameter.data_ptr() for name, parameter in leaf.named_parameters(recurse=False)}
                own = {name: entries[place] for name, place in places.items() if place in entries}
                reached.update(place for place in places.values() if place in entries)
                if own and next(leaf.children(), None) is not None:
                    raise ModelError(f"{next(iter(own.values())).name} belongs to no leaf module and cannot be swapped")
                if own:
                    largest = max(largest, sum(padded(entry.numel) for entry in own.values()))
                    leaf.forward = self._leaf(leaf, leaf.forward, own)
            assert reached == entries.keys(), f"tensors of block {index} not reached"
            self._forwards.append(block.forward)
            block.forward = self._block(index, block.forward)
        self.scratch = torch.empty(largest, dtype=torch.float32, device=next(iter(parameters.values())).device)
        assert self.scratch.data_ptr() % 64 == 0, "the scratch buffer must be 64-byte aligned"

    def order(self, inputs: dict[str, torch.Tensor]) -> list[int]:
        """Blocks in the order in which a plain forward runs them."""
        self.hidden(inputs)
        return self._visits

    def hidden(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden state [B, T, H] at θ."""
        self._visits = []
        return self.backbone(**inputs, **self._options)[0]

    def prefix(self, inputs: dict[str, torch.Tensor], active: frozenset[int]) -> Prefix:
        """Runs the blocks below the first active one, once for all directions and both signs."""
        first, calls = min(active), dict[int, _Call]()
        single = _Pass(first, active, calls)
        self._run(single, inputs)
        assert single.reached is not None
        doubled = {name: torch.cat([value, value]) for name, value in inputs.items()}
        at_once = frozenset(range(first, len(self._forwards))) - (frozenset() if self._rank else active)
        if at_once:
            self._run(_Pass(0, at_once, calls), doubled)
        return Prefix(doubled, active, first, single.reached, calls)

    def pairs(self, prefixes: Sequence[Prefix], perturbation: Perturbation) -> list[torch.Tensor]:
        """Last hidden states [2B, T, H] of each batch: rows 0 … B−1 at θ + μz, rows B … 2B−1 at θ − μz.

        Each batch is computed by itself; a tensor that several of them perturb is perturbed once per sign.
        """
        hidden = [torch.cat([prefix.hidden_BTH, prefix.hidden_BTH]) for prefix in prefixes]
        self._perturbation = perturbation
        try:
            for index in range(min(prefix.first for prefix in prefixes), len(self._forwards)):
                moved = [] if self._rank else [n for n, prefix in enumerate(prefixes) if index in prefix.active]
                for place, prefix in enumerate(prefixes):
                    if index >= prefix.first and place not in moved:
                        self._both = index in prefix.active
                        hidden[place] = self._apply(index, hidden[place], prefix)
                halves = [
                    self._active(index, sign, [hidden[place].chunk(2)[half] for place in moved], prefixes, moved)
                    for half, sign in enumerate((1.0, -1.0))
                ]
                for place, plus, minus in zip(moved, *halves, strict=True):
                    hidden[place] = torch.cat([plus, minus])
        finally:
            self._perturbation = None
            self._both = False
        return [
            self._run(_Pass(0, frozenset(), {}, result=result), prefix.inputs)
            for prefix, result in zip(prefixes, hidden, strict=True)
        ]

    def _active(
        self, index: int, sign: float, halves: list[torch.Tensor], prefixes: Sequence[Prefix], places: list[int]
    ) -> list[torch.Tensor]:
        """An active block at one sign, on the half batch of everybody who perturbs it."""
        self._sign = sign
        try:
            if len(places) > 1:
                self._together = self._perturb_block(index)
            return [self._apply(index, half, prefixes[place]) for place, half in zip(places, halves, strict=True)]
        finally:
            self._sign = 0.0
            self._together = {}

    def _apply(self, index: int, hidden: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        rest, named = prefix.calls[index]
        output = self._forwards[index](hidden, *rest, **named)
        return output[0] if isinstance(output, tuple) else output

    def _run(self, state: _Pass, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self._pass = state
        try:
            return self.backbone(**inputs, **self._options)[0]
        finally:
            self._pass = None

    def _block(self, index: int, forward: Forward) -> Forward:
        def visit(*args: Any, **kwargs: Any) -> Any:
            state = self._pass
            if state is None:
                self._visits.append(index)
                output = forward(*args, **kwargs)
                self._tuples[index] = isinstance(output, tuple)
                return output
            if index < state.computing:
                return forward(*args, **kwargs)
            hidden, rest, named = _split(args, kwargs)
            if index == state.computing:
                state.reached = hidden
            if index in state.noting:
                state.calls[index] = (rest, named)
            if state.result is not None and index == len(self._forwards) - 1:
                hidden = state.result
            return self._pack(index, hidden)

        return visit

    def _leaf(self, leaf: nn.Module, forward: Forward, own: dict[str, TensorEntry]) -> Forward:
        def swapped(*args: Any, **kwargs: Any) -> Any:
            """`forward` with perturbed copies of the leaf's tensors."""
            kept = {name: leaf._parameters[name] for name in own}
            start = 0
            try:
                for name, entry in own.items():
                    target = self._together.get(entry.name)
                    if target is None:
                        target = self.scratch[start : start + entry.numel]
                        start += padded(entry.numel)
                        self._perturb(target, entry)
                    leaf._parameters[name] = target.view(entry.shape)  # type: ignore[assignment]
                return forward(*args, **kwargs)
            finally:
                leaf._parameters.update(kept)

        def compute(*args: Any, **kwargs: Any) -> Any:
            if self._both:
                return self._linear(leaf, own, args[0]) if is_linear(leaf) else halves(*args, **kwargs)
            return forward(*args, **kwargs) if self._sign == 0.0 else swapped(*args, **kwargs)

        def halves(*args: Any, **kwargs: Any) -> Any:
            rows, found = args[0].shape[0], []
            try:
                for half, self._sign in enumerate((1.0, -1.0)):
                    named = {name: half_of(value, rows, half) for name, value in kwargs.items()}
                    found.append(swapped(*(half_of(value, rows, half) for value in args), **named))
            finally:
                self._sign = 0.0
            return torch.cat(found)

        return compute

    def _linear(self, leaf: nn.Module, own: dict[str, TensorEntry], x: torch.Tensor) -> torch.Tensor:
        perturbation = self._perturbation
        assert perturbation is not None
        values = dict(leaf._parameters)
        for name, entry in own.items():
            values[name] = self._at(entry).view(entry.shape)  # type: ignore[assignment]
        factors = bias_step = None
        if "weight" in own:
            factors = self._factors(own["weight"])
        if "bias" in own:
            entry = own["bias"]
            bias_step = torch.empty(entry.numel, dtype=torch.float32, device=x.device)
            stream = self._stream(entry)
            self._directions.perturb_into(bias_step, torch.zeros_like(bias_step), stream, perturbation.scale)
        weight, bias = values["weight"], values["bias"]
        assert weight is not None
        return linear_pair(x, weight, bias, factors, bias_step, perturbation.scale)

    def _at(self, entry: TensorEntry) -> torch.Tensor:
        """θ of a tensor, or what stands for it."""
        assert self._perturbation is not None
        return self._perturbation.overlay.get((entry.block, entry.slot), self._theta[entry.name])

    def _stream(self, entry: TensorEntry) -> TensorStream:
        own = self._perturbation
        assert own is not None
        return tensor_stream(own.seed, entry.block, entry.slot, own.direction, own.distribution)

    def _factors(self, entry: TensorEntry) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (entry.shape[0], entry.numel // entry.shape[0])
        return factors(self._directions, self._stream(entry), shape, self._rank, self._theta[entry.name].device)

    def _perturb(self, target: torch.Tensor, entry: TensorEntry) -> None:
        """target ← θ ± μz of one tensor."""
        assert self._perturbation is not None
        scale = self._sign * self._perturbation.scale
        if self._rank and len(entry.shape) >= 2:
            u, v = self._factors(entry)
            torch.add(self._at(entry), (u @ v.T).view(-1), alpha=scale / self._rank**0.5, out=target)
        else:
            self._directions.perturb_into(target, self._at(entry), self._stream(entry), scale)

    def _perturb_block(self, index: int) -> dict[str, torch.Tensor]:
        """All scoped tensors of a block at the current sign."""
        if self._block_scratch is None:
            largest = max(sum(padded(entry.numel) for entry in scoped) for scoped in self._scoped)
            self._block_scratch = torch.empty(largest, dtype=torch.float32, device=self.scratch.device)
            assert self._block_scratch.data_ptr() % 64 == 0, "the scratch buffer must be 64-byte aligned"
        start, found = 0, {}
        for entry in self._scoped[index]:
            found[entry.name] = self._block_scratch[start : start + entry.numel]
            start += padded(entry.numel)
            self._perturb(found[entry.name], entry)
        return found

    def _pack(self, index: int, hidden: torch.Tensor) -> Any:
        """A block's output in the form that the outer forward expects of it."""
        return (hidden,) if self._tuples[index] else hidden


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """The hidden state apart from a block's other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs["hidden_states"], (), {name: value for name, value in kwargs.items() if name != "hidden_states"}
