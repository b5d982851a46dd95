"""Every bit of a snapshot and of allocation.json: what is not as it was written is not used, whatever it then says."""

import base64
import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.support.tiny_run import run_here, stopped_after, tiny_config
from zorba_ray.active_sets import ActiveSets
from zorba_ray.artifacts import (
    Record,
    Round,
    RunDir,
    Summary,
    read_record,
    read_run_settings,
    records_of,
    write_record,
)
from zorba_ray.artifacts.allocation import AllocationRecord, Assignment
from zorba_ray.assignment import schedule
from zorba_ray.assignment.allocation_file import read_allocation, write_allocation
from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.experiment import prepare
from zorba_ray.protocol.ledger import LedgerContents, read_ledger
from zorba_ray.protocol.snapshot import Snapshot, newest_snapshot

POOL = (
    "method=fedkseed",
    "zo.schedule=constant",
    "method_settings.pool=4",
    "zo.lr=0.003",
    "zo.local_steps=1",
)
"""A run whose snapshots are one small tensor."""
BLOCKS = ("rounds=6", "federation.snapshot_every=2", "eval.every=6", "eval.rows=16")


@pytest.fixture(scope="module", params=["scalars", "pool"])
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After round 3, with a snapshot of round 2 alone."""
    config = tiny_config(*BLOCKS, *(POOL if request.param == "pool" else ()))
    return stopped_after(3, config, tmp_path_factory.mktemp(request.param) / "run")


def flips(path: Path, bits: Iterable[int]) -> Iterator[int]:
    """Each bit, while it alone is flipped in the file."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            place = bit // 8
            os.pwrite(file.fileno(), bytes([data[place] ^ 1 << bit % 8]), place)
            yield bit
            os.pwrite(file.fileno(), data[place : place + 1], place)


def same(found: Snapshot, whole: Snapshot) -> bool:
    return (found.round, found.chain, found.active) == (whole.round, whole.chain, whole.active) and all(
        np.array_equal(found.tensors[name], own) and found.tensors[name].dtype == own.dtype
        for name, own in whole.tensors.items()
    )


def header_bits(data: bytes) -> int:
    """Of a safetensors file: a length, and so many bytes of JSON."""
    return 8 * (8 + int.from_bytes(data[:8], "little"))


def test_no_bit_of_a_snapshot_counts_for_another(stopped: Path, tmp_path: Path) -> None:
    """All bits of the header, and 1,000 of the tensors."""
    contents = read_ledger(stopped / "ledger.zl")
    (path,) = (stopped / "snapshots").iterdir()
    data, copy = path.read_bytes(), tmp_path / path.name
    copy.write_bytes(data)
    whole = newest_snapshot(tmp_path, contents)
    assert whole is not None
    assert whole.round == 2
    header = header_bits(data)
    bits = [*range(header), *(random.Random(3).randrange(header, 8 * len(data)) for _ in range(1000))]
    said: list[str] = []
    for bit in flips(copy, bits):
        said.clear()
        found = newest_snapshot(tmp_path, contents, said.append)
        if found is None:
            assert len(said) == 1, bit
            assert said[0].startswith(f"snapshot {path.name} is passed over: "), bit
        else:
            assert same(found, whole), bit
            assert bit < header, "of a tensor's bits none is idle"


def test_a_snapshot_whose_label_has_no_digest_is_passed_over(stopped: Path, tmp_path: Path) -> None:
    contents = read_ledger(stopped / "ledger.zl")
    whole = newest_snapshot(stopped / "snapshots", contents)
    assert whole is not None
    label = {"round": 2, "chain": base64.b64encode(whole.chain).decode()}
    save_file(whole.tensors, tmp_path / "round-00000002.safetensors", {"label": json.dumps(label)})
    said: list[str] = []
    assert newest_snapshot(tmp_path, contents, said.append) is None
    assert "is passed over: it is cut off, damaged or of another version" in said[0]


def test_no_bit_of_the_allocation_counts_for_another(tmp_path: Path) -> None:
    config = tiny_config(*BLOCKS, "federation.clients=2", "rounds=2")
    path = stopped_after(1, config, tmp_path / "run")
    run, contents = RunDir(path), read_ledger(path / "ledger.zl")
    whole, data = read_allocation(run.allocation, contents), run.allocation.read_bytes()
    idle = 0
    for bit in flips(run.allocation, range(8 * len(data))):
        try:
            found = read_allocation(run.allocation, contents)
        except (LedgerError, RunDirError):
            continue
        idle += 1
        assert found == whole, bit
    assert idle < 0.1 * 8 * len(data), "white space alone"


Edit = Callable[[Path, LedgerContents], None]


def _without(path: Path, contents: LedgerContents) -> None:
    path.unlink()


