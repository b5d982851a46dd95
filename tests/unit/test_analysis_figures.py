"""Every figure script: its numbers by hand, the picture shows its CSV, files fit for print, faults in words."""

import csv
import itertools
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from analysis import (
    client_scaling,
    epsilon_front,
    heterogeneity,
    loss_curves,
    non_iid,
    perturbation_scale,
    seeds_mode,
)
from analysis.groups import collect
from analysis.rows import Rows
from tests.support.fake_family import write_member
from zorba_ray.errors import RunDirError
from zorba_ray.report.figure import print_style

LOSSES = {1: (1.0, 0.8, 0.5), 2: (1.0, 0.6, 0.25)}
"""Seed -> validation losses of rounds 0, 1, 2; the means are 1, 0.7 and 0.375."""


def family(folder: Path, variants: Sequence[dict[str, Any]]) -> list[Path]:
    """Two seeds of every variant; variant k loses k / 8 less at the end."""
    found = []
    for (index, variant), seed in itertools.product(enumerate(variants), LOSSES):
        losses = (*LOSSES[seed][:2], LOSSES[seed][2] + index / 8)
        found.append(write_member(folder / f"{index}-{seed}", seed=seed, losses=losses, **variant))
    return found


def settings(key: str, *values: Any) -> list[dict[str, Any]]:
    return [{"settings": {key: value}} for value in values]


FLEETS: list[dict[str, Any]] = [
    {"budgets": (3000, 3000), "blocks": ((2, 3), (1, 2))},
    {"budgets": (2000, 4000), "blocks": ((3,), (0, 1, 2))},
]
SCRIPTS: dict[str, tuple[ModuleType, list[dict[str, Any]]]] = {
    "loss_curves": (loss_curves, settings("allocation.epsilon", 0.0, 0.5)),
    "epsilon_front": (epsilon_front, settings("allocation.epsilon", 0.0, 0.5, 1.0)),
    "client_scaling": (client_scaling, [{"blocks": ((2,),) * n} for n in (2, 4, 8)]),
    "heterogeneity": (heterogeneity, FLEETS),
    "non_iid": (non_iid, [*settings("data.alpha", 0.1, 1.0), {"settings": {"data.partition": "iid"}}]),
    "seeds_mode": (seeds_mode, settings("federation.seeds", "shared", "per_client")),
    "perturbation_scale": (perturbation_scale, settings("zo.perturbation_scale", 1e-4, 1e-3, 1e-2)),
}
SCRIPTS["non_iid"][1][0]["settings"]["data.partition"] = "dirichlet"
SCRIPTS["non_iid"][1][1]["settings"]["data.partition"] = "dirichlet"


def drawn(name: str, folder: Path) -> tuple[Rows, Figure]:
    module, variants = SCRIPTS[name]
    rows = module.rows(collect(family(folder, variants))[0])
    with print_style():
        return rows, module.draw(rows)


def lines_of(axes: Axes) -> list[list[tuple[float, float]]]:
    """The lines with markers, as points; error bars' caps and reference lines are not among them."""
    kept = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", None)]
    return [[(float(x), float(y)) for x, y in line.get_xydata()] for line in kept]  # type: ignore[union-attr]


def column(rows: Rows, name: str) -> list[float]:
    return [float(value) for value in rows.column(name)]


