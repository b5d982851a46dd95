"""Offloading: which tensors are on the accelerator, in which form, and how the others are streamed (algorithm.md §6).

The fp32 master of every block is in host memory (`Replica`). For the present client, a tensor of a block is one of:

- streamed: when its block runs, it is copied in the compute dtype into one of two buffers, each of the size of a block.
  Meanwhile the next streamed block is copied into the other buffer.
- copy: on the accelerator in the compute dtype; copied again after its block was updated.
- master: on the accelerator in fp32; commits are applied to it there.
- home: the tensor in host memory itself. This is possible in fp32 on a CPU, where host memory serves as the
  accelerator's memory.
- int8, nf4: a frozen matrix that is packed (`formats`). Host memory has a packed image of the block, made anew after
  the block was updated; the accelerator has a copy of it. `unpacked_tensors` says how it is computed with.

Streamed matrices may be packed as well: then the buffers are as large as a packed block.

Before a block is copied, the commits that it lacks are applied to its host master, several rounds in one pass.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch

from zorba_ray.formats import Format, PackedFormat, packed
from zorba_ray.models.copy_stream import CopyStream, CudaCopyStream
from zorba_ray.models.host_images import HostImages
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.packed_rows import PackedRows
from zorba_ray.models.placement import HostStore, Placement
from zorba_ray.models.replica import Replica
from zorba_ray.models.swap import Forward, nan_like

Form = Literal["copy", "master", "home", "int8", "nf4"]
Part = Literal["frozen", "active"]


@dataclass
class _Held:
    """A tensor on the accelerator."""

    tensor: torch.Tensor
    form: Form
    part: Part
    position: int = -1
    """Number of commits that its content has."""


@dataclass
class _Buffer:
    """One of the two stream buffers."""

    memory: torch.Tensor
    holds: tuple[int, int, Format, frozenset[str]] | None = None
    """(block, position, format of packed matrices, names of the tensors)."""


class Offload:
    """The blocks of one model on one accelerator, for one client at a time."""

    def __init__(self, replica: Replica, device: str, scope: Scope, store: HostStore) -> None:
        """Moves the stem to `device`, where it stays. No block is there before `enter`."""
        if store.dtype != torch.float32 or device != "cpu":
            assert store.apart, "host memory can stand in for the accelerator's only on a CPU in fp32"
        manifest = replica.manifest
        self._replica, self._store = replica, store
        self.device = device
        self._blocks = [manifest.by_block[block] for block in range(manifest.blocks)]
        self._scoped = [{entry.name for entry in manifest.scoped(b, scope)} for b in range(manifest.blocks)]
        self._format: Format = "compute"
        self.packs = store.packs
        self.packed: dict[str, tuple[PackedFormat, torch.Tensor]] = {}
        """Name of a tensor that is packed at present -> its format and slab; of a streamed one while its block runs."""
        cuda = torch.device(device).type == "cuda"
        self._copies = CudaCopyStream(device) if cuda else CopyStream()
        self._images = HostImages(replica, store.dtype, cuda, self._copies)
        self._buffers: list[_Buffer] = []
        self._using = 1
        self._streamed: dict[int, frozenset[str]] = {}
        self._held: dict[str, _Held] = {}
        self._entered: tuple[Placement, frozenset[int], int] | None = None
        self.visits = 0
        """Number of blocks that were copied into a stream buffer so far."""
        self.tensors: dict[str, torch.Tensor] = dict(replica.parameters)
        """Name -> flat tensor of θ on the accelerator, for tensors that are not streamed."""
        self._homes = {
            name: [(module, key, module._parameters[key]) for module, key in holders]
            for name, holders in replica.holders.items()
        }
        """Name -> (module, name in the module, the parameter in host memory)."""
        if store.apart:
            for entry in manifest.tensors:
                if entry.block >= manifest.blocks:
                    self._bring(entry)

    def _bring(self, entry: TensorEntry) -> None:
        """Puts a copy of a tensor outside the blocks onto the accelerator, for good."""
        theta, dtype = self._replica.parameters[entry.name], entry.compute_dtype(self._store.dtype)
        if self._store.stem_format != "int8" or not entry.packable:
            self._bind(entry, theta.to(self.device, dtype, copy=True))
            return
        slab = packed(theta, entry.shape, "int8").to(self.device)
        rows = PackedRows.of(slab, entry.shape, dtype, entry.name)
        for module, key, _ in self._homes[entry.name]:
            module._parameters[key] = rows  # type: ignore[assignment]

    def enter(self, placement: Placement, active: frozenset[int]) -> None:
        """Loads the tensors of a client, with all commits applied, and frees all others."""
        key = (placement, active, self._replica.position)
        if self._entered == key:
            return
        assert self.packs or placement.format == "compute"
        forms: dict[str, tuple[Form, Part]] = {}
        self._streamed, self._format = {}, placement.format
        layouts = self._images.layouts(placement.format)
        for block, entries in enumerate(self._blocks):
            streamed: list[str] = []
            for entry in entries:
                is_active = block in active and entry.name in self._scoped[block]
                on_device = (placement.master if is_active else placement.frozen) == "device"
                if not on_device and not is_active:
                    streamed.append(entry.name)
                    continue
                form: Form = "copy" if not on_device else "home" if not self._store.apart else "master"
                if form == "master" and not is_active:
                    form = "copy"
                if entry.name in layouts[block].packed and not is_active and placement.format != "compute":
                    form = placement.format
                forms[entry.name] = form, "active" if is_active else "frozen"
            if streamed:
                self._streamed[block] = frozenset(streamed)
        self._free(name for name, held in self._held.items() if forms.get(name, ("",))[0] != held.form)
        for block in range(len(self._blocks)):
            self._hold(block, forms)
        self._entered = key

    def clear(self) -> None:
        """Frees all blocks; the next `enter` loads them again."""
        self._streamed, self._entered = {}, None
        self._free(self._held)

    def held_bytes(self) -> dict[str, int]:
        """Bytes of blocks on the accelerator now: frozen, active, stream buffers."""
        sums = {"frozen": 0, "active": 0, "stream buffers": sum(len(buffer.memory) for buffer in self._buffers)}
        for held in self._held.values():
            sums[held.part] += held.tensor.nbytes
        return sums

    def pieces(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(part, tensor) of all memory that was allocated here: blocks on the accelerator, stream buffers, and `host`:
        images of streamed blocks in host memory."""
        for held in self._held.values():
            if held.form != "home":
                yield held.part, held.tensor
        for buffer in self._buffers:
            yield "stream buffers", buffer.memory
        for image in self._images.pieces():
            yield "host", image

    def around(self, index: int, forward: Forward) -> Forward:
        """Wraps a block's forward, so that the block's tensors are on the accelerator while it runs."""

        def visit(*args: Any, **kwargs: Any) -> Any:
            names = self._streamed.get(index)
            if names is None:
                return forward(*args, **kwargs)
            number = self._load(index)
            self._copies.arrive(number)
            buffer, layout = self._buffers[number].memory, self._images.layouts(self._format)[index]
            for entry in self._blocks[index]:
                if entry.name in names:
                    self._present(entry, layout.view(buffer, entry.name), entry.name in layout.packed)
            self._using = number
            self.prefetch(index)
            try:
                return forward(*args, **kwargs)
            finally:
                self._copies.leave(number)
                self._unbind(names)

        return visit

    def prefetch(self, after: int) -> None:
        """Starts to copy the first streamed block after block `after`."""
        upcoming = min((block for block in self._streamed if block > after), default=None)
        if upcoming is not None:
            self._load(upcoming)

    def _load(self, index: int) -> int:
        """Number of the buffer that has a block, or is being filled with it."""
        size = max(layout.nbytes for layout in self._images.layouts(self._format))
        if not self._buffers or len(self._buffers[0].memory) != size:
            self._copies.drain()
            self._buffers = [_Buffer(torch.empty(size, dtype=torch.uint8, device=self.device)) for _ in range(2)]
            for number in range(2):  # copies wait until earlier uses of this memory are done
                self._copies.leave(number)
        names, layout = self._streamed[index], self._images.layouts(self._format)[index]
        position, image = self._images.of(index, self._format)
        key = (index, position, self._format, names)
        for number, buffer in enumerate(self._buffers):
            if buffer.holds == key:
                return number
        number = 1 - self._using
        buffer = self._buffers[number]
        self._copies.fill(number, [(buffer.memory[run], image[run]) for run in layout.runs(names)])
        buffer.holds = key
        self.visits += 1
        return number

    def _free(self, names: Iterable[str]) -> None:
        names = list(names)
        for name in names:
            del self._held[name]
            self.tensors[name] = self._replica.parameters[name]
        self._unbind(names)
        if not self._streamed and self._buffers:
            self._copies.drain()
            self._buffers = []

    def _hold(self, block: int, forms: dict[str, tuple[Form, Part]]) -> None:
        """Makes the tensors of one block in `forms` present, with all commits applied."""
        commits, position = self._replica.commits, self._replica.position
        stale: list[TensorEntry] = []
        moving: dict[str, torch.Tensor] = {}
        begin = position
        for entry in self._blocks[block]:
            if entry.name not in forms:
                continue
            form, part = forms[entry.name]
            held = self._held.get(entry.name)
            if held is None:
                held = self._held[entry.name] = _Held(self._room(entry, form), form, part)
            held.part = part
            if held.position == position:
                continue
            if form == "master" and commits is not None and held.position >= commits.oldest:
                moving[entry.name], begin = held.tensor, held.position
            else:
                stale.append(entry)
            held.position = position
        if moving:
            assert commits is not None
            commits.sync(block, moving, begin)
        if stale:
            self._images.sync(block)
            for entry in stale:
                held = self._held[entry.name]
                if held.form == "int8" or held.form == "nf4":
                    slab = self._slab(entry, held.form)
                    if self._store.apart:
                        held.tensor.copy_(slab)
                elif held.form != "home":
                    held.tensor.copy_(self._replica.parameters[entry.name].to(held.tensor.dtype))

    def _room(self, entry: TensorEntry, form: Form) -> torch.Tensor:
        """Allocates memory for a tensor on the accelerator, and puts it into the modules."""
        if form == "home":
            return self._replica.parameters[entry.name]
        if form == "int8" or form == "nf4":
            tensor = self._slab(entry, form)
            if self._store.apart:
                tensor = torch.empty_like(tensor, device=self.device)
            self._present(entry, tensor, True)
            return tensor
        dtype = torch.float32 if form == "master" else entry.compute_dtype(self._store.dtype)
        tensor = torch.empty(entry.numel, dtype=dtype, device=self.device)
        self.tensors[entry.name] = tensor
        self._bind(entry, tensor)
        return tensor

    def _slab(self, entry: TensorEntry, format: PackedFormat) -> torch.Tensor:
        """A packed matrix in host memory."""
        return self._images.layouts(format)[entry.block].view(self._images.of(entry.block, format)[1], entry.name)

    def _present(self, entry: TensorEntry, tensor: torch.Tensor, packed: bool) -> None:
        """Puts a tensor of a frozen block into the modules; a packed one is NaN there, and unpacked by who reads it."""
        if packed:
            assert self._format != "compute"
            self.packed[entry.name] = self._format, tensor
            tensor = nan_like(self._replica.parameters[entry.name])
        self._bind(entry, tensor)

    def _bind(self, entry: TensorEntry, tensor: torch.Tensor) -> None:
        for module, key, _ in self._homes[entry.name]:
            module._parameters[key] = tensor.view(entry.shape)  # type: ignore[assignment]

    def _unbind(self, names: Iterable[str]) -> None:
        for name in names:
            self.packed.pop(name, None)
            for module, key, parameter in self._homes[name]:
                module._parameters[key] = parameter
