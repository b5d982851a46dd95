"""Which blocks an accelerator holds, in what form, and how the others come by (algorithm.md §6).

The fp32 master of every block is in host memory (`Replica`). A tensor of a block is, for the client at hand,

- streamed: copied in compute dtype into one of two buffers of one block when its block runs; the next streamed block is
  copied into the other meanwhile;
- a copy: held in compute dtype, copied anew when its block moved;
- a master: held in fp32, and moved by the commits itself;
- at home: the host's own, where host memory stands in for the accelerator's and both forms are the same bytes.

Commits that a block lacks are applied to its host master on the way, several rounds in one pass.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from zorba_ray.models.block_layout import BlockLayout, compute_dtype
from zorba_ray.models.copy_stream import copy_stream_to
from zorba_ray.models.manifest import Scope, TensorEntry
from zorba_ray.models.perturbed_tensors import Forward
from zorba_ray.models.place import place
from zorba_ray.models.replica import Replica


@dataclass(frozen=True)
class Placement:
    """Where a client's blocks live: `memory.frozen` and `memory.master`, resolved."""

    frozen: Literal["device", "host"] = "device"
    master: Literal["device", "host"] = "device"


RESIDENT = Placement()
STREAMED = Placement("host", "host")


@dataclass(frozen=True)
class HostStore:
    """θ lives in host memory, and the accelerator holds what a client's placement says."""

    dtype: torch.dtype = torch.float32
    """Compute dtype of matrices."""
    apart: bool = False
    """The accelerator's memory is not the host's: nothing is at home. Needed with a 16-bit dtype or on a GPU."""


@dataclass
class _Held:
    """A tensor on the accelerator."""

    tensor: torch.Tensor
    master: bool
    part: Literal["frozen", "active"]
    position: int = -1
    """Of its content, in commits."""


@dataclass
class _Buffer:
    """One of the two stream buffers."""

    memory: torch.Tensor
    holds: tuple[int, int, frozenset[str]] | None = None
    """(block, position, names of the tensors)."""


