"""What the modules of an active block compute with: θ ± μz in a scratch buffer, or low-rank corrections.

θ is never written. A module in which a tensor is read (`models.trace`) runs with a copy of it, perturbed into a scratch
buffer: as a rule the tensor's own module, without children. One client needs a buffer as large as the largest of these,
with the parents that hold copies of their own meanwhile. Clients that share a direction take all tensors of a block
from a buffer as large as the largest block, so that each is drawn once for all of them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend, Distribution, TensorStream, factors, tensor_stream
from zorba_ray.models.linear import half_of, is_linear, is_transposed, linear_pair, linear_step
from zorba_ray.models.manifest import Scope, TensorEntry, padded
from zorba_ray.models.place import is_aligned, place
from zorba_ray.models.trace import Trace

Forward = Callable[..., Any]

_PIECE = 1 << 20
"""Elements of a 16-bit tensor that exist in fp32 at once."""


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
    only: Scope | None = None
    """Of the tensors that the model perturbs, those in this scope alone; None: all. Dense directions only."""


@dataclass(frozen=True)
class _Swap:
    """A tensor in scope, and every (module, name) of its block that holds it: several where it is tied."""

    entry: TensorEntry
    holders: tuple[tuple[nn.Module, str], ...]


class PerturbedTensors:
    """The modules of all blocks that read tensors in scope, wrapped on the instance; plain outside `one_sign` and
    `both_signs`."""

    def __init__(
        self,
        theta: Mapping[str, torch.Tensor],
        directions: DirectionBackend,
        rank: int,
        compute: torch.dtype = torch.float32,
    ) -> None:
        """`theta`: manifest name -> flat fp32 view of θ. `rank`: of the directions of matrices; 0: dense. `compute`:
        dtype of perturbed matrices; vectors are fp32."""
        self._theta = theta
        self._directions = directions
        self._rank = rank
        self._compute = compute
        self._perturbation: Perturbation | None = None
        self._sign = 0.0
        self._both = False
        self._together: dict[str, torch.Tensor] = {}
        """Name -> perturbed tensor of the block at hand, where several clients take it together."""
        self._scoped: dict[int, Sequence[TensorEntry]] = {}
        self._swaps: dict[int, list[_Swap]] = {}
        self._at_once: dict[int, bool] = {}
        self._plain: list[tuple[nn.Module, Forward]] = []
        self._used = 0
        """Elements of the scratch buffer that modules in progress hold."""
        self._largest = 0
        self._device: torch.device | str | None = None
        self._scratch = self._block_scratch = torch.empty(0)

    def wrap(self, index: int, name: str, block: nn.Module, scoped: Sequence[TensorEntry], trace: Trace) -> None:
        """Takes over the modules of block `name` that read its tensors in scope; none of them is read elsewhere."""
        self._scoped[index] = scoped
        # A tensor is known by its place in the arena, whatever it is called and however often it is used.
        holders: dict[tuple[int, int], list[tuple[nn.Module, str]]] = {}
        for module in block.modules():
            for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                holders.setdefault(place(parameter), []).append((module, own))
        swaps = {e.name: _Swap(e, tuple(holders[place(self._theta[e.name])])) for e in scoped}
        self._swaps[index] = list(swaps.values())
        sites: dict[str, list[_Swap]] = {}
        for entry in scoped:
            owner = entry.name.rpartition(".")[0]  # of a tensor that was added after the trace
            sites.setdefault(trace.readers.get(entry.name, owner), []).append(swaps[entry.name])
        rooms = {site: sum(self._room(swap.entry) for swap in own) for site, own in sites.items()}
        for site, own in sites.items():
            outer = sum(room for other, room in rooms.items() if site.startswith(f"{other}.") or site == other)
            self._largest = max(self._largest, outer)
            module = block.get_submodule(site[len(name) + 1 :])
            self._plain.append((module, module.forward))
            module.forward = self._reader(module, module.forward, own)
        self._at_once[index] = self._rank > 0 and sites.keys() <= trace.rows_first

    def at_once(self, index: int) -> bool:
        """Whether the block runs once on [x⁺; x⁻] where it is active, and not once per sign: low-rank directions, and
        every module that reads a tensor in scope has the rows of the batch on its first axis."""
        return self._at_once[index]

    @contextlib.contextmanager
    def poisoned(self, active: frozenset[int], name: str | None = None) -> Iterator[None]:
        """Tensors in scope of the active blocks (None: all, else that one) are NaN wherever they are not swapped in.
        NaN holds no memory."""
        kept = [
            (module, own, module._parameters[own])
            for index in active
            for swap in self._swaps[index]
            if name in (None, swap.entry.name)
            for module, own in swap.holders
        ]
        try:
            for module, own, tensor in kept:
                assert tensor is not None
                nan = torch.full((), float("nan"), dtype=tensor.dtype, device=tensor.device)
                module._parameters[own] = nan.expand(tensor.shape)  # type: ignore[assignment]
            yield
        finally:
            for module, own, tensor in kept:
                module._parameters[own] = tensor

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """All modules run as they were before they were wrapped."""
        wrapped = [module.forward for module, _ in self._plain]
        try:
            for module, forward in self._plain:
                module.forward = forward
            yield
        finally:
            for (module, _), forward in zip(self._plain, wrapped, strict=True):
                module.forward = forward

    def allocate(self, device: str | None = None) -> None:
        """The scratch buffer, once all blocks are wrapped. `device`: of what computes; None: θ's."""
        self._device = device
        self._scratch = self._buffer(self._largest)

    @property
    def scratch_elements(self) -> int:
        """Elements (of the compute dtype) of the scratch buffer of one client."""
        return self._scratch.numel()

    @property
    def scratch_bytes(self) -> int:
        """Bytes of the scratch buffer of one client."""
        return self._scratch.nbytes

    @contextlib.contextmanager
    def along(self, perturbation: Perturbation) -> Iterator[None]:
        """Sets the direction of what runs inside."""
        self._perturbation = perturbation
        try:
            yield
        finally:
            self._perturbation = None

    @contextlib.contextmanager
    def one_sign(self, sign: float, shared: int | None) -> Iterator[None]:
        """Blocks that run inside are at θ + sign · μz; block `shared` is perturbed once for all that run it."""
        self._sign = sign
        try:
            if shared is not None:
                self._together = self._perturb_block(shared)
            yield
        finally:
            self._sign = 0.0
            self._together = {}

    @contextlib.contextmanager
    def both_signs(self) -> Iterator[None]:
        """Blocks that run inside are given [x⁺; x⁻], and answer at θ + μz and θ − μz."""
        self._both = True
        try:
            yield
        finally:
            self._both = False

    def _reader(self, module: nn.Module, forward: Forward, own: Sequence[_Swap]) -> Forward:
        alone = module._parameters.keys() <= {"weight", "bias"} and all(len(swap.holders) == 1 for swap in own)
        corrected = bool(self._rank) and alone and is_linear(module)
        entries = {swap.holders[0][1]: swap.entry for swap in own}

        def swapped(*args: Any, **kwargs: Any) -> Any:
            """`forward` with perturbed copies of the tensors that it reads."""
            kept = [(holder, name, holder._parameters[name]) for swap in own for holder, name in swap.holders]
            start = self._used
            try:
                for swap in own:
                    target = self._together.get(swap.entry.name)
                    if target is None:
                        target = self._target(self._scratch, self._used, swap.entry)
                        self._used += self._room(swap.entry)
                        self._perturb(target, swap.entry)
                    for holder, name in swap.holders:
                        holder._parameters[name] = target.view(swap.entry.shape)  # type: ignore[assignment]
                return forward(*args, **kwargs)
            finally:
                self._used = start
                for holder, name, tensor in kept:
                    holder._parameters[name] = tensor

        def halves(*args: Any, **kwargs: Any) -> Any:
            rows, answers = args[0].shape[0], []
            try:
                for half, self._sign in enumerate((1.0, -1.0)):
                    named = {name: half_of(value, rows, half) for name, value in kwargs.items()}
                    answers.append(swapped(*(half_of(value, rows, half) for value in args), **named))
            finally:
                self._sign = 0.0
            return torch.cat(answers)

        def compute(*args: Any, **kwargs: Any) -> Any:
            if self._both:
                return linear_pair(args[0], *self._terms(module, entries)) if corrected else halves(*args, **kwargs)
            if self._sign == 0.0:
                return forward(*args, **kwargs)
            if corrected and not self._together:
                return linear_step(args[0], *self._terms(module, entries), self._sign)
            return swapped(*args, **kwargs)

        return compute

    def _terms(self, leaf: nn.Module, own: Mapping[str, TensorEntry]) -> tuple[Any, Any, Any, Any, float]:
        """(weight, bias, factors, bias step, μ) of a linear layer along the low-rank direction at hand."""
        assert self._perturbation is not None
        scale = self._perturbation.scale
        tensors: dict[str, Any] = dict(leaf._parameters)
        for name, entry in own.items():
            theta = self._at(entry).view(entry.shape)
            tensors[name] = theta.to(self._compute) if len(entry.shape) >= 2 else theta
        bias_step = None
        if "bias" in own:
            bias_step = torch.empty(own["bias"].numel, dtype=torch.float32, device=self._scratch.device)
            self._directions.perturb_into(bias_step, torch.zeros_like(bias_step), self._stream(own["bias"]), scale)
        weight, matrix = tensors["weight"], self._factors(own["weight"]) if "weight" in own else None
        if is_transposed(leaf):
            weight, matrix = weight.T, matrix and (matrix[1], matrix[0])
        return weight, tensors["bias"], matrix, bias_step, scale

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
        return factors(self._directions, self._stream(entry), shape, self._rank, self._scratch.device)

    def _perturb(self, target: torch.Tensor, entry: TensorEntry) -> None:
        """target ← θ ± μz of one tensor."""
        assert self._perturbation is not None
        scale, theta = self._sign * self._perturbation.scale, self._at(entry)
        if self._perturbation.only is not None and not entry.in_scope(self._perturbation.only):
            target.copy_(theta)
            return
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

    def _perturb_block(self, index: int) -> dict[str, torch.Tensor]:
        """All scoped tensors of a block at the current sign."""
        if not len(self._block_scratch):
            self._block_scratch = self._buffer(
                max(sum(self._room(entry) for entry in scoped) for scoped in self._scoped.values())
            )
        start, found = 0, {}
        for entry in self._scoped[index]:
            found[entry.name] = self._target(self._block_scratch, start, entry)
            start += self._room(entry)
            self._perturb(found[entry.name], entry)
        return found

    def _size(self, entry: TensorEntry) -> int:
        """Elements of the compute dtype that a perturbed tensor takes; vectors are fp32."""
        return entry.numel * (1 if len(entry.shape) >= 2 else 4 // self._compute.itemsize)

    def _room(self, entry: TensorEntry) -> int:
        return padded(self._size(entry))

    def _target(self, buffer: torch.Tensor, start: int, entry: TensorEntry) -> torch.Tensor:
        target = buffer[start : start + self._size(entry)]
        return target if len(entry.shape) >= 2 else target.view(torch.float32)

    def _buffer(self, size: int) -> torch.Tensor:
        device = self._device or next(iter(self._theta.values())).device
        buffer = torch.empty(size, dtype=self._compute, device=device)
        assert is_aligned(buffer), "the buffer must be 64-byte aligned"
        return buffer
