"""The cheap forward pair (algorithm.md §4): prefix once, frozen blocks on [h⁺; h⁻], active blocks once per sign.

Shapes: B batch rows, T tokens, H hidden width, S signs.

The model's own outer forward is kept: embeddings, masks and rotary tables come from it, in any architecture. Only the
`forward` of the blocks, and of the leaf modules inside them, is wrapped on the instance; parameter names do not change.

- `prefix` runs the outer forward on the batch [B]: blocks below s (the first active one) compute, blocks from s on only
  note what they were given. Once more on the doubled batch [2B], with no block computing, for what frozen blocks from s
  on are given there. So no argument is ever doubled or halved by guessing.
- `perturbed` runs the blocks from s on with these arguments, block by block, then the outer forward on [2B] with the
  last block handing over the result, for what follows the blocks.

That holds where nothing but the hidden state passes from block to block (`trace.chained`). Where more does (keys that
blocks share, several streams, work between blocks), a pair is two whole forward passes, each with its sign's tensors.

One-sided differences run one sign alone: the same with S = 1 signs instead of 2, all on [B].

An active block runs once per sign, or with low-rank directions once on [h⁺; h⁻]; `perturbed_tensors` says with which
tensors. Several clients that share a direction take each perturbed block together and never a matrix product, whose
rows may depend on how many there are: a client's numbers are its own.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import ModelError
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import Manifest, Scope
from zorba_ray.models.perturbed_tensors import Forward, Perturbation, PerturbedTensors
from zorba_ray.models.offload import Offload
from zorba_ray.models.trace import Trace, split_hidden


@dataclass(frozen=True)
class Prefix:
    """What all directions on one batch share."""

    inputs: dict[str, torch.Tensor]
    """Arguments of the outer forward: [S·B, …]; [B, …] where blocks are not chained."""
    active: frozenset[int]
    first: int
    """The first block that has to run for every direction."""
    hidden_BTH: torch.Tensor | None
    """What it is given; None where blocks are not chained, and nothing is shared."""
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


@dataclass(frozen=True)
class _WholePass:
    """A forward pass in which all blocks compute, the active ones at θ + sign · μz."""

    active: frozenset[int]
    sign: float


class PairedBackbone:
    """A backbone (no head) whose blocks can run plainly, as a prefix, or as a forward pair."""

    def __init__(
        self,
        loaded: LoadedModel,
        parameters: Mapping[str, torch.Tensor],
        manifest: Manifest,
        scope: Scope,
        directions: DirectionBackend,
        rank: int = 0,
        compute: torch.dtype = torch.float32,
        offload: Offload | None = None,
    ) -> None:
        """`parameters`: manifest name -> flat fp32 view of θ. `rank`: of the directions of matrices; 0: dense.
        `compute`: dtype of perturbed matrices. `offload`: brings blocks to the accelerator; None: they are there.

        Raises:
            ModelError: a tensor in scope is read outside its block, so it cannot be swapped.
        """
        self.backbone = loaded.backbone
        self._blocks = loaded.blocks
        self._trace: Trace = loaded.trace
        self._pass: _Pass | _WholePass | None = None
        self._forwards: list[Forward] = []
        self._offload = offload
        self._tensors = PerturbedTensors(parameters, directions, rank, compute)
        self._plain = [block.forward for block in loaded.blocks]
        for index, block in enumerate(loaded.blocks):
            name, scoped = f"{loaded.blocks_name}.{index}", manifest.scoped(index, scope)
            outside = next((entry.name for entry in scoped if entry.name in loaded.trace.elsewhere), None)
            if outside is not None:
                raise ModelError(
                    f"model.path={loaded.label}: {outside} is read outside its block, so that it cannot be perturbed "
                    "with it: choose a zo.scope without it, such as zo.scope=bias_norm, or another model"
                )
            self._tensors.wrap(index, name, block, scoped, loaded.trace)
            forward: Forward = block.forward
            if offload is not None:
                forward = offload.around(index, forward)
            self._forwards.append(forward)
            block.forward = self._block(index, forward)
        self._tensors.allocate(None if offload is None else offload.device)

    @property
    def scratch_elements(self) -> int:
        """fp32 elements of the scratch buffer of one client."""
        return self._tensors.scratch_elements

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch buffer of one client."""
        return self._tensors.scratch_bytes

    @property
    def chained(self) -> bool:
        """Whether directions on one batch share a prefix, and each block runs by itself; else a pair is two whole
        forward passes."""
        return self._trace.chained

    def poisoned(self, active: frozenset[int], name: str | None = None) -> contextlib.AbstractContextManager[None]:
        """Tensors in scope of the active blocks (None: all, else that one) are NaN wherever a perturbed copy is not in
        their place."""
        return self._tensors.poisoned(active, name)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """The network runs as it did before its blocks were wrapped; what brings blocks to an accelerator too."""
        wrapped = [block.forward for block in self._blocks]
        with self._tensors.lifted():
            try:
                for block, plain in zip(self._blocks, self._plain, strict=True):
                    block.forward = plain
                yield
            finally:
                for block, forward in zip(self._blocks, wrapped, strict=True):
                    block.forward = forward

    def hidden(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Last hidden state [B, T, H] at θ."""
        return self.backbone(**inputs, **self._trace.options)[0]

    def prefix(self, inputs: dict[str, torch.Tensor], active: frozenset[int], signs: int = 2) -> Prefix:
        """Runs the blocks below the first active one, once for all directions and signs (2, or 1 where P + 1 passes
        give P one-sided differences; then with dense directions only)."""
        if not self.chained:
            return Prefix(inputs, active, 0, None, {}, signs)
        first, calls = min(active), dict[int, _Call]()
        beyond = frozenset(range(first, len(self._forwards)))
        singly = frozenset(b for b in active if not self._tensors.at_once(b))
        single = _Pass(first, singly if signs == 2 else beyond, calls)
        self._run(single, inputs)
        assert single.reached is not None
        if signs == 1:
            return Prefix(inputs, active, first, single.reached, calls, signs)
        doubled = {name: torch.cat([value, value]) for name, value in inputs.items()}
        at_once = frozenset(b for b in beyond if b not in active or self._tensors.at_once(b))
        if at_once:
            self._run(_Pass(0, at_once, calls), doubled)
        return Prefix(doubled, active, first, single.reached, calls, signs)

    def perturbed(self, prefixes: Sequence[Prefix], perturbation: Perturbation) -> list[torch.Tensor]:
        """Last hidden states [S·B, T, H] of each batch: rows 0 … B−1 at θ + μz, rows B … 2B−1 at θ − μz.

        Each batch is computed by itself, all with equally many signs; a tensor that several of them perturb is
        perturbed once per sign.
        """
        signs = (1.0, -1.0)[: prefixes[0].signs]
        if not self.chained:
            return [self._whole(prefix, perturbation, signs) for prefix in prefixes]
        hidden = [torch.cat([_reached(prefix)] * len(signs)) for prefix in prefixes]
        if self._offload is not None:
            self._offload.prefetch(min(prefix.first for prefix in prefixes) - 1)
        with self._tensors.along(perturbation):
            for index in range(min(prefix.first for prefix in prefixes), len(self._forwards)):
                moved = [place for place, prefix in enumerate(prefixes) if index in prefix.active]
                for place, prefix in enumerate(prefixes):
                    if index >= prefix.first and index not in prefix.active:
                        hidden[place] = self._apply(index, hidden[place], prefix)
                if len(signs) == 2 and self._tensors.at_once(index):
                    with self._tensors.both_signs():
                        for place in moved:
                            hidden[place] = self._apply(index, hidden[place], prefixes[place])
                    continue
                halves: list[list[torch.Tensor]] = []
                for half, sign in enumerate(signs):
                    with self._tensors.one_sign(sign, index if len(moved) > 1 else None):
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

    def _whole(self, prefix: Prefix, perturbation: Perturbation, signs: Sequence[float]) -> torch.Tensor:
        if self._offload is not None:
            self._offload.prefetch(-1)
        with self._tensors.along(perturbation):
            return torch.cat([self._run(_WholePass(prefix.active, sign), prefix.inputs) for sign in signs])

    def _apply(self, index: int, hidden: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        rest, named = prefix.calls[index]
        output = self._forwards[index](hidden, *rest, **named)
        return output[0] if isinstance(output, tuple) else output

    def _run(self, state: _Pass | _WholePass, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        self._pass = state
        try:
            return self.hidden(inputs)
        finally:
            self._pass = None

    def _block(self, index: int, forward: Forward) -> Forward:
        def visit(*args: Any, **kwargs: Any) -> Any:
            state = self._pass
            if isinstance(state, _WholePass) and index in state.active:
                with self._tensors.one_sign(state.sign, None):
                    return forward(*args, **kwargs)
            if not isinstance(state, _Pass) or index < state.computing:
                return forward(*args, **kwargs)
            hidden, call = split_hidden(args, kwargs)
            if index == state.computing:
                state.reached = hidden
            if index in state.noting:
                state.calls[index] = call
            if state.result is not None and index == len(self._forwards) - 1:
                hidden = state.result
            return self._pack(index, hidden)

        return visit

    def _pack(self, index: int, hidden: torch.Tensor) -> Any:
        """A block's output in the form that the outer forward expects of it."""
        behind = self._trace.extra_outputs[index]
        return hidden if behind < 0 else (hidden, *[None] * behind)


def _reached(prefix: Prefix) -> torch.Tensor:
    assert prefix.hidden_BTH is not None
    return prefix.hidden_BTH
