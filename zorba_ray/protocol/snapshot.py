"""Snapshots: θ after a round, on disk. A new replica loads the newest one and replays only the rounds after it.

A snapshot only saves time; the ledger decides what θ is. The label of a snapshot has the ledger's chain at its round,
and a SHA-256 of label and tensors (names, types, shapes, values). A snapshot that does not fit the ledger or its own
SHA-256 is passed over. Active sets are read from the ledger. `zorba-ray replay` needs a snapshot only where commits are
tensors.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.files import sync_folder
from zorba_ray.protocol.ledger import LedgerContents
from zorba_ray.protocol.replay import ReplicaState

_OTHER_FORM = (ArithmeticError, LookupError, TypeError, ValueError)
_KEPT = 2
"""How many of the newest snapshots stay on disk: two, because a kill may have damaged the last one."""


@dataclass(frozen=True)
class Snapshot:
    """θ after a round: the tensors that the run can move."""

    round: int
    chain: bytes
    tensors: dict[str, np.ndarray]
    """Name -> [numel], as `ReplicaState.movable` has it."""
    active: bytes = b""
    """Active sets in force at `round`, from the ledger."""


class _Label(msgspec.Struct, frozen=True):
    round: int
    chain: bytes
    content: str
    """SHA-256 of round, chain and tensors (`_digest`)."""


def write_snapshot(folder: Path, state: ReplicaState) -> Path:
    """Writes a snapshot of `state` to `folder`, with fsync, and removes all but the newest two.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.cpu().numpy() for name, tensor in state.movable().items()}
    label = _Label(state.round, state.chain, _digest(state.round, state.chain, tensors))
    folder.mkdir(0o700, exist_ok=True)
    path = folder / f"round-{state.round:08d}.safetensors"
    aside = path.with_suffix(".tmp")
    try:
        save_file(tensors, aside, {"label": msgspec.json.encode(label).decode()})
        with aside.open("rb") as file:
            os.fchmod(file.fileno(), 0o600)
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
    """The newest valid snapshot in `folder` that belongs to this ledger; None: there is none.

    Args:
        note: is called with a sentence for each snapshot that is passed over, and the reason.
        of_round: only a snapshot of this round; None: of any round.
    """
    for path, snapshot in checked_snapshots(folder, contents):
        if isinstance(snapshot, str):
            note(f"snapshot {path.name} is passed over: {snapshot}")
        elif of_round in (None, snapshot.round):
            return replace(snapshot, active=contents.active_after(snapshot.round))
    return None


def checked_snapshots(folder: Path, contents: LedgerContents) -> Iterator[tuple[Path, Snapshot | str]]:
    """Every file of a snapshot in `folder`, newest first: the snapshot, or why it cannot be used with this ledger."""
    for path in _paths(folder):
        snapshot = _read(path)
        if isinstance(snapshot, str):
            yield path, snapshot
        elif not 1 <= snapshot.round <= contents.last_round or contents.chain_after(snapshot.round) != snapshot.chain:
            yield path, f"its round {snapshot.round} is not the one of this ledger"
        else:
            yield path, snapshot


def restore(state: ReplicaState, snapshot: Snapshot) -> None:
    """Sets a replica of the same run to the snapshot's round.

    Raises:
        LedgerError: the snapshot has other tensors than this run moves.
    """
    tensors = state.movable()
    if {name: tensor.numel() for name, tensor in tensors.items()} != {n: v.size for n, v in snapshot.tensors.items()}:
        raise LedgerError(
            f"the snapshot of round {snapshot.round} holds other tensors than this run moves: delete the snapshot"
        )
    if snapshot.active:
        state.set_active(snapshot.active)
    for name, tensor in tensors.items():
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
        return "its SHA-256 is not the one in its label"
    return Snapshot(label.round, label.chain, tensors)


def _digest(round: int, chain: bytes, tensors: dict[str, np.ndarray]) -> str:
    """SHA-256 (hex) of the label and the tensors. A line with name, type and shape stands before the bytes of each
    tensor."""
    hasher = hashlib.sha256(b"%d %s\n" % (round, chain.hex().encode()))
    for name in sorted(tensors):
        values = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), order="C", copy=False)
        hasher.update(f"{name!r} {values.dtype.str} {values.shape}\n".encode())
        hasher.update(values.data)
    return hasher.hexdigest()