def run_script(name: str, arguments: Sequence[str | Path], monkeypatch: pytest.MonkeyPatch) -> int:
    """As `python -m analysis.NAME ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    monkeypatch.delitem(sys.modules, f"analysis.{name}", raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"analysis.{name}", run_name="__main__")
    return int(ended.value.code or 0)


def test_loss_curves(tmp_path: Path) -> None:
    """P = 4, first active blocks 2 and 1 of 4: (2 + 16) / 4 and (1 + 24) / 4 forwards a round; 10 + 40 bytes."""
    rows, figure = drawn("loss_curves", tmp_path)
    first = rows.parts()[0][1]
    assert rows.parts()[0][0] == "ε = 0"
    assert column(first, "round") == [0, 1, 2]
    assert column(first, "loss_mean") == pytest.approx([1.0, 0.7, 0.375], abs=1e-15)
    assert column(first, "loss_min") == [1.0, 0.6, 0.25]
    assert column(first, "loss_max") == [1.0, 0.8, 0.5]
    assert column(first, "accuracy_mean") == [0.25, 0.5, 0.75]
    assert column(first, "bytes_per_client") == [0, 50, 100]
    assert column(first, "forward_passes_per_client") == [0, 5.375, 10.75]
    assert [(row["n"], row["seeds"]) for row in rows.rows] == [(2, "1 2")] * 6
    assert figure.legends[0].get_title().get_text() == "mean and min–max over n = 2 seeds"
    costs = ("round", "bytes_per_client", "forward_passes_per_client")
    for axes, (value, cost) in zip(figure.axes, itertools.product(("loss", "accuracy"), costs), strict=True):
        wanted = [list(zip(column(p, cost), column(p, f"{value}_mean"), strict=True)) for _, p in rows.parts()]
        assert lines_of(axes) == wanted


def test_loss_curves_of_a_language_model_show_no_accuracy(tmp_path: Path) -> None:
    rows = loss_curves.rows(collect([write_member(tmp_path / "a", accuracies=None)])[0])
    with print_style():
        figure = loss_curves.draw(rows)
    assert len(figure.axes) == 3
    assert figure.legends[0].get_title().get_text() == "1 seed"


def test_epsilon_front(tmp_path: Path) -> None:
    """The second is beaten in both; VRAM of 2 × 1000 + 100 per active block."""
    loss = {0.0: 0.5, 0.5: 0.75, 1.0: 0.625}
    runs = [
        write_member(
            tmp_path / f"{epsilon}",
            settings={"allocation.epsilon": epsilon},
            losses=(1.0, end),
            accuracies=None,
            blocks=held,
            f1=1 + epsilon,
        )
        for (epsilon, end), held in zip(loss.items(), (((0, 1), (2, 3)), ((0, 1), (2,)), ((0,), (1,))), strict=True)
    ]
    rows = epsilon_front.rows(collect(runs)[0])
    assert column(rows, "epsilon") == [0, 0.5, 1]
    assert column(rows, "loss_mean") == [0.5, 0.75, 0.625]
    assert column(rows, "fleet_vram_bytes_mean") == [2400, 2300, 2200]
    assert column(rows, "vram_saved_mean") == pytest.approx([1 - 24 / 28, 1 - 23 / 28, 1 - 22 / 28], abs=1e-15)
    assert column(rows, "f1_mean") == [1, 1.5, 2]
    assert column(rows, "on_front") == [1, 0, 1]
    with print_style():
        front, against, surrogate = epsilon_front.draw(rows).axes
    assert "modelled, simulated" in front.get_xlabel()
    assert {text.get_text() for text in front.texts} == {"0", "0.5", "1"}
    points = list(zip([2400 / 1024, 2300 / 1024, 2200 / 1024], [0.5, 0.75, 0.625], strict=True))
    assert lines_of(front) == [[points[0], points[2]], [points[1]]]
    assert lines_of(against) == [[(0, 0.5), (0.5, 0.75), (1, 0.625)]]
    assert lines_of(surrogate) == [[(0, 1), (0.5, 1.5), (1, 2)]]


def test_client_scaling(tmp_path: Path) -> None:
    rows, figure = drawn("client_scaling", tmp_path)
    assert column(rows, "clients") == [2, 4, 8]
    assert column(rows, "loss_mean") == [0.375, 0.5, 0.625]
    assert column(rows, "bytes_up_mean") == [10, 10, 10]
    assert column(rows, "bytes_down_mean") == [40, 60, 100]
    assert column(rows, "seconds_per_round_mean") == [0.75, 0.75, 0.75]
    loss, sent, time = figure.axes
    assert lines_of(loss) == [[(2, 0.375), (4, 0.5), (8, 0.625)]]
    assert lines_of(sent) == [[(2, 40), (4, 60), (8, 100)], [(2, 10), (4, 10), (8, 10)]]
    assert lines_of(time) == [[(2, 0.75), (4, 0.75), (8, 0.75)]]


def test_client_scaling_follows_the_classes_of_a_fleet(tmp_path: Path) -> None:
    """Two budgets, in other numbers: one series. Another budget: another one."""
    small, large, other = 2000, 3000, 2500
    runs = [
        write_member(tmp_path / f"{index}", budgets=budgets, blocks=((2,),) * len(budgets))
        for index, budgets in enumerate([(small, large), (small, large, other), (small, other), (small, other, large)])
    ]
    rows = client_scaling.rows(collect(runs)[0])
    assert [(row["clients"]) for row in rows.rows] == [2, 3, 2, 3]
    fleets = [[{"name": "a", "count": n, "vram": small}, {"name": "b", "count": n, "vram": large}] for n in (1, 2, 4)]
    runs = [
        write_member(
            tmp_path / f"counts{fleet[0]['count']}",
            budgets=(small, large) * fleet[0]["count"],
            blocks=((2,),) * 2 * fleet[0]["count"],
            settings={"federation.fleet": fleet},
        )
        for fleet in fleets
    ]
    rows = client_scaling.rows(collect(runs)[0])
    assert [(row["series"], row["clients"]) for row in rows.rows] == [("", 2), ("", 4), ("", 8)]


def test_heterogeneity(tmp_path: Path) -> None:
    """Budgets 2000 and 4000: CV 1/3, ratio 2; one block (1100 of 2000) and three (1300 of 4000): CV of |A_n| 1/2."""
    rows, figure = drawn("heterogeneity", tmp_path)
    assert rows.notes == ()
    assert column(rows, "budget_cv") == [0, 0.333333]
    assert column(rows, "budget_max_over_min_mean") == [1, 2]
    assert column(rows, "budget_total_bytes_mean") == [6000, 6000]
    assert column(rows, "loss_mean") == [0.375, 0.5]
    assert column(rows, "worst_share_mean") == [1200 / 3000, 1100 / 2000]
    assert column(rows, "blocks_mean") == [2, 2]
    assert column(rows, "fewest_blocks_min") == [2, 1]
    assert column(rows, "most_blocks_max") == [2, 3]
    assert column(rows, "blocks_cv_mean") == [0, 0.5]
    assert [lines_of(axes)[0][1] for axes in figure.axes] == [(0.333333, y) for y in (0.5, 0.55, 2, 0.5)]


def test_heterogeneity_says_when_totals_differ_and_when_there_are_no_budgets(tmp_path: Path) -> None:
    runs = family(tmp_path / "a", [FLEETS[0], {"budgets": (2000, 6000)}, {}])
    notes = heterogeneity.rows(collect(runs)[0]).notes
    assert notes[0].startswith("the fleets' total budgets differ: 5.859 KiB to 7.812 KiB")
    assert notes[1] == "1 groups without VRAM budgets are left out"
    with pytest.raises(RunDirError, match=r"needs runs with VRAM budgets \(federation\.fleet\)"):
        heterogeneity.rows(collect([write_member(tmp_path / "b")])[0])


def test_non_iid(tmp_path: Path) -> None:
    rows, figure = drawn("non_iid", tmp_path)
    assert column(rows, "alpha") == [0.1, 1.0, float("inf")]
    assert column(rows, "loss_mean") == [0.375, 0.5, 0.625]
    loss = figure.axes[0]
    assert lines_of(loss) == [[(0.1, 0.375), (1.0, 0.5)]]
    level = next(line for line in loss.lines if line.get_marker() in ("None", None) and len(set(line.get_ydata())) == 1)  # type: ignore[arg-type]
    assert set(level.get_ydata()) == {0.625}  # type: ignore[arg-type]
    assert [text.get_text() for text in loss.texts] == ["iid"]


def test_perturbation_scale(tmp_path: Path) -> None:
    rows, figure = drawn("perturbation_scale", tmp_path)
    assert column(rows, "perturbation_scale") == [1e-4, 1e-3, 1e-2]
    loss = figure.axes[0]
    assert loss.get_xscale() == "log"
    assert lines_of(loss) == [[(1e-4, 0.375), (1e-3, 0.5), (1e-2, 0.625)]]


def test_seeds_mode(tmp_path: Path) -> None:
    rows, figure = drawn("seeds_mode", tmp_path)
    assert [name for name, _ in rows.parts()] == ["seeds = shared", "seeds = per_client"]
    assert column(rows.parts()[0][1], "distance_mean") == [0, 2, 4]
    loss, distance, both = figure.axes
    assert lines_of(loss)[1] == [(0, 1.0), (1, 0.7), (2, 0.5)]
    assert lines_of(distance)[0] == [(0, 0), (1, 2), (2, 4)]
    assert lines_of(both)[1] == [(0, 1.0), (2, 0.7), (4, 0.5)]


def test_series_are_the_groups_that_differ_in_nothing_else(tmp_path: Path) -> None:
    variants = [
        {"settings": {"allocation.epsilon": epsilon, "zo.lr": lr}} for lr in (1e-3, 1e-2) for epsilon in (0.0, 1.0)
    ]
    rows = epsilon_front.rows(collect(family(tmp_path, variants))[0])
    assert [(row["series"], row["epsilon"]) for row in rows.rows] == [
        ("η = 0.001", 0),
        ("η = 0.001", 1),
        ("η = 0.01", 0),
        ("η = 0.01", 1),
    ]
    with print_style():
        lines = epsilon_front.draw(rows).axes[2].lines
    looks = [
        (line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines if str(line.get_marker()) in "os"
    ]
    assert all(one != other for one, other in zip(*looks, strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_files_are_fit_for_print(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TrueType fonts only, and a picture of 300 dots per inch that is not empty."""
    module, variants = SCRIPTS[name]
    runs = family(tmp_path / "runs", variants)
    out = tmp_path / "figures" / "fig.v1"
    assert run_script(name, [*runs, "-o", out], monkeypatch) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {out}.{ending}" for ending in ("pdf", "png", "csv")]
    pdf = Path(f"{out}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    picture = imread(f"{out}.png")
    width = picture.shape[1]
    assert width in (round(3.4 * 300), round(7.0 * 300))
    assert 0.01 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.5, "ink covers a part of the page"
    edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edges[:, :3] == 1).all(), "ink at the edge: something is cut off"
    with Path(f"{out}.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = module.rows(collect(runs)[0])
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows.rows] == table


