"""Test rows in a run's report: as they are on record, escaped, and left out on request."""

import json
from pathlib import Path
from typing import Any

from tests.support.fake_run import write_fake_run
from tests.support.report_page import ReportPage
from zorba_ray.artifacts import Run
from zorba_ray.report import write_report
from zorba_ray.report.answers import answered_rows_table

HOSTILE = "<script>alert(1)</script> \u202e" + "long " * 100


def kept(path: Path, round: int | None, rows: list[dict[str, Any]]) -> Path:
    (path / "answers.json").write_text(json.dumps({"version": 1, "of": 1000, "round": round, "rows": rows}))
    return path


def said(text: str | None, probability: float | None = None, right: bool | None = None) -> dict[str, Any]:
    return {"text": text, "probability": probability, "right": right, "loss": 1.25, "items": 3}


ROWS = [
    {
        "row": 7,
        "prompt": "a film It was",
        "gold": "great",
        "before": said("terrible", 0.75, False),
        "after": said("great", 0.5, True),
    },
    {
        "row": 90,
        "prompt": HOSTILE,
        "gold": "terrible",
        "before": said("terrible", 0.625, True),
        "after": said("great", 0.75, False),
    },
]


def test_rows_with_prompt_right_answer_and_both_answers(tmp_path: Path) -> None:
    path = kept(write_fake_run(tmp_path / "run", rounds=20), 20, ROWS)
    page = ReportPage(write_report([path], tmp_path / "page.html"))
    rows = page.tables["Test rows"]
    assert rows[0] == ["Row", "Prompt", "Right answer", "Answer before training", "Answer after round 20"]
    assert rows[1] == ["7", "a film It was", "great", "terrible (75.0 %)", "✓ great (50.0 %)"]
    assert rows[2][2:] == ["terrible", "✓ terrible (62.5 %)", "great (75.0 %)"]
    assert HOSTILE.replace("\u202e", "\ufffd") in rows[2][1]
    assert "<script>" not in page.source
    assert "\u202e" not in page.source
    folded = [tag for tag, _ in page.tags].count("details")
    assert folded == 2, "the long prompt, and settings"
    assert "2 of 1,000 test rows, drawn at random by the run's seed; none was picked." in page.text
    bare = ReportPage(write_report([path], tmp_path / "bare.html", rows=False))
    assert "Test rows" not in bare.tables
    assert "a film" not in bare.source


def test_answers_of_another_round_are_not_those_after_training(tmp_path: Path) -> None:
    """As where a run was given more rounds, and is under way."""
    done = kept(write_fake_run(tmp_path / "done", rounds=20), 10, ROWS)
    assert [column.name for column in answered_rows_table(Run(done)).columns][3:] == ["Answer before training"]
    way = kept(write_fake_run(tmp_path / "way", rounds=20, done=12, summary=False), None, ROWS)
    table = answered_rows_table(Run(way))
    assert [column.name for column in table.columns][3:] == ["Answer before training"]
    assert "Answers after training come when the run ends." in table.note


def test_of_a_language_model_there_is_a_loss(tmp_path: Path) -> None:
    rows = [{"row": 1, "prompt": "some text", "before": said(None)}, {"row": 2, "prompt": "more"}]
    table = answered_rows_table(Run(kept(write_fake_run(tmp_path / "run", rounds=20), None, rows)))
    assert table.texts() == [["1", "some text", "loss 1.2500"], ["2", "more", "–"]]
    assert "The loss is per token." in table.note


def test_of_written_answers_an_exact_match_is_marked(tmp_path: Path) -> None:
    answers = {"before": said("c", right=False), "after": said("B", right=True)}
    rows = [{"row": 1, "prompt": "q", "gold": "a / the b", **answers}]
    table = answered_rows_table(Run(kept(write_fake_run(tmp_path / "run", rounds=20), 20, rows)))
    assert table.texts() == [["1", "q", "a / the b", "c", "✓ B"]]
    assert "✓: an exact match." in table.note


def test_runs_without_them_have_a_page(tmp_path: Path) -> None:
    run = Run(write_fake_run(tmp_path / "run", rounds=20))
    assert run.answers is None
    assert not answered_rows_table(run).items
