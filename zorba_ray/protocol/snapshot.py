"""A replica's place in the ledger on disk, so that a new replica replays the rounds since and not all of them.

A snapshot is a shortcut, never a source: it names the ledger's chain at its round, and a SHA-256 that covers this label
and the tensors with their names, types and shapes. One that does not fit the ledger or itself is passed over. Active
sets are not in it: the ledger has them. Replays that prove a run do without.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.ledger import LedgerContents, sync_folder
from zorba_ray.protocol.replay import ReplicaState

_OTHER_FORM = (ArithmeticError, LookupError, TypeError, ValueError)
_KEPT = 2
"""The newest two: the last may be the one whose write a kill cut off."""


@dataclass(frozen=True)
class Snapshot:
    """θ after a round: the tensors that the run can move."""

    round: int
    chain: bytes
    tensors: dict[str, np.ndarray]
    """Name -> [numel], as `ReplicaState.movable` has it."""
    active: bytes = b""
    """Active sets in force at `round`: from the ledger, not from the file."""


class _Label(msgspec.Struct, frozen=True):
    round: int
    chain: bytes
    content: str
    """SHA-256 of round, chain and tensors (`_digest`)."""


def write_snapshot(folder: Path, state: ReplicaState) -> Path:
    """Writes the state's snapshot below `folder`, durably, and removes all but the newest two.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.cpu().numpy() for name, tensor in state.movable().items()}
    label = _Label(state.round, state.chain, _digest(state.round, state.chain, tensors))
    folder.mkdir(exist_ok=True)
    path = folder / f"round-{state.round:08d}.safetensors"
    aside = path.with_suffix(".tmp")
    try:
        save_file(tensors, aside, {"label": msgspec.json.encode(label).decode()})
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(folder)
    for old in _paths(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def newest_snapshot(
    folder: Path,
    contents: LedgerContents,
    note: Callable[[str], None] = lambda text: None,
    of_round: int | None = None,
) -> Snapshot | None:
    """The newest whole snapshot below `folder` that lies on this ledger; None if there is none.

    Args:
        of_round: of this round alone; None: of any.
        note: is told of each that is passed over, and why.
    """
    for path in _paths(folder):
        found = _read(path)
        if isinstance(found, str):
            note(f"snapshot {path.name} is passed over: {found}")
        elif not 1 <= found.round <= contents.last_round or contents.chain_after(found.round) != found.chain:
            note(f"snapshot {path.name} is passed over: round {found.round} of this ledger is another, or not there")
        elif of_round in (None, found.round):
            return replace(found, active=contents.active_after(found.round))
    return None


def restore(state: ReplicaState, snapshot: Snapshot) -> None:
    """Moves a replica of the same run to the snapshot's round.

    Raises:
        LedgerError: the tensors are not those that this run moves.
    """
    own = state.movable()
    if {name: tensor.numel() for name, tensor in own.items()} != {n: v.size for n, v in snapshot.tensors.items()}:
        raise LedgerError(f"the snapshot of round {snapshot.round} holds other tensors than this run moves")
    if snapshot.active:
        state.set_active(snapshot.active)
    for name, tensor in own.items():
        tensor.copy_(torch.from_numpy(snapshot.tensors[name].copy()))
    state.jump(snapshot.round, snapshot.chain)


def _paths(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _read(path: Path) -> Snapshot | str:
    """What the file holds, or what is wrong with it."""
    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportNoOverloadImplementation]
            label = msgspec.json.decode((file.metadata() or {}).get("label", ""), type=_Label)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, msgspec.MsgspecError, *_OTHER_FORM) as error:
        return f"it is cut off, damaged or of another version ({type(error).__name__}: {str(error)[:80]!r})"
    if _digest(label.round, label.chain, tensors) != label.content:
        return "its SHA-256 is another than its label says"
    return Snapshot(label.round, label.chain, tensors)


def _digest(round: int, chain: bytes, tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 (hex) of the label and the tensors, every part after a line that says what and how long it is."""
    hasher = hashlib.sha256(b"%d %s\n" % (round, chain.hex().encode()))
    for name in sorted(tensors):
        own = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), order="C", copy=False)
        hasher.update(f"{name!r} {own.dtype.str} {own.shape}\n".encode())
        hasher.update(own.data)
    return hasher.hexdigest()
