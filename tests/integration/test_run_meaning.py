"""Runs that mean nothing say so: destroyed models end as diverged, steps that move nothing are refused, predictions
that are one label are warned of, in the terminal, in summary.json and in the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Cli
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Eval
from zorba_ray.errors import ConfigError, Diverged
from zorba_ray.experiment import prepare
from zorba_ray.experiment.run_warnings import end_warnings
from zorba_ray.report import write_report
from zorba_ray.zo.resolution import resolution


def evaluations(path: Path) -> list[dict[str, Any]]:
    lines = (path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    for record in records:
        del record["crc"]
    return [record for record in records if record["kind"] == "eval"]


def summary_of(path: Path) -> dict[str, Any]:
    return json.loads((path / "summary.json").read_text(encoding="utf-8"))


def test_a_rate_far_too_large_ends_as_diverged_and_stays_so(cli: Cli, tiny_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    arguments = ("run", tiny_file, "zo.lr=1", "rounds=20", "eval.every=4", "--run-dir", path)
    found = cli(*arguments)
    assert found.code == 7, found.err
    assert "the logits no longer depend on the row" in found.err
    assert "zo.lr" in found.err
    summary = summary_of(path)
    assert summary["status"] == "diverged"
    assert summary["rounds_done"] < 20
    last = evaluations(path)[-1]
    assert f"round {last['round']}: " in summary["error"]
    assert last["spread"] < 0.01 * evaluations(path)[0]["spread"]
    assert last["loss"] < 100  # finite, and not even large
    ledger = (path / "ledger.zl").read_bytes()
    again = cli(*arguments, "--resume")  # the evaluations of the earlier session count
    assert again.code == 7
    assert f"round {last['round']}: " in again.err
    assert (path / "ledger.zl").read_bytes() == ledger
    assert summary_of(path)["weights_sha256"] == summary["weights_sha256"]
    assert "ended early: diverged" in (path / "report.html").read_text(encoding="utf-8")


def test_a_rate_of_a_thousand_ends_in_the_first_round(tmp_path: Path) -> None:
    """No evaluation is due there."""
    with pytest.raises(Diverged, match=r"round 1: .* would move the weights by .* in all, and the whole model has"):
        run_here(tiny_config("zo.lr=1000", "rounds=8", "eval.every=4"), tmp_path / "run")
    assert summary_of(tmp_path / "run")["rounds_done"] == 0, "nothing is committed"


def test_a_first_order_method_too(tmp_path: Path) -> None:
    config = tiny_config("method=fedavg", "model.head=lm", "method_settings.lr=1000", "rounds=8", "eval.every=2")
    with pytest.raises(Diverged, match=r"begin anew with a smaller method_settings\.lr"):
        run_here(config, tmp_path / "run")


def test_a_loss_that_stays_high_is_told_at_the_third_evaluation(tmp_path: Path) -> None:
    """The logits of a language model still differ from token to token, and every number is finite."""
    config = tiny_config("model.head=lm", "zo.lr=1", "rounds=8", "eval.every=2", "eval.rows=16")
    with pytest.raises(Diverged, match=r"round 8: the validation loss is more than 1 above .* 3 evaluations in a row"):
        run_here(config, tmp_path / "run")
    assert summary_of(tmp_path / "run")["rounds_done"] == 8


def test_a_run_that_made_the_model_worse_says_so(tmp_path: Path) -> None:
    summary = run_here(tiny_config("zo.lr=0.1", "zo.scope=all", "rounds=2", "eval.every=2"), tmp_path / "run")
    assert summary["status"] == "finished"
    start, end = summary["start_loss"], summary["final_loss"]
    assert end > start + 0.1
    assert summary["warnings"][0] == (
        f"the validation loss rose from {start:.4f} at the start to {end:.4f} after round 2: the run made the model "
        "worse"
    )


def test_a_language_model_that_learns_is_left_alone_and_has_a_spread(tmp_path: Path) -> None:
    config = tiny_config("model.head=lm", "rounds=2", "eval.every=1", "eval.rows=16")
    summary = run_here(config, tmp_path / "run")
    assert summary["status"] == "finished"
    assert not summary["warnings"]
    for record in evaluations(tmp_path / "run"):
        assert record["spread"] > 0
        assert record["predicted_rows"] is None


def test_figures_of_an_evaluation(tmp_path: Path) -> None:
    summary = run_here(tiny_config("rounds=1", "eval.every=1"), tmp_path / "run")
    assert not summary["warnings"]
    for record in evaluations(tmp_path / "run"):
        assert record["labels"] == 4
        assert 0 <= record["predicted_label"] < 4
        assert record["items"] / 4 <= record["predicted_rows"] < record["items"]
        matrix = np.array(record["confusion"])
        assert np.trace(matrix) / matrix.sum() == record["accuracy"]
        assert matrix.sum(axis=0).max() == record["predicted_rows"]
        assert matrix.sum() == record["rows"] == 64
        assert record["majority"]["mcc"] == 0
    assert summary_of(tmp_path / "run")["evaluations"]["test"] == evaluations(tmp_path / "run")[-1]


def test_a_step_that_moves_nothing_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(
        ConfigError,
        match=r"zo\.perturbation_scale=1e-12 is so small that θ ± μ rounds to θ for 94\.\d %.*with 6e-08 or more",
    ):
        run_here(tiny_config("zo.perturbation_scale=1e-12"), path)
    assert not (path / "ledger.zl").exists()
    assert not (path / "provenance.json").exists()


def test_a_step_that_moves_few_is_warned_of_everywhere(tmp_path: Path) -> None:
    path, notes = tmp_path / "run", []
    config = tiny_config("zo.perturbation_scale=1e-9", "zo.lr=1e-12", "rounds=1")
    summary = run_here(config, path, emit=lambda event: notes.append(event.get("text")))
    [text] = summary["warnings"]
    assert text.startswith(
        "zo.perturbation_scale=1e-09 is so small that θ ± μ rounds to θ for 19.3 % of the weights in scope"
    )
    assert f"warning: {text}" in notes
    page = write_report([path], tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<li>Warning: {text}.</li>" in page


def test_the_share_is_that_of_the_floats() -> None:
    setup = prepare(tiny_config("zo.scope=all"))
    replica, manifest = setup.model.replica, setup.model.replica.manifest
    theta = torch.cat([replica.parameters[entry.name].flatten() for entry in manifest.moved("all")])
    theta = theta[theta != 0]
    for scale in (1e-9, 1e-8):
        still = (theta + scale == theta) & (theta - scale == theta)
        found = resolution(replica, "all", scale, torch.float32)
        assert (found.looked_at, found.unmoved) == (len(theta), int(still.sum()))
    enough = resolution(replica, "all", 1e-9, torch.float32).enough
    assert 0.98 < float((theta + enough != theta).float().mean()) < 1
    half = resolution(replica, "matrices", 1e-5, torch.bfloat16)
    assert half.share > 0.5
    assert resolution(replica, "bias_norm", 1e-5, torch.bfloat16).share == 0  # vectors are fp32


def test_predictions_that_are_one_label() -> None:
    config = tiny_config()

    def record(round: int, rows: int, labels: int = 4) -> Eval:
        label: dict[str, Any] = {"predicted_label": 3, "predicted_rows": rows, "labels": labels}
        return Eval(round=round, split="validation", loss=1.0, items=64, **label)

    assert end_warnings(config, [record(0, 40), record(5, 63)]) == []
    assert end_warnings(config, [record(0, 64, 1), record(5, 64, 1)]) == []
    [text] = end_warnings(config, [record(0, 40), record(5, 64)])
    assert text == (
        "all 64 validation rows are given the label 'great' after round 5, although they have 4 labels; at the "
        "start this was not so"
    )
    [text] = end_warnings(config, [record(0, 64), record(5, 64)])
    assert text.endswith("this was so at the start, too")
    [text] = end_warnings(config, [record(0, 64)])
    assert text.endswith("although they have 4 labels")
    assert end_warnings(config, [Eval(round=0, split="validation", loss=1.0, items=64)]) == []


def test_warnings_are_text_in_a_page(tmp_path: Path) -> None:
    path = tmp_path / "run"
    run_here(tiny_config("rounds=1"), path)
    summary = summary_of(path)
    del summary["sha256"]  # changed on purpose
    summary["warnings"] = ["<script>alert(1)</script> \x1b[31m"]
    (path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    page = write_report([path], tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "Warning: &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\x1b" not in page
