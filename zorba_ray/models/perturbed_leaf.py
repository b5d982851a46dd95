"""What the leaf modules of an active block compute with: θ ± μz in a scratch buffer, or low-rank corrections.

θ is never written. A leaf that runs at one sign computes with a copy of its tensors, perturbed into a scratch buffer.
One client needs a buffer as large as the largest leaf; clients that share a direction take all tensors of a block from
a buffer as large as the largest block, so that each is drawn once for all of them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from zorba_ray.directions import DirectionBackend, Distribution, TensorStream, factors, tensor_stream
from zorba_ray.errors import ModelError
from zorba_ray.models.low_rank_leaf import half_of, is_linear, is_transposed, linear_pair
from zorba_ray.models.manifest import Scope, TensorEntry, padded
from zorba_ray.models.place import is_aligned, place

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


class PerturbedLeaves:
    """The leaf modules of all blocks, wrapped on the instance; plain outside `one_sign` and `both_signs`."""

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
        self._largest = 0
        self._device: torch.device | str | None = None
        self._scratch = self._block_scratch = torch.empty(0)

    def wrap(self, index: int, block: nn.Module, scoped: Sequence[TensorEntry]) -> None:
        """Takes over the leaves of a block that hold its tensors in scope.

        Raises:
            ModelError: such a tensor does not belong to a leaf module, so it cannot be swapped.
        """
        self._scoped[index] = scoped
        # A tensor is known by its place in the arena, whatever it is called and however often it is used.
        entries = {place(self._theta[entry.name]): entry for entry in scoped}
        reached: set[tuple[int, int]] = set()
        for leaf in block.modules():
            places = {name: place(parameter) for name, parameter in leaf.named_parameters(recurse=False)}
            own = {name: entries[begin] for name, begin in places.items() if begin in entries}
            reached.update(begin for begin in places.values() if begin in entries)
            if own and next(leaf.children(), None) is not None:
                raise ModelError(f"{next(iter(own.values())).name} belongs to no leaf module and cannot be swapped")
            if own:
                self._largest = max(self._largest, sum(self._room(entry) for entry in own.values()))
                leaf.forward = self._leaf(leaf, leaf.forward, own)
        assert reached == entries.keys(), f"tensors of block {index} not reached"

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

    def _leaf(self, leaf: nn.Module, forward: Forward, own: dict[str, TensorEntry]) -> Forward:
        def swapped(*args: Any, **kwargs: Any) -> Any:
            """`forward` with perturbed copies of the leaf's tensors."""
            kept = {name: leaf._parameters[name] for name in own}
            start = 0
            try:
                for name, entry in own.items():
                    target = self._together.get(entry.name)
                    if target is None:
                        target = self._target(self._scratch, start, entry)
                        start += self._room(entry)
                        self._perturb(target, entry)
                    leaf._parameters[name] = target.view(entry.shape)  # type: ignore[assignment]
                return forward(*args, **kwargs)
            finally:
                leaf._parameters.update(kept)

        def halves(*args: Any, **kwargs: Any) -> Any:
            rows, found = args[0].shape[0], []
            try:
                for half, self._sign in enumerate((1.0, -1.0)):
                    named = {name: half_of(value, rows, half) for name, value in kwargs.items()}
                    found.append(swapped(*(half_of(value, rows, half) for value in args), **named))
            finally:
                self._sign = 0.0
            return torch.cat(found)

        def compute(*args: Any, **kwargs: Any) -> Any:
            if self._both:
                return self._linear(leaf, own, args[0]) if is_linear(leaf) else halves(*args, **kwargs)
            return forward(*args, **kwargs) if self._sign == 0.0 else swapped(*args, **kwargs)

        return compute

    def _linear(self, leaf: nn.Module, own: dict[str, TensorEntry], x: torch.Tensor) -> torch.Tensor:
        assert self._perturbation is not None
        scale = self._perturbation.scale
        tensors: dict[str, Any] = dict(leaf._parameters)
        for name, entry in own.items():
            theta = self._at(entry).view(entry.shape)
            tensors[name] = theta.to(self._compute) if len(entry.shape) >= 2 else theta
        bias_step = None
        if "bias" in own:
            bias_step = torch.empty(own["bias"].numel, dtype=torch.float32, device=x.device)
            self._directions.perturb_into(bias_step, torch.zeros_like(bias_step), self._stream(own["bias"]), scale)
        weight, matrix = tensors["weight"], self._factors(own["weight"]) if "weight" in own else None
        if is_transposed(leaf):
            weight, matrix = weight.T, matrix and (matrix[1], matrix[0])
        return linear_pair(x, weight, tensors["bias"], matrix, bias_step, scale)

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
