"""`zorba-ray compare` on the tiny built-in run: zorba, decomfl and mezo on two seeds; stopped, resumed, diverged."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli
from tests.support.report_page import ReportPage
from tests.support.tiny_run import TINY, tiny_config
from zorba_ray.contest.records import Contest, read_contest
from zorba_ray.contest.run import run_contest
from zorba_ray.contest.settings import make_settings
from zorba_ray.errors import Interrupted

METHODS = "zorba,decomfl,mezo"
SMALL = ["rounds=6", "eval.every=2"]


def contest(path: Path, *overrides: str, resume: bool = False, stop_after: int | None = None, **given: Any) -> Contest:
    """In this process; asked to stop after so many rounds of the session, if at all."""
    rounds: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            rounds.append(event["round"])

    settings = make_settings(**{"methods": METHODS, "seeds": 2, "tuning": False, **given})
    base = tiny_config(*SMALL, *overrides)
    return run_contest(
        base, settings, path, resume, ["typed"], emit, lambda: stop_after is not None and len(rounds) >= stop_after
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contest, Path]:
    """A comparison run to its end in one session."""
    path = tmp_path_factory.mktemp("contest") / "whole"
    return contest(path), path


def test_every_method_on_every_seed(whole: tuple[Contest, Path]) -> None:
    state, path = whole
    assert state == read_contest(path)
    assert {cell.status for cell in state.cells} == {"finished"}
    zorba, decomfl, mezo = state.contestants
    # 12 passes of a client; decomfl's rounds have six, mezo has those of four clients.
    assert (zorba.rounds, decomfl.rounds, mezo.rounds) == (6, 2, 24)
    assert (zorba.left_over, decomfl.left_over, mezo.left_over) == (0, 0, 0)
    starts = {tuple(outcome.figures["start_loss"].values.values()) for outcome in state.outcomes}
    assert len(starts) == 1
    for outcome, one in zip(state.outcomes, state.contestants, strict=True):
        for cell in state.cells_of(one.method):
            summary = json.loads((path / cell.run / "summary.json").read_text())
            assert outcome.figures["final_loss"].values[cell.seed] == summary["final_loss"]
            assert cell.weights_sha256 == summary["weights_sha256"]
        last = outcome.curve[-1]
        assert (last.round, last.loss) == (one.rounds, outcome.figures["final_loss"].mean)
        assert last.passes == 12
        assert (last.cpu_s or 0) > 0
        assert ("bytes_up" in outcome.figures) == (one.method != "mezo")


def test_bytes_are_those_of_the_frames(whole: tuple[Contest, Path]) -> None:
    state, path = whole
    for outcome in state.outcomes[:2]:
        records = [json.loads(line) for line in (path / outcome.method / "seed-1" / "metrics.jsonl").open()]
        rounds = [record for record in records if record["kind"] == "round"]
        up = sum(record["report_bytes"] for record in rounds) / 4
        down = sum(record["plan_bytes"] + record["commit_bytes"] + record["active_set_bytes"] / 4 for record in rounds)
        assert outcome.figures["bytes_up"].values[1] == pytest.approx(up)
        assert outcome.figures["bytes_down"].values[1] == pytest.approx(down)


def test_the_same_seed_has_the_same_partition(whole: tuple[Contest, Path]) -> None:
    _, path = whole

    def examples(method: str, seed: int) -> list[int]:
        tree = json.loads((path / method / f"seed-{seed}" / "allocation.json").read_text())
        return [client["examples"] for client in tree["clients"]]

    assert examples("zorba", 1) == examples("decomfl", 1) != examples("zorba", 2)
    assert examples("mezo", 1) == [sum(examples("zorba", 1))]


def test_tables(whole: tuple[Contest, Path]) -> None:
    state, path = whole
    lines = list(csv.DictReader((path / "compare.csv").open(encoding="utf-8")))
    assert [line["method"] for line in lines] == METHODS.split(",")
    for line, outcome in zip(lines, state.outcomes, strict=True):
        assert float(line["final_loss"]) == outcome.figures["final_loss"].mean
        assert float(line["final_loss_half"]) == outcome.figures["final_loss"].half
    assert lines[0]["final_loss_difference"] == ""
    assert float(lines[1]["final_loss_difference"]) == state.outcomes[1].differences["final_loss"].mean
    assert lines[2]["bytes_up"] == ""
    cells = list(csv.DictReader((path / "cells.csv").open(encoding="utf-8")))
    assert [(line["method"], line["seed"], line["status"]) for line in cells] == [
        (cell.method, str(cell.seed), "finished") for cell in state.cells
    ]


def test_stopped_and_resumed_is_the_same(whole: tuple[Contest, Path], tmp_path: Path) -> None:
    """Stopped in zorba's first run and again in mezo's: no round is run twice, and every digest is the same."""
    straight, path = whole[0], tmp_path / "stopped"
    with pytest.raises(Interrupted, match="--resume"):
        contest(path, stop_after=3)
    first = read_contest(path)
    assert (first.status, first.cells[0].status) == ("interrupted", "pending")
    with pytest.raises(Interrupted):
        contest(path, resume=True, stop_after=10)
    ledger = (path / "zorba" / "seed-1" / "ledger.zl").read_bytes()
    resumed = contest(path, resume=True)
    assert resumed.sessions == 3
    assert [cell.weights_sha256 for cell in resumed.cells] == [cell.weights_sha256 for cell in straight.cells]
    assert (path / "zorba" / "seed-1" / "ledger.zl").read_bytes() == ledger
    for one, other in zip(resumed.outcomes, straight.outcomes, strict=True):
        assert one.figures["final_loss"] == other.figures["final_loss"]
        assert one.reached == other.reached
    # A fourth session has nothing to do.
    before = {cell.run: (path / cell.run / "summary.json").stat().st_mtime_ns for cell in resumed.cells}
    contest(path, resume=True)
    assert before == {cell.run: (path / cell.run / "summary.json").stat().st_mtime_ns for cell in resumed.cells}


def test_tuning_and_a_diverged_run(cli: Cli, tmp_path: Path) -> None:
    """mezo's only rates end at no finite loss: it is reported with its rounds, averaged nowhere, and stops no other."""
    path = tmp_path / "c"
    arguments = ["compare", "demo", *TINY, *SMALL, "--methods", "zorba,mezo", "--seeds", "1", "--dir", path]
    outcome = cli(*arguments, "--rates", "mezo=1e30,1e35")
    assert outcome.code == 0, outcome.err
    state = read_contest(path)
    zorba, mezo = state.contestants
    assert zorba.rate == min(zorba.tries, key=lambda one: one.loss or 0).rate
    assert [one.rounds for one in zorba.tries] == [2, 2]
    assert {one.status for one in mezo.tries} == {"diverged"}
    assert (mezo.rate, state.cells_of("mezo")[0].status) == (None, "diverged")
    assert state.outcomes[1].figures == {}
    assert "none of the learning rates 1e+30, 1e+35 ran to its end" in (state.cells_of("mezo")[0].error or "")
    page = ReportPage(path / "compare.html")
    assert "mezo: 0 of 1; diverged: seed 1" in page.text


