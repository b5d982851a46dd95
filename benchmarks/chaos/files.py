"""Damaged files of a run: every bit through the readers, and samples of them through `repair` and `--resume`."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.chaos.program import Tally, Undisturbed, call_forked, faults_row, undisturbed
from benchmarks.rows import Row
from zorba_ray.artifacts import Eval, Round, RunDir, Summary, read_record, records_of, write_record
from zorba_ray.errors import ZorbaError
from zorba_ray.experiment.repair import diagnose
from zorba_ray.experiment.replay import recorded_run
from zorba_ray.protocol.ledger import read_ledger, scan_ledger

_SMALL = ("metrics.jsonl", "config.resolved.json", "summary.json", "allocation.json", "pending.json", "a snapshot")
Damage = Callable[[bytes, list[int], random.Random], bytes]
"""(content of a ledger, offsets of its records and its end, dice) -> damaged content."""


def rows(quick: bool) -> list[Row]:
    """Quick: one bit in 53, and one sample of each kind."""
    with undisturbed() as base, tempfile.TemporaryDirectory(prefix="zc-") as name:
        folder = Path(name)
        return [
            *small_files(base, folder, 53 if quick else 1, 20 if quick else 1000),
            flips_through_resume(base, folder, len(_SMALL) if quick else 50),
            *ledger_in_process(base, folder, 53 if quick else 1),
            ledger_through_repair(base, folder, len(DAMAGES) if quick else 50),
        ]


def small_files(base: Undisturbed, folder: Path, every: int, lines: int) -> Iterator[Row]:
    """One bit in `every` of three files, and `lines` bits of the metrics: what a reader accepts is what was written."""
    run = RunDir(base.copy(folder / "bits"))
    write_record(run.pending, records_of(run.metrics, Round)[-1])
    readers: dict[str, tuple[Path, Callable[[], object]]] = {
        "pending.json": (run.pending, lambda: read_record(run.pending, Round)),
        "summary.json": (run.summary, lambda: read_record(run.summary, Summary)),
        "config.resolved.json": (run.config, lambda: recorded_run(run.path, None).config.digest()),
    }
    for name, (path, read) in readers.items():
        bits = range(0, 8 * path.stat().st_size, every)
        yield _bits(f"{name}: bits that count for another", path, bits, read, lambda found, whole: found == whole)
    dice = random.Random(1)
    bits = [dice.randrange(8 * run.metrics.stat().st_size) for _ in range(lines)]
    yield _bits(
        "metrics.jsonl: bits that count for another", run.metrics, bits,
        lambda: [*records_of(run.metrics, Round), *records_of(run.metrics, Eval)],
        lambda found, whole: all(record in whole for record in found),
    )  # fmt: skip
    shutil.rmtree(run.path)


def _bits(name: str, path: Path, bits: Sequence[int], read: Callable[[], object], same: Callable) -> Row:
    data, whole = path.read_bytes(), read()
    wrong, refused = [], 0
    for bit in bits:
        path.write_bytes(flipped(data, bit))
        try:
            if not same(read(), whole):
                wrong.append(f"bit {bit}: another content")
        except ZorbaError:
            refused += 1
        except Exception as error:  # what a user would see as a traceback
            wrong.append(f"bit {bit}: {type(error).__name__}: {error}")
    path.write_bytes(data)
    return faults_row(name, wrong, details={"bits": f"{len(bits):,}", "refused": f"{refused:,}"})


def flipped(data: bytes, bit: int) -> bytes:
    """The data with one bit changed."""
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def flips_through_resume(base: Undisturbed, folder: Path, count: int) -> Row:
    """`run --resume` after one flipped bit of a small file or of the newest snapshot."""
    tally, dice = Tally(base.digest), random.Random(2)
    for number in range(count):
        run = RunDir(base.copy(folder / "flip"))
        write_record(run.pending, records_of(run.metrics, Round)[-1])
        name = _SMALL[number % len(_SMALL)]
        victim = sorted(run.snapshots.iterdir())[-1] if name == _SMALL[-1] else run.path / name
        data = victim.read_bytes()
        bit = dice.randrange(8 * len(data))
        victim.write_bytes(flipped(data, bit))
        tally.resumed(run.path, f"{name}, bit {bit}")
        shutil.rmtree(run.path)
    return tally.row(f"small files: {count} flipped bits, then --resume")


def ledger_in_process(base: Undisturbed, folder: Path, every: int) -> Iterator[Row]:
    """Every bit is put back, or cut off with its record; every cut is a prefix of what was written."""
    run = RunDir(base.copy(folder / "ledger"))
    data, whole = run.ledger.read_bytes(), read_ledger(run.ledger)
    put_back, wrong = 0, []
    bits = range(0, 8 * len(data), every)
    for bit in bits:
        run.ledger.write_bytes(flipped(data, bit))
        try:
            found = diagnose(run.path)
        except Exception as error:  # not even a ZorbaError: a flipped bit can be repaired
            wrong.append(f"bit {bit}: {type(error).__name__}: {error}")
            continue
        put_back += found.flipped == (bit,)
        if found.flipped != (bit,) or found.contents.records != whole.records:
            wrong.append(f"bit {bit}: {found.flipped} put back, round {found.contents.last_round} is the last")
    details = {"bits": f"{len(bits):,}", "put back": f"{put_back:,}"}
    yield faults_row("ledger: bits that are not put back", wrong, details=details)
    wrong, refused = [], 0
    ends = [record.end for record in whole.records]
    tails = (b"", bytes(512), random.Random(3).randbytes(512))
    for size in range(0, len(data), 1 if every == 1 else 17):
        for tail in tails:
            try:
                records = scan_ledger(run.ledger, data[:size] + tail).records
            except ZorbaError:
                refused += 1
                continue
            if list(records) != list(whole.records)[: sum(end <= size for end in ends)]:
                wrong.append(f"cut at {size}, a tail of {len(tail)} bytes")
    yield faults_row("ledger: cuts with tails that are not a prefix", wrong, details={"refused": f"{refused:,}"})
    shutil.rmtree(run.path)


DAMAGES: dict[str, Damage] = {
    "a flipped bit": lambda data, at, dice: flipped(data, dice.randrange(8 * len(data))),
    "cut": lambda data, at, dice: data[: dice.randrange(at[0], len(data))],
    "zeros at the end": lambda data, at, dice: (lambda size: data[:size] + bytes(len(data) - size))(
        dice.randrange(at[0], len(data))
    ),
    "a tail of garbage": lambda data, at, dice: data + dice.randbytes(dice.randrange(1, 2000)),
    "swapped": lambda data, at, dice: _moved(data, at, dice.randrange(len(at) - 2), lambda a, b: b + a),
    "repeated": lambda data, at, dice: _moved(data, at, dice.randrange(len(at) - 2), lambda a, b: a + a + b),
    "left out": lambda data, at, dice: _moved(data, at, dice.randrange(len(at) - 2), lambda a, b: b),
}
"""Kinds of damage of a ledger."""


def _moved(data: bytes, at: list[int], number: int, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """Two neighbouring records replaced by what is made of them."""
    first, second, end = at[number : number + 3]
    return data[:first] + change(data[first:second], data[second:end]) + data[end:]


def ledger_through_repair(base: Undisturbed, folder: Path, count: int) -> Row:
    """`zorba-ray repair`, then `run --resume`: the digest of the undisturbed run, as lost rounds are computed again."""
    tally, dice = Tally(base.digest), random.Random(4)
    for number in range(count):
        path = base.copy(folder / "repair")
        ledger, (kind, damage) = path / "ledger.zl", list(DAMAGES.items())[number % len(DAMAGES)]
        contents = read_ledger(ledger)
        at = [*(record.offset for record in contents.records), contents.size]
        ledger.write_bytes(damage(ledger.read_bytes(), at, dice))
        repaired = call_forked("repair", path)
        if repaired.code == 0:
            tally.resumed(path, kind)
        else:
            tally.other.append(f"{kind}: repair ended with exit code {repaired.code}: {repaired.text[-300:]}")
        with suppress(OSError):
            shutil.rmtree(path)
    return tally.row(f"ledger: {count} faults, then repair and --resume", may_refuse=False)
