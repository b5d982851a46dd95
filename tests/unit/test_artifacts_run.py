"""Run directories: whole, under way, torn, recovered, damaged, of another version."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_family import edit
from tests.support.fake_run import write_fake_run
from zorba_ray.artifacts import Run, RunDir, Summary, read_record, write_record
from zorba_ray.artifacts.run import run_names
from zorba_ray.campaigns.sweep.state import begin_sweep
from zorba_ray.config import Dimension, ExperimentConfig, SweepConfig
from zorba_ray.errors import RunDirError


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "run", rounds=20)


def test_a_finished_run(run_dir: Path) -> None:
    run = Run(run_dir)
    assert (run.status, run.rounds_done, len(run.rounds)) == ("finished", 20, 20)
    assert [record.round for record in run.split("validation")] == [0, 10, 20]
    assert [record.round for record in run.split("test")] == [0, 20]
    assert [client.kind for client in run.allocation.clients] == ["phone"] * 3 + ["laptop"] * 3 + ["server"] * 2
    raw = json.loads((run_dir / "allocation.json").read_text(encoding="utf-8"))
    first = raw["clients"][0]
    assert run.allocation.clients[0].share == first["bytes"] / first["budget_bytes"]
    assert (run.config.name, run.unknown_settings) == ("fake", ())


def test_a_new_directory_is_its_owners_alone(tmp_path: Path) -> None:
    made = RunDir.create(tmp_path / "runs" / "mine", ExperimentConfig()).path
    assert made.stat().st_mode & 0o777 == 0o700
    assert made.parent.stat().st_mode & 0o055  # the folder of all runs is as the user's own are
    campaign = begin_sweep(tmp_path / "sweep", SweepConfig(name="s", space={"seed": Dimension(grid=(1,))}), {}, []).path
    assert campaign.stat().st_mode & 0o777 == 0o700


def test_records_as_tables(run_dir: Path) -> None:
    run = Run(run_dir)
    rounds, evals = run.rounds_frame(), run.evals_frame()
    assert rounds["loss"].tolist() == [record.loss for record in run.rounds]
    assert rounds.loc[7, "time.round_s"] == run.rounds[6].time["round_s"]
    assert evals.loc[(10, "validation"), "loss"] == run.split("validation")[1].loss
    (run_dir / "metrics.jsonl").write_text("", encoding="utf-8")
    assert Run(run_dir).rounds_frame().empty


def test_a_run_under_way_has_no_summary(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=20, done=7, summary=False))
    assert (run.status, run.rounds_done, run.summary) == ("unfinished", 7, None)


def test_a_summary_of_an_earlier_session_is_not_used(run_dir: Path) -> None:
    with (run_dir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "round", "round": 21}\n{"kind": "round", "ro')
    run = Run(run_dir)
    assert (run.status, run.rounds_done) == ("unfinished", 21)  # and a torn line is left out


def test_recovered_rounds_may_know_little_and_stand_anywhere(run_dir: Path) -> None:
    path = run_dir / "metrics.jsonl"
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if '"round", "round": 5,' not in line]
    lines.append('{"kind": "round", "round": 5, "loss": null, "lr": 0.1, "clients_ok": 8, "recovered": true}')
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    run = Run(run_dir)
    assert [record.round for record in run.rounds] == list(range(1, 21))
    assert run.rounds[4].recovered
    assert run.rounds[4].loss is None


@pytest.mark.parametrize("name", ["config.resolved.json", "provenance.json", "allocation.json", "metrics.jsonl"])
def test_a_missing_file_is_named(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    with pytest.raises(RunDirError, match=rf"not a complete run directory: {name} is missing"):
        Run(run_dir)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="none: no such run directory"):
        Run(tmp_path / "none")


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """A change of a file's JSON object."""

    def apply(text: str) -> str:
        tree = json.loads(text)
        change(tree)
        return json.dumps(tree)

    return apply


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("summary.json", lambda text: text[:30], r"summary\.json cannot be read as JSON"),
        ("summary.json", lambda text: "[" * 100_000, r"summary\.json cannot be read as JSON"),
        ("summary.json", changed(lambda tree: tree.update(rounds_done=-1)), r"rounds_done: Expected `int` >= 0"),
        ("summary.json", changed(lambda tree: tree.update(version=2)), r"Summary of version 2; .* use the version"),
        ("summary.json", changed(lambda tree: tree.update(version="new")), r"Summary of version 'new'"),
        ("allocation.json", changed(lambda tree: tree["clients"][1].pop("blocks")), r"clients\[1\].*`blocks`"),
        ("provenance.json", lambda text: "[]", r"provenance\.json does not hold a JSON object"),
        ("config.resolved.json", lambda text: '{"rounds": 0}', r"config\.resolved\.json: 1 setting.*\n.*rounds = 0"),
        ("metrics.jsonl", lambda text: "{\n" + text, r"metrics\.jsonl, line 1: damaged, or not a record"),
    ],
)
def test_a_damaged_file_is_named(run_dir: Path, name: str, change: Callable[[str], str], message: str) -> None:
    path = run_dir / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(RunDirError, match=message):
        Run(run_dir)


def test_settings_of_a_newer_program(run_dir: Path) -> None:
    """They are passed over where a run is read, and refused where it would be resumed."""
    whole = Run(run_dir).config

    def add(tree: dict[str, Any]) -> None:
        tree["zo"]["annealing"] = {"from": 3}
        tree["fairness"] = {"epsilon": 8}
        tree["federation"]["fleet"][0]["battery"] = 0.5

    edit(run_dir / "config.resolved.json", add)
    run = Run(run_dir)
    assert run.config == whole
    assert set(run.unknown_settings) == {"zo.annealing", "fairness", "federation.fleet.battery"}
    with pytest.raises(RunDirError, match=r"settings that this program does not know: .*zo\.annealing.*resume it with"):
        RunDir.reopen(run_dir, whole)


def test_unknown_keys_of_a_file_are_written_back(run_dir: Path) -> None:
    path = run_dir / "summary.json"
    edit(path, lambda tree: tree.update(energy_j=3.5))
    summary = read_record(path, Summary)
    assert summary.unknown == {"energy_j": 3.5}
    write_record(path, summary)
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert (tree["version"], tree["energy_j"], tree["status"]) == (1, 3.5, "finished")


def test_names_differ(tmp_path: Path) -> None:
    names = {"a/x": "one", "a/y": "two", "b/x": "two", "c/x": "two"}
    runs = [Run(write_fake_run(tmp_path / path, name=name, rounds=2)) for path, name in names.items()]
    found = run_names(runs)
    assert found[:2] == ["one", "two (y)"]
    assert found[2:] == [f"two ({tmp_path}/b/x)", f"two ({tmp_path}/c/x)"]
