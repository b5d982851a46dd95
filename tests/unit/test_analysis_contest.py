"""The contest's table and figure: numbers of compare.json, files, what is left out."""

import csv
from pathlib import Path

import pytest

from analysis import contest_table
from analysis.command import contest_command
from tests.support.fake_contest import METHODS, write_fake_contest
from zorba_ray.contest.records import read_contest
from zorba_ray.errors import RunDirError


def test_rows(tmp_path: Path) -> None:
    state = read_contest(write_fake_contest(tmp_path / "c"))
    found = contest_table.rows([state])
    assert [row["series"] for row in found.rows] == list(METHODS)
    for row, outcome in zip(found.rows, state.outcomes, strict=True):
        assert row["final_loss_mean"] == outcome.figures["final_loss"].mean
        assert row["final_loss_half"] == outcome.figures["final_loss"].half
    assert found.rows[0]["final_loss_difference_mean"] is None
    assert (found.rows[5]["n"], found.rows[5]["seeds"], found.rows[5]["diverged"]) == (2, "1 2", "3")
    assert "fake, fedkseed: seed 3 diverged after round 7; left out of all means" in found.notes
    assert found.rows[-1]["bytes_up_mean"] is None


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write_fake_contest(tmp_path / name, name=name) for name in ("trec_$1", "sst2")]
    out = tmp_path / "tables" / "contest"
    code = contest_command("x", contest_table.rows, contest_table.write, [*map(str, paths), "-o", str(out)])
    assert code == 0
    assert sorted(file.name for file in out.parent.iterdir()) == [
        f"contest.{kind}" for kind in ("csv", "pdf", "png", "tex")
    ]
    lines = list(csv.DictReader(out.with_suffix(".csv").open(encoding="utf-8")))
    assert len(lines) == 2 * len(METHODS)
    text = out.with_suffix(".tex").read_text(encoding="utf-8")
    assert r"trec\_\$1 & zorba & 3" in text
    assert "left out" in capsys.readouterr().err


def test_without_a_finished_run(tmp_path: Path) -> None:
    state = read_contest(write_fake_contest(tmp_path / "c", methods=("zorba",), seeds=2))
    for cell in state.cells:
        cell.status = "pending"
    with pytest.raises(RunDirError, match="no finished run in fake"):
        contest_table.rows([state])
