"""Which deal of the blocks holds in which round, kept in allocation.json: written before the first plan that uses it,
read back on resume, so that nothing is solved or probed twice. The ledger has the last word: where the file is
missing, damaged, of another ledger or says otherwise, its deals are made again and held against the ledger
(`deals_again.py`)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import rotate
from zorba_ray.experiment.allocate import (
    Solved,
    allocation_record,
    first_allocation,
    nothing_to_deal,
    probe_decides,
    problem_of,
    solve_allocation,
    valued,
)
from zorba_ray.experiment.allocation_file import write_allocation
from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.fleet import fleet_rounds, fleets_by_round
from zorba_ray.experiment.probe import Ask, Probe, run_probe
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.federation import participants
from zorba_ray.protocol.ledger import LedgerContents, first_chain
from zorba_ray.stopwatch import UNWATCHED, Watch

PROVISIONAL = "provisional"
"""Of the deal that a probe before round 1 will replace."""


class Deals:
    """The deals of one run. A deal holds from its round to the next deal's."""

    def __init__(self, setup: Setup, run: RunDir, record: dict[str, Any]) -> None:
        """`record`: allocation.json, whose top level describes the last deal."""
        self._setup = setup
        self._run = run
        self.record = record
        self._fleet_at = fleets_by_round(setup.config)
        self._changes = frozenset(fleet_rounds(setup.config)[1:])
        self._packed: tuple[dict[str, Any], bytes] = ({}, b"")
        """The deal that was packed last, and its active sets."""
        self._chain = first_chain(setup.header)
        """Of the ledger before the round that is dealt for."""

    @classmethod
    def begin(cls, setup: Setup, run: RunDir, accelerator: str) -> "Deals":
        """The first deal of a new run; `write` brings it to the run's directory.

        Raises:
            AllocationInfeasible, ConfigError: as `first_allocation`.
        """
        solved = first_allocation(setup)
        record = allocation_record(setup, solved, accelerator)
        deals = cls(setup, run, {**record, "probes": [], "deals": []})
        deals._add(1, PROVISIONAL if probe_decides(setup, setup.fleet) else "start", solved.allocation.active)
        return deals

    def write(self) -> None:
        """To allocation.json.

        Raises:
            OSError: it cannot be written.
        """
        write_allocation(self._run, self.record, self.record["deals"][-1]["round"], self._chain)

    def fault(self, contents: LedgerContents) -> str | None:
        """What speaks against a record that was read: its deals are not those that the rounds of the ledger were made
        with, or one that was due since is not in it. None: nothing."""
        said, held = contents.active_changes(), b""
        for number in sorted({*said, *(deal["round"] for deal in self.record["deals"])}):
            held = said.get(number, held)
            if number <= contents.last_round and self.packed(number) != held:
                return f"its active sets in round {number} are not those of the ledger"
        first = 1 if self.provisional else self.record["deals"][-1]["round"] + 1
        for number in range(first, contents.last_round + 1):
            if any(self._due(number)):
                return f"the deal of round {number} is not in it"
        return None

    def packed(self, number: int) -> bytes:
        """Active sets of round `number` (`ActiveSets.packed`)."""
        deal = self._in_force(number)
        if self._packed[0] is not deal:
            self._packed = (deal, ActiveSets(_matrix(deal["active"])).packed)
        return self._packed[1]

    def _in_force(self, number: int) -> dict[str, Any]:
        return [deal for deal in self.record["deals"] if deal["round"] <= number][-1]

    @property
    def provisional(self) -> bool:
        """Whether a probe comes before the first deal."""
        return self.record["deals"][0]["reason"] == PROVISIONAL

    def asked(self, number: int) -> tuple[int, ...]:
        """S_t: who is asked in round `number`, of the clients that are present."""
        config = self._setup.config
        absent = frozenset(client.id for client in self._fleet_at(number) if not client.present)
        return participants(config.seed, number, config.federation.clients, config.federation.participants, absent)

    def present(self, number: int) -> int:
        """Clients that are in the federation in round `number`, asked or not."""
        return sum(client.present for client in self._fleet_at(number))

    def before(
        self,
        number: int,
        chain: bytes,
        ask: Ask,
        emit: Callable[[dict[str, Any]], None],
        watch: Watch = UNWATCHED,
    ) -> dict[str, Any] | None:
        """Probes and deals anew where that is due before round `number`; returns the deal that begins with it, if any.

        Args:
            chain, ask, watch: see `run_probe`.
            emit: is told of a new deal.

        Raises:
            LostClients: too few answers to a probe.
            AllocationInfeasible: there is none with the weights found, in time.
        """
        last = self.record["deals"][-1]
        if last["round"] == number and last["reason"] != PROVISIONAL:
            return last  # dealt at the start, or by an earlier session that ended before the round did
        new = self.deal(number, chain, ask, watch)
        if new is not None:
            self.write()
        if new is not None and number == 1:
            emit({"kind": "allocation", **self.record})
        elif new is not None:
            what = f"{new['clients_changed']} clients hold other blocks"
            emit({"kind": "note", "text": f"round {number}: blocks dealt anew ({new['reason']}), {what}"})
        return new

    def deal(self, number: int, chain: bytes, ask: Ask, watch: Watch = UNWATCHED) -> dict[str, Any] | None:
        """`before` without its words and its file: the new deal, if one is due."""
        changed, probes, rotates = self._due(number)
        self._chain = chain
        fleet = self._fleet_at(number)
        if probes:
            self.record["probes"].append(run_probe(self._setup, fleet, number, chain, ask, watch).record())
        if probes or changed:
            solved = solve_allocation(self._setup, fleet, self._probe)
            self._describe(solved)
            return self._add(number, "fleet changed" if changed else "probe", solved.allocation.active)
        if rotates:
            return self._add(number, "rotation", self._rotated(number))
        return None

    def _due(self, number: int) -> tuple[bool, bool, bool]:
        """What comes before round `number`: a change of the fleet, a probe (only one that can change the deal), a
        rotation."""
        settings, fleet = self._setup.config.allocation, self._fleet_at(number)
        changed = number in self._changes and fleet != self._fleet_at(number - 1)
        # Of a fleet for which no probe was needed there is none, when a change makes one needed.
        due = _begins(number, settings.probe_every, first=True) or (changed and not self.record["probes"])
        return changed, due and probe_decides(self._setup, fleet), _begins(number, settings.every, first=False)

    def take(self, number: int, active: bytes) -> None:
        """Puts the active sets that the ledger says in the place of those that were dealt for round `number`; nothing
        is known of how good they are."""
        deal = self._in_force(number)
        fleet, blocks = self._fleet_at(number), self._setup.header.blocks
        rows = ActiveSets.unpacked(active, len(fleet), blocks).matrix
        self._describe(valued(self._setup, fleet, rows, self._probe))
        self.record["gap"] = None
        self._add(number, deal["reason"] if deal["round"] == number else "ledger", rows)

    def _describe(self, solved: Solved) -> None:
        """Makes the top level of the record that of an allocation."""
        kept = {key: self.record[key] for key in ("probes", "deals")}
        self.record = {**allocation_record(self._setup, solved, self.record["accelerator"]), **kept}

    @property
    def _probe(self) -> Probe | None:
        """The last one."""
        return Probe.of(self.record["probes"][-1]) if self.record["probes"] else None

    def _rotated(self, number: int) -> np.ndarray:
        fleet = self._fleet_at(number)
        present = np.array([client.present for client in fleet])
        active = _matrix(self.record["deals"][-1]["active"])
        if nothing_to_deal(self._setup, fleet):
            return active  # everybody holds everything
        problem = problem_of(self._setup, fleet, self._probe)
        active[present] = rotate(active[present], self._held(number)[present], problem)
        return active

    def _held(self, number: int) -> np.ndarray:
        """Rounds before `number` in which each client held each block, float64 [N, L]."""
        deals = self.record["deals"]
        ends = [*(deal["round"] for deal in deals[1:]), number]
        return np.sum(
            [(end - deal["round"]) * _matrix(deal["active"]) for deal, end in zip(deals, ends, strict=True)], axis=0
        ).astype(np.float64)

    def _add(self, number: int, reason: str, active: np.ndarray) -> dict[str, Any]:
        """Makes the top level agree with the new deal."""
        record, deals = self.record, [deal for deal in self.record["deals"] if deal["round"] < number]
        memory = self._setup.memory
        for client, row in zip(record["clients"], active, strict=True):
            client["blocks"] = np.flatnonzero(row).tolist()
            held = memory.of(client["budget_bytes"]).bytes_of(frozenset(client["blocks"]))
            client["bytes"] = held if client["present"] else 0
        rows = ["".join("1" if held else "0" for held in row) for row in active.tolist()]
        before = deals[-1]["active"] if deals else rows
        deal = {
            "round": number,
            "reason": reason,
            "f1": record["f1"],
            "f2_bytes": record["f2_bytes"],
            "gap": record["gap"],
            "solver": record["solver"],
            "clients_changed": sum(own != other for own, other in zip(rows, before, strict=True)),
            "active": rows,
        }
        record["deals"] = [*deals, deal]
        return deal


def _begins(number: int, every: int | None, first: bool) -> bool:
    """Whether round `number` begins a period of `every` rounds; the first one begins with the run."""
    return first if number == 1 else every is not None and (number - 1) % every == 0


def _matrix(rows: Sequence[str]) -> np.ndarray:
    """bool [N, L] of a deal's rows of 0 and 1."""
    return np.array([[mark == "1" for mark in row] for row in rows])
