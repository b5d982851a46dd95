"""The headline table: its numbers by hand, and LaTeX that compiles whatever the names are."""

import csv
import runpy
import sys
from pathlib import Path

import pytest

from analysis import headline_table
from analysis.groups import collect
from tests.support.fake_family import write_member
from tests.support.latex import assert_compiles


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """ε = 0 with seeds 1 and 2 (loss 0.5 and 0.25, accuracy 0.5 and 0.75), ε = 1 with one seed and no accuracy."""
    found = []
    for seed, loss, accuracy in ((1, 0.5, 0.5), (2, 0.25, 0.75)):
        run = tmp_path / f"a{seed}"
        settings = {"allocation.epsilon": 0.0}
        found.append(write_member(run, seed=seed, settings=settings, losses=(1.0, 0.75, loss), test_accuracy=accuracy))
    settings = {"allocation.epsilon": 1.0}
    found.append(write_member(tmp_path / "b", settings=settings, accuracies=None, blocks=((3,), (2,), (0,))))
    return found


def test_numbers_by_hand(runs: list[Path]) -> None:
    """Sample standard deviation of 0.5 and 0.25: 0.25 / √2. Times of rounds 1 and 2: 0.5 + 1."""
    first, second = headline_table.rows(collect(runs)[0]).rows
    assert (first["series"], first["method"], first["clients"], first["rounds"]) == ("ε = 0, N = 2", "zorba", 2, 2)
    assert (first["n"], first["seeds"]) == (2, "1 2")
    assert [first[f"validation_loss_{part}"] for part in ("mean", "min", "max")] == [0.375, 0.25, 0.5]
    assert first["validation_loss_sd"] == pytest.approx(0.25 / 2**0.5, abs=1e-15)
    assert first["test_accuracy_mean"] == 0.625
    assert (first["bytes_up_per_client_round_mean"], first["bytes_down_per_client_round_mean"]) == (10, 40)
    assert first["fleet_vram_bytes_mean"] == 2300
    assert first["vram_saved_mean"] == pytest.approx(1 - 2300 / 2800, abs=1e-15)
    assert first["rounds_s_mean"] == 1.5
    assert (second["clients"], second["n"], second["test_accuracy_mean"]) == (3, 1, None)
    assert second["validation_loss_sd"] is None
    assert second["vram_source"] == "modelled, simulated"


def test_files(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of the .tex, one by one; the CSV beside it has every digit."""
    out = tmp_path / "tables" / "headline"
    monkeypatch.setattr(sys, "argv", ["headline_table", *map(str, runs), "-o", str(out)])
    monkeypatch.delitem(sys.modules, "analysis.headline_table", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("analysis.headline_table", run_name="__main__")
    assert ended.value.code == 0
    text = out.with_suffix(".tex").read_text(encoding="utf-8")
    body = [line.strip() for line in text.splitlines() if line.endswith(r"\\")]
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in body]
    pm = r"\ensuremath{\pm}"
    head = ["settings", "method", "N", "rounds", "n", "val. loss", r"test acc. (\%)", "up (B)", "down (B)"]
    assert cells[0] == [*head, "VRAM (KiB)", r"saved (\%)", "time (s)"]
    epsilon = r"\ensuremath{\varepsilon}"
    loss, accuracy = f"0.375 {pm} 0.177", f"62.5 {pm} 17.7"
    assert cells[1] == [
        f"{epsilon} = 0, N = 2", "zorba", "2", "2", "2", loss, accuracy, "10.0", "40.0", "2.25", "17.9", "1.5"
    ]  # fmt: skip
    assert cells[2] == [
        f"{epsilon} = 1, N = 3", "zorba", "3", "2", "1", "0.500", "--", "10.0", "50.0", "3.22", "21.4", "1.5"
    ]  # fmt: skip
    assert "modelled, simulated" in text
    assert_compiles(text)
    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert float(lines[0]["validation_loss_sd"]) == pytest.approx(0.25 / 2**0.5, abs=1e-15)
    assert lines[1]["test_accuracy_mean"] == ""


def test_one_group_has_no_column_of_settings(runs: list[Path], tmp_path: Path) -> None:
    [path] = headline_table.write(headline_table.rows(collect(runs[:2])[0]), tmp_path / "one")
    text = path.read_text(encoding="utf-8")
    assert "settings" not in text
    assert_compiles(text)
