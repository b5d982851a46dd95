"""The table and figures of comparisons: numbers worked out by hand, files, what is noted, what is refused."""

import csv
import runpy
import sys
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from analysis import comparison_curves, comparison_table
from analysis.comparison_table import load
from tests.support.fake_contest import SPREAD, write_fake_contest
from zorba_ray.errors import RunDirError
from zorba_ray.report.figure import print_style

THREE = 4.303 * SPREAD / 3**0.5
"""Half the 95 % interval of three losses SPREAD apart, whose sample standard deviation is SPREAD."""
METHODS = ("zorba", "fedavg", "mezo")


def run_script(*arguments: str | Path) -> int:
    """The script's own command, without its process."""
    return comparison_table.main([str(part) for part in arguments])


def points(axes: Axes) -> list[tuple[float, float]]:
    """The marks, one of each method."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", None)]
    return [(float(x), float(y)) for line in lines for x, y in line.get_xydata()]  # type: ignore[union-attr]


def test_rows_by_hand(tmp_path: Path) -> None:
    """Method p loses to 1/2 + p/16 with seeds (p mod 3 + 1) SPREAD apart; paired with the first, (p mod 3) SPREAD.

    24 passes: six rounds of two central directions, four of two steps of backpropagation, at three passes each; mezo's
    client makes those of two.
    """
    found = comparison_table.rows(load([write_fake_contest(tmp_path / "c", methods=METHODS)]))
    zorba, fedavg, mezo = found.rows
    assert [row["series"] for row in found.rows] == list(METHODS)
    assert [(row["rounds"], row["passes"]) for row in found.rows] == [(6, 24), (4, 24), (24, 48)]
    assert [(row["n"], row["seeds"], row["rate"]) for row in found.rows] == [(3, "1 2 3", 0.003)] * 3
    assert [row["final_loss_mean"] for row in found.rows] == pytest.approx([0.5, 0.5625, 0.625])
    assert [row["final_loss_half"] for row in found.rows] == pytest.approx([THREE, 2 * THREE, 3 * THREE])
    assert [row["test_accuracy_mean"] for row in found.rows] == pytest.approx([0.75, 0.71875, 0.6875])
    assert [row["test_accuracy_half"] for row in found.rows] == pytest.approx([THREE] * 3)
    assert (zorba["difference_mean"], zorba["difference_half"], zorba["pairs"]) == (None, None, 0)
    assert (fedavg["difference_mean"], mezo["difference_mean"]) == pytest.approx((0.0625, 0.125))
    assert (fedavg["difference_half"], mezo["difference_half"]) == pytest.approx((THREE, 2 * THREE))
    # 10 bytes up a round, 20 + 10 N down; 2 s of CPU a round; two active blocks of four, all four.
    assert (zorba["bytes_up_mean"], zorba["bytes_down_mean"], zorba["cpu_s_mean"]) == (60, 240, 12)
    assert (mezo["bytes_up_mean"], mezo["bytes_down_mean"], mezo["cpu_s_mean"]) == (None, None, 48)  # it is central
    assert (zorba["vram_bytes_mean"], mezo["vram_bytes_mean"]) == (1200, 1400)
    assert found.vram_source == "modelled, simulated"
    assert found.notes == ()


def test_seeds_that_did_not_finish_are_named_and_in_no_mean(tmp_path: Path) -> None:
    """Fedavg lacks seed 3: of losses 1/2 and 9/16 and of zorba's first two, t = 12.706; mezo has seed 2 alone."""
    path = write_fake_contest(
        tmp_path / "c",
        methods=METHODS,
        tried={"zorba": {"0.1": 0.5, "0.2": 0.6}},
        endings={"fedavg/seed-3": "diverged", "mezo/seed-1": "failed"},
        todo=("mezo/seed-3",),
    )
    found = comparison_table.rows(load([path]))
    zorba, fedavg, mezo = found.rows
    assert (fedavg["n"], fedavg["seeds"], fedavg["diverged"], fedavg["pairs"]) == (2, "1 2", "3", 2)
    assert fedavg["final_loss_mean"] == pytest.approx(0.5625 - SPREAD)
    assert fedavg["final_loss_half"] == pytest.approx(12.706 * 2 * SPREAD / 2)
    assert fedavg["difference_mean"] == pytest.approx(0.0625 - SPREAD / 2)
    assert fedavg["difference_half"] == pytest.approx(12.706 * SPREAD / 2)
    assert (mezo["n"], mezo["failed"], mezo["missing"], mezo["final_loss_half"]) == (1, "1", "3", None)
    assert (zorba["rate_at_end"], fedavg["rate_at_end"]) == ("lowest", None)
    assert found.notes == (
        "fake: zorba: rate 0.1 is the lowest of 2 tried; the best rate may lie beyond.",
        "fake: fedavg, seed 3: diverged after round 1; it is in no mean.",
        "fake: mezo, seed 1: failed after round 1; it is in no mean.",
        "fake: mezo: no run yet of seed 3.",
    )


