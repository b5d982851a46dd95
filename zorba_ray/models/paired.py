"""The cheap forward pair (algorithm.md §4): prefix once, frozen blocks on [h⁺; h⁻], active blocks once per sign.

Shapes: B batch rows, T tokens, H hidden width.

The model's own outer forward is kept: embeddings, masks and rotary tables come from it, in any architecture. Only the
`forward` of the blocks, and of the leaf modules inside them, is wrapped on the instance; parameter names do not change.

- `prefix` runs the outer forward on the batch [B]; blocks below s (the first active one) compute, blocks from s on only
  note what they were given. The hidden state before s is kept.
- `pair` runs the outer forward on the doubled batch [2B]; blocks below s pass through, s starts from [h; h], an active
  block runs on each half with the arguments noted for [B]. So no argument is ever doubled or halved by guessing.

θ is never written: a leaf module of an active block computes with a copy of its tensors, perturbed into one scratch
buffer that is as large as the largest leaf.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend, Distribution, tensor_stream
from zorba_ray.errors import ModelError
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
    """Arguments of the outer forward, [B, …]."""
    active: frozenset[int]
    first: int
    hidden_BTH: torch.Tensor
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]
    """Active block -> its arguments beside the hidden state, for [B]."""


@dataclass
class _Pass:
    """State of one outer forward."""

    active: frozenset[int]
    first: int
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]]
    hidden: torch.Tensor | None
    perturbation: Perturbation | None
    sign: float = 0.0


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
    ) -> None:
        """`parameters`: manifest name -> flat fp32 view of θ.

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
        self._tuples = [False] * len(blocks)
        largest = 0
        for index, block in enumerate(blocks):
            # A tensor is known by its place in the arena, whatever it is called and however often it is used.
            entries = {parameters[entry.name].data_ptr(): entry for entry in manifest.scoped(index, scope)}
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
        state = _Pass(active, min(active), {}, None, None)
        self._run(state, inputs)
        assert state.hidden is not None
        return Prefix(inputs, active, state.first, state.hidden, state.calls)

    def pair(self, prefix: Prefix, perturbation: Perturbation) -> torch.Tensor:
        """Last hidden states [2B, T, H]: rows 0 … B−1 at θ + μz, rows B … 2B−1 at θ − μz."""
        doubled = {name: torch.cat([value, value]) for name, value in prefix.inputs.items()}
        return self._run(_Pass(prefix.active, prefix.first, prefix.calls, prefix.hidden_BTH, perturbation), doubled)

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
            hidden, rest, named = _split(args, kwargs)
            if state.perturbation is None:
                if index < state.first:
                    return forward(*args, **kwargs)
                if index == state.first:
                    state.hidden = hidden
                if index in state.active:
                    state.calls[index] = (rest, named)
                return self._pack(index, hidden)
            if index < state.first:
                return self._pack(index, hidden)
            if index == state.first:
                assert state.hidden is not None
                hidden = torch.cat([state.hidden, state.hidden])
            if index not in state.active:
                return forward(hidden, *rest, **named)
            rest, named = state.calls[index]
            halves = []
            for sign, half in zip((1.0, -1.0), hidden.chunk(2), strict=True):
                state.sign = sign
                halves.append(_first(forward(half, *rest, **named)))
            state.sign = 0.0
            return self._pack(index, torch.cat(halves))

        return visit

    def _leaf(self, leaf: nn.Module, forward: Forward, own: dict[str, TensorEntry]) -> Forward:
        def compute(*args: Any, **kwargs: Any) -> Any:
            state = self._pass
            if state is None or state.sign == 0.0:
                return forward(*args, **kwargs)
            perturbation = state.perturbation
            assert perturbation is not None
            kept = {name: leaf._parameters[name] for name in own}
            start = 0
            try:
                for name, entry in own.items():
                    target = self.scratch[start : start + entry.numel]
                    start += padded(entry.numel)
                    theta = perturbation.overlay.get((entry.block, entry.slot), self._theta[entry.name])
                    stream = tensor_stream(
                        perturbation.seed, entry.block, entry.slot, perturbation.direction, perturbation.distribution
                    )
                    self._directions.perturb_into(target, theta, stream, state.sign * perturbation.scale)
                    leaf._parameters[name] = target.view(entry.shape)  # type: ignore[assignment]
                return forward(*args, **kwargs)
            finally:
                leaf._parameters.update(kept)

        return compute

    def _pack(self, index: int, hidden: torch.Tensor) -> Any:
        """A block's output in the form that the outer forward expects of it."""
        return (hidden,) if self._tuples[index] else hidden


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """The hidden state apart from a block's other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs["hidden_states"], (), {name: value for name, value in kwargs.items() if name != "hidden_states"}


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output
