"""What each client of a fleet holds: where its blocks live, and the bytes of that (algorithm.md §6)."""

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
    """Placement and bytes of a client, by its budget; all else is equal for the clients of a run.

    Where several placements are open, a client is placed by the first rule that holds:

    1. no budget: everything on the accelerator;
    2. all blocks active fit: the first of (frozen, master) = (device, device), (device, host), (host, device),
       (host, host) in which they do, the earlier the less is copied;
    3. its forward pair takes at least `MemoryConfig.break_even_tokens` tokens: streamed, as a block's copy is hidden
       behind the compute of another, and active blocks as compute-dtype copies, of which the budget holds the most;
    4. everything on the accelerator, if that leaves room for one active block;
    5. streamed, as in 3.
    """

    def __init__(
        self, placements: Sequence[Placement], memory_at: Callable[[Placement], ClientMemory], hidden: bool = False
    ) -> None:
        """`placements`: the open ones, the least copied first. `hidden`: whether rule 3 holds."""
        self._placements = placements
        self._memory_at = functools.cache(memory_at)
        self._hidden = hidden
        self.placement = functools.cache(self._choose)
        """Where the blocks of a client with this budget (bytes; None: no limit) live."""

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
    """Of a method whose server allocates blocks: modelled, at the placements that the settings leave open."""
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
    """Of a method whose clients hold every block, all alike and on the accelerator: one local step, counted when it is
    asked for. A block's extra is its weights, so that with all of them active the sum is the count.

    Where a step of this architecture cannot be counted, `modelled` bytes are those of the weights alone.
    """
    plain = Manifest(tuple(t for t in manifest.tensors if not t.in_scope("lora")), manifest.blocks)
    size = COMPUTE_BYTES[compute]
    blocks = np.array([size * sum(t.numel for t in plain.by_block[b]) for b in range(plain.blocks)], dtype=np.int64)

    def memory_at(placement: Placement) -> ClientMemory:
        try:
            network = model.model_copy(update={"lora": None}).model_dump_json()
            parts = _counted_parts(network, plain.digest, compute, work, step)
        except Exception:  # whatever a model's own code raises on tensors without memory
            return ClientMemory({"stem": size * plain.numel - int(blocks.sum())}, blocks)
        held = "frozen" if step.rank else "active"
        return ClientMemory(parts | {held: parts[held] - int(blocks.sum())}, blocks, "counted")

    return FleetMemory((RESIDENT,), memory_at)


@functools.lru_cache(maxsize=32)
def _counted_parts(model: str, manifest: str, compute: str, work: Workload, step: LocalStep) -> dict[str, int]:
    """`model`: its settings as JSON. `manifest`: its digest: another model at the same path is another count."""
    return counted(ModelConfig.model_validate_json(model), compute, work, step).parts
