"""Time and memory of a run against numbers worked out by hand."""

from pathlib import Path

import msgspec
import pytest

from tests.support.fake_family import edit, edit_records, write_member
from zorba_ray.artifacts import Run
from zorba_ray.report.measures import (
    chance,
    interval_of,
    memory_label,
    vram_saved,
)
from zorba_ray.tables import wilson


def test_vram_saved_is_against_everything_active_on_every_client(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a")  # 1200 + 1100 of 2 × 1400
    run = Run(path)
    assert vram_saved(run) == pytest.approx(1 - 2300 / 2800, abs=1e-15)
    assert memory_label(run, run) == "modelled, simulated accelerator"
    edit(path / "allocation.json", lambda tree: tree.pop("bytes_all_active"))
    assert vram_saved(Run(path)) == pytest.approx(1 - 2300 / 2800, abs=1e-15)
    # Like for like: each client with every block active where its blocks live now.
    resident = {"frozen": "device", "master": "device", "parts": {"stem": 1500}, "active_extra_bytes": [10] * 4}
    edit(path / "allocation.json", lambda tree: tree["placements"].append(resident))
    edit(path / "allocation.json", lambda tree: tree["clients"][0].update(frozen="device", bytes=1520))
    edit(path / "allocation.json", lambda tree: tree.update(f2_bytes=1520 + 1100))
    assert vram_saved(Run(path)) == pytest.approx(1 - (1520 + 1100) / (1540 + 1400), abs=1e-15)
    # A client that is absent holds nothing and saves nothing.
    edit(path / "allocation.json", lambda tree: tree["clients"][0].update(present=False, bytes=0))
    edit(path / "allocation.json", lambda tree: tree.update(f2_bytes=1100))
    assert vram_saved(Run(path)) == pytest.approx(1 - 1100 / 1400, abs=1e-15)
    # Files older than placements: one placement for all.
    edit(path / "allocation.json", lambda tree: tree.pop("placements"))
    assert vram_saved(Run(path)) is None
    edit(path / "allocation.json", lambda tree: tree.update(bytes_all_active=1400))
    assert vram_saved(Run(path)) == pytest.approx(1 - 1100 / 1400, abs=1e-15)


def test_chance_is_one_of_the_labels(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a")  # two label words
    assert chance(Run(path)) == 0.5
    edit(path / "config.resolved.json", lambda tree: tree["data"].update(label_words=[]))
    edit_records(path, lambda record: record["kind"] == "eval" and record.update(labels=4))
    assert chance(Run(path)) == 0.25
    assert chance(Run(write_member(tmp_path / "lm", accuracies=None))) is None


def test_the_interval_of_an_accuracy_is_by_its_rows(tmp_path: Path) -> None:
    last = Run(write_member(tmp_path / "a")).split("validation")[-1]  # 0.75 of 400 rows
    assert interval_of(last, "accuracy") == wilson(0.75, 400)
    assert interval_of(msgspec.structs.replace(last, items=None), "accuracy") is None
