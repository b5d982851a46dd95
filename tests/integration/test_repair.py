"""A damaged run directory is repaired: what the chain confirms is kept, the rest is computed again to the same
bytes."""

import errno
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_run import run_here, stopped_after, tiny_config
from zorba_ray.artifacts import Round, Run, RunDir, held, read_record, records_of
from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.errors import ConfigError, LedgerError, RunDirError
from zorba_ray.experiment.repair import diagnose, repair_run
from zorba_ray.experiment.replay import recorded_run
from zorba_ray.protocol.ledger import read_ledger

SETTINGS = (
    "rounds=6",
    "eval.rows=16",
    "eval.every=3",
    "data.train_rows=32",
    "federation.snapshot_every=2",
)
ROTATED = (
    "memory.frozen=host",
    "federation.clients=2",
    "allocation.every=2",
    "allocation.block_weights=probe",
    "allocation.probe_every=3",
)


class Ran:
    """A run that is stopped after five of its six rounds, and what it comes to without a stop."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.config = tiny_config(*SETTINGS, *settings)
        self.digest = run_here(self.config, folder / "straight")["weights_sha256"]
        self.straight, self.stopped = folder / "straight", stopped_after(5, self.config, folder / "stopped")

    def copy(self, to: Path, finished: bool = False) -> Path:
        return Path(shutil.copytree(self.straight if finished else self.stopped, to))

    def require_same_end(self, path: Path) -> None:
        """A resume ends as the undisturbed run did, with every round once."""
        assert run_here(self.config, path)["weights_sha256"] == self.digest
        assert [record.round for record in records_of(path / "metrics.jsonl", Round)] == list(range(1, 7))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("ran"))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_not_damaged_is_not_touched(ran: Ran, tmp_path: Path, cli: Any) -> None:
    path = ran.copy(tmp_path / "run", finished=True)
    before = content(path)
    done = cli("repair", path)
    assert (done.code, done.out.strip()) == (0, f"{path}: nothing is damaged; the ledger ends at round 6")
    assert content(path) == {**before, ".lock": b""}


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_of_the_ledger_is_put_back(ran: Ran, tmp_path: Path, seed: int) -> None:
    """Of 20 bits anywhere in the file each is found; after the repair the file is what it was."""
    path = ran.copy(tmp_path / "run")
    ledger, chance = path / "ledger.zl", random.Random(seed)
    data = ledger.read_bytes()
    damaged = bytearray()
    for _ in range(20):
        bit = chance.randrange(8 * len(data))
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        ledger.write_bytes(damaged)
        found = diagnose(path)
        assert (found.flipped, found.contents.last_round, list(found.lost)) == ((bit,), 5, [])
        assert ledger.read_bytes() == damaged, "a diagnosis changes nothing"
    found, copies = repair_run(path)
    assert copies is not None
    assert (copies / "ledger.zl").read_bytes() == damaged
    assert ledger.read_bytes() == data
    assert diagnose(path).faults == ()


Damage = Callable[[bytes, list[int]], bytes]
"""(content of the ledger, offsets of the records and the end) -> damaged content."""
DAMAGES: dict[str, tuple[Damage, int]] = {
    "torn": (lambda data, at: data[: at[4] + 20], 4),
    "a tail of zeros": (lambda data, at: data + bytes(4096), 5),
    "zeros at the end": (lambda data, at: data[: at[3] + 9] + bytes(len(data) - at[3] - 9), 3),
    "a tail of garbage": (lambda data, at: data + random.Random(1).randbytes(500), 5),
    "a page of zeros": (lambda data, at: data[: at[2] + 5] + bytes(90) + data[at[2] + 95 :], 2),
    "swapped": (lambda data, at: data[: at[1]] + data[at[2] : at[3]] + data[at[1] : at[2]] + data[at[3] :], 1),
    "repeated": (lambda data, at: data[: at[3]] + data[at[2] :], 3),
    "left out": (lambda data, at: data[: at[1]] + data[at[2] :], 1),
    "no round is left": (lambda data, at: data[: at[0]] + bytes(100), 0),
}


@pytest.mark.parametrize(("damage", "last"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_ledger_is_cut_after_the_last_good_record(
    ran: Ran, tmp_path: Path, damage: Damage, last: int, cli: Any
) -> None:
    path = ran.copy(tmp_path / "run", finished=False)
    contents = read_ledger(path / "ledger.zl")
    data = (path / "ledger.zl").read_bytes()
    damaged = damage(data, [*(record.offset for record in contents.records), contents.size])
    (path / "ledger.zl").write_bytes(damaged)
    if damage is not DAMAGES["torn"][0]:
        with pytest.raises(LedgerError, match="zorba-ray repair"):
            read_ledger(path / "ledger.zl")
    done = cli("repair", path)
    assert done.code == 0, done.err
    assert f"the ledger ends at round {last}\n" in done.out
    assert (f"lost: rounds {last + 1} to 5, which took " in done.out) == (last < 5)
    assert (path / "before-repair-1" / "ledger.zl").read_bytes() == damaged
    assert read_ledger(path / "ledger.zl").last_round == last
    assert [record.round for record in Run(path).rounds] == list(range(1, last + 1))
    assert diagnose(path).faults == ()


@pytest.mark.parametrize("last", [0, 1, 4])
def test_a_resume_computes_lost_rounds_again(ran: Ran, tmp_path: Path, last: int) -> None:
    path = ran.copy(tmp_path / "run")
    size = read_ledger(path / "ledger.zl").up_to(last).size
    os.truncate(path / "ledger.zl", size)
    with (path / "ledger.zl").open("ab") as file:
        file.write(bytes(1000))
    repair_run(path)
    ran.require_same_end(path)


def test_a_finished_run_goes_back_on_purpose(ran: Ran, tmp_path: Path, cli: Any) -> None:
    path = ran.copy(tmp_path / "run", finished=True)
    before, answered = content(path), _answers(path)
    dry = cli("repair", path, "--rollback-to", 2, "--dry-run")
    assert "the ledger would end at round 2" in dry.out
    assert content(path) == before
    done = cli("repair", path, "--rollback-to", 2)
    assert (done.code, "lost: rounds 3 to 6" in done.out) == (0, True)
    kept = content(path / "before-repair-1")
    assert {name: before[name] for name in kept} == kept
    assert {"ledger.zl", "summary.json", "metrics.jsonl", "answers.json"} <= kept.keys()
    assert not (path / "summary.json").exists()
    assert read_ledger(path / "ledger.zl").last_round == 2
    assert _answers(path).round is None
    assert [(row.before, row.after) for row in _answers(path).rows] == [(row.before, None) for row in answered.rows]
    assert diagnose(path).faults == ()
    ran.require_same_end(path)
    assert _answers(path) == answered


def _answers(path: Path) -> SampledAnswers:
    return read_record(RunDir(path).answers, SampledAnswers)


def test_there_is_no_such_round(ran: Ran, tmp_path: Path) -> None:
    path = ran.copy(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"--rollback-to 6: the good part of the ledger ends at round 5"):
        repair_run(path, 6)
    with pytest.raises(RunDirError, match="is not a run directory"):
        diagnose(tmp_path)


def test_assignments_and_probes_of_lost_rounds_are_taken_out(tmp_path: Path) -> None:
    """Those before them stay: no other file has a probe."""
    ran = Ran(tmp_path, *ROTATED)
    path = ran.copy(tmp_path / "run", finished=True)
    rounds = {key: [entry["round"] for entry in _allocation(path)[key]] for key in ("assignments", "probes")}
    repair_run(path, 3)
    for key, numbers in rounds.items():
        assert [entry["round"] for entry in _allocation(path)[key]] == [number for number in numbers if number <= 3]
    ran.require_same_end(path)
    assert {key: [entry["round"] for entry in _allocation(path)[key]] for key in rounds} == rounds


def _allocation(path: Path) -> dict[str, Any]:
    return json.loads((path / "allocation.json").read_text("utf-8"))


def test_tensors_that_are_not_kept_are_no_place_to_go_back_to(tmp_path: Path) -> None:
    settings = ("method=fedavg", "method_settings.lr=0.05", "method_settings.local_steps=1")
    ran = Ran(tmp_path, *settings)
    path = ran.copy(tmp_path / "run", finished=True)
    with pytest.raises(ConfigError, match=r"--rollback-to 2: tensors are not in the ledger.*there are none"):
        repair_run(path, 2)
    repair_run(path, 5)
    ran.require_same_end(path)


@pytest.mark.parametrize(
    "name",
    ["summary.json", "provenance.json", "partition.json", "allocation.json", "metrics.jsonl", "config.resolved.json"],
)
def test_small_files_are_made_anew(ran: Ran, tmp_path: Path, name: str) -> None:
    path = ran.copy(tmp_path / "run")
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] = 0
    (path / name).write_bytes(data)
    (fault,) = diagnose(path).faults
    assert fault.file == path / name
    _, copies = repair_run(path)
    if name == "config.resolved.json":
        assert copies is None
    else:
        assert copies is not None
        assert [each.name for each in copies.iterdir()] == [name]
        assert diagnose(path).faults == ()
    ran.require_same_end(path)
    assert diagnose(path).faults == ()
    Run(path)


def test_a_replay_needs_the_records_up_to_its_round(ran: Ran, tmp_path: Path, cli: Any) -> None:
    path = ran.copy(tmp_path / "run", finished=True)
    whole = cli("replay", path, "--round", 3).out
    offset = read_ledger(path / "ledger.zl").records[4].offset
    data = (path / "ledger.zl").read_bytes()
    (path / "ledger.zl").write_bytes(data[:offset] + bytes(len(data) - offset))
    done = cli("replay", path, "--round", 3)
    assert done.code == 0, done.err
    assert [line for line in done.out.splitlines() if "SHA-256" in line] == [
        line for line in whole.splitlines() if "SHA-256" in line
    ]
    assert "the record's length and round are damaged" in done.out
    for asked in (None, 5):
        with pytest.raises(LedgerError, match="The 4 rounds before it are good: `zorba-ray repair"):
            recorded_run(path, asked)


def test_a_run_in_use_or_a_full_disk_is_left_as_it_is(
    ran: Ran, tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ran.copy(tmp_path / "run")
    with (path / "ledger.zl").open("ab") as file:
        file.write(bytes(100))
    before = content(path)
    with held(path):
        done = cli("repair", path)
    assert (done.code, "in use by another process" in done.err) == (2, True)

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        done = cli("repair", path)
    assert (done.code, "No space left on device: a repair needs room for copies" in done.err) == (8, True)
    assert {name: data for name, data in content(path).items() if name in before} == before
    assert cli("repair", path).code == 0
    assert read_ledger(path / "ledger.zl").torn_bytes == 0