def test_the_same_runs_give_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = family(tmp_path, settings("zo.perturbation_scale", 1e-3, 1e-2))
    for name in ("a", "b"):
        assert run_script("perturbation_scale", [*runs, "-o", tmp_path / f"{name}.pdf"], monkeypatch) == 0
    for ending in ("pdf", "png", "csv"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_hostile_names_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dollar signs start no formula, unknown scripts stop nothing, long names widen nothing."""
    paths = ["$\\frac{", "data/$a$_b", "数据/🙂", "x" * 200, "a%b c"]
    runs = [write_member(tmp_path / f"{n}", settings={"data.path": path}) for n, path in enumerate(paths)]
    assert run_script("loss_curves", [*runs, "-o", tmp_path / "fig"], monkeypatch) == 0
    assert imread(tmp_path / "fig.png").shape[1] == 2100
    rows = loss_curves.rows(collect(runs)[0])
    with print_style():
        texts = [text.get_text() for text in loss_curves.draw(rows).legends[0].get_texts()]
    assert texts[1] == "data = data/$a$_b"
    assert len(texts) == 5


def _one(key: str, value: Any) -> list[dict[str, Any]]:
    return settings(key, value)


@pytest.mark.parametrize(
    ("name", "variants", "message"),
    [
        ("loss_curves", [{"losses": (1.0, 0.5), "accuracies": None, "finished": False}], "no finished run"),
        ("epsilon_front", _one("allocation.epsilon", 0.25), "two values of epsilon (allocation.epsilon); found: 0.25"),
        ("client_scaling", [{}], "two values of clients (federation.clients); found: 2"),
        ("heterogeneity", [FLEETS[1]], "two values of budget_cv (federation.fleet); found: 0.333333"),
        ("non_iid", _one("data.partition", "iid"), "two values of alpha (data.alpha, data.partition); found: inf"),
        ("seeds_mode", _one("federation.seeds", "shared"), "the finished runs have shared only"),
        ("perturbation_scale", [{}], "two values of perturbation_scale (zo.perturbation_scale); found: 0.001"),
    ],
)
def test_what_is_missing_is_said(
    name: str,
    variants: list[dict[str, Any]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [write_member(tmp_path / f"{n}", **variant) for n, variant in enumerate(variants)]
    assert run_script(name, [*runs, "-o", tmp_path / "fig"], monkeypatch) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("error: ")
    assert not list(tmp_path.glob("fig*"))


def test_damaged_runs_are_named_and_the_others_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = family(tmp_path, settings("allocation.epsilon", 0.0, 1.0))
    (runs[1] / "metrics.jsonl").write_text("{\n{}\n", encoding="utf-8")
    assert run_script("epsilon_front", [*runs, "-o", tmp_path / "fig"], monkeypatch) == 0
    errors = capsys.readouterr().err
    assert errors.startswith(f"left out: {runs[1]}: ")
    assert "metrics.jsonl, line 1: not a record" in errors
    with (tmp_path / "fig.csv").open(encoding="utf-8", newline="") as file:
        assert [row["seeds"] for row in csv.DictReader(file)] == ["1", "1 2"]


def test_an_unwritable_place_is_an_error_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = family(tmp_path / "runs", settings("allocation.epsilon", 0.0, 1.0))
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run_script("epsilon_front", [*runs, "-o", tmp_path / "file" / "fig"], monkeypatch) == 2
    assert "error: " in capsys.readouterr().err
