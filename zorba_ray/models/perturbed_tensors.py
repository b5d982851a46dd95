"""What the modules of an active block compute with: θ ± μz in a scratch buffer, or low-rank corrections.

θ is never written. A module in which a tensor is read (`models.trace`) runs with a copy of it, perturbed into a scratch
buffer: as a rule the tensor's own module, without children. One client needs a buffer as large as the largest of these,
with the parents that hold copies of their own meanwhile. Clients that share a direction take all tensors of a block
from a buffer as large as the largest block, so that each is drawn once for all of them.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend, TensorStream, factors, tensor_stream
from zorba_ray.models.block_layout import BlockLayout
from zorba_ray.models.example_readers import ExampleReaders, takes_rows
from zorba_ray.models.example_steps import ExampleGroups
from zorba_ray.models.linear import is_linear, is_transposed, linear_along
from zorba_ray.models.loaded import LoadedModel
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.replica import Replica
from zorba_ray.models.scratch import Scratch, readers
from zorba_ray.models.swap import Forward, TensorsSwapped, is_aligned, nan_like

_PIECE = 1 << 20
"""Elements of a 16-bit tensor that exist in fp32 at once."""


class PerturbedTensors:
    """The modules of all blocks that read tensors in scope, wrapped on the instance; plain outside `at`."""

    def __init__(
        self,
        loaded: LoadedModel,
        replica: Replica,
        theta: Mapping[str, torch.Tensor],
        scope: Scope,
        directions: DirectionBackend,
        rank: int,
        compute: torch.dtype,
        scratch: Scratch,
    ) -> None:
        """No tensor in scope is read outside its block. `scratch` is to be allocated afterwards.

        Args:
            theta: manifest name -> flat tensor that stands for θ where it computes.
            rank: of the directions of matrices; 0: dense.
            compute: dtype of perturbed matrices; vectors are fp32.
        """
        self._replica, self._theta, self._directions = replica, theta, directions
        self._rank, self._compute = rank, compute
        self._move: Perturbation | None = None
        self._signs: tuple[float, ...] = ()
        self._together: dict[str, torch.Tensor] = {}
        """Name -> perturbed tensor of the block at hand, where several clients take it together."""
        self._scoped = [replica.manifest.scoped(block, scope) for block in range(replica.manifest.blocks)]
        self._examples = ExampleReaders(directions, self._scoped, compute)
        self.at_once: list[bool] = []
        """Of each block: whether it runs once on [x⁺; x⁻] where it is active, and not once per sign: low-rank
        directions, and every module that reads a tensor in scope has the rows of the batch on its first axis."""
        self.plain: list[tuple[nn.Module, Forward]] = []
        """What is wrapped, as it ran before."""
        self.not_by_example: list[tuple[str, str]] = []
        """(module, a tensor that it reads) that cannot compute with a direction for each example."""
        self._scratch = scratch
        self._block_scratch = torch.empty(0, dtype=torch.uint8)
        for scoped in self._scoped:
            self._wrap(loaded, scoped)

    def _wrap(self, loaded: LoadedModel, scoped: Sequence[TensorEntry]) -> None:
        """Takes over the modules that read a block's tensors in scope."""
        sites = readers(loaded, scoped)
        layouts = {site: BlockLayout(entries, self._compute) for site, entries in sites.items()}
        modules = {site: loaded.network.get_submodule(site) for site in sites}
        self._scratch.require(
            {site: layouts[site].nbytes for site in sites if not self._is_corrected(modules[site], sites[site])}
        )
        for site, entries in sites.items():
            module = modules[site]
            self.plain.append((module, module.forward))
            module.forward = self._reader(module, module.forward, entries, layouts[site])
            if site not in loaded.trace.rows_first or not self._takes_examples(module, entries):
                self.not_by_example.append((f"{site} ({type(module).__name__})", entries[0].name))
        self.at_once.append(self._rank > 0 and sites.keys() <= loaded.trace.rows_first)

    def _is_corrected(self, module: nn.Module, entries: Sequence[TensorEntry]) -> bool:
        """Whether a low-rank step of the module is a product of its own, so that it needs no perturbed copy."""
        alone = module._parameters.keys() <= {"weight", "bias"}
        held_once = all(len(self._replica.holders[entry.name]) == 1 for entry in entries)
        return bool(self._rank) and alone and held_once and is_linear(module)

    def _takes_examples(self, module: nn.Module, entries: Sequence[TensorEntry]) -> bool:
        """Whether the module's tensors may have a step for each example."""
        held_once = all(self._replica.holders[entry.name] == [(module, _key(entry))] for entry in entries)
        return held_once and (self._is_corrected(module, entries) or takes_rows(module))

    @property
    def _device(self) -> torch.device:
        """Of what computes."""
        return self._scratch.memory.device

    @contextlib.contextmanager
    def at(
        self,
        move: Perturbation,
        signs: tuple[float, ...],
        shared: int | None = None,
        groups: ExampleGroups | None = None,
    ) -> Iterator[None]:
        """Blocks that run inside are at θ + sign · μz; for two signs they are given [x⁺; x⁻].

        Args:
            shared: a block that is perturbed once for all that run it; one sign only.
            groups: of the batch that runs, where each has a direction of its own; None: it has one.
        """
        self._move, self._signs = move, signs
        if groups is not None:
            self._examples.begin(move, signs, groups, self._device)
        try:
            if shared is not None:
                self._together = self._perturb_block(shared)
            yield
        finally:
            self._signs, self._together = (), {}
            self._examples.end()

    @contextlib.contextmanager
    def held(self, active: frozenset[int], move: Perturbation, sign: float) -> Iterator[None]:
        """Inside, the active blocks compute with copies at θ + sign · μz, drawn once and held until the end: for passes
        that are as many as the tokens of a text. Low-rank steps are rounded into the copies."""
        entries = [entry for block in sorted(active) for entry in self._scoped[block]]
        layout = BlockLayout(entries, self._compute)
        memory = torch.empty(layout.nbytes, dtype=torch.uint8, device=self._device)
        assert is_aligned(memory), "the buffer must be 64-byte aligned"
        copies = layout.views(memory)
        with self.at(move, (sign,)):
            for entry in entries:
                self._perturb(copies[entry.name], entry)
        holders = self._replica.holders
        with TensorsSwapped([(m, key, copies[e.name].view(e.shape)) for e in entries for m, key in holders[e.name]]):
            yield

    def poisoned(self, active: frozenset[int], name: str | None = None) -> TensorsSwapped:
        """A context: tensors in scope of the active blocks (None: all, else that one) are NaN wherever they are not
        swapped in."""
        return TensorsSwapped(
            (module, key, nan_like(module._parameters[key]))  # type: ignore[arg-type]
            for index in active
            for entry in self._scoped[index]
            if name in (None, entry.name)
            for module, key in self._replica.holders[entry.name]
        )

    def _reader(
        self, module: nn.Module, forward: Forward, entries: Sequence[TensorEntry], layout: BlockLayout
    ) -> Forward:
        holders = {entry.name: self._replica.holders[entry.name] for entry in entries}
        corrected = self._is_corrected(module, entries)
        keys = {holders[entry.name][0][1]: entry for entry in entries}

        rooms: dict[int, dict[str, torch.Tensor]] = {}
        """Bytes of the scratch buffer that were taken before -> the copies behind them."""

        def swapped(*args: Any, **kwargs: Any) -> Any:
            """`forward` with perturbed copies of the tensors that it reads."""
            start = self._scratch.used
            try:
                copies = self._together
                if not copies:
                    copies = self._scratch.take(layout, rooms)
                    for entry in entries:
                        self._perturb(copies[entry.name], entry)
                with TensorsSwapped(
                    [(m, key, copies[e.name].view(e.shape)) for e in entries for m, key in holders[e.name]]
                ):
                    return forward(*args, **kwargs)
            finally:
                self._scratch.used = start

        def halves(*args: Any, **kwargs: Any) -> Any:
            rows, signs, answers = args[0].shape[0], self._signs, []
            try:
                for half, sign in enumerate(signs):
                    self._signs = (sign,)
                    named = {name: _half(value, rows, half) for name, value in kwargs.items()}
                    answers.append(swapped(*(_half(value, rows, half) for value in args), **named))
            finally:
                self._signs = signs
            return torch.cat(answers)

        def compute(*args: Any, **kwargs: Any) -> Any:
            if not self._signs:
                return forward(*args, **kwargs)
            if self._examples.running:
                theta = {key: self._at(entry) for key, entry in keys.items()}
                if corrected:
                    return self._examples.linear(module, keys, theta, args[0])
                return self._examples.rows(module, forward, keys, theta, *args, **kwargs)
            if corrected and not self._together:
                return linear_along(args[0], *self._terms(module, keys), self._signs)
            return swapped(*args, **kwargs) if len(self._signs) == 1 else halves(*args, **kwargs)

        return compute

    def _terms(self, leaf: nn.Module, keys: Mapping[str, TensorEntry]) -> tuple[Any, Any, Any, Any, float]:
        """(weight, bias, factors, bias step, μ) of a linear layer along the low-rank direction at hand."""
        assert self._move is not None
        tensors: dict[str, Any] = dict(leaf._parameters)
        for key, entry in keys.items():
            tensors[key] = self._at(entry).view(entry.shape).to(entry.compute_dtype(self._compute))
        step = None
        if "bias" in keys:
            step = torch.empty(keys["bias"].numel, dtype=torch.float32, device=self._device)
            stream = self._stream(keys["bias"])
            self._directions.perturb_into(step, torch.zeros_like(step), stream, self._move.scale)
        weight, matrix = tensors["weight"], self._factors(keys["weight"]) if "weight" in keys else None
        if is_transposed(leaf):
            weight, matrix = weight.T, matrix and (matrix[1], matrix[0])
        return weight, tensors["bias"], matrix, step, self._move.scale

    def _at(self, entry: TensorEntry) -> torch.Tensor:
        """θ of a tensor, or what stands for it."""
        assert self._move is not None
        return self._move.overlay.get((entry.block, entry.slot), self._theta[entry.name])

    def _stream(self, entry: TensorEntry) -> TensorStream:
        move = self._move
        assert move is not None
        return tensor_stream(move.seed, entry.block, entry.slot, move.direction, move.distribution)

    def _factors(self, entry: TensorEntry) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (entry.shape[0], entry.numel // entry.shape[0])
        return factors(self._directions, self._stream(entry), shape, self._rank, self._device)

    def _perturb_block(self, index: int) -> dict[str, torch.Tensor]:
        """All scoped tensors of a block at the current sign."""
        if not len(self._block_scratch):
            size = max(BlockLayout(scoped, self._compute).nbytes for scoped in self._scoped)
            self._block_scratch = torch.empty(size, dtype=torch.uint8, device=self._device)
        copies = BlockLayout(self._scoped[index], self._compute).views(self._block_scratch)
        for entry in self._scoped[index]:
            self._perturb(copies[entry.name], entry)
        return copies

    def _perturb(self, target: torch.Tensor, entry: TensorEntry) -> None:
        """target ← θ ± μz of one tensor."""
        assert self._move is not None
        scale, theta = self._signs[0] * self._move.scale, self._at(entry)
        if self._rank and len(entry.shape) >= 2:
            u, v = self._factors(entry)
            rounded = theta.to(target.dtype).float()  # as in `perturb_into`
            torch.add(rounded, (u @ v.T).view(-1), alpha=scale / self._rank**0.5, out=target)
        elif theta.dtype == torch.float32:
            self._directions.perturb_into(target, theta, self._stream(entry), scale)
        else:  # a copy in the compute dtype; directions read fp32, a piece at a time
            for start in range(0, entry.numel, _PIECE):
                piece = slice(start, start + _PIECE)
                self._directions.perturb_into(target[piece], theta[piece].float(), self._stream(entry), scale, start)


def _key(entry: TensorEntry) -> str:
    return entry.name.rpartition(".")[2]


def _half(value: Any, rows: int, half: int) -> Any:
    """One half of a tensor that has the `rows` of the doubled batch; anything else as it is."""
    if isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == rows:
        return value.chunk(2)[half]
    return value
