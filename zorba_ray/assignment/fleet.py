"""The clients and their budgets, in every round of a run."""

import bisect
from dataclasses import dataclass, replace

from zorba_ray.config import ExperimentConfig, FleetDistribution
from zorba_ray.directions import uniforms


@dataclass(frozen=True)
class Client:
    """One client of the fleet."""

    id: int
    kind: str
    """Its class, or the distribution from which its budget was drawn."""
    budget: int | None
    """Bytes; None: no budget."""
    present: bool = True
    """Whether it takes part. An absent client holds no block."""

    @property
    def label(self) -> str:
        return f"client {self.id} (class {self.kind})"


class FleetSchedule:
    """The clients of every round, in id order: those of the settings, with the changes of `federation.changes`."""

    def __init__(self, config: ExperimentConfig) -> None:
        changes = sorted(config.federation.changes, key=lambda change: change.round)
        fleet, seen = _first_fleet(config), set[int]()
        for change in changes:
            for client in config.federation.changed(change) if change.vram is None else ():
                if client not in seen and change.present:  # a client that joins first is absent from the start
                    fleet[client] = replace(fleet[client], present=False)
                seen.add(client)
        fleets = {1: fleet}
        for change in changes:
            fleet = fleets.setdefault(change.round, list(fleet))
            for client in config.federation.changed(change):
                changed = {"present": change.present} if change.vram is None else {"budget": change.vram}
                fleet[client] = replace(fleet[client], **changed)
        self.rounds = tuple(fleets)
        """Round 1 and the rounds before which the fleet changes, ascending."""
        self._fleets = list(fleets.values())
        self._budgets = [[client.budget for client in fleet] for fleet in self._fleets]

    def at(self, number: int) -> list[Client]:
        """The fleet in round `number`; the same list for all rounds between two changes."""
        return self._fleets[self._index(number)]

    def absent_at(self, number: int) -> frozenset[int]:
        """The clients that are not present in round `number`."""
        return frozenset(client.id for client in self.at(number) if not client.present)

    def budgets_at(self, number: int) -> list[int | None]:
        """The budget of every client in round `number`, in bytes; None: no budget."""
        return self._budgets[self._index(number)]

    @property
    def largest_budgets(self) -> list[int | None]:
        """The largest budget of each client in the run. Its actor reserves this much memory."""
        return [None if None in budgets else max(budgets) for budgets in zip(*self._budgets, strict=True)]

    def _index(self, number: int) -> int:
        return bisect.bisect_right(self.rounds, max(number, 1)) - 1


def _first_fleet(config: ExperimentConfig) -> list[Client]:
    """The clients before any change, in id order: classes in the order of the file, or budgets drawn from the seed."""
    settings = config.federation
    if settings.fleet is None:
        return [Client(n, "unlimited", None) for n in range(settings.clients)]
    if not isinstance(settings.fleet, FleetDistribution):
        kinds = [kind for kind in settings.fleet for _ in range(kind.count)]
        return [Client(n, kind.name, kind.vram) for n, kind in enumerate(kinds)]
    low, high = settings.fleet.low, settings.fleet.high
    draws = uniforms(config.seed, "budgets", 0, 0, settings.clients)
    uniform = settings.fleet.distribution == "uniform"
    budgets = low + draws * (high - low) if uniform else low * (high / low) ** draws
    return [Client(n, settings.fleet.distribution, int(budgets[n])) for n in range(settings.clients)]
