"""What earlier sessions of a W&B run left on disk, read from wandb's own transaction logs.

A kill takes with it what wandb had not yet written (seconds of rows), so no note of ours could say what W&B was told;
the file can. It is a LevelDB log: 7 bytes of header, then blocks of 32 KiB with chunks of

    CRC u32 | length u16 | type u8 (1 whole, 2 first, 3 middle, 4 last) | bytes [length]

little-endian, a chunk never crossing a block. Each record is one `Record` of wandb's protocol.
"""

import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b":W&B"
BLOCK = 32 * 1024
_START = 7
_CHUNK = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(frozen=True)
class Session:
    """One folder below `wandb/`: a session of a run, from `wandb.init` to its end or death."""

    folder: Path
    offline: bool
    begun: bool
    """The run itself is on disk; without it there is nothing to upload."""
    ended: bool
    """wandb was told that the run ended."""
    synced: bool
    """`wandb sync` has uploaded it."""
    steps: frozenset[int]
    """W&B steps of the rows on disk."""

    @property
    def uploadable(self) -> bool:
        """Whether `wandb sync` has work here: an offline session, or an online one that was cut off."""
        return self.begun and not self.synced and (self.offline or not self.ended)


def read_sessions(folder: Path, run_id: str) -> list[Session]:
    """All sessions of a run below `folder` (…/wandb), oldest first; a torn file counts up to the tear.

    Raises:
        Exception: a file cannot be read, or this version of wandb writes another format.
    """
    # A second session in the same second gets a number.
    name = re.compile(rf"(?:offline-)?run-(\d+_\d+)-{re.escape(run_id)}(?:-(\d+))?")
    found = [
        (match[1], int(match[2] or 0), path)
        for path in folder.glob("*run-*")
        if (match := name.fullmatch(path.name)) and path.is_dir()
    ]
    return [_read(path, run_id) for _, _, path in sorted(found)]


def wait_for_end(folder: Path, run_id: str, seconds: float) -> bool:
    """Waits until the end of session `folder` is on disk; False: it is not after `seconds`.

    `Run.finish` tells wandb's process to close the file and does not wait for it: who reads or uploads it at once can
    find rows missing.
    """
    deadline = time.monotonic() + seconds
    while not _read(folder, run_id).ended:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _read(folder: Path, run_id: str) -> Session:
    from wandb.proto import wandb_internal_pb2

    log = folder / f"run-{run_id}.wandb"
    begun, ended, steps = False, False, set[int]()
    for body in _bodies(log.read_bytes() if log.exists() else b""):
        record = wandb_internal_pb2.Record.FromString(body)  # pyright: ignore[reportAttributeAccessIssue]
        kind = record.WhichOneof("record_type")
        begun |= kind == "run"
        ended |= kind == "exit"
        if kind == "history":
            steps.add(record.history.step.num)
    synced = log.with_name(log.name + ".synced").exists()
    return Session(folder, folder.name.startswith("offline-"), begun, ended, synced, frozenset(steps))


def _bodies(data: bytes) -> Iterator[bytes]:
    """The whole records of a log, up to its end or a tear."""
    if not data.startswith(MAGIC):
        return
    position, parts = _START, list[bytes]()
    while True:
        left = BLOCK - position % BLOCK
        if left < _CHUNK.size:  # too small for a chunk: filled with zeros
            position += left
        if position + _CHUNK.size > len(data):
            return
        _, length, kind = _CHUNK.unpack_from(data, position)
        position += _CHUNK.size
        if kind not in (_WHOLE, _FIRST, _MIDDLE, _LAST) or position + length > len(data):
            return
        if kind in (_WHOLE, _FIRST):
            parts.clear()
        parts.append(data[position : position + length])
        position += length
        if kind in (_WHOLE, _LAST):
            yield b"".join(parts)
