"""What the page says of a run's answers is what the records say: figures, intervals, labels, the matrix."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_run import write_fake_run
from tests.support.report_page import ReportPage
from zorba_ray.artifacts import Run
from zorba_ray.errors import RunDirError
from zorba_ray.report import write_report
from zorba_ray.report.answers import answer_plots, by_client_table, labels_table, metrics_table
from zorba_ray.report.curves import levels_of
from zorba_ray.tables import wilson


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_run(tmp_path_factory.mktemp("answers") / "run", rounds=20)


def edited(run_dir: Path, **changes: Any) -> Run:
    """The run with other values in all its evaluations."""
    path = run_dir / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record["kind"] == "eval":
            record.update(changes)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return Run(run_dir)


def test_every_figure_stands_with_interval_rows_and_majority_class(run_dir: Path) -> None:
    run = Run(run_dir)
    start, end = run.split("test")
    rows = {(row[0], row[1]): row[2:] for row in metrics_table(run).texts()}
    figures = ["loss", "accuracy", "balanced accuracy", "macro-F1", "MCC"]
    assert list(rows) == [(split, name) for split in ("validation", "test") for name in figures]
    low, high = wilson(end.accuracy or 0.0, 1000)
    assert rows["test", "accuracy"][0] == "50.0 %"
    assert rows["test", "accuracy"][2:] == [
        f"{100 * (end.accuracy or 0):.1f} % ({100 * low:.1f}–{100 * high:.1f} %)", "20", "1,000"
    ]  # fmt: skip
    assert start.macro_f1 is not None
    assert end.macro_f1 is not None
    assert rows["test", "macro-F1"] == [
        "0.333",
        f"{start.macro_f1:.3f} ({start.macro_f1 - 0.02:.3f}–{start.macro_f1 + 0.03:.3f})",
        f"{end.macro_f1:.3f} ({end.macro_f1 - 0.02:.3f}–{end.macro_f1 + 0.03:.3f})",
        "20",
        "1,000",
    ]
    assert rows["validation", "loss"][0] == "–"


def test_a_language_model_has_its_perplexity_and_no_labels(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=20, lm=True))
    table = metrics_table(run)
    assert [row[1] for row in table.texts()] == ["loss", "perplexity"] * 2
    assert "Majority class" not in [column.name for column in table.columns]
    assert not labels_table(run).items
    assert not answer_plots(run)


def test_labels_are_the_matrix(run_dir: Path) -> None:
    run = Run(run_dir)
    end = run.split("test")[-1]
    (a, b), (c, d) = end.confusion
    texts = labels_table(run).texts()
    low, high = wilson(a / (a + b), a + b)
    assert texts[0][:5] == [
        "terrible", f"{a + b:,}", f"{a + c:,}", f"{a:,}",
        f"{100 * a / (a + b):.1f} % ({100 * low:.1f}–{100 * high:.1f} %)",
    ]  # fmt: skip
    assert [row[6] for row in texts] == [f"{2 * a / (2 * a + b + c):.3f}", f"{2 * d / (2 * d + b + c):.3f}"]
    assert sum(float(row[6]) for row in texts) / 2 == pytest.approx(end.macro_f1, abs=1e-3)


def test_the_matrix_is_drawn_with_its_numbers_and_labels(run_dir: Path) -> None:
    page = ReportPage(write_report([run_dir], run_dir.parent / "page.html"))
    drawn = {*page.plots()["Confusion matrix"].itertext()}
    end = Run(run_dir).split("test")[-1]
    assert {"terrible", "great", *(f"{count:,}" for row in end.confusion for count in row)} <= drawn
    assert f"Most often wrong: terrible taken for great, {end.confusion[0][1]} rows." in page.text
    assert {"zero-shot", "after round 20"} <= {*page.plots()["F1 by label"].itertext()}


def test_before_the_last_round_the_validation_rows_are_shown(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=20, done=12, summary=False))
    assert labels_table(run).note.startswith("400 validation rows after round 10.")
    start = Run(write_fake_run(tmp_path / "start", rounds=20, done=0, summary=False))
    assert labels_table(start).note.startswith("400 validation rows before round 1.")
    assert [row[-1] for row in labels_table(start).texts()] == ["–", "–"]
    assert len(answer_plots(start)) == 2


def test_runs_without_these_figures_still_have_a_page(tmp_path: Path) -> None:
    """As those of an older program."""
    path = write_fake_run(tmp_path / "run", rounds=20)
    none = dict.fromkeys(("balanced_accuracy", "macro_f1", "mcc", "rows"))
    run = edited(path, **none, intervals={}, majority={}, confusion=[])
    assert [row[1] for row in metrics_table(run).texts()] == ["loss", "accuracy"] * 2
    assert not labels_table(run).items
    assert "Labels" not in ReportPage(write_report([path], tmp_path / "page.html")).tables


def test_a_matrix_that_is_not_square_is_refused_by_file_and_line(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", rounds=20)
    with pytest.raises(RunDirError, match=r"metrics\.jsonl, line 1: .*confusion: a row has not as many columns"):
        edited(path, confusion=[[5, 0], [1]])


def test_labels_that_no_row_has_or_is_given_and_many_labels(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", rounds=20)
    run = edited(path, confusion=[[5, 0, 1], [0, 0, 0], [2, 0, 3]], rows=11)
    assert labels_table(run).texts()[1] == ["great", "0", "0", "0", "–", "–", "–", "–"]
    assert labels_table(run).texts()[2][0] == "2"  # more labels than words
    assert len(answer_plots(run)) == 2
    many = edited(path, confusion=[[int(a == b) for a in range(31)] for b in range(31)], rows=31)
    assert not answer_plots(many)
    assert len(labels_table(many).items) == 31


def test_the_majority_class_is_a_line_where_it_is_more_than_chance(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", rounds=20)
    assert not any(name.startswith("majority") for name in levels_of([Run(path)]))
    run = edited(path, majority={"accuracy": 0.62, "mcc": 0.0})
    assert levels_of([run])["majority class 62.0 %"] == 0.62


def test_clients_have_their_lowest_median_and_highest_figure(tmp_path: Path) -> None:
    path = write_fake_run(tmp_path / "run", rounds=20)
    assert not by_client_table(Run(path)).items
    ranges = {
        "rows": {"min": 3, "median": 41.5, "max": 80},
        "accuracy": {"min": 0.5, "median": 0.75, "max": 1},
        "loss": {"min": 0.1, "median": 0.2, "max": 0.4},
    }
    table = by_client_table(edited(path, clients=7, by_client=ranges))
    assert [column.name for column in table.columns][3:5] == ["Highest, zero-shot", "Lowest, round 20"]
    assert table.texts() == [
        ["loss", *["0.1000", "0.2000", "0.4000"] * 2],
        ["accuracy", *["50.0 %", "75.0 %", "100.0 %"] * 2],
    ]
    assert table.note.startswith("7 of 8 clients, each with its own validation rows: 3 to 80, median 42.")
