"""A comparison on the tiny task: from the command to its page, cut off and taken up again, with a run that diverges."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.tiny_run import TINY
from zorba_ray.artifacts import held
from zorba_ray.campaigns.comparison import open_comparison, plan_comparison, run_comparison
from zorba_ray.campaigns.comparison import run as comparison_run
from zorba_ray.cli.main import app
from zorba_ray.config import ExperimentConfig, load_config
from zorba_ray.errors import Interrupted, LostClients, RunDirError, SweepIncomplete
from zorba_ray.report import write_report
from zorba_ray.report.comparison import comparison_rows, load_comparison
from zorba_ray.report.comparison_page import comparison_warnings
from zorba_ray.report.measures import final_loss, passes_at

METHODS = ("zorba", "decomfl", "mezo")
RATES = {"zorba": (0.01, 0.03), "decomfl": (0.002,), "mezo": (0.001,)}


def command(path: Path, *more: str) -> list[str]:
    rates = [part for name, own in RATES.items() for part in ("--rates", f"{name}={','.join(map(str, own))}")]
    return ["compare", "demo", *TINY, "--methods", ",".join(METHODS), "--seeds", "2", *rates, "--dir", str(path), *more]


def invoke(path: Path, *more: str) -> Any:
    return CliRunner().invoke(app, command(path, *more), catch_exceptions=True)


def test_a_comparison_from_the_command_to_its_page(tmp_path: Path) -> None:
    found = invoke(tmp_path / "c", "--json")
    assert found.exit_code == 0, found.output
    state = json.loads((tmp_path / "c" / "compare.json").read_text())
    assert {path for path, own in state["cells"].items() if own["status"] == "finished"} == {
        "zorba/rate-0.01", "zorba/rate-0.03", *(f"{name}/seed-{seed}" for name in METHODS for seed in (1, 2)),
    }  # fmt: skip
    assert state["chosen"] == {"zorba": state["chosen"]["zorba"], "decomfl": 0.002, "mezo": 0.001}
    tried = state["tried"]["zorba"]
    assert state["chosen"]["zorba"] == float(min(tried, key=tried.__getitem__))
    record = load_comparison(tmp_path / "c")
    for standing, row in zip(record.results, comparison_rows(record), strict=True):
        losses = [final_loss(run) for run in standing.runs.values()]
        assert row["final_loss_mean"] == pytest.approx(sum(loss for loss in losses if loss is not None) / 2)
        assert row["seeds"] == [1, 2]
        assert row["test_accuracy_mean"] is not None
    pairs = [run.config.seed for standing in record.results for run in standing.runs.values()]
    assert pairs == [1, 2] * 3
    with (tmp_path / "c" / "compare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["method"] for row in table] == list(METHODS)
    assert float(table[0]["final_loss_mean"]) == pytest.approx(comparison_rows(record)[0]["final_loss_mean"])
    page = (tmp_path / "c" / "compare.html").read_text()
    for text in ("decomfl", "Loss against forward passes", "Rates tried", "Forward passes of a client"):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_what_was_cut_off_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    base = load_config("demo", TINY)
    plan = plan_comparison(base, METHODS, 2, RATES, 0.5, {})
    asked = 0

    def after_a_while() -> bool:
        nonlocal asked
        asked += 1
        return asked > 8  # rates: one round each; then two runs of three rounds

    directory = open_comparison(tmp_path / "c", plan, False, [])
    with pytest.raises(Interrupted, match=r"stopped in .*zorba-ray compare … --dir .*/c --resume"):
        run_comparison(plan, directory, [], lambda event: None, after_a_while, None)
    before = {path: own for path, own in directory.state.cells.items() if own.status == "finished"}
    assert 0 < len(before) < 8
    assert [own.status for own in directory.state.cells.values()].count("interrupted") == 1
    times = {path: (tmp_path / "c" / path / "metrics.jsonl").stat().st_mtime_ns for path in before}
    again = open_comparison(tmp_path / "c", plan, True, [])
    run_comparison(plan, again, [], lambda event: None, lambda: False, None)
    assert {own.status for own in again.state.cells.values()} == {"finished"}
    assert times == {path: (tmp_path / "c" / path / "metrics.jsonl").stat().st_mtime_ns for path in before}
    straight = open_comparison(tmp_path / "s", plan, False, [])
    run_comparison(plan, straight, [], lambda event: None, lambda: False, None)
    resumed, whole = (comparison_rows(load_comparison(tmp_path / name))[0] for name in ("c", "s"))
    assert resumed["cpu_s_mean"] is not None
    assert resumed["final_loss_mean"] == whole["final_loss_mean"]


def test_what_failed_is_tried_again_and_what_is_gone_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost machine at a rate: no rate is chosen without it. Then a folder that someone removed."""
    rates = {"zorba": (0.01, 0.03), "mezo": (0.001,)}
    plan = plan_comparison(load_config("demo", TINY), ("zorba", "mezo"), 1, rates, 0.5, {})
    directory = open_comparison(tmp_path / "c", plan, False, [])
    whole = comparison_run.execute

    def lost(config: ExperimentConfig, *more: Any) -> Any:
        if config.zo.lr > 0.03:  # the second rate, taken larger as its rounds are fewer
            raise LostClients("client 1 is gone")
        return whole(config, *more)

    monkeypatch.setattr(comparison_run, "execute", lost)
    with pytest.raises(
        SweepIncomplete, match=r"1 of 3 runs failed.*\n  zorba/rate-0\.03: LostClients: client 1 is gone"
    ):
        run_comparison(plan, directory, [], lambda event: None, lambda: False, None)
    assert set(directory.state.chosen) == {"mezo"}  # which went on
    monkeypatch.setattr(comparison_run, "execute", whole)
    (tmp_path / "c" / "mezo" / "seed-1").rename(tmp_path / "away")
    again = open_comparison(tmp_path / "c", plan, True, [])
    run_comparison(plan, again, [], lambda event: None, lambda: False, None)
    assert {own.status for own in again.state.cells.values()} == {"finished"}
    assert set(again.state.chosen) == {"zorba", "mezo"}
    digests = {
        json.loads((path / "summary.json").read_text())["weights_sha256"]
        for path in (tmp_path / "away", tmp_path / "c" / "mezo" / "seed-1")
    }
    assert len(digests) == 1
    (tmp_path / "away").rename(tmp_path / "c" / "zorba" / "swapped")
    shutil.rmtree(tmp_path / "c" / "zorba" / "seed-1")
    (tmp_path / "c" / "zorba" / "swapped").rename(tmp_path / "c" / "zorba" / "seed-1")
    with pytest.raises(RunDirError, match="has a run of mezo, seed 1, and should have one of zorba, seed 1"):
        load_comparison(tmp_path / "c")


