"""The memory of each client of a fleet: where its blocks are kept, and the bytes of that (algorithm.md §6)."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from zorba_ray.config import LocalStep, MemoryConfig, ModelConfig
from zorba_ray.memory.activations import Workload
from zorba_ray.memory.count import counted
from zorba_ray.memory.footprint import ClientMemory
from zorba_ray.memory.inventory import COMPUTE_BYTES, client_memory
from zorba_ray.models import RESIDENT, Manifest, Placement, Scope


class FleetMemory:
    """Placement and bytes of a client, by its budget. Nothing else differs between the clients of a run.

    With `auto` several placements are possible. The first rule that applies decides:

    1. No budget: everything is on the accelerator.
    2. The budget holds all blocks as active ones: the first placement in which it does, of (frozen, master) = (device,
       device), (device, host), (host, device), (host, host). Earlier ones copy less.
    3. A forward pair has at least `MemoryConfig.break_even_tokens` tokens, so the copy of a block is hidden behind the
       computation of another: frozen blocks are streamed. Active blocks are copies in the compute dtype, because the
       budget holds the most of these.
    4. With everything on the accelerator, at least one active block fits: everything is on the accelerator.
    5. Else as in 3.
    """

    def __init__(
        self, placements: Sequence[Placement], memory_at: Callable[[Placement], ClientMemory], hidden: bool = False
    ) -> None:
        """`placements`: the possible ones; those that copy less come first. `hidden`: whether rule 3 applies."""
        self._placements = placements
        self._memory_at = functools.cache(memory_at)
        self._hidden = hidden
        self.placement = functools.cache(self._choose)
        """Where the blocks of a client with this budget (bytes; None: no limit) are kept."""

    @property
    def chooses(self) -> bool:
        """Whether a part of the placement is `auto`."""
        return len(self._placements) > 1

    def _choose(self, budget: int | None) -> Placement:
        if budget is None or not self.chooses:
            return self._placements[0]
        for placement in self._placements:
            memory = self._memory_at(placement)
            if memory.bytes_of(frozenset(range(len(memory.active_extra)))) <= budget:
                return placement
        resident = [placement for placement in self._placements if placement.frozen == "device"]
        streamed = [placement for placement in self._placements if placement.frozen == "host"]
        if not resident or not streamed:
            return streamed[-1] if streamed else resident[0]
        memory = self._memory_at(resident[0])
        least = memory.base + int(memory.active_extra.min())
        return streamed[-1] if self._hidden or least > budget else resident[0]

    def of(self, budget: int | None) -> ClientMemory:
        """The bytes of a client with this budget."""
        return self._memory_at(self.placement(budget))


def placed_by_budget(
    manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0
) -> FleetMemory:
    """The memory for a method whose server allocates blocks: by formula, at the placements that the settings allow."""
    placements = [
        Placement(frozen, master)
        for frozen in ("device", "host")
        for master in ("device", "host")
        if config.frozen in (frozen, "auto") and config.master in (master, "auto")
    ]

    def memory_at(placement: Placement) -> ClientMemory:
        fixed = config.model_copy(update={"frozen": placement.frozen, "master": placement.master})
        return client_memory(manifest, fixed, scope, work, rank)

    return FleetMemory(placements, memory_at, 2 * work.tokens >= config.break_even_tokens)


def resident_everywhere(
    manifest: Manifest, model: ModelConfig, compute: str, work: Workload, step: LocalStep
) -> FleetMemory:
    """The memory for a method whose clients hold all blocks on the accelerator: one local step, counted when needed.

    The extra bytes of a block are its weights, so that with all blocks active the sum is the count. If a step of this
    architecture cannot be counted, the bytes are those of the weights only, with source `modelled`.
    """
    plain = Manifest(tuple(t for t in manifest.tensors if not t.in_scope("lora")), manifest.blocks)
    size = COMPUTE_BYTES[compute]
    blocks = np.array([size * sum(t.numel for t in plain.by_block[b]) for b in range(plain.blocks)], dtype=np.int64)

    def memory_at(placement: Placement) -> ClientMemory:
        try:
            network = model.model_copy(update={"lora": None}).model_dump_json()
            parts = _counted_parts(network, plain.digest, compute, work, step)
        except Exception:  # a model's code may raise anything on tensors without memory
            return ClientMemory({"stem": size * plain.numel - int(blocks.sum())}, blocks)
        part = "frozen" if step.rank else "active"
        return ClientMemory(parts | {part: parts[part] - int(blocks.sum())}, blocks, "counted")

    return FleetMemory((RESIDENT,), memory_at)


@functools.lru_cache(maxsize=32)
def _counted_parts(model: str, manifest: str, compute: str, work: Workload, step: LocalStep) -> dict[str, int]:
    """As `counted`, cached. `model`: ModelConfig as JSON. `manifest`: its digest; the model at a path may change."""
    return counted(ModelConfig.model_validate_json(model), compute, work, step).parts
