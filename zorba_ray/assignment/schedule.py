"""The schedule of assignments: who holds which blocks in which round.

It is kept in allocation.json, which is written before the first plan that uses an assignment and read back on resume,
so that nothing is solved or probed twice. The ledger has the last word. Where the file is missing, damaged, of another
ledger or says otherwise, the assignments are read from the ledger, whose commits name the active sets.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import rotate
from zorba_ray.artifacts.allocation import AllocationRecord, Assignment, BlockProbe
from zorba_ray.assignment.allocation_file import read_allocation, write_allocation
from zorba_ray.assignment.probe import Ask, run_probe
from zorba_ray.assignment.problem import AssignmentInputs, problem_of
from zorba_ray.assignment.record import allocation_record, with_assignment
from zorba_ray.assignment.solve import (
    Solved,
    activation_is_free,
    as_it_is,
    probe_decides,
    require_later_fleets,
    solve,
    solve_quickly,
)
from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.federation import participants
from zorba_ray.protocol.ledger import LedgerContents, first_chain
from zorba_ray.stopwatch import UNWATCHED, Watch

PROVISIONAL = "provisional"
"""Reason of the assignment that a probe before round 1 will replace."""


class Due(NamedTuple):
    """What comes before a round."""

    change: bool
    """The fleet becomes another."""
    probe: bool
    """One that can change the assignment."""
    rotation: bool


class AssignmentSchedule:
    """The assignments of one run. Each holds from its round until the next one's."""

    def __init__(self, inputs: AssignmentInputs, file: Path, record: AllocationRecord) -> None:
        """`file`: allocation.json; `record`: what it says, or will say."""
        self._inputs, self._file = inputs, file
        self.record = record

    @classmethod
    def begin(cls, inputs: AssignmentInputs, file: Path) -> "AssignmentSchedule":
        """The first assignment of a new run, written to `file`: solved, or, where a probe comes first, a quick one.

        Raises:
            AllocationInfeasible: there is none now, or none after a change of the fleet that the settings name.
            ConfigError: budgets that cannot bind.
            OSError: the file cannot be written.
        """
        require_later_fleets(inputs)
        fleet = inputs.fleet.at(1)
        waits = probe_decides(inputs, fleet)
        solved = solve_quickly(inputs, fleet) if waits else solve(inputs, fleet)
        schedule = cls(inputs, file, allocation_record(inputs, solved))
        schedule._add(1, PROVISIONAL if waits else "start", solved.active)
        write_allocation(file, schedule.record, first_chain(inputs.header))
        return schedule

    @classmethod
    def resume(
        cls, inputs: AssignmentInputs, file: Path, contents: LedgerContents, note: Callable[[str], None]
    ) -> "AssignmentSchedule":
        """The assignments up to the end of a ledger, from which the next ones follow as in an undisturbed run.

        Args:
            note: is told where the file was passed over.

        Raises:
            LedgerError: the file is lost, and with it a probe that later assignments rest on.
            AllocationInfeasible, ConfigError: as `begin`, where the ledger has no round yet.
        """
        try:
            schedule = cls(inputs, file, read_allocation(file, contents))
            fault = schedule._fault(contents)
        except (LedgerError, RunDirError) as error:
            fault = str(error)
        else:
            if fault is None:
                return schedule
        schedule = cls._of_ledger(inputs, file, contents) if contents.records else cls.begin(inputs, file)
        note(f"allocation.json is passed over ({fault}); its assignments are made again, and are those of the ledger")
        return schedule

    @classmethod
    def _of_ledger(cls, inputs: AssignmentInputs, file: Path, contents: LedgerContents) -> "AssignmentSchedule":
        """What the commits say, with its figures; nothing of it is proven any more."""
        changes = contents.active_changes()
        active = _sets_of(inputs, changes[1])
        schedule = cls(inputs, file, allocation_record(inputs, as_it_is(inputs, inputs.fleet.at(1), active)))
        for number in range(1, contents.last_round + 1):
            due = schedule._due(number)
            if due.probe:
                raise LedgerError(
                    f"{file} is missing, damaged or not of this ledger, and the probe before round {number} is in no "
                    "other file: put back the file that the run wrote, or begin anew. The ledger itself is whole, and "
                    "`zorba-ray replay` reads it"
                )
            if number in changes or any(due):
                reason = "fleet changed" if due.change else "rotation" if due.rotation else "ledger"
                active = _sets_of(inputs, changes[number]) if number in changes else active
                schedule._describe(as_it_is(inputs, inputs.fleet.at(number), active))
                schedule._add(number, "start" if number == 1 else reason, active)
        write_allocation(file, schedule.record, contents.chain_after(schedule.record.assignments[-1].round - 1))
        return schedule

    def _fault(self, contents: LedgerContents) -> str | None:
        """What speaks against a record that was read: its assignments are not those that the rounds of the ledger were
        made with, or one that was due since is not in it. None: nothing."""
        changes, packed = contents.active_changes(), b""
        for number in sorted({*changes, *(assignment.round for assignment in self.record.assignments)}):
            packed = changes.get(number, packed)
            if number <= contents.last_round and self.active(number).packed != packed:
                return f"its active sets in round {number} are not those of the ledger"
        first = 1 if self.provisional else self.record.assignments[-1].round + 1
        for number in range(first, contents.last_round + 1):
            if any(self._due(number)):
                return f"the assignment of round {number} is not in it"
        return None

    def active(self, number: int) -> ActiveSets:
        """Who holds which blocks in round `number`."""
        return [assignment for assignment in self.record.assignments if assignment.round <= number][-1].active

    @property
    def provisional(self) -> bool:
        """Whether a probe comes before the first assignment."""
        return self.record.assignments[0].reason == PROVISIONAL

    def asked(self, number: int) -> tuple[int, ...]:
        """S_t: who is asked in round `number`, of the clients that are present."""
        config = self._inputs.config
        absent = frozenset(client.id for client in self._inputs.fleet.at(number) if not client.present)
        return participants(config.seed, number, config.federation.clients, config.federation.participants, absent)

    def present(self, number: int) -> int:
        """Clients that are in the federation in round `number`, asked or not."""
        return sum(client.present for client in self._inputs.fleet.at(number))

    def before(
        self,
        number: int,
        chain: bytes,
        ask: Ask,
        emit: Callable[[dict[str, Any]], None],
        watch: Watch = UNWATCHED,
    ) -> Assignment | None:
        """Probes and assigns anew where that is due before round `number`; returns the assignment that begins with it.

        Args:
            chain, ask, watch: see `run_probe`.
            emit: is told of a new assignment.

        Raises:
            LostClients: too few answers to a probe.
            AllocationInfeasible: there is none with the weights found, in time.
        """
        last = self.record.assignments[-1]
        if last.round == number and last.reason != PROVISIONAL:
            return last  # made at the start, or by an earlier session that ended before the round did
        due, fleet = self._due(number), self._inputs.fleet.at(number)
        if not any(due):
            return None
        if due.probe:
            probe = run_probe(self._inputs, fleet, number, chain, ask, watch)
            self.record = msgspec.structs.replace(self.record, probes=(*self.record.probes, probe))
        if due.probe or due.change:
            solved = solve(self._inputs, fleet, self._probe)
            self._describe(solved)
            added = self._add(number, "fleet changed" if due.change else "probe", solved.active)
        else:
            added = self._add(number, "rotation", self._rotated(number))
        write_allocation(self._file, self.record, chain)
        if number == 1:
            emit({"kind": "allocation", **self.record.tree()})
        else:
            what = f"round {number}: blocks assigned anew ({added.reason}), "
            emit({"kind": "note", "text": f"{what}{added.clients_changed} clients hold other blocks"})
        return added

    def _due(self, number: int) -> Due:
        settings, fleet = self._inputs.config.allocation, self._inputs.fleet.at(number)
        changed = number in self._inputs.fleet.rounds[1:] and fleet != self._inputs.fleet.at(number - 1)
        # Of a fleet for which no probe was needed there is none, when a change makes one needed.
        probe = number == 1 or _begins(number, settings.probe_every) or (changed and not self.record.probes)
        return Due(changed, probe and probe_decides(self._inputs, fleet), _begins(number, settings.every))

    def _describe(self, solved: Solved) -> None:
        """Makes what describes the last assignment that of another one; the history stays."""
        before, record = self.record, allocation_record(self._inputs, solved)
        self.record = msgspec.structs.replace(record, probes=before.probes, assignments=before.assignments)

    def _add(self, number: int, reason: str, active: ActiveSets) -> Assignment:
        self.record = with_assignment(self._inputs, self.record, number, reason, active)
        return self.record.assignments[-1]

    @property
    def _probe(self) -> BlockProbe | None:
        """The last one."""
        return self.record.probes[-1] if self.record.probes else None

    def _rotated(self, number: int) -> ActiveSets:
        fleet, assignments = self._inputs.fleet.at(number), self.record.assignments
        if activation_is_free(self._inputs, fleet):
            return assignments[-1].active  # everybody holds everything
        ends = [*(assignment.round for assignment in assignments[1:]), number]
        held = sum((end - each.round) * each.active.matrix for each, end in zip(assignments, ends, strict=True))
        present = np.array([client.present for client in fleet])
        active = assignments[-1].active.matrix.copy()
        problem = problem_of(self._inputs, fleet, self._probe)
        seen = np.asarray(held, dtype=np.float64)[present]
        active[present] = rotate(ActiveSets(active[present]), seen, problem).matrix
        return ActiveSets(active)


def _begins(number: int, every: int | None) -> bool:
    """Whether round `number` begins a period of `every` rounds that is not the run's first."""
    return every is not None and number > 1 and (number - 1) % every == 0


def _sets_of(inputs: AssignmentInputs, packed: bytes) -> ActiveSets:
    return ActiveSets.unpacked(packed, len(inputs.samples), inputs.header.blocks)