def _a_digit(path: Path, contents: LedgerContents) -> None:
    """Of the active sets of round 1, by hand."""
    tree = json.loads(path.read_text("utf-8"))
    row = tree["assignments"][0]["active"][0]
    tree["assignments"][0]["active"][0] = row.replace("1", "0", 1)
    path.write_text(json.dumps(tree), "utf-8")


def _forged(path: Path, contents: LedgerContents) -> None:
    """The assignment in force, with a digest that fits."""
    record = read_allocation(path, contents)
    *earlier, last = record.assignments
    forged = msgspec.structs.replace(last, active=ActiveSets(last.active.matrix[:, ::-1]))
    _written(path, contents, record, (*earlier, forged))


def _older(path: Path, contents: LedgerContents) -> None:
    """As it was before the last assignment, whole."""
    record = read_allocation(path, contents)
    _written(path, contents, record, record.assignments[:-1])


def _written(path: Path, contents: LedgerContents, record: AllocationRecord, given: tuple[Assignment, ...]) -> None:
    chain = contents.chain_after(given[-1].round - 1)
    write_allocation(path, msgspec.structs.replace(record, assignments=given), chain)


def _without_digest(path: Path, contents: LedgerContents) -> None:
    tree = json.loads(path.read_text("utf-8"))
    del tree["digest"]
    path.write_text(json.dumps(tree), "utf-8")


def _says(text: bytes) -> Edit:
    def edit(path: Path, contents: LedgerContents) -> None:
        path.write_bytes(text)

    return edit


EDITS: dict[str, Edit] = {
    "missing": _without,
    "a digit": _a_digit,
    "forged": _forged,
    "older": _older,
    "no digest": _without_digest,
    "empty": _says(b""),
    "no UTF-8": _says(b'{"assignments": "\xff\xfe"}'),
    "a list": _says(b"[1]"),
    "deep": _says(b'{"a":' * 100_000),
    "a long number": _says(b'{"a": ' + b"9" * 5_000 + b"}"),
    "digest of another form": _says(b'{"digest": {"round": "x"}}'),
}


@pytest.fixture(scope="module")
def fleet() -> str:
    """Two clients with room for four blocks, two with room for two."""
    memory = prepare(tiny_config("memory.frozen=host", "federation.fleet=null")).memory.of(None)
    budgets = [memory.base + blocks * int(memory.active_extra[0]) for blocks in (4, 2)]
    kinds = [{"name": name, "count": 2, "vram": vram} for name, vram in zip("ab", budgets, strict=True)]
    return f"federation.fleet={json.dumps(kinds)}"


