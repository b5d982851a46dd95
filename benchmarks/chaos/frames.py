"""Forged bytes: frames of the wire, reports of clients and ledgers, by the hundred thousand, in one process.

Noise, flipped bits and cuts are to be refused by the frame itself. A forged report is a valid frame whose content is
not what the plan asks for. A forged ledger is noise behind a valid start. All are to be refused with the documented
error, in bounded memory.
"""

import random
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.chaos.files import flipped
from benchmarks.chaos.program import faults_row, undisturbed
from benchmarks.rows import Row
from zorba_ray.artifacts import Run
from zorba_ray.errors import LedgerError, MessageError
from zorba_ray.experiment.build import prepare
from zorba_ray.federation.round import read_replies
from zorba_ray.methods import build_method
from zorba_ray.protocol.ledger import scan_ledger
from zorba_ray.protocol.messages import (
    ClientReport,
    RoundCommit,
    RoundPlan,
    decode,
    encode,
    frame_digest,
)
from zorba_ray.protocol.replay import rule_of

Forge = Callable[[random.Random], object]
_MOST_BYTES = 32 * 2**20


def rows(quick: bool) -> list[Row]:
    """200,000 in all; quick: 6,000."""
    count = 2_000 if quick else 200_000 // 3
    with undisturbed() as base, tempfile.TemporaryDirectory(prefix="zc-") as name:
        return [
            frames(count),
            reports(base.stopped, count),
            ledgers(base.stopped, Path(name) / "ledger.zl", count),
        ]


def _judged(name: str, count: int, work: Callable[[random.Random], str | None]) -> Row:
    """`work` says what is wrong, or None."""
    dice, wrong = random.Random(5), []
    tracemalloc.start()
    for _ in range(count):
        fault = work(dice)
        if fault is not None:
            wrong.append(fault)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if peak > _MOST_BYTES:
        wrong.append(f"{peak / 2**20:.0f} MiB were held at once")
    details = {"tried": f"{count:,}", "most memory": f"{peak / 2**20:.1f} MiB"}
    goal = f"0, at most {_MOST_BYTES // 2**20} MiB"
    return faults_row(f"{name}: accepted, or refused without the documented error", wrong, goal, details)


def frames(count: int) -> Row:
    """Bytes that are no frame, of every kind of message."""
    plan = RoundPlan(round=7, lr=0.01, perturbation_scale=1e-3, parent=bytes(8), active=bytes(12))
    report = ClientReport(round=7, client=1, plan=bytes(8), loss=bytes(4), samples=12, scalars=bytes(64))
    commit = RoundCommit(round=7, lr=0.01, clients=bytes(16), scalars=bytes(128), active=None)
    readers: list[Callable[[bytes], RoundPlan | ClientReport | RoundCommit]] = [
        lambda frame: decode(frame, RoundPlan),
        lambda frame: decode(frame, ClientReport),
        lambda frame: decode(frame, RoundCommit),
    ]
    known = [(encode(message), read) for message, read in zip((plan, report, commit), readers, strict=True)]

    def work(dice: random.Random) -> str | None:
        frame, read = dice.choice(known)
        way = dice.randrange(4)
        if way == 0:
            forged = dice.randbytes(dice.randrange(200))
        elif way == 1:
            forged = flipped(frame, dice.randrange(8 * len(frame)))
        elif way == 2:
            forged = frame[: dice.randrange(len(frame))]
        else:
            forged = _checked(frame[:2] + dice.randbytes(dice.randrange(200)))
        try:
            message = read(forged)
        except MessageError:
            return None
        # Noise under a right checksum can spell a message: then it is one, and says so again.
        return None if way == 3 and read(encode(message)) == message else f"{forged.hex()} is accepted"

    return _judged("forged frames", count, work)


def _checked(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


def reports(path: Path, count: int) -> Row:
    """Valid frames with contents that the plan does not ask for."""
    config = Run(path).config
    setup = prepare(config)
    method = build_method(config, rule_of(setup.header), setup.manifest)
    plan = method.plan(8, bytes(32), None)
    digest = frame_digest(encode(plan))
    values = np.full(setup.header.directions_per_step * setup.header.local_steps, 0.5, dtype="<f4")
    honest = ClientReport(round=8, client=1, plan=digest, loss=struct.pack("<f", 1.0), samples=setup.header.samples[1],
                          scalars=values.tobytes())  # fmt: skip
    method.check(honest, 1, plan, digest)
    changes: list[Forge] = [
        lambda dice: {"round": dice.choice([0, 7, 9, 2**62])},
        lambda dice: {"client": dice.choice([0, 2, 2**62])},
        lambda dice: {"plan": dice.randbytes(dice.choice([0, 7, 8, 9]))},
        lambda dice: {"samples": dice.choice([0, honest.samples + 1, 2**62])},
        lambda dice: {"loss": struct.pack("<f", dice.choice([np.nan, np.inf, -np.inf, -1.0, 3e38]))},
        lambda dice: {"loss": dice.randbytes(dice.choice([0, 1, 3, 5, 8]))},
        lambda dice: {"scalars": dice.randbytes(dice.choice([0, 1, len(values) * 4 - 1, len(values) * 4 + 4, 4000]))},
        lambda dice: {"scalars": _with(values, dice, dice.choice([np.nan, np.inf, -np.inf, 3e38, -3e38]))},
        lambda dice: {"sections": {"x": (dice.randrange(9), b"", True)}},
    ]

    def work(dice: random.Random) -> str | None:
        change = dice.choice(changes)(dice)
        fields = {name: getattr(honest, name) for name in ClientReport.__struct_fields__} | change  # type: ignore[operator]
        sections = fields.pop("sections")
        order = [fields[name] for name in ClientReport.__struct_fields__ if name != "sections"]
        body = msgspec.msgpack.encode([*order, sections] if sections else order)
        frame = _checked(encode(honest)[:2] + body)

        def read(client: int, answer: bytes) -> ClientReport:
            report = decode(answer, ClientReport)
            method.check(report, client, plan, digest)
            return report

        replies = read_replies([1], {1: frame}, read)
        return f"{change} is accepted" if replies.accepted else None

    return _judged("forged reports", count, work)


def _with(values: np.ndarray, dice: random.Random, value: float) -> bytes:
    changed = values.copy()
    changed[dice.randrange(len(values))] = value
    return changed.tobytes()


def ledgers(path: Path, target: Path, count: int) -> Row:
    """A true ledger up to some place, and noise from there on: at most what is true of it counts."""
    data = (path / "ledger.zl").read_bytes()
    whole = list(scan_ledger(target, data).records)

    def work(dice: random.Random) -> str | None:
        size = dice.randrange(len(data))
        noise = dice.randbytes(dice.choice([1, 12, 100, 3000]))
        try:
            records = list(scan_ledger(target, data[:size] + noise).records)
        except LedgerError:
            return None
        true = whole[: sum(record.end <= size for record in whole)]
        return None if records == true else f"noise behind {size} bytes counts as {len(records)} rounds"

    return _judged("forged ledgers", count, work)
