"""The report's tables of deals and probes, from a run directory with chosen numbers."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_family import edit, write_member
from zorba_ray.artifacts import Run
from zorba_ray.report import write_report
from zorba_ray.report.run_tables import assignments_table, blocks_table

PROBE = {
    "round": 1, "energy": [1.0, 0.5, 0.25, 0.0], "dissimilarity": [0.5, 0.25, 0.125, 0.0],
    "dissimilarity_error": [0.1, 0.05, 0.02, 0.01], "noise": [2.0, 1.0, 1.0, 1.0], "weights": [2.2, 1.1, 0.6, 0.1],
    "pairs": 8, "forward_pairs": 128, "bytes_up": 600, "bytes_down": 80, "clients": 2,
}  # fmt: skip


def deal(number: int, reason: str, rows: list[str], f1: float | None = 1.5) -> dict[str, Any]:
    return {
        "round": number, "reason": reason, "f1": f1, "f2_bytes": 2300, "gap": 0.0, "solver": "x", "clients_changed": 2,
        "active": rows,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = write_member(tmp_path / "run")

    def dealt(tree: dict[str, Any]) -> None:
        tree["assignments"] = [deal(1, "start", ["0011", "0100"], None), deal(2, "rotation", ["0101", "0010"])]

    edit(path / "allocation.json", dealt)
    return path


def test_deals_are_listed_with_their_reasons(run: Path):
    table = assignments_table(Run(run))
    assert [row[:4] for row in table.texts()] == [["1", "start of the run", "2", "∞"], ["2", "rotation", "2", "1.5"]]


def test_blocks_say_who_held_them(run: Path):
    """Block 1: client 1 first, then client 0; block 3: client 0 twice; block 0: nobody."""
    table = blocks_table(Run(run))
    assert [row[:3] for row in table.texts()] == [["0", "0", "0"], ["1", "1", "2"], ["2", "1", "2"], ["3", "1", "1"]]


def test_a_probe_is_shown_with_its_cost(run: Path):
    edit(run / "allocation.json", lambda tree: tree.update(probe=PROBE))
    table = blocks_table(Run(run))
    assert table.texts()[0][3:] == ["1", "0.5 ± 0.1", "2", "2.2"]
    assert "128 in all" in table.note


def test_the_page_shows_both(run: Path, tmp_path: Path):
    edit(run / "allocation.json", lambda tree: tree.update(probe=PROBE))
    page = write_report([run], tmp_path / "out.html").read_text(encoding="utf-8")
    assert "Assignments of the blocks" in page
    assert "ζ² between clients" in page


def test_a_run_that_was_dealt_once_has_no_such_tables(tmp_path: Path):
    run = Run(write_member(tmp_path / "run"))
    assert not assignments_table(run).items
    assert not blocks_table(run).items
