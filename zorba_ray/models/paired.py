"""The cheap forward pair (algorithm.md §4): prefix once, frozen blocks on [h⁺; h⁻], active blocks once per sign.

Shapes: B batch rows, T tokens, H hidden width, S signs; a packed batch is one row of N tokens (`packing`).

The model's own outer forward is kept: embeddings, masks and rotary tables come from it, in any architecture. Only the
`forward` of the blocks, and of the leaf modules inside them, is wrapped on the instance; parameter names do not change.

- `prepare` runs the outer forward on the batch [B]: blocks below s (the first active one) compute, blocks from s on
  only note what they were given. Once more on the doubled batch [2B], with no block computing, for what frozen blocks
  from s on are given there. So no argument is ever doubled or halved by guessing.
- `perturbed` runs the blocks from s on with these arguments, block by block, then what follows them: a module that the
  trace names, or the outer forward on [2B], with the last block handing over the result.

The arguments of a packed batch have one row, and hold for both signs. Where its head reads few tokens, the last block
answers for these alone (`last_block`).

That holds where nothing but the hidden state passes from block to block (`trace.chained`). Where more does (keys that
blocks share, several streams, work between blocks), a pair is two whole forward passes, each with its sign's tensors.

One-sided differences run one sign alone: the same with S = 1 signs instead of 2, all on [B].

An active block runs once per sign, or with low-rank directions once on [h⁺; h⁻]; `perturbed_tensors` says with which
tensors. Several clients that share a direction take each perturbed block together and never a matrix product, whose
rows may depend on how many there are: a client's numbers are its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import ModelError
from zorba_ray.models.batch import Batch
from zorba_ray.models.block_layout import Scratch
from zorba_ray.models.example_steps import ExampleGroups
from zorba_ray.models.last_block import LastBlock
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import Scope
from zorba_ray.models.offload import Offload
from zorba_ray.models.packed_attention import packed_attention
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.perturbed_tensors import PerturbedTensors
from zorba_ray.models.replica import Replica
from zorba_ray.models.swap import Forward, ForwardsSwapped
from zorba_ray.models.trace import split_hidden
from zorba_ray.models.unpacked_tensors import UnpackedTensors

_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class PreparedBatch:
    """A batch with its prefix computed: what the directions of one step share."""

    batch: Batch
    inputs: dict[str, torch.Tensor]
    """Arguments of the outer forward: [S·B, …]; [B, …] where blocks are not chained."""
    active: frozenset[int]
    signs: tuple[float, ...]
    """(1, −1): θ ± μz; (1,): θ + μz alone."""
    first: int = 0
    """The first block that has to run for every direction."""
    hidden_BTH: torch.Tensor | None = None
    """What it is given; None where blocks are not chained, and nothing is shared."""
    calls: dict[int, _Call] = field(default_factory=dict)
    """Block from `first` on -> its arguments beside the hidden state, for the rows that it runs on: [B] where a sign
    at a time, else [S·B]; [1] where the batch is packed."""


@dataclass
class _Pass:
    """An outer forward in which some blocks do not compute, or compute with perturbed tensors."""

    computing: int
    """Blocks below this one compute."""
    noting: frozenset[int] = frozenset()
    """Blocks whose arguments are noted."""
    calls: dict[int, _Call] = field(default_factory=dict)
    reached: torch.Tensor | None = None
    """Hidden state that the first block which does not compute was given."""
    result: torch.Tensor | None = None
    """What the last block returns instead of what it was given."""
    perturbed: frozenset[int] = frozenset()
    """Computing blocks that are at θ + sign · μz, along `move`."""
    move: Perturbation | None = None
    sign: float = 0.0
    groups: ExampleGroups | None = None
    """Of the batch, where each has a direction of its own."""


class PairedBackbone:
    """A backbone (no head) whose blocks can run plainly, as a prefix, or as a forward pair."""

    def __init__(
        self,
        loaded: LoadedModel,
        replica: Replica,
        scope: Scope,
        directions: DirectionBackend,
        rank: int = 0,
        compute: torch.dtype = torch.float32,
        offload: Offload | None = None,
    ) -> None:
        """`rank`: of the directions of matrices; 0: dense. `compute`: dtype of perturbed matrices. `offload`: brings
        blocks to the accelerator; None: θ is where it computes.

        Raises:
            ModelError: a tensor in scope is read outside its block, so it cannot be swapped.
        """
        outside = {entry.name for entry in replica.manifest.moved(scope)}.intersection(loaded.trace.elsewhere)
        if outside:
            raise ModelError(
                f"model.path={loaded.label}: {min(outside)} is read outside its block, so that it cannot be perturbed "
                "with it: choose a zo.scope without it, such as zo.scope=bias_norm, or another model"
            )
        self.backbone = loaded.backbone
        self._trace = loaded.trace
        self._offload = offload
        self._pass: _Pass | None = None
        self._plain: list[tuple[nn.Module, Forward]] = [(block, block.forward) for block in loaded.blocks]
        theta = replica.parameters if offload is None else offload.tensors
        scratch = Scratch()
        self.tensors = PerturbedTensors(loaded, replica, theta, scope, directions, rank, compute, scratch)
        wrapped = list(self.tensors.plain)
        if offload is not None and offload.packs:
            wrapped = [*UnpackedTensors(loaded, replica, offload.packed, scope, compute, scratch).plain, *wrapped]
        scratch.allocate(replica.theta.device if offload is None else offload.device)
        self.scratch_bytes = scratch.memory.nbytes
        """Bytes of the buffer for copies of a module's tensors, perturbed or unpacked."""
        self._last = LastBlock(loaded.blocks[-1])
        self._plain = [*self._last.plain, *wrapped, *self._plain]
        behind = loaded.trace.behind
        self._behind = None if behind is None else loaded.backbone.get_submodule(behind) if behind else nn.Identity()
        """What follows the blocks; None: the outer forward says it."""
        self._forwards: list[Forward] = []
        for index, block in enumerate(loaded.blocks):
            forward = block.forward if block is not loaded.blocks[-1] else self._last.around(block.forward)
            forward = forward if offload is None else offload.around(index, forward)
            self._forwards.append(forward)
            block.forward = self._block(index, forward)

    def lifted(self) -> ForwardsSwapped:
        """A context: the network runs as it did before its blocks were wrapped; what brings blocks to an accelerator
        too."""
        return ForwardsSwapped(self._plain)

    def hidden(self, inputs: dict[str, torch.Tensor], batch: Batch | None = None) -> torch.Tensor:
        """Last hidden state [B, T, H] at θ, or [1, N, H] of a packed batch, right for tokens that are read.

        `batch`: None: of whole rows.
        """
        self._last.packing = None if batch is None else batch.packing
        with packed_attention(self._last.packing):
            return self.backbone(**inputs, **self._trace.options)[0]

    def prepare(
        self, batch: Batch, inputs: dict[str, torch.Tensor], active: frozenset[int], signs: int = 2
    ) -> PreparedBatch:
        """Runs the blocks below the first active one, once for all directions and signs (2, or 1 where P + 1 passes
        give P one-sided differences; then with dense directions only)."""
        both = (1.0, -1.0)[:signs]
        if not self._trace.chained:
            return PreparedBatch(batch, inputs, active, both)
        first, last, calls = min(active), len(self._forwards) - 1, dict[int, _Call]()
        beyond, packed = frozenset(range(first, last + 1)), batch.packing is not None
        singly = frozenset(b for b in active if not self.tensors.at_once[b]) if signs == 2 and not packed else beyond
        single = _Pass(first, singly, calls)
        self._run(single, inputs, batch)
        if signs == 2:
            inputs = {name: torch.cat([value, value]) for name, value in inputs.items()}
            if at_once := beyond - singly:
                self._run(_Pass(0, at_once, calls), inputs, batch)
        return PreparedBatch(batch, inputs, active, both, first, single.reached, calls)

    def perturbed(self, batches: Sequence[PreparedBatch], move: Perturbation) -> list[torch.Tensor]:
        """Last hidden states [S·B, T, H] of each batch: rows 0 … B−1 at θ + μz, rows B … 2B−1 at θ − μz.

        Each batch is computed by itself, all with equally many signs; a tensor that several of them perturb is
        perturbed once per sign. Where groups of examples have directions of their own there is one batch.
        """
        begin, signs, groups = min(batch.first for batch in batches), batches[0].signs, None
        if move.shared_by:
            assert len(batches) == 1, "directions of single examples are those of one batch"
            groups = ExampleGroups.of(batches[0].batch, move.shared_by)
        if self._offload is not None:
            self._offload.prefetch(begin - 1)
        if not self._trace.chained:
            return [self._whole(batch, move, groups) for batch in batches]
        packings = [batch.batch.packing for batch in batches if batch.batch.packing is not None]
        with packed_attention(packings[0] if packings else None):
            hidden = self._blocks(batches, move, begin, signs, groups)
        return [self._finished(result, batch) for batch, result in zip(batches, hidden, strict=True)]

    def _blocks(
        self,
        batches: Sequence[PreparedBatch],
        move: Perturbation,
        begin: int,
        signs: tuple[float, ...],
        groups: ExampleGroups | None,
    ) -> list[torch.Tensor]:
        """What the last block returns of each batch."""
        hidden = [torch.cat([batch.hidden_BTH] * len(signs)) for batch in batches]  # type: ignore[list-item]
        for index in range(begin, len(self._forwards)):
            moved = [row for row, batch in enumerate(batches) if index in batch.active]
            for row, batch in enumerate(batches):
                if index >= batch.first and index not in batch.active:
                    hidden[row] = self._apply(index, hidden[row], batch)
            if len(signs) == 2 and self.tensors.at_once[index]:
                with self.tensors.at(move, signs, groups=groups):
                    for row in moved:
                        hidden[row] = self._apply(index, hidden[row], batches[row])
                continue
            halves: list[list[torch.Tensor]] = []
            for half, sign in enumerate(signs):
                with self.tensors.at(move, (sign,), index if len(moved) > 1 else None, groups):
                    halves.append(
                        [self._apply(index, hidden[row].chunk(len(signs))[half], batches[row]) for row in moved]
                    )
            for row, *parts in zip(moved, *halves, strict=True):
                hidden[row] = torch.cat(parts)
        return hidden

    def _whole(self, batch: PreparedBatch, move: Perturbation, groups: ExampleGroups | None) -> torch.Tensor:
        """A whole forward pass for each sign."""
        every = len(self._forwards)
        passes = [_Pass(every, perturbed=batch.active, move=move, sign=sign, groups=groups) for sign in batch.signs]
        return torch.cat([self._run(each, batch.inputs, batch.batch) for each in passes])

    def _apply(self, index: int, hidden: torch.Tensor, batch: PreparedBatch) -> torch.Tensor:
        rest, named = batch.calls[index]
        self._last.packing = batch.batch.packing
        output = self._forwards[index](hidden, *rest, **named)
        return output[0] if isinstance(output, tuple) else output

    def _finished(self, result: torch.Tensor, batch: PreparedBatch) -> torch.Tensor:
        """What follows the blocks, on what the last one returned."""
        if self._behind is not None:
            return self._behind(result)
        return self._run(_Pass(0, result=result), batch.inputs, batch.batch)

    def _run(self, state: _Pass, inputs: dict[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """An outer forward."""
        self._pass = state
        try:
            return self.hidden(inputs, batch)
        finally:
            self._pass = None

    def _block(self, index: int, forward: Forward) -> Forward:
        def visit(*args: Any, **kwargs: Any) -> Any:
            state = self._pass
            if state is None or index < state.computing:
                if state is None or index not in state.perturbed:
                    return forward(*args, **kwargs)
                assert state.move is not None
                with self.tensors.at(state.move, (state.sign,), groups=state.groups):
                    return forward(*args, **kwargs)
            hidden, call = split_hidden(args, kwargs)
            if index == state.computing:
                state.reached = hidden
            if index in state.noting:
                state.calls[index] = call
            if state.result is not None and index == len(self._forwards) - 1:
                hidden = state.result
            behind = self._trace.extra_outputs[index]  # in the form that the outer forward expects
            return hidden if behind < 0 else (hidden, *[None] * behind)

        return visit
