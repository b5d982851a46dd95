"""Time and memory of a run against numbers worked out by hand."""

from pathlib import Path

import pytest

from tests.support.fake_family import edit, edit_records, write_member
from zorba_ray.artifacts import Run
from zorba_ray.report.measures import (
    memory_label,
    seconds_per_round,
    vram_saved,
)


def test_a_round_recovered_without_its_time_leaves_it_unknown(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a", losses=(1, 1, 1, 1), accuracies=None)
    assert seconds_per_round(Run(path)) == 1.0
    edit_records(path, lambda record: record["round"] == 1 and record.pop("time", None))
    assert seconds_per_round(Run(path)) is None


def test_vram_saved_is_against_everything_active_on_every_client(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a")  # 1200 + 1100 of 2 × 1400
    run = Run(path)
    assert vram_saved(run) == pytest.approx(1 - 2300 / 2800, abs=1e-15)
    assert memory_label(run, run) == "modelled, simulated accelerator"
    edit(path / "allocation.json", lambda tree: tree.pop("bytes_all_active"))
    assert vram_saved(Run(path)) is None
