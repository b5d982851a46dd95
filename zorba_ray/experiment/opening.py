"""A run's ledger at the start of a session: created with its allocation, or taken up where it ends."""

from collections.abc import Callable
from dataclasses import dataclass

from zorba_ray.experiment.build import Setup
from zorba_ray.experiment.deals import Deals
from zorba_ray.experiment.deals_again import resume_deals
from zorba_ray.experiment.recovery import check_header, repair_metrics
from zorba_ray.experiment.rundir import RunDir, write_json
from zorba_ray.protocol.ledger import LedgerContents, LedgerWriter, read_ledger
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.snapshot import newest_snapshot, restore
from zorba_ray.protocol.states import TensorState


@dataclass(frozen=True)
class OpenedLedger:
    """Where a session begins."""

    writer: LedgerWriter
    deals: Deals
    contents: LedgerContents | None
    """None: the run is new."""

    @property
    def first_round(self) -> int:
        """The first round to be done."""
        return 1 + (self.contents.last_round if self.contents else 0)


def open_ledger(
    setup: Setup, run: RunDir, accelerator: str, say: Callable[[str], None], note: Callable[[str], None]
) -> OpenedLedger:
    """A new ledger, or the existing one with all that hangs on its position.

    Args:
        say, note: are told what goes on, and what was passed over.

    Raises:
        LedgerError: the ledger is damaged or of another run, or its deals are lost.
        AllocationInfeasible: a new run's allocation.
    """
    if not run.ledger.exists():
        say("solving the allocation")
        deals = Deals.begin(setup, run, accelerator)
        deals.write()
        return OpenedLedger(LedgerWriter.create(run.ledger, setup.header), deals, None)
    found = read_ledger(run.ledger)
    check_header(found.header, setup.header, str(run.ledger))
    writer, contents = LedgerWriter.resume(run.ledger, _kept_until(run, found))
    try:
        write_json(run.config, setup.config.resolved())
        if contents.torn_bytes:
            say(f"ledger: cut {contents.torn_bytes} bytes of a torn record after round {contents.last_round}")
        if contents.last_round < found.last_round:
            say(f"ledger: cut back from round {found.last_round} to {contents.last_round}, the newest with a snapshot")
        repair_metrics(run, contents)
        say(f"resuming after round {contents.last_round}")
        return OpenedLedger(writer, resume_deals(setup, run, accelerator, contents, note), contents)
    except BaseException:
        writer.close()
        raise


def _kept_until(run: RunDir, found: LedgerContents) -> int | None:
    """The last round whose tensors are at hand, for a method whose commits are tensors: a kill between a record and its
    snapshot costs that round, which is done again and gives the same bytes. Without any snapshot all rounds are."""
    if found.header.commits != "tensors":
        return None
    snapshot = newest_snapshot(run.snapshots, found)
    return snapshot.round if snapshot else 0


def bring_up(
    state: ReplicaState, run: RunDir, opened: OpenedLedger, note: Callable[[str], None] = lambda text: None
) -> None:
    """Moves a replica at θ0 to the ledger's end, from the newest snapshot on if there is one.

    Args:
        note: is told of snapshots that are passed over.

    Raises:
        LedgerError, Diverged: a commit cannot be applied.
    """
    if opened.contents is None:
        return
    snapshot = newest_snapshot(run.snapshots, opened.contents, note)
    if snapshot is not None:
        restore(state, snapshot)
        if isinstance(state, TensorState):
            state.require(opened.contents.records[snapshot.round - 1].body)
    state.catch_up(record.body for record in opened.contents.records[state.round :])
