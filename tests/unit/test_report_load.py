"""Reading run directories: whole, under way, torn, recovered, damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.fake_run import write_fake_run
from zorba_ray.errors import RunDirError
from zorba_ray.report import load_run
from zorba_ray.report.load import labels


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "run", rounds=20)


def test_a_finished_run(run_dir: Path) -> None:
    run = load_run(run_dir)
    assert (run.status, run.rounds_done, len(run.rounds)) == ("finished", 20, 20)
    assert [record.round for record in run.split("validation")] == [0, 10, 20]
    assert [record.round for record in run.split("test")] == [0, 20]
    assert [client.kind for client in run.allocation.clients] == ["phone"] * 3 + ["laptop"] * 3 + ["server"] * 2
    raw = json.loads((run_dir / "allocation.json").read_text(encoding="utf-8"))
    first = raw["clients"][0]
    assert run.allocation.clients[0].share == first["bytes"] / first["budget_bytes"]
    assert run.config.name == "fake"


def test_a_run_under_way_has_no_summary(tmp_path: Path) -> None:
    run = load_run(write_fake_run(tmp_path / "run", rounds=20, done=7, summary=False))
    assert (run.status, run.rounds_done, run.summary) == ("unfinished", 7, None)


def test_a_summary_of_an_earlier_session_is_not_used(run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "round", "round": 21}\n')
    assert load_run(run_dir).status == "unfinished"


def test_a_torn_last_line_is_left_out(run_dir: Path) -> None:
    whole = load_run(run_dir)
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "round", "ro')
    assert load_run(run_dir).rounds == whole.rounds


def test_recovered_rounds_may_know_little_and_stand_anywhere(run_dir: Path) -> None:
    path = run_dir / "metrics.jsonl"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if '"round", "round": 5,' not in line]
    lines.append('{"kind": "round", "round": 5, "loss": null, "lr": 0.1, "clients_ok": 8, "recovered": true}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = load_run(run_dir)
    assert [record.round for record in run.rounds] == list(range(1, 21))
    assert run.rounds[4].recovered
    assert run.rounds[4].loss is None


FILES = ["config.resolved.json", "provenance.json", "allocation.json", "metrics.jsonl"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    with pytest.raises(RunDirError, match=rf"not a complete run directory: {name} is missing"):
        load_run(run_dir)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="none: no such run directory"):
        load_run(tmp_path / "none")


def _drop_blocks(text: str) -> str:
    tree = json.loads(text)
    del tree["clients"][1]["blocks"]
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("summary.json", lambda text: text[:30], r"summary\.json cannot be read as JSON"),
        ("allocation.json", _drop_blocks, r"allocation\.json: clients\.1\.blocks: Field required"),
        ("provenance.json", lambda text: "[]", r"provenance\.json holds no JSON object"),
        ("config.resolved.json", lambda text: '{"lr": 1}', r"config\.resolved\.json: 1 setting"),
        ("metrics.jsonl", lambda text: "{\n" + text, r"metrics\.jsonl, line 1: not a JSON object"),
        ("metrics.jsonl", lambda text: '{"kind": "eval", "round": 0}\n' + text, r"metrics\.jsonl, line 1: split"),
    ],
)
def test_a_damaged_file_is_named(run_dir: Path, name: str, change: Callable[[str], str], message: str) -> None:
    path = run_dir / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunDirError, match=message):
        load_run(run_dir)


def test_labels_differ(tmp_path: Path) -> None:
    names = {"a/x": "one", "a/y": "two", "b/x": "two", "c/x": "two"}
    runs = [load_run(write_fake_run(tmp_path / path, name=name, rounds=2)) for path, name in names.items()]
    found = labels(runs)
    assert found[:2] == ["one", "two (y)"]
    assert found[2:] == [f"two ({tmp_path}/b/x)", f"two ({tmp_path}/c/x)"]
