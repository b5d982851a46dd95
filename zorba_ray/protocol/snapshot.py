"""A replica's place in the ledger on disk, so that a new replica replays the rounds since and not all of them.

A snapshot is a shortcut, never a source: it names the ledger's chain at its round and the SHA-256 of what it holds, and
one that does not fit the ledger or itself is not used. Replays that prove a run do without.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.codec import decode
from zorba_ray.protocol.ledger import LedgerContents, sync_folder
from zorba_ray.protocol.messages import RoundCommit
from zorba_ray.protocol.replay import ReplicaState

_KEPT = 2
"""The newest two: the last may be the one whose write a kill cut off."""


@dataclass(frozen=True)
class Snapshot:
    """θ after a round: the tensors that the run can move, and the active sets."""

    round: int
    chain: bytes
    active: bytes
    """As `pack_active`."""
    tensors: dict[str, np.ndarray]
    """Name -> [numel], as `ReplicaState.movable` has it."""
    recent: tuple[bytes, ...] = ()
    """With momentum: the commits of up to W − 1 rounds that end with `round`, from the ledger, not from the file."""
    before: tuple[bytes, bytes] = (b"", b"")
    """Active sets and rates of the blocks that held before `recent` began, or at `round` where there is none."""


class _Label(msgspec.Struct, frozen=True):
    round: int
    chain: bytes
    active: bytes
    sha256: str


def write_snapshot(folder: Path, state: ReplicaState) -> Path:
    """Writes the state's snapshot below `folder`, durably, and removes all but the newest two.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.cpu().numpy() for name, tensor in state.movable().items()}
    label = _Label(state.round, state.chain, state.packed_active, _digest(tensors))
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


def newest_snapshot(folder: Path, contents: LedgerContents) -> Snapshot | None:
    """The newest whole snapshot below `folder` that lies on this ledger; None if there is none."""
    for path in _paths(folder):
        found = _read(path)
        if found is None or not 1 <= found.round <= contents.last_round:
            continue
        if contents.records[found.round - 1].chain == found.chain:
            first = max(1, found.round + 2 - contents.header.momentum_window)
            recent = tuple(record.body for record in contents.records[first - 1 : found.round])
            return replace(found, recent=recent, before=_in_force(contents, first - 1))
    return None


def _in_force(contents: LedgerContents, number: int) -> tuple[bytes, bytes]:
    """Active sets and rates of the blocks after round `number`, empty where no commit has named any."""
    active = rates = None
    for record in reversed(contents.records[:number]):
        commit = decode(record.body, RoundCommit)
        active = commit.active if active is None else active
        rates = commit.rates if rates is None else rates
    return active or b"", rates or b""


def restore(state: ReplicaState, snapshot: Snapshot) -> None:
    """Moves a replica of the same run to the snapshot's round.

    Raises:
        LedgerError: the tensors are not those that this run moves.
    """
    own = state.movable()
    if {name: tensor.numel() for name, tensor in own.items()} != {n: v.size for n, v in snapshot.tensors.items()}:
        raise LedgerError(f"the snapshot of round {snapshot.round} holds other tensors than this run moves")
    active, rates = snapshot.before
    state.set_rates(rates)
    if active:
        state.set_active(active)
    state.remember(snapshot.recent, snapshot.round + 1 - len(snapshot.recent))
    state.set_active(snapshot.active)
    for name, tensor in own.items():
        tensor.copy_(torch.from_numpy(snapshot.tensors[name].copy()))
    state.jump(snapshot.round, snapshot.chain)


def _paths(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _read(path: Path) -> Snapshot | None:
    """None where the file is cut off, damaged or of another form."""
    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportNoOverloadImplementation]
            label = msgspec.json.decode((file.metadata() or {}).get("label", ""), type=_Label)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, msgspec.MsgspecError):
        return None
    if _digest(tensors) != label.sha256:
        return None
    return Snapshot(label.round, label.chain, label.active, tensors)


def _digest(tensors: dict[str, np.ndarray]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(tensors):
        hasher.update(name.encode())
        hasher.update(np.ascontiguousarray(tensors[name], dtype=tensors[name].dtype.newbyteorder("<")).data)
    return hasher.hexdigest()
