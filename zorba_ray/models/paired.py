"""The cheap forward pair (algorithm.md §4): prefix once, frozen blocks on [h⁺; h⁻], active blocks once per sign.

Shapes: B batch rows, T tokens, H hidden width, S signs.

The model's own outer forward is kept: embeddings, masks and rotary tables come from it, in any architecture. Only the
`forward` of the blocks, and of the leaf modules inside them, is wrapped on the instance; parameter names do not change.

- `prefix` runs the outer forward on the batch [B]: blocks below s (the first active one) compute, blocks from s on only
  note what they were given. Once more on the doubled batch [2B], with no block computing, for what frozen blocks from s
  on are given there. So no argument is ever doubled or halved by guessing.
- `perturbed` runs the blocks from s on with these arguments, block by block, then the outer forward on [2B] with the
  last block handing over the result, for what follows the blocks.

One-sided differences run one sign alone: the same with S = 1 signs instead of 2, all on [B].

An active block runs once per sign, or with low-rank directions once on [h⁺; h⁻]; `perturbed_leaf` says with which
tensors. Several clients that share a direction take each perturbed block together and never a matrix product, whose
rows may depend on how many there are: a client's numbers are its own.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend
from zorba_ray.models.manifest import Manifest, Scope
from zorba_ray.models.perturbed_leaf import Forward, Perturbation, PerturbedLeaves
from zorba_ray.models.residence import Residence


@dataclass(frozen=True)
class Prefix:
    """What all directions on one batch share."""

    inputs: dict[str, torch.Tensor]
    """Arguments of the outer forward: [S·B, …]."""
    active: frozenset[int]
    first: int
    hidden_BTH: torch.Tensor
    calls: dict[int, "_Call"]
    """Block from `first` on -> its arguments beside the hidden state, for the rows that it runs on: [B] where a sign
    at a time, else [S·B]."""
    signs: int
    """2: θ ± μz; 1: θ + μz alone."""


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
        compute: torch.dtype = torch.float32,
        residence: Residence | None = None,
    ) -> None:
        """`parameters`: manifest name -> flat fp32 view of θ. `rank`: of the directions of matrices; 0: dense.
        `compute`: dtype of perturbed matrices. `residence`: brings blocks to the accelerator; None: they are there.

        Raises:
            ModelError: a tensor in scope does not belong to a leaf module, so it cannot be swapped.
        """
        self.backbone = backbone
        self._at_once = rank > 0
        # A cache of keys would carry one sign's or direction's values into the next.
        accepted = inspect.signature(backbone.forward).parameters
        self._options = {"use_cache": False} if "use_cache" in accepted else {}
        self._visits: list[int] = []
        self._pass: _Pass | None = None
        self._forwards: list[Forward] = []
        self._tuples = [False] * len(blocks)
        self._residence = residence
        self._leaves = PerturbedLeaves(parameters, directions, rank, compute)
        for index, block in enumerate(blocks):
            self._leaves.wrap(index, block, manifest.scoped(index, scope))
            forward: Forward = block.forward
            if residence is not None:
                forward = residence.around(index, forward)
            self._forwards.append(forward)
            block.forward = self._block(index, forward)
        self._leaves.allocate(None if residence is None else residence.device)

    @property
    def scratch_elements(self) -> int:
        """fp32 elements of the scratch buffer of one client."""
        return self._leaves.scratch_elements

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch buffer of one client."""
        return self._leaves.scratch_bytes

    def order(self, inputs: dict[str, torch.Tensor]) -> list[int]:
        """Blocks in the order in which a plain forward runs them."""
        self.hidden(inputs)
        return self._visits

    def hidden(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden state [B, T, H] at θ."""
        self._visits = []
        return self.backbone(**inputs, **self._options)[0]

    def prefix(self, inputs: dict[str, torch.Tensor], active: frozenset[int], signs: int = 2) -> Prefix:
        """Runs the blocks below the first active one, once for all directions and signs (2, or 1 where P + 1 passes
        give P one-sided differences; then with dense directions only)."""
        first, calls = min(active), dict[int, _Call]()
        beyond = frozenset(range(first, len(self._forwards)))
        single = _Pass(first, active if signs == 2 else beyond, calls)
        self._run(single, inputs)
        assert single.reached is not None
        if signs == 1:
            assert not self._at_once, "low-rank directions take both signs at once"
            return Prefix(inputs, active, first, single.reached, calls, signs)
        doubled = {name: torch.cat([value, value]) for name, value in inputs.items()}
        at_once = beyond - (frozenset() if self._at_once else active)
        if at_once:
            self._run(_Pass(0, at_once, calls), doubled)
        return Prefix(doubled, active, first, single.reached, calls, signs)

    def perturbed(self, prefixes: Sequence[Prefix], perturbation: Perturbation) -> list[torch.Tensor]:
        """Last hidden states [S·B, T, H] of each batch: rows 0 … B−1 at θ + μz, rows B … 2B−1 at θ − μz.

        Each batch is computed by itself, all with equally many signs; a tensor that several of them perturb is
        perturbed once per sign.
        """
        signs = (1.0, -1.0)[: prefixes[0].signs]
        hidden = [torch.cat([prefix.hidden_BTH] * len(signs)) for prefix in prefixes]
        if self._residence is not None:
            self._residence.prefetch(min(prefix.first for prefix in prefixes) - 1)
        with self._leaves.along(perturbation):
            for index in range(min(prefix.first for prefix in prefixes), len(self._forwards)):
                moved = [place for place, prefix in enumerate(prefixes) if index in prefix.active]
                for place, prefix in enumerate(prefixes):
                    if index >= prefix.first and index not in prefix.active:
                        hidden[place] = self._apply(index, hidden[place], prefix)
                if self._at_once:
                    with self._leaves.both_signs():
                        for place in moved:
                            hidden[place] = self._apply(index, hidden[place], prefixes[place])
                    continue
                halves: list[list[torch.Tensor]] = []
                for half, sign in enumerate(signs):
                    with self._leaves.one_sign(sign, index if len(moved) > 1 else None):
                        halves.append(
                            [
                                self._apply(index, hidden[place].chunk(len(signs))[half], prefixes[place])
                                for place in moved
                            ]
                        )
                for place, *own in zip(moved, *halves, strict=True):
                    hidden[place] = torch.cat(own)
        return [
            self._run(_Pass(0, frozenset(), {}, result=result), prefix.inputs)
            for prefix, result in zip(prefixes, hidden, strict=True)
        ]

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

    def _pack(self, index: int, hidden: torch.Tensor) -> Any:
        """A block's output in the form that the outer forward expects of it."""
        return (hidden,) if self._tuples[index] else hidden


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """The hidden state apart from a block's other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs["hidden_states"], (), {name: value for name, value in kwargs.items() if name != "hidden_states"}
