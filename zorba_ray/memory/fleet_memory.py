"""The memory of each client of a fleet: where its blocks are kept, and the bytes of that (algorithm.md §6)."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import get_args

import numpy as np

from zorba_ray.config import LocalStep, MemoryConfig, ModelConfig
from zorba_ray.formats import Format
from zorba_ray.memory.activations import Workload
from zorba_ray.memory.count import ClientStep, counted
from zorba_ray.memory.footprint import ClientMemory
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory, client_memory
from zorba_ray.models import RESIDENT, Manifest, Placement, Scope, TensorEntry


class FleetMemory:
    """Placement and bytes of a client, by its budget. Nothing else differs between the clients of a run.

    With `auto` several placements are possible. In one format, the first rule that applies decides:

    1. No budget: everything is on the accelerator.
    2. The budget holds all blocks as active ones: the first placement in which it does, of (frozen, master) = (device,
       device), (device, host), (host, device), (host, host). Earlier ones copy less.
    3. The copy of a block is hidden behind the computation of another (`is_hidden`): frozen blocks are streamed. Active
       blocks are copies in the compute dtype, because the budget holds the most of these.
    4. With everything on the accelerator, at least one active block fits: everything is on the accelerator.
    5. Else as in 3.

    With `frozen_format: auto`, formats are tried from the finest to the smallest. The first one is taken in which rules
    2 to 4 give a client room for its share of blocks; else the first one in which streaming does. If none does, it is
    the placement with the most room, and of equals the finest.
    """

    def __init__(
        self,
        placements: Sequence[Placement],
        memory_at: Callable[[Placement], ClientMemory],
        is_hidden: Callable[[Placement], bool] = lambda placement: False,
        share: int = 1,
        changed: Callable[[Mapping[str, str]], "FleetMemory"] | None = None,
    ) -> None:
        """
        Args:
            placements: the possible ones; of those in one format, those that copy less come first.
            is_hidden: whether rule 3 applies to frozen blocks that are streamed so.
            share: active blocks that a client should have room for.
            changed: the memory with other settings of the section `memory`; None: it would stay the same.
        """
        self._placements = placements
        self._memory_at = functools.cache(memory_at)
        self._is_hidden = is_hidden
        self._share = share
        self.changed = changed or (lambda settings: self)
        """Settings of the section `memory` -> the memory of the same fleet with these."""
        self.placement = functools.cache(self._choose)
        """Where the blocks of a client with this budget (bytes; None: no limit) are kept."""

    @property
    def chooses(self) -> bool:
        """Whether a part of the placement is `auto`."""
        return len(self._placements) > 1

    def room(self, budget: int, placement: Placement | None = None) -> int:
        """The most blocks that a client with this budget can activate, at `placement` (None: at its own)."""
        memory = self._memory_at(placement or self.placement(budget))
        if memory.base > budget:
            return 0
        return int((memory.base + np.cumsum(np.sort(memory.active_extra)) <= budget).sum())

    def _choose(self, budget: int | None) -> Placement:
        if budget is None or not self.chooses:
            return self._placements[0]
        by_format = [
            [placement for placement in self._placements if placement.format == format] for format in get_args(Format)
        ]
        tried = [self._by_rules(budget, placements) for placements in by_format if placements]
        streamed = [placement for placement in self._placements if placement.frozen == "host"]
        if len(tried) == 1:
            return tried[0] or (streamed or list(self._placements))[-1]
        candidates = [*filter(None, tried), *streamed] or list(self._placements)
        rooms = [self.room(budget, placement) for placement in candidates]
        wanted = min(self._share, max(rooms))
        return next(placement for placement, room in zip(candidates, rooms, strict=True) if room >= wanted)

    def _by_rules(self, budget: int, placements: Sequence[Placement]) -> Placement | None:
        """By rules 2 to 4, among placements in one format; None: none of these applies."""
        for placement in placements:
            memory = self._memory_at(placement)
            if memory.bytes_of(frozenset(range(len(memory.active_extra)))) <= budget:
                return placement
        resident = [placement for placement in placements if placement.frozen == "device"]
        streamed = [placement for placement in placements if placement.frozen == "host"]
        if not resident or not streamed:
            return resident[0] if resident else None
        if self._is_hidden(streamed[-1]):
            return streamed[-1]
        memory = self._memory_at(resident[0])
        return resident[0] if memory.base + int(memory.active_extra.min()) <= budget else None

    def smallest(self) -> tuple[Placement, ClientMemory]:
        """The placement in which a client with one active block holds the fewest bytes."""
        memories = {placement: self._memory_at(placement) for placement in self._placements}
        return min(memories.items(), key=lambda item: item[1].base + int(item[1].active_extra.min()))

    def of(self, budget: int | None) -> ClientMemory:
        """The bytes of a client with this budget."""
        return self._memory_at(self.placement(budget))


def placed_by_budget(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0, share: int = 1
) -> FleetMemory:
    """The memory for a method whose server allocates blocks: by formula, at the placements that the settings allow.

    Args:
        share: as in `FleetMemory`.
    """
    placements = [
        Placement(frozen, master, format)
        for format in get_args(Format)
        for frozen in ("device", "host")
        for master in ("device", "host")
        if config.frozen in (frozen, "auto")
        and config.master in (master, "auto")
        and config.frozen_format in (format, "auto")
    ]

    def memory_at(placement: Placement) -> ClientMemory:
        fixed = {"frozen": placement.frozen, "master": placement.master, "frozen_format": placement.format}
        return client_memory(manifest, config.model_copy(update=fixed), scope, work, rank)

    def is_hidden(placement: Placement) -> bool:
        frozen = Inventory(manifest, placement, scope, COMPUTE_BYTES["bf16"])
        plain = replace(frozen, placement=replace(placement, format="compute"))
        share_of_bf16 = frozen.buffers() / plain.buffers()
        return 2 * work.tokens >= config.break_even_tokens * share_of_bf16

    def changed(settings: Mapping[str, str]) -> FleetMemory:
        return placed_by_budget(manifest, config.model_copy(update=dict(settings)), scope, work, rank, share)

    return FleetMemory(placements, memory_at, is_hidden, share, changed)


def resident_everywhere(
    manifest: Manifest, model: ModelConfig, compute: str, work: Workload, step: LocalStep
) -> FleetMemory:
    """The memory for a method whose clients hold all blocks on the accelerator: one local step, counted when needed.

    The extra bytes of a block are its weights, so that with all blocks active the sum is the count. If a step of this
    architecture cannot be counted, the bytes are those of the weights only, with source `modelled`.
    """
    plain = Manifest(tuple(t for t in manifest.tensors if not t.in_scope("lora")), manifest.blocks)
    size = COMPUTE_BYTES[compute]

    def kept(tensor: TensorEntry, format: Format) -> int:
        return tensor.kept(format, size * tensor.numel)

    sizes = [sum(kept(tensor, step.base_format) for tensor in plain.by_block[b]) for b in range(plain.blocks)]
    stem = sum(kept(tensor, step.stem_format) for tensor in plain.tensors if tensor.block >= plain.blocks)
    blocks = np.array(sizes, dtype=np.int64)

    def memory_at(placement: Placement) -> ClientMemory:
        try:
            parts = counted_bare(model, plain, compute, work, step)
        except Exception:  # a model's code may raise anything on tensors without memory
            return ClientMemory({"stem": stem}, blocks)
        part = "frozen" if step.rank else "active"
        return ClientMemory(parts | {part: parts[part] - int(blocks.sum())}, blocks, "counted")

    return FleetMemory((RESIDENT,), memory_at)


def counted_bare(
    model: ModelConfig, manifest: Manifest, compute: str, work: Workload, step: ClientStep
) -> dict[str, int]:
    """Bytes by part as `counted`, each count made once in a process; adapters are the step's, not the model's."""
    network = model.model_copy(update={"lora": None}).model_dump_json()
    return _counted_parts(network, manifest.digest, compute, work, step)


@functools.lru_cache(maxsize=32)
def _counted_parts(model: str, manifest: str, compute: str, work: Workload, step: ClientStep) -> dict[str, int]:
    """As `counted`, cached. `model`: ModelConfig as JSON. `manifest`: its digest; the model at a path may change."""
    return counted(ModelConfig.model_validate_json(model), compute, work, step).parts
