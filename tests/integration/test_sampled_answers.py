"""answers.json: rows that nobody picked, with the answers of the evaluations that were made anyway."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.task_data import review_rows, write_rows
from tests.support.tiny_run import run_here, tiny_config
from zorba_ray.artifacts import Run, RunDir, read_record
from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.errors import Interrupted
from zorba_ray.experiment import run as run_module
from zorba_ray.experiment import run_experiment
from zorba_ray.experiment.asked import predict_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_rows(tmp_path_factory.mktemp("answers") / "data", review_rows(40))
    return write_rows(folder, review_rows(90)[40:], ("test",))


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("answers") / "run"
    run_here(tiny_config(f"data.path={data}"), path)
    return path


def kept(run: Path) -> SampledAnswers:
    return read_record(RunDir(run).answers, SampledAnswers)


def test_they_are_what_is_predicted_before_and_after(run: Path, data: Path) -> None:
    rows = [json.loads(line) for line in (data / "test.jsonl").read_text().splitlines()]
    found = kept(run)
    numbers = [row.row for row in found.rows]
    assert (found.of, found.round, len(numbers)) == (50, 3, 20)
    assert numbers == sorted(set(numbers))
    assert numbers != list(range(1, 21)), "rows at random, not the first"
    for when, number in (("before", 0), ("after", 3)):
        said = predict_rows(str(run), data / "test.jsonl", number).rows
        for row in found.rows:
            answer, wanted = getattr(row, when), said[row.row - 1]
            assert (row.prompt, row.gold) == (wanted["text"], rows[row.row - 1]["grade"])
            assert answer.right == (answer.text == row.gold)
            assert (answer.text, answer.probability) == (wanted["prediction"], wanted["scores"][answer.text])
    assert Run(run).answers == found


def test_the_rows_follow_from_the_seed(run: Path, data: Path, tmp_path: Path) -> None:
    run_here(tiny_config(f"data.path={data}", "seed=9", "rounds=1"), tmp_path / "run")
    assert [row.row for row in kept(tmp_path / "run").rows] != [row.row for row in kept(run).rows]


def test_a_session_more_changes_nothing(run: Path, data: Path, tmp_path: Path) -> None:
    config = tiny_config(f"data.path={data}")
    seen: list[Any] = []

    def emit(event: dict[str, Any]) -> None:
        seen.extend([event] if event["kind"] == "round" else [])

    with pytest.raises(Interrupted):
        run_here(config, tmp_path / "run", emit=emit, should_stop=lambda: len(seen) >= 1)
    begun = kept(tmp_path / "run")
    assert begun.round is None
    assert all(row.before is not None and row.after is None for row in begun.rows)
    run_here(config, tmp_path / "run")
    assert RunDir(tmp_path / "run").answers.read_bytes() == RunDir(run).answers.read_bytes()


@pytest.mark.parametrize(
    "lost", ["gone", *(pytest.param(why, marks=pytest.mark.slow) for why in ("damaged", "of other rows"))]
)
def test_answers_that_were_lost_are_not_made_up(lost: str, data: Path, tmp_path: Path) -> None:
    path, more = tmp_path / "run", "zo.schedule=constant"
    run_here(tiny_config(f"data.path={data}", "rounds=1", more), path)
    file = RunDir(path).answers
    if lost == "gone":
        file.unlink()
    elif lost == "damaged":
        file.write_text("{")
    rows = 7 if lost == "of other rows" else 20
    run_here(tiny_config(f"data.path={data}", "rounds=2", more, f"eval.examples={rows}"), path)
    found = kept(path)
    assert (found.round, len(found.rows)) == (2, rows)
    assert all(row.before is None and row.after is not None for row in found.rows)


def test_none_are_kept_where_none_are_asked_for(data: Path, tmp_path: Path) -> None:
    """Also those of an earlier session go."""
    path, more = tmp_path / "run", "zo.schedule=constant"
    run_here(tiny_config(f"data.path={data}", "rounds=1", more, "eval.examples=3", "eval.rows=2"), path)
    assert [row.row for row in kept(path).rows] == [1, 2]
    run_here(tiny_config(f"data.path={data}", "rounds=2", more, "eval.examples=0", "eval.rows=2"), path)
    assert not RunDir(path).answers.exists()
    assert Run(path).answers is None


def test_where_w_and_b_gets_the_page_it_shows_no_rows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[bool] = []

    def closing(path: Path, rows: bool) -> Path:
        shown.append(rows)
        return path

    config = tiny_config(f"data.path={data}", "rounds=1")
    run = RunDir.create(tmp_path / "run", config)
    for mode in ("disabled", "offline", "online"):  # sessions after the first have nothing to do
        monkeypatch.setattr(run_module, "resolve_mode", lambda setting, mode=mode: mode)
        run_experiment(config, run, "simulated", ["test"], lambda event: None, lambda: False, closing)
    assert shown == [True, False, False]
