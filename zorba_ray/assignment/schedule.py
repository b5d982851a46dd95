"""The schedule of assignments: which client holds which blocks in which round.

It is stored in allocation.json. The file is written before the first plan that uses an assignment, and read when a run
is resumed, so that nothing is solved or probed twice. If the file is missing, damaged, of another ledger, or
contradicts the ledger, the assignments are read from the ledger, whose commits have the active sets.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts.allocation import AllocationRecord, Assignment, BlockProbe
from zorba_ray.assignment.allocation_file import read_allocation, write_allocation
from zorba_ray.assignment.probe import Ask, run_probe
from zorba_ray.assignment.problem import AssignmentInputs, problem_of
from zorba_ray.assignment.record import allocation_record, with_assignment
from zorba_ray.assignment.rotate import rotate
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
from zorba_ray.federation import participants, spare_clients
from zorba_ray.protocol.ledger import LedgerContents, first_chain
from zorba_ray.stopwatch import UNWATCHED, Watch

PROVISIONAL = "provisional"
"""Reason of an assignment that the probe before round 1 will replace."""


class Due(NamedTuple):
    """What has to be done before a round."""

    change: bool
    """The fleet changes."""
    probe: bool
    """A probe that can change the assignment."""
    rotation: bool
    """Blocks go to other clients, by `allocation.every`."""


class AssignmentSchedule:
    """The assignments of one run. Each is in force from its round until the round of the next one."""

    def __init__(self, inputs: AssignmentInputs, file: Path, record: AllocationRecord) -> None:
        """`file`: the path of allocation.json; `record`: its content."""
        self._inputs, self._file = inputs, file
        self.record = record

    @classmethod
    def begin(cls, inputs: AssignmentInputs, file: Path) -> "AssignmentSchedule":
        """The first assignment of a new run, written to `file`. It is solved. If a probe comes first, it is a quick
        one.

        Raises:
            AllocationInfeasible: there is no allocation at the start, or none after a change of the fleet.
            ConfigError: budgets that cannot decide which blocks are active.
            OSError: the file cannot be written.
        """
        require_later_fleets(inputs)
        fleet = inputs.fleet.at(1)
        probe_first = probe_decides(inputs, fleet)
        solved = solve_quickly(inputs, fleet) if probe_first else solve(inputs, fleet)
        schedule = cls(inputs, file, allocation_record(inputs, solved))
        schedule._add(1, PROVISIONAL if probe_first else "start", solved.active)
        write_allocation(file, schedule.record, first_chain(inputs.header))
        return schedule

    @classmethod
    def resume(
        cls, inputs: AssignmentInputs, file: Path, contents: LedgerContents, note: Callable[[str], None]
    ) -> "AssignmentSchedule":
        """The assignments up to the end of a ledger. The next ones follow as in a run without an interruption.

        Args:
            note: is called with a sentence if the file is passed over.

        Raises:
            LedgerError: the file is lost, and later assignments need a probe that was in it.
            AllocationInfeasible, ConfigError: as `begin`, if the ledger has no round yet.
        """
        try:
            schedule = cls(inputs, file, read_allocation(file, contents))
            fault = schedule._fault(contents)
        except (LedgerError, RunDirError) as error:
            fault = str(error)
        else:
            if fault is None:
                schedule._describe_last()
                return schedule
        schedule = cls._of_ledger(inputs, file, contents) if contents.records else cls.begin(inputs, file)
        note(f"allocation.json is passed over ({fault}); it is written again, with the assignments of the ledger")
        return schedule

    @classmethod
    def _of_ledger(cls, inputs: AssignmentInputs, file: Path, contents: LedgerContents) -> "AssignmentSchedule":
        """The assignments of the commits. Figures are computed again; nothing is proven about them any more."""
        changes = contents.active_changes()
        active = _sets_of(inputs, changes[1])
        schedule = cls(inputs, file, allocation_record(inputs, as_it_is(inputs, inputs.fleet.at(1), active)))
        for number in range(1, contents.last_round + 1):
            due = schedule._due(number)
            if due.probe:
                raise LedgerError(
                    f"{file} is missing, damaged or not of this ledger, and no other file has the probe before round "
                    f"{number}: put back the file that the run wrote, or start a new run. The ledger itself is whole: "
                    "`zorba-ray replay` reads it"
                )
            if number in changes or any(due):
                reason = "fleet changed" if due.change else "rotation" if due.rotation else "ledger"
                active = _sets_of(inputs, changes[number]) if number in changes else active
                schedule._describe(as_it_is(inputs, inputs.fleet.at(number), active))
                schedule._add(number, "start" if number == 1 else reason, active)
        write_allocation(file, schedule.record, contents.chain_after(schedule.record.assignments[-1].round - 1))
        return schedule

    def _describe_last(self) -> None:
        """Computes the figures of the last assignment again if the record has those of a later one, which was cut
        off."""
        last = self.record.assignments[-1]
        if any(client.blocks != tuple(sorted(last.active.of(client.client))) for client in self.record.clients):
            self._describe(as_it_is(self._inputs, self._inputs.fleet.at(last.round), last.active))

    def _fault(self, contents: LedgerContents) -> str | None:
        """Why the record does not fit the ledger: rounds of the ledger have other assignments, or an assignment is
        missing. None: it fits."""
        changes, packed = contents.active_changes(), b""
        for number in sorted({*changes, *(assignment.round for assignment in self.record.assignments)}):
            packed = changes.get(number, packed)
            if number <= contents.last_round and self.active(number).packed != packed:
                return f"its active sets of round {number} are not those of the ledger"
        first = 1 if self.provisional else self.record.assignments[-1].round + 1
        for number in range(first, contents.last_round + 1):
            if any(self._due(number)):
                return f"it lacks the assignment of round {number}"
        return None

    def active(self, number: int) -> ActiveSets:
        """The active sets of round `number`."""
        return [assignment for assignment in self.record.assignments if assignment.round <= number][-1].active

    @property
    def provisional(self) -> bool:
        """Whether a probe comes before the first assignment."""
        return self.record.assignments[0].reason == PROVISIONAL

    def asked(self, number: int) -> tuple[int, ...]:
        """S_t: the clients that are asked in round `number`; only clients that are present."""
        config = self._inputs.config
        absent = self._inputs.fleet.absent_at(number)
        return participants(config.seed, number, config.federation.clients, config.federation.participants, absent)

    def spares(self, number: int) -> tuple[int, ...]:
        """The clients that are asked in round `number` beyond `asked`, the first to stand in first."""
        config = self._inputs.config
        absent = self._inputs.fleet.absent_at(number)
        settings = config.federation
        return spare_clients(config.seed, number, settings.clients, settings.participants, settings.spares, absent)

    def present(self, number: int) -> int:
        """Number of clients that are in the federation in round `number`, asked or not."""
        return sum(client.present for client in self._inputs.fleet.at(number))

    def before(
        self,
        number: int,
        chain: bytes,
        ask: Ask,
        emit: Callable[[dict[str, Any]], None],
        watch: Watch = UNWATCHED,
    ) -> Assignment | None:
        """Does what is due before round `number`: a probe, a new allocation, a rotation.

        Returns the assignment that begins with the round; None: it does not change.

        Args:
            chain, ask, watch: as in `run_probe`.
            emit: is called with an event for a new assignment.

        Raises:
            LostClients: too few answers to a probe.
            AllocationInfeasible: no allocation was found in time.
        """
        last = self.record.assignments[-1]
        if last.round == number and last.reason != PROVISIONAL:
            return last  # made at the start, or by an earlier session that ended during this round
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
            text = f"round {number}: blocks assigned again ({added.reason}), "
            emit({"kind": "note", "text": f"{text}{added.clients_changed} clients hold other blocks"})
        return added

    def _due(self, number: int) -> Due:
        settings, fleet = self._inputs.config.allocation, self._inputs.fleet.at(number)
        changed = number in self._inputs.fleet.rounds[1:] and fleet != self._inputs.fleet.at(number - 1)
        # A change of the fleet needs a probe if there is none yet, because the first fleet needed none.
        probe = number == 1 or _begins(number, settings.probe_every) or (changed and not self.record.probes)
        return Due(changed, probe and probe_decides(self._inputs, fleet), _begins(number, settings.every))

    def _describe(self, solved: Solved) -> None:
        """Replaces the figures of the record by those of `solved`, and keeps its history."""
        before, record = self.record, allocation_record(self._inputs, solved)
        self.record = msgspec.structs.replace(record, probes=before.probes, assignments=before.assignments)

    def _add(self, number: int, reason: str, active: ActiveSets) -> Assignment:
        self.record = with_assignment(self._inputs, self.record, number, reason, active)
        return self.record.assignments[-1]

    @property
    def _probe(self) -> BlockProbe | None:
        """The last probe."""
        return self.record.probes[-1] if self.record.probes else None

    def _rotated(self, number: int) -> ActiveSets:
        fleet, assignments = self._inputs.fleet.at(number), self.record.assignments
        if activation_is_free(self._inputs, fleet):
            return assignments[-1].active  # every client holds all blocks
        ends = [*(assignment.round for assignment in assignments[1:]), number]
        rounds_held = sum((end - past.round) * past.active.matrix for past, end in zip(assignments, ends, strict=True))
        present = np.array([client.present for client in fleet])
        active = assignments[-1].active.matrix.copy()
        problem = problem_of(self._inputs, fleet, self._probe)
        of_present = np.asarray(rounds_held, dtype=np.float64)[present]
        active[present] = rotate(ActiveSets(active[present]), of_present, problem).matrix
        return ActiveSets(active)


def _begins(number: int, every: int | None) -> bool:
    """Whether round `number` begins a period of `every` rounds. The first period of a run does not count."""
    return every is not None and number > 1 and (number - 1) % every == 0


def _sets_of(inputs: AssignmentInputs, packed: bytes) -> ActiveSets:
    return ActiveSets.unpacked(packed, len(inputs.samples), inputs.header.blocks)
