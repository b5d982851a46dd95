"""What each client of a fleet holds: where its blocks live, and the bytes of that (algorithm.md §6)."""

from collections.abc import Sequence

from zorba_ray.config import MemoryConfig
from zorba_ray.memory.inventory import ClientMemory, client_memory
from zorba_ray.memory.workload import Workload
from zorba_ray.models import Manifest, Placement, Scope


class FleetMemory:
    """Placement and bytes of a client, by its budget; all else is equal for the clients of a run.

    Under `auto` a client is placed by the first rule that holds:

    1. no budget: everything on the accelerator;
    2. all blocks active fit: the first of (frozen, master) = (device, device), (device, host), (host, device),
       (host, host) in which they do, the earlier the less is copied;
    3. its forward pair takes at least `MemoryConfig.break_even_tokens` tokens: streamed, as a block's copy is hidden
       behind the compute of another, and active blocks as compute-dtype copies, of which the budget holds the most;
    4. everything on the accelerator, if that leaves room for one active block;
    5. streamed, as in 3.
    """

    def __init__(self, manifest: Manifest, config: MemoryConfig, scope: Scope, work: Workload, rank: int = 0) -> None:
        self._config = config
        self._tokens = 2 * work.batch_size * work.length
        self._blocks = frozenset(range(manifest.blocks))
        self._memories = {
            own: client_memory(
                manifest, config.model_copy(update={"frozen": own.frozen, "master": own.master}), scope, work, rank
            )
            for own in _allowed(config)
        }
        self._chosen: dict[int | None, Placement] = {}

    @property
    def chooses(self) -> bool:
        """Whether a part of the placement is `auto`."""
        return len(self._memories) > 1

    def placement(self, budget: int | None) -> Placement:
        """Where the blocks of a client with this budget (bytes; None: no limit) live."""
        if budget not in self._chosen:
            self._chosen[budget] = self._choose(budget)
        return self._chosen[budget]

    def of(self, budget: int | None) -> ClientMemory:
        """The bytes of a client with this budget."""
        return self._memories[self.placement(budget)]

    def _choose(self, budget: int | None) -> Placement:
        allowed = list(self._memories)
        if budget is None or len(allowed) == 1:
            return allowed[0]
        for own in allowed:
            if self._memories[own].bytes_of(self._blocks) <= budget:
                return own
        resident: Sequence[Placement] = [own for own in allowed if own.frozen == "device"]
        streamed: Sequence[Placement] = [own for own in allowed if own.frozen == "host"]
        if not resident or not streamed:
            return allowed[-1] if streamed else resident[0]
        one = self._memories[resident[0]].base + int(self._memories[resident[0]].active_extra.min())
        hidden = self._tokens >= self._config.break_even_tokens
        return streamed[-1] if hidden or one > budget else resident[0]


def _allowed(config: MemoryConfig) -> list[Placement]:
    """Placements that the settings leave open, the least copied first."""
    return [
        Placement(frozen, master)
        for frozen in ("device", "host")
        for master in ("device", "host")
        if config.frozen in (frozen, "auto") and config.master in (master, "auto")
    ]