def test_a_diverged_cell_is_not_averaged(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "c"
    arguments = ["compare", "demo", *TINY, *SMALL, "mezo:zo.lr=1e30", "--methods", "zorba,mezo", "--seeds", "2"]
    outcome = cli(*arguments, "--no-tuning", "--dir", path)
    assert outcome.code == 0, outcome.err
    state = read_contest(path)
    assert {cell.status for cell in state.cells_of("mezo")} == {"diverged"}
    assert all(0 < cell.round < 24 for cell in state.cells_of("mezo"))
    assert "final_loss" not in state.outcomes[1].figures
    assert state.outcomes[0].figures["final_loss"].values.keys() == {1, 2}
    assert "diverged: seed 1 after round" in outcome.out
    # Diverged is an end: nothing is run again.
    stamp = (path / "mezo" / "seed-1" / "summary.json").stat().st_mtime_ns
    assert cli(*arguments, "--no-tuning", "--dir", path, "--resume").code == 0
    assert (path / "mezo" / "seed-1" / "summary.json").stat().st_mtime_ns == stamp


def test_a_failed_run_stops_no_other_and_exits_with_9(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zorba_ray.contest.run as module

    real = module.run_experiment

    def broken(config: Any, *rest: Any) -> Any:
        if config.method == "decomfl":
            raise RuntimeError("a cosmic ray")
        return real(config, *rest)

    monkeypatch.setattr(module, "run_experiment", broken)
    path = tmp_path / "c"
    arguments = ["compare", "demo", *TINY, *SMALL, "--methods", "decomfl,zorba", "--seeds", "1", "--no-tuning"]
    outcome = cli(*arguments, "--dir", path, "--json")
    assert outcome.code == 9, outcome.err
    assert "decomfl/seed-1: RuntimeError: a cosmic ray" in outcome.err
    assert "Traceback" in (path / "decomfl" / "seed-1.log").read_text()
    assert [cell["status"] for cell in json.loads(outcome.out)["cells"]] == ["failed", "finished"]
    monkeypatch.undo()
    assert cli(*arguments, "--dir", path, "--resume").code == 0
    assert {cell.status for cell in read_contest(path).cells} == {"finished"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "zorba,fedprox"], "unknown method 'fedprox'"),
        (["--methods", "zorba,zorba"], "zorba stands twice"),
        (["--methods", "zorba", "--seeds", "0"], "--seeds 0"),
        (
            ["--methods", "zorba", "method=mezo", "federation.clients=1"],
            "method=mezo: a comparison starts from zorba's",
        ),
        (["--methods", "zorba", "data.path=/no/such/folder"], "no such file or folder"),
        (["--methods", "decomfl", "--budget", "3"], "decomfl makes 6 forward passes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input_exits_with_2(cli: Cli, tmp_path: Path, arguments: list[str], message: str) -> None:
    outcome = cli("compare", "demo", *TINY, *arguments, "--dir", tmp_path / "c")
    assert outcome.code == 2, outcome.err
    assert message in outcome.err
    assert not (tmp_path / "c" / "compare.json").exists()


def test_a_directory_that_exists_or_is_anothers(cli: Cli, whole: tuple[Contest, Path], tmp_path: Path) -> None:
    path = whole[1]
    arguments = ["compare", "demo", *TINY, *SMALL, "--methods", METHODS, "--no-tuning", "--dir", path]
    outcome = cli(*arguments, "--seeds", "2")
    assert (outcome.code, "--resume" in outcome.err) == (2, True)
    outcome = cli(*arguments, "--seeds", "3", "data.alpha=0.7", "--resume")
    assert outcome.code == 2
    assert "seeds: 2 -> 3" in outcome.err
    assert "run.data.alpha: 1.0 -> 0.7" in outcome.err
    outcome = cli(*arguments[:-1], tmp_path / "nowhere", "--seeds", "2", "--resume")
    assert (outcome.code, "is no comparison" in outcome.err) == (2, True)


def test_what_would_be_given(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("compare", "demo", *TINY, *SMALL, "--methods", METHODS, "--dir", tmp_path / "c", "--dry-run")
    assert outcome.code == 0
    assert "What each method is given" in outcome.out
    assert "Budget: 12 forward passes of a client, 4 asked in a round" in outcome.out
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_killed_at_any_time_and_resumed(tmp_path: Path, signal_number: int) -> None:
    """In a process of its own, mid-run: SIGKILL says nothing, Ctrl-C ends with 130 after the round; both go on."""
    path = tmp_path / "c"
    command = [
        sys.executable, "-m", "zorba_ray", "compare", "demo", *TINY, "rounds=30", "eval.every=10", "--methods",
        "zorba,decomfl", "--seeds", "1", "--no-tuning", "--dir", str(path),
    ]  # fmt: skip
    metrics = path / "zorba" / "seed-1" / "metrics.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 200
    while not (metrics.exists() and metrics.read_text().count('"kind": "round"') >= 3):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal_number)
    assert process.wait(timeout=100) == (130 if signal_number == signal.SIGINT else -signal.SIGKILL)
    assert read_contest(path).cells[0].status in ("running", "pending")
    done = metrics.read_text().count('"kind": "round"')
    assert 3 <= done < 30
    settings = make_settings("zorba,decomfl", 1, tuning=False)
    base = tiny_config("rounds=30", "eval.every=10")
    rounds: list[dict[str, Any]] = []

    def emit(event: dict[str, Any]) -> None:
        if event["kind"] == "round":
            rounds.append(event)

    resumed = run_contest(base, settings, path, True, [], emit, lambda: False)
    assert len(rounds) <= 30 - done + resumed.contestants[1].rounds + 1
    fresh = run_contest(base, settings, tmp_path / "fresh", False, [], lambda event: None, lambda: False)
    assert [cell.weights_sha256 for cell in resumed.cells] == [cell.weights_sha256 for cell in fresh.cells]
    assert resumed.outcomes[0].figures["final_loss"] == fresh.outcomes[0].figures["final_loss"]