class Rotated:
    """A run of seven rounds that assigns anew every two, undisturbed and stopped after round 4."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.config = tiny_config(*BLOCKS, "rounds=7", "memory.frozen=host", "allocation.every=2", *settings)
        self.digest = run_here(self.config, folder / "straight")["weights_sha256"]
        self.assignments = json.loads((folder / "straight" / "allocation.json").read_text("utf-8"))["assignments"]
        self.stopped = stopped_after(4, self.config, folder / "stopped")

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.stopped, to))

    def resume(self, path: Path) -> list[str]:
        """Resumes, and holds the end against the undisturbed run; what was said."""
        notes: list[str] = []
        summary = run_here(
            self.config, path, emit=lambda event: notes.append(event["text"]) if event["kind"] == "note" else None
        )
        assert summary["weights_sha256"] == self.digest
        found = json.loads((path / "allocation.json").read_text("utf-8"))["assignments"]
        assert [(each["round"], each["active"]) for each in found] == [
            (each["round"], each["active"]) for each in self.assignments
        ]
        return notes


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory, fleet: str) -> Rotated:
    return Rotated(tmp_path_factory.mktemp("rotated"), fleet)


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_a_damaged_allocation_is_made_again_as_it_was(rotated: Rotated, tmp_path: Path, edit: Edit) -> None:
    path = rotated.copy(tmp_path / "run")
    edit(path / "allocation.json", read_ledger(path / "ledger.zl"))
    notes = rotated.resume(path)
    assert sum(note.startswith("allocation.json is passed over (") for note in notes) == 1


@pytest.mark.parametrize("lost", [False, True])
def test_nothing_is_solved_again(rotated: Rotated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    """With the file not a word is said; without it the ledger knows who held what, though not how good that is."""
    path = rotated.copy(tmp_path / "run")
    monkeypatch.setattr(schedule, "solve", lambda *_: pytest.fail("solved again"))
    if lost:
        (path / "allocation.json").unlink()
    notes = rotated.resume(path)
    assert lost == any("passed over" in note for note in notes)
    first = json.loads((path / "allocation.json").read_text("utf-8"))["assignments"][0]
    assert (first["gap"] is None, first["solver"] == "none: read from the ledger") == (lost, lost)
    assert first["f1"] == pytest.approx(rotated.assignments[0]["f1"])


def test_a_probe_is_lost_with_its_file(tmp_path: Path, fleet: str) -> None:
    """Refused by name, and nothing is changed: later assignments rest on what the clients said then."""
    probing = ("allocation.block_weights=probe", "allocation.probe_pairs=2", "allocation.probe_every=3")
    config = tiny_config(*BLOCKS, "memory.frozen=host", fleet, *probing)
    path = stopped_after(2, config, tmp_path / "run")
    kept = (path / "allocation.json").read_bytes()
    (path / "allocation.json").unlink()
    with pytest.raises(LedgerError, match="no other file has the probe before round 1: put back the file"):
        run_here(config, path)
    assert not (path / "allocation.json").exists()
    (path / "allocation.json").write_bytes(kept)
    assert run_here(config, path)["status"] == "finished"


@pytest.mark.parametrize("name", ["summary.json", "pending.json", "config.resolved.json"])
def test_no_bit_of_a_small_file_counts_for_another(stopped: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is read as it was written, or refused. Settings that change results have their digest in the ledger. One bit
    in 53: `benchmarks chaos` flips all."""
    run, every = RunDir(stopped), 53
    if name == "pending.json":
        write_record(run.pending, records_of(run.metrics, Round)[-1])
    kinds: dict[str, type[Record]] = {"summary.json": Summary, "pending.json": Round}
    path = stopped / name
    data = path.read_bytes()

    def read() -> Any:
        if name in kinds:
            return read_record(path, kinds[name])
        config, unknown = read_run_settings(path)
        return unknown or config.digest()

    whole, accepted = read(), 0
    damaged = bytearray(data)
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: damaged.decode(encoding))
    for bit in range(0, 8 * len(data), every):
        damaged[:] = data
        damaged[bit // 8] ^= 1 << bit % 8
        with suppress(RunDirError):
            found = read()
            accepted += found == whole
            if name in kinds:
                assert msgspec.structs.asdict(found) == msgspec.structs.asdict(whole), bit
    if name in kinds:
        assert accepted < 0.2 * 8 * len(data) / every, "white space, and the name of the digest"


@pytest.mark.parametrize("name", ["prompt", "label_words"])
def test_settings_whose_name_is_damaged_answer_nothing(stopped: Path, tmp_path: Path, name: str, cli: Any) -> None:
    """The default in their place would give figures of another task."""
    path = Path(shutil.copytree(stopped, tmp_path / "run"))
    text = (path / "config.resolved.json").read_text("utf-8")
    (path / "config.resolved.json").write_text(text.replace(f'"{name}"', f'"{name[:-1]}!"'), "utf-8")
    (tmp_path / "rows.csv").write_text("text\na fine film\n", "utf-8")
    for command in (
        ["replay", path],
        ["predict", path, "--data", tmp_path / "rows.csv", "-o", "-"],
        ["evaluate", path],
    ):
        done = cli(*command)
        assert done.code == 2, done.out
        assert f"settings that this program does not know: data.{name[:-1]}!" in " ".join(done.err.split())


@pytest.mark.parametrize("text", [b"\xff", b"{}", b"[1]", b'{"rounds_done": "many"}', b'{"a":' * 100_000])
def test_a_damaged_summary_is_passed_over_by_a_replay(stopped: Path, tmp_path: Path, text: bytes, cli: Any) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "run"))
    (path / "summary.json").write_bytes(text)
    done = cli("replay", path)
    assert done.code == 0, done.err
    assert "summary.json is passed over, it is damaged" in done.out


def test_a_ledger_that_is_shorter_than_its_summary_is_refused_but_for_a_round(
    stopped: Path, tmp_path: Path, cli: Any
) -> None:
    path = Path(shutil.copytree(stopped, tmp_path / "run"))
    contents = read_ledger(path / "ledger.zl")
    assert cli("replay", path).code == 0
    data = (path / "ledger.zl").read_bytes()
    (path / "ledger.zl").write_bytes(data[: contents.records[1].offset])  # whole records, as an older copy
    done = cli("replay", path)
    assert done.code == 6
    assert "ends at round 1, its summary counts 3" in " ".join(done.err.split())
    assert "--round 1" in done.err
    done = cli("replay", path, "--round", 1)
    assert (done.code, "round 1 of 1" in done.out) == (0, True)


@pytest.mark.parametrize("text", [b"\xff", b"[1]", b'{"round": 3}', b'{"a":' * 100_000, b"null"])
def test_a_damaged_record_of_the_round_in_flight_is_passed_over(rotated: Rotated, tmp_path: Path, text: bytes) -> None:
    path = rotated.copy(tmp_path / "run")
    lines = (path / "metrics.jsonl").read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["round"] < 4]
    (path / "metrics.jsonl").write_text("".join(kept), "utf-8")
    (path / "pending.json").write_bytes(text)
    rotated.resume(path)