class Offload:
    """The blocks of one model on one accelerator; holds one client's at a time."""

    def __init__(self, replica: Replica, network: nn.Module, device: str, scope: Scope, store: HostStore) -> None:
        """Moves the stem to `device` for good; nothing else is there before `enter`."""
        if store.dtype != torch.float32 or device != "cpu":
            assert store.apart, "host memory can stand in for the accelerator's only on a CPU in fp32"
        manifest = replica.manifest
        self._replica, self._store = replica, store
        self.device = device
        self._entries = manifest.by_block
        self._scoped = [{entry.name for entry in manifest.scoped(b, scope)} for b in range(manifest.blocks)]
        self._layouts = [BlockLayout(manifest.by_block[block], store.dtype) for block in range(manifest.blocks)]
        self._images: dict[int, tuple[int, torch.Tensor]] = {}
        self._copies = copy_stream_to(device)
        self._buffers: list[_Buffer] = []
        self._using = 1
        self._streamed: dict[int, frozenset[str]] = {}
        self._held: dict[str, _Held] = {}
        self._at_home: dict[str, tuple[Literal["frozen", "active"], int]] = {}
        self._entered: tuple[Placement, frozenset[int], int] | None = None
        self.visits = 0
        """Blocks copied into a stream buffer so far."""
        self.tensors: dict[str, torch.Tensor] = dict(replica.parameters)
        """Name -> flat tensor that stands for θ on the accelerator, of what is not streamed."""
        self._places = _places(network, replica)
        if store.apart:
            for entry in (e for block, own in self._entries.items() if block >= manifest.blocks for e in own):
                held = replica.parameters[entry.name].to(device, compute_dtype(entry, store.dtype), copy=True)
                self._bind(entry, held)

    def enter(self, placement: Placement, active: frozenset[int]) -> None:
        """Brings in what a client holds, and frees what it does not; all of it at the commits' present position."""
        commits = self._replica.commits
        key = (placement, active, commits.position if commits is not None else 0)
        if self._entered == key:
            return
        wanted: dict[str, tuple[TensorEntry, bool, Literal["frozen", "active"]]] = {}
        self._at_home, self._streamed = {}, {}
        for block, scoped in enumerate(self._scoped):
            streamed: list[str] = []
            for entry in self._entries[block]:
                is_active = block in active and entry.name in scoped
                where = placement.master if is_active else placement.frozen
                part = "active" if is_active else "frozen"
                if where == "host" and not is_active:
                    streamed.append(entry.name)
                elif where == "device" and not self._store.apart:
                    self._at_home[entry.name] = (part, 4 * entry.numel)
                else:
                    wanted[entry.name] = (entry, is_active and where == "device", part)
            if streamed:
                self._streamed[block] = frozenset(streamed)
        self._free(wanted)
        for block, entries in self._entries.items():
            if block >= len(self._scoped):
                continue
            if any(entry.name in self._at_home for entry in entries):
                self._bring(block)
            self._hold(block, [wanted[entry.name] for entry in entries if entry.name in wanted])
        self._entered = key

    def clear(self) -> None:
        """Frees everything; the next `enter` brings in anew."""
        self._streamed, self._at_home, self._entered = {}, {}, None
        self._free({})

    def held_bytes(self) -> dict[str, int]:
        """Bytes of blocks on the accelerator now: frozen, active, stream buffers."""
        found = {"frozen": 0, "active": 0, "stream buffers": sum(len(buffer.memory) for buffer in self._buffers)}
        for held in self._held.values():
            found[held.part] += held.tensor.nbytes
        for part, size in self._at_home.values():
            found[part] += size
        return found

    def pieces(self) -> Iterator[tuple[str, torch.Tensor]]:
        """(part, tensor) of all memory of its own: of blocks on the accelerator now, and `host`, the images of streamed
        blocks in host memory."""
        for held in self._held.values():
            yield held.part, held.tensor
        for buffer in self._buffers:
            yield "stream buffers", buffer.memory
        for _, image in self._images.values():
            yield "host", image

    def around(self, index: int, forward: Forward) -> Forward:
        """A block's forward that finds the block's tensors on the accelerator."""

        def visit(*args: Any, **kwargs: Any) -> Any:
            names = self._streamed.get(index)
            if names is None:
                return forward(*args, **kwargs)
            place = self._load(index)
            self._copies.arrive(place)
            buffer, layout = self._buffers[place].memory, self._layouts[index]
            for entry in self._entries[index]:
                if entry.name in names:
                    self._bind(entry, layout.view(buffer, entry.name))
            self._using = place
            self.prefetch(index)
            try:
                return forward(*args, **kwargs)
            finally:
                self._copies.leave(place)
                self._unbind(names)

        return visit

    def prefetch(self, after: int) -> None:
        """Starts to bring in the first streamed block behind block `after`."""
        upcoming = min((block for block in self._streamed if block > after), default=None)
        if upcoming is not None:
            self._load(upcoming)

    def _load(self, index: int) -> int:
        """The buffer that holds, or is being filled with, a block."""
        if not self._buffers:
            size = max(layout.nbytes for layout in self._layouts)
            self._buffers = [_Buffer(torch.empty(size, dtype=torch.uint8, device=self.device)) for _ in range(2)]
            for place in range(2):  # what the memory served before must be done
                self._copies.leave(place)
        names = self._streamed[index]
        position, image = self._image(index)
        key = (index, position, names)
        for place, buffer in enumerate(self._buffers):
            if buffer.holds == key:
                return place
        place = 1 - self._using
        buffer = self._buffers[place]
        self._copies.fill(place, [(buffer.memory[run], image[run]) for run in self._layouts[index].runs(names)])
        buffer.holds = key
        self.visits += 1
        return place

    def _image(self, block: int) -> tuple[int, torch.Tensor]:
        """(position, bytes of the block in compute dtype in host memory)."""
        position = self._bring(block)
        entries, layout = self._entries[block], self._layouts[block]
        if self._store.dtype == torch.float32:
            start = entries[0].offset
            return position, self._replica.theta[start : start + layout.nbytes // 4].view(torch.uint8)
        made, image = self._images.get(block, (-1, None))
        if image is None:
            pinned = torch.device(self.device).type == "cuda"
            image = torch.zeros(layout.nbytes, dtype=torch.uint8, device="cpu", pin_memory=pinned)
        if made != position:
            self._copies.drain()
            for entry in entries:
                layout.view(image, entry.name).copy_(self._replica.parameters[entry.name])
            self._images[block] = (position, image)
        return position, image

    def _bring(self, block: int) -> int:
        if self._replica.lacks(block):
            self._copies.drain()
        return self._replica.sync(block)

    def _free(self, wanted: Mapping[str, tuple[TensorEntry, bool, str]]) -> None:
        gone = [n for n, held in self._held.items() if n not in wanted or wanted[n][1] != held.master]
        for name in gone:
            del self._held[name]
            self.tensors[name] = self._replica.parameters[name]
        self._unbind(gone)
        if not self._streamed and self._buffers:
            self._copies.drain()
            self._buffers = []

    def _hold(self, block: int, wanted: list[tuple[TensorEntry, bool, Literal["frozen", "active"]]]) -> None:
        """Tensors of one block that are held: present, and at the present position."""
        commits = self._replica.commits
        position = commits.position if commits is not None else 0
        stale: list[TensorEntry] = []
        moving: dict[str, torch.Tensor] = {}
        begin = position
        for entry, master, part in wanted:
            held = self._held.get(entry.name)
            if held is None:
                dtype = torch.float32 if master else compute_dtype(entry, self._store.dtype)
                tensor = torch.empty(entry.numel, dtype=dtype, device=self.device)
                self._held[entry.name] = held = _Held(tensor, master, part)
                self.tensors[entry.name] = tensor
                self._bind(entry, tensor)
            held.part = part
            if held.position == position:
                continue
            if master and commits is not None and held.position >= commits.oldest:
                moving[entry.name], begin = held.tensor, held.position
            else:
                stale.append(entry)
            held.position = position
        if moving:
            assert commits is not None
            commits.sync(block, moving, begin)
        if stale:
            self._bring(block)
            for entry in stale:
                held = self._held[entry.name].tensor
                held.copy_(self._replica.parameters[entry.name].to(held.dtype))

    def _bind(self, entry: TensorEntry, tensor: torch.Tensor) -> None:
        for leaf, name, _ in self._places[entry.name]:
            leaf._parameters[name] = tensor.view(entry.shape)  # type: ignore[assignment]

    def _unbind(self, names: Iterable[str]) -> None:
        for name in names:
            for leaf, own, parameter in self._places[name]:
                leaf._parameters[own] = parameter


def _places(network: nn.Module, replica: Replica) -> dict[str, list[tuple[nn.Module, str, nn.Parameter]]]:
    """Name of every tensor -> (module, its name there, the parameter at home); several where weights are tied."""
    names = {place(tensor): name for name, tensor in replica.parameters.items()}
    found: dict[str, list[tuple[nn.Module, str, nn.Parameter]]] = {name: [] for name in replica.parameters}
    for module in network.modules():
        for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if place(parameter) in names:  # else it does not reach the loss
                found[names[place(parameter)]].append((module, own, parameter))
    return found
