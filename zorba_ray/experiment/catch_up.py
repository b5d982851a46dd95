"""The driver's replica moves along the ledger: to its end when a session begins, and back to an earlier round."""

import torch

from zorba_ray.errors import ConfigError, LedgerError
from zorba_ray.experiment.evaluate import require_near
from zorba_ray.experiment.session import Session
from zorba_ray.protocol.ledger import read_ledger
from zorba_ray.protocol.snapshot import Snapshot, newest_snapshot, restore, write_snapshot
from zorba_ray.protocol.states import TensorState


def catch_up(session: Session) -> None:
    """Starts the trackers, evaluates θ0, and moves the replica to the ledger's end, from the newest snapshot on.

    Raises:
        LedgerError: a commit cannot be applied.
        ConfigError: evaluations by which the run decides are missing, and cannot be made.
        Diverged: the model was destroyed, now or in an earlier session.
    """
    run, journal, evaluations = session.run, session.journal, session.evaluations
    if not session.schedule.provisional:
        journal.emit({"kind": "allocation", **session.schedule.record.tree()})
    journal.trackers.start(session.config.resolved(), session.provenance.tree())
    journal.trackers.artifact(run.allocation, "allocation")
    for text in session.warnings:
        journal.note(f"warning: {text}")
    evaluations.make(0, "validation", "test")
    if session.contents is not None:
        state, records = session.host.state, session.contents.records
        missing = evaluations.missing(len(records) - 1)
        if missing and isinstance(state, TensorState):
            raise ConfigError(
                f"eval.keep={session.config.eval.keep}, eval.patience={session.config.eval.patience}: there is no "
                f"evaluation after round {missing[0]}, and {session.config.method} keeps the tensors of its newest "
                "rounds alone; set eval.keep=last and eval.patience=null, or eval.every as it was"
            )
        snapshot = newest_snapshot(run.snapshots, session.contents, journal.note)
        if snapshot is not None and (not missing or snapshot.round <= missing[0]):
            restore(state, snapshot)
            if isinstance(state, TensorState):
                state.require(records[snapshot.round - 1].body)
        for number in [*missing, len(records)]:
            state.catch_up(record.body for record in records[state.round : number])
            if number in missing:
                evaluations.make(number, "validation")
        if state.round and evaluations.due(state.round):
            evaluations.make(state.round, "validation")
        hold_best(session)
        require_near(state.round, session.distance(), session.size)
    evaluations.require_a_model()


def hold_best(session: Session) -> None:
    """Keeps θ of the round that was just evaluated if it is the best, where the ledger has not all that rebuilds it.

    Raises:
        OSError: it cannot be written.
    """
    state, evaluations = session.host.state, session.evaluations
    wanted = session.config.eval.keep == "best" and isinstance(state, TensorState)
    if wanted and state.round and evaluations.best_round == state.round:
        write_snapshot(session.run.best, state)


def go_back(session: Session, number: int) -> None:
    """Moves the driver's replica, which is at the ledger's end, to θ after an earlier round.

    Raises:
        LedgerError: its tensors are nowhere.
    """
    state, contents = session.host.state, read_ledger(session.run.ledger)
    if isinstance(state, TensorState) and number:
        snapshot = newest_snapshot(session.run.best, contents, of_round=number)
        if snapshot is None:
            raise LedgerError(f"{session.run.best}: no tensors of round {number}, the best one")
        restore(state, snapshot)
        state.require(contents.records[number - 1].body)
        return
    # Sums of a pool begin at zero.
    start = {name: session.origin.get(name, torch.zeros_like(own)) for name, own in state.movable().items()}
    tensors = {name: tensor.cpu().numpy() for name, tensor in start.items()}
    restore(state, Snapshot(0, contents.header_chain, tensors))
    state.catch_up(record.body for record in contents.records[:number])