def test_the_figure_shows_the_rows(tmp_path: Path) -> None:
    one = write_fake_contest(tmp_path / "a", name="one", methods=METHODS)
    other = write_fake_contest(tmp_path / "b", name="$2", methods=("zorba", "mezo"), seeds=1)
    with print_style():
        figure = comparison_table.draw(comparison_table.rows(load([one, other])))
    losses, losses_2, differences, differences_2 = figure.axes
    assert points(losses) == [(0.5, 0), (0.5625, 1), (0.625, 2)]
    assert points(differences) == [(0.0625, 1), (0.125, 2)]
    assert points(losses_2) == [(0.5, 0), (0.5625, 1)]
    assert points(differences_2) == [(0.0625, 1)]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a) one", "(b) $2", "(c)", "(d)"]
    bars = [bar.get_segments()[0][:, 0] for bar in losses.collections]  # type: ignore[attr-defined]
    assert [(right - left) / 2 for left, right in bars] == pytest.approx([THREE, 2 * THREE, 3 * THREE])
    assert not losses_2.collections, "one seed has no interval"
    colour = {line.get_color() for axes in (losses, losses_2) for line in axes.lines if line.get_marker() == "o"}
    assert len(colour) == 1
    names = [label.get_text() for label in losses_2.get_yticklabels()]
    assert names == ["zorba", "mezo"]


def test_curves_against_the_passes_of_all_clients(tmp_path: Path) -> None:
    """Straight from 1 to the mean final loss. Zorba asks two clients for 4 passes a round, mezo one for 2."""
    found = comparison_curves.rows(load([write_fake_contest(tmp_path / "c", methods=("zorba", "mezo"))]))
    lines = {key: dict(part.parts("seed")) for key, part in found.parts()}
    zorba, mezo = lines["zorba"]["mean"], lines["mezo"]["mean"]
    assert list(lines["zorba"]) == ["1", "2", "3", "mean"]
    assert zorba.column("passes_of_a_client").tolist() == [0, 4, 8, 12, 16, 20, 24]
    assert zorba.column("passes_of_all").tolist() == [0, 8, 16, 24, 32, 40, 48]
    assert mezo.column("passes_of_all").tolist() == [2 * number for number in range(25)]
    assert zorba.column("loss") == pytest.approx([1 - number / 12 for number in range(7)])
    assert lines["zorba"]["1"].column("loss")[-1] == pytest.approx(0.5 - SPREAD)
    with print_style():
        [axes] = comparison_curves.draw(found).axes
    drawn = [line.get_xydata().tolist() for line in axes.lines if line.get_linewidth() > 1]  # type: ignore[union-attr]
    wanted = [zip(mean.column("passes_of_all"), mean.column("loss"), strict=True) for mean in (zorba, mezo)]
    assert drawn == [[list(point) for point in line] for line in wanted]
    assert len([line for line in axes.lines if line.get_linewidth() < 1]) == 6


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [write_fake_contest(tmp_path / name, name="trec_$1", methods=METHODS) for name in ("a", "b")]
    out = tmp_path / "tables" / "comparison"
    assert run_script(*paths, paths[0], "-o", out) == 0
    endings = ("-curves.csv", "-curves.pdf", "-curves.png", ".csv", ".pdf", ".png", ".tex")
    assert sorted(file.name for file in out.parent.iterdir()) == [f"comparison{ending}" for ending in endings]
    with out.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["comparison"] for line in lines] == ["trec_$1 (a)"] * 3 + ["trec_$1 (b)"] * 3
    assert float(lines[1]["difference_half"]) == pytest.approx(THREE)
    pm = r"\ensuremath{\pm}"
    row = next(line for line in out.with_suffix(".tex").read_text(encoding="utf-8").splitlines() if "fedavg" in line)
    assert [cell.strip() for cell in row.removesuffix(r"\\").split("&")] == [
        r"trec\_\$1 (a)", "fedavg", "3", "0.003", "4", "24", f"0.562 {pm} 0.155", f"71.9 {pm} 7.8",
        f"0.062 {pm} 0.078", "40", "160", "1.17", "8",
    ]  # fmt: skip
    assert f"left out: {paths[0]}: named twice" in capsys.readouterr().err


def test_one_comparison_is_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_fake_contest(tmp_path / "c", methods=METHODS, todo=("mezo/seed-1", "mezo/seed-2", "mezo/seed-3"))
    assert run_script(path, "-o", tmp_path / "x") == 0
    monkeypatch.setattr(sys, "argv", ["comparison_table", str(path), "-o", str(tmp_path / "y")])
    monkeypatch.delitem(sys.modules, "analysis.comparison_table", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("analysis.comparison_table", run_name="__main__")
    assert ended.value.code == 0
    for ending in (".csv", ".tex", ".pdf", ".png", "-curves.csv", "-curves.pdf", "-curves.png"):
        assert (tmp_path / f"x{ending}").read_bytes() == (tmp_path / f"y{ending}").read_bytes(), ending


def test_what_cannot_be_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    todo = ("zorba/seed-1", "zorba/seed-2")
    path = write_fake_contest(tmp_path / "c", methods=("zorba",), seeds=2, todo=todo)
    with pytest.raises(RunDirError, match="no finished run in"):
        comparison_table.rows(load([path]))
    assert run_script(tmp_path, "-o", tmp_path / "x") == 2
    assert "compare.json is missing" in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))