def test_two_programs_do_not_share_a_comparison(tmp_path: Path) -> None:
    plan = plan_comparison(load_config("demo", TINY), ("zorba",), 1, {"zorba": (0.01,)}, 0.5, {})
    directory = open_comparison(tmp_path / "c", plan, False, [])
    with held(tmp_path / "c"), pytest.raises(RunDirError, match="in use by another process"):
        run_comparison(plan, directory, [], lambda event: None, lambda: False, None)


def test_a_probe_is_counted(tmp_path: Path) -> None:
    probed = ("allocation.block_weights=probe", "allocation.probe_pairs=2", "allocation.epsilon=0.5")
    base = load_config("demo", [*TINY, "memory.frozen=host", *probed])
    plan = plan_comparison(base, ("zorba",), 1, {"zorba": (0.01,)}, 0.5, {})
    run_comparison(plan, open_comparison(tmp_path / "c", plan, False, []), [], lambda event: None, lambda: False, None)
    record = load_comparison(tmp_path / "c")
    (run,) = record.results[0].runs.values()
    pairs = json.loads((tmp_path / "c" / "zorba" / "seed-1" / "summary.json").read_text())["probe_forward_pairs"]
    assert pairs > 0
    assert passes_at(run, 0) == 0
    assert passes_at(run, 3) == 3 * run.config.passes_per_round + 2 * pairs // 4
    assert f"Additional forward passes of probes, per client: zorba, {2 * pairs // 4}." in comparison_warnings(record)


def test_a_run_that_diverged_is_in_no_mean(tmp_path: Path) -> None:
    base = load_config("demo", TINY)
    plan = plan_comparison(base, ("zorba", "fedavg"), 1, {"zorba": (0.01,), "fedavg": (1e30,)}, 0.5, {})
    directory = open_comparison(tmp_path / "c", plan, False, [])
    run_comparison(plan, directory, [], lambda event: None, lambda: False, None)
    own = directory.state.cells["fedavg/seed-1"]
    assert own.status == "diverged"
    assert "no longer finite" in (own.error or "")
    row = comparison_rows(load_comparison(tmp_path / "c"))[1]
    # What the first round would move is judged before it is committed.
    assert row["diverged"] == [{"seed": 1, "round": 0}]
    assert row["final_loss_mean"] is None
    page = write_report([tmp_path / "c"], tmp_path / "page.html").read_text()
    assert "Not in any mean: fedavg, seed 1 (diverged after round 0)." in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "zorba,zorba"], "zorba stands twice"),
        (["--methods", "nonesuch"], "nonesuch: unknown method"),
        (["--seeds", "0"], "--seeds 0"),
        (["--rates", "zorba"], "write method=value,value"),
        (["--set", "zorba"], "write method:key=value"),
        (["--set", "zorba:zo.lt=3"], "did you mean zo.lr"),
        (["--resume"], "compare.json is missing"),
    ],
)
def test_bad_input_is_told_and_leaves_nothing(more: list[str], message: str, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["compare", "demo", *TINY, "--dir", str(tmp_path / "c"), *more])
    assert message in str(found.exception)
    assert getattr(found.exception, "exit_code", None) == 2
    assert not (tmp_path / "c").exists()
