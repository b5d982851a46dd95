"""The table and figure of comparisons: numbers worked out by hand, files, what is noted, what is refused."""

import csv
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from analysis import comparison_table
from analysis.comparison_table import load, main, rows
from analysis.printed import print_style
from tests.support.fake_comparison import SPREAD, write_fake_comparison

THREE = 4.303 * SPREAD / 3**0.5
"""Half the 95 % interval of three losses SPREAD apart, whose sample standard deviation is SPREAD."""
METHODS = ("zorba", "fedavg", "mezo")


def points(axes: Axes) -> list[tuple[float, float]]:
    """The marks, one of each method."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]  # type: ignore[union-attr]


def test_rows_by_hand(tmp_path: Path) -> None:
    """Method p loses to 1/2 + p/16 with seeds (p mod 3 + 1) SPREAD apart; paired with the first, (p mod 3) SPREAD.

    24 passes: six rounds of two central directions, four of two steps of backpropagation, at three passes each; mezo's
    client makes those of two.
    """
    found = rows(load([write_fake_comparison(tmp_path / "c", methods=METHODS)]))
    zorba, fedavg, mezo = found.rows
    assert [row["method"] for row in found.rows] == list(METHODS)
    assert [row["rounds"] for row in found.rows] == [6, 4, 24]
    assert [(row["seeds"], row["rate"]) for row in found.rows] == [([1, 2, 3], 0.003)] * 3
    assert [row["final_loss_mean"] for row in found.rows] == pytest.approx([0.5, 0.5625, 0.625])
    assert [row["final_loss_half"] for row in found.rows] == pytest.approx([THREE, 2 * THREE, 3 * THREE])
    assert [row["test_accuracy_mean"] for row in found.rows] == pytest.approx([0.75, 0.71875, 0.6875])
    assert [row["test_accuracy_half"] for row in found.rows] == pytest.approx([THREE] * 3)
    assert [row["behind_first_mean"] for row in found.rows] == pytest.approx([0, 0.0625, 0.125])
    assert [row["behind_first_half"] for row in found.rows] == pytest.approx([0, THREE, 2 * THREE])
    # 10 bytes up a round, 20 + 10 N down; 2 s of CPU a round; two active blocks of four, all four.
    assert (zorba["bytes_up_mean"], zorba["bytes_down_mean"], zorba["cpu_s_mean"]) == (60, 240, 12)
    assert (mezo["bytes_up_mean"], mezo["bytes_down_mean"], mezo["cpu_s_mean"]) == (None, None, 48)  # it is central
    assert (zorba["vram_bytes_mean"], fedavg["vram_bytes_mean"], mezo["vram_bytes_mean"]) == (1200, 1200, 1400)
    assert found.notes == ()


def test_seeds_that_did_not_finish_are_named_and_in_no_mean(tmp_path: Path) -> None:
    """Fedavg lacks seed 3: of losses 1/2 and 9/16 and of zorba's first two, t = 12.706; mezo has seed 2 alone."""
    endings = {"fedavg/seed-3": "diverged", "mezo/seed-1": "failed"}
    path = write_fake_comparison(tmp_path / "c", methods=METHODS, endings=endings, todo=("mezo/seed-3",))
    found = rows(load([path]))
    _, fedavg, mezo = found.rows
    assert (fedavg["seeds"], fedavg["diverged"]) == ([1, 2], [{"seed": 3, "round": 1}])
    assert fedavg["final_loss_mean"] == pytest.approx(0.5625 - SPREAD)
    assert fedavg["final_loss_half"] == pytest.approx(12.706 * 2 * SPREAD / 2)
    assert fedavg["behind_first_mean"] == pytest.approx(0.0625 - SPREAD / 2)
    assert fedavg["behind_first_half"] == pytest.approx(12.706 * SPREAD / 2)
    assert (mezo["seeds"], mezo["failed"], mezo["final_loss_half"]) == ([2], [1], None)
    told = "fedavg, seed 3 (diverged after round 1); mezo, seed 1 (failed after round 1)"
    assert found.notes == (f"fake: Not in any mean: {told}.", "fake: No run yet: mezo, seed 3.")


def test_the_figure_shows_the_rows(tmp_path: Path) -> None:
    one = write_fake_comparison(tmp_path / "a", name="one", methods=METHODS)
    other = write_fake_comparison(tmp_path / "b", name="$2", methods=("zorba", "mezo"), seeds=1)
    with print_style():
        figure = comparison_table.draw(rows(load([one, other])))
    losses, losses_2, differences, differences_2 = figure.axes
    assert points(losses) == [(0.5, 0), (0.5625, 1), (0.625, 2)]
    assert points(differences) == [(0, 0), (0.0625, 1), (0.125, 2)]
    assert points(losses_2) == [(0.5, 0), (0.5625, 1)]
    assert points(differences_2) == [(0, 0), (0.0625, 1)]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a) one", "(b) $2", "(c)", "(d)"]
    bars = [bar.get_segments()[0][:, 0] for bar in losses.collections]  # type: ignore[attr-defined]
    assert [(right - left) / 2 for left, right in bars] == pytest.approx([THREE, 2 * THREE, 3 * THREE])
    assert not losses_2.collections, "one seed has no interval"
    colour = {line.get_color() for axes in (losses, losses_2) for line in axes.lines if line.get_marker() == "o"}
    assert len(colour) == 1
    names = [label.get_text() for label in losses_2.get_yticklabels()]
    assert names == ["zorba", "mezo"]


def test_files(tmp_path: Path) -> None:
    """Twice the same bytes; a comparison that is named twice counts once."""
    paths = [write_fake_comparison(tmp_path / name, name="trec_$1", methods=METHODS) for name in ("a", "b")]
    for name in ("x", "y"):
        assert main([*map(str, [*paths, paths[0]]), "-o", str(tmp_path / "tables" / name)]) == 0
    endings = [".csv", ".pdf", ".png", ".tex"]
    assert sorted(file.name for file in (tmp_path / "tables").glob("x*")) == [f"x{ending}" for ending in endings]
    for ending in endings:
        assert (tmp_path / f"tables/x{ending}").read_bytes() == (tmp_path / f"tables/y{ending}").read_bytes(), ending
    with (tmp_path / "tables" / "x.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["comparison"] for line in lines] == ["trec_$1 (a)"] * 3 + ["trec_$1 (b)"] * 3
    assert float(lines[1]["behind_first_half"]) == pytest.approx(THREE)
    tex = (tmp_path / "tables" / "x.tex").read_text(encoding="utf-8")
    row = next(line for line in tex.splitlines() if "fedavg" in line)
    assert [cell.strip() for cell in row.split("&")][:7] == [
        r"trec\_\$1 (a)", "fedavg", "0.003", "3", "0.5625 ± 0.1553", "0.0625 ± 0.0776", r"71.9 \% ± 7.8 \%"
    ]  # fmt: skip
    assert tex.count(r"\toprule") == tex.count(r"\end{table*}") == 6


def test_what_cannot_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_fake_comparison(tmp_path / "c", methods=("zorba",), seeds=1, todo=("zorba/seed-1",))
    for folder, text in ((path, "no finished run in"), (tmp_path, "compare.json is missing")):
        assert main([str(folder), "-o", str(tmp_path / "x")]) == 2
        assert text in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))
