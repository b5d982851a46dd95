"""Every figure of runs: its numbers by hand, the picture shows its CSV, files fit for print, faults in words."""

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from analysis.draw import panels_figure
from analysis.figures import FIGURES, main
from analysis.groups import collect
from analysis.printed import print_style
from analysis.rows import Rows
from tests.support.fake_family import write_member

LOSSES = {1: (1.0, 0.8, 0.5), 2: (1.0, 0.6, 0.25)}
"""Seed -> validation losses of rounds 0, 1, 2; the means are 1, 0.7 and 0.375."""


def family(folder: Path, variants: Sequence[dict[str, Any]]) -> list[Path]:
    """Two seeds of every variant; variant k loses k / 8 less at the end."""
    found = []
    for (index, variant), seed in itertools.product(enumerate(variants), LOSSES):
        losses = (*LOSSES[seed][:2], LOSSES[seed][2] + index / 8)
        found.append(write_member(folder / f"{index}-{seed}", seed=seed, losses=losses, **variant))
    return found


def settings(key: str, *values: Any, **more: Any) -> list[dict[str, Any]]:
    return [{"settings": {key: value} | more} for value in values]


FLEETS: list[dict[str, Any]] = [
    {"budgets": (3000, 3000), "blocks": ((2, 3), (1, 2))},
    {"budgets": (2000, 4000), "blocks": ((3,), (0, 1, 2))},
]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "loss_curves": settings("allocation.epsilon", 0.0, 0.5),
    "epsilon": [
        {"settings": {"allocation.epsilon": epsilon}, "f1": 1 + epsilon, "blocks": blocks}
        for epsilon, blocks in ((0.0, ((0, 1), (2, 3))), (0.5, ((0, 1), (2,))), (1.0, ((0,), (1,))))
    ],
    "clients": [{"blocks": ((2,),) * n} for n in (2, 4, 8)],
    "vram_heterogeneity": FLEETS,
    "budget": [
        {"budgets": (2000, 2000), "blocks": ((0,), (1,))},
        {"budgets": (3000, 3000), "blocks": ((0, 1), (2, 3))},
    ],
    "non_iid": [
        *settings("data.alpha", 0.1, 1.0, **{"data.partition": "dirichlet"}),
        *settings("data.partition", "iid"),
    ],
    "seeds_mode": settings("federation.seeds", "shared", "per_client"),
    "perturbation_scale": settings("zo.perturbation_scale", 1e-4, 1e-3, 1e-2),
}


def drawn(name: str, runs: Sequence[Path]) -> tuple[Rows, Figure]:
    figure = FIGURES[name]
    rows = figure.rows(collect(runs)[0])
    with print_style():
        return rows, panels_figure(rows, figure.panels, figure.across)


def lines_of(axes: Axes) -> list[list[tuple[float, float]]]:
    """The lines with markers, as points; error bars' caps and reference lines are not among them."""
    kept = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|", None)]
    return [[(float(x), float(y)) for x, y in line.get_xydata()] for line in kept]  # type: ignore[union-attr]


def column(rows: Rows, name: str) -> list[float]:
    return [float(value) for value in rows.column(name)]


def run_script(*arguments: str | Path) -> int:
    """As `python -m analysis.figures ARGUMENTS`."""
    return main([str(part) for part in arguments])


def test_loss_curves(tmp_path: Path) -> None:
    """Four central directions: eight passes a round; 10 + 40 bytes."""
    rows, figure = drawn("loss_curves", family(tmp_path, VARIANTS["loss_curves"]))
    first = rows.parts()[0][1]
    assert rows.parts()[0][0] == "ε = 0"
    assert column(first, "round") == [0, 1, 2]
    assert column(first, "loss_mean") == pytest.approx([1.0, 0.7, 0.375], abs=1e-15)
    assert column(first, "loss_min") == [1.0, 0.6, 0.25]
    assert column(first, "loss_max") == [1.0, 0.8, 0.5]
    assert column(first, "accuracy_mean") == [0.25, 0.5, 0.75]
    assert column(first, "bytes_per_client") == [0, 50, 100]
    assert column(first, "forward_passes_per_client") == [0, 8, 16]
    assert [(row["n"], row["seeds"]) for row in rows.rows] == [(2, "1 2")] * 6
    assert figure.legends[0].get_title().get_text() == "mean and min–max over n = 2 seeds"
    costs = ("round", "bytes_per_client", "forward_passes_per_client")
    for axes, (value, cost) in zip(figure.axes, itertools.product(("loss", "accuracy"), costs), strict=True):
        wanted = [list(zip(column(p, cost), column(p, f"{value}_mean"), strict=True)) for _, p in rows.parts()]
        assert lines_of(axes) == wanted


def test_loss_curves_of_a_language_model_show_no_accuracy(tmp_path: Path) -> None:
    _, figure = drawn("loss_curves", [write_member(tmp_path / "a", accuracies=None)])
    assert len(figure.axes) == 3
    assert figure.legends[0].get_title().get_text() == "1 seed"


HAND: dict[str, dict[str, list[float]]] = {
    "epsilon": {  # VRAM of 2 × 1000 + 100 per active block
        "epsilon": [0, 0.5, 1],
        "fleet_vram_bytes_mean": [2400, 2300, 2200],
        "vram_saved_mean": [1 - 24 / 28, 1 - 23 / 28, 1 - 22 / 28],
        "f1_mean": [1, 1.5, 2],
    },
    "clients": {
        "clients": [2, 4, 8],
        "bytes_up_mean": [10, 10, 10],
        "bytes_down_mean": [40, 60, 100],
    },
    "vram_heterogeneity": {  # budgets 2000 and 4000: CV 1/3; one block and three: 1100 and 1300 bytes
        "budget_cv": [0, 0.333333],
        "budget_total_bytes_mean": [6000, 6000],
        "bytes_ratio_mean": [1, 1300 / 1100],
        "blocks_ratio_mean": [1, 3],
    },
    "budget": {
        "budget": [2000, 3000],
        "blocks_mean": [1, 2],
        "saved_mean": [1 - 22 / 28, 1 - 24 / 28],
    },
    "non_iid": {"alpha": [0.1, 1.0, float("inf")]},
    "perturbation_scale": {"perturbation_scale": [1e-4, 1e-3, 1e-2]},
}


@pytest.mark.parametrize("name", HAND)
def test_numbers_by_hand_and_their_picture(name: str, tmp_path: Path) -> None:
    rows, figure = drawn(name, family(tmp_path, VARIANTS[name]))
    losses = [0.375 + index / 8 for index in range(len(rows.rows))]
    for key, values in ({"loss_mean": losses} | HAND[name]).items():
        assert column(rows, key) == pytest.approx(values, abs=1e-15), key
    for axes, panel in zip(figure.axes, FIGURES[name].panels, strict=True):
        x = rows.column(panel.x) / (1024 if "{unit}" in panel.xlabel else 1)
        pairs = [pair for pair in zip(x.tolist(), column(rows, f"{panel.y}_mean"), strict=True) if pair[0] < np.inf]
        assert lines_of(axes) == [pairs]


def test_what_stands_beside_the_points(tmp_path: Path) -> None:
    _, figure = drawn("epsilon", family(tmp_path / "a", VARIANTS["epsilon"]))
    assert "KiB; modelled, simulated" in figure.axes[0].get_xlabel()
    assert {text.get_text() for text in figure.axes[0].texts} == {"0", "0.5", "1"}
    _, figure = drawn("non_iid", family(tmp_path / "b", VARIANTS["non_iid"]))
    loss = figure.axes[0]
    level = next(line for line in loss.lines if line.get_marker() in ("None", None) and len(set(line.get_ydata())) == 1)  # type: ignore[arg-type]
    assert set(level.get_ydata()) == {0.625}  # type: ignore[arg-type]
    assert [text.get_text() for text in loss.texts] == ["iid"]


def test_seeds_mode(tmp_path: Path) -> None:
    rows, figure = drawn("seeds_mode", family(tmp_path, VARIANTS["seeds_mode"]))
    assert [name for name, _ in rows.parts()] == ["seeds = shared", "seeds = per_client"]
    assert column(rows.parts()[0][1], "distance_mean") == [0, 2, 4]
    loss, distance, both = figure.axes
    assert lines_of(loss)[1] == [(0, 1.0), (1, 0.7), (2, 0.5)]
    assert lines_of(distance)[0] == [(0, 0), (1, 2), (2, 4)]
    assert lines_of(both)[1] == [(0, 1.0), (2, 0.7), (4, 0.5)]


def test_fleets_of_the_same_classes_are_one_series(tmp_path: Path) -> None:
    classes = [{"name": "a", "vram": 2000}, {"name": "b", "vram": 3000}]
    runs = [
        write_member(
            tmp_path / f"{n}",
            budgets=(2000, 3000) * n,
            blocks=((2,),) * 2 * n,
            settings={"federation.fleet": [{**kind, "count": n} for kind in classes]},
        )
        for n in (1, 2, 4)
    ]
    rows, _ = drawn("clients", runs)
    assert [(row["series"], row["clients"]) for row in rows.rows] == [("", 2), ("", 4), ("", 8)]
    other = write_member(tmp_path / "other", budgets=(2000, 2500, 3000), blocks=((2,),) * 3)
    assert len(drawn("clients", [*runs, other])[0].parts()) == 2


def test_series_are_the_groups_that_differ_in_nothing_else(tmp_path: Path) -> None:
    variants = [
        {"settings": {"allocation.epsilon": epsilon, "zo.lr": lr}} for lr in (1e-3, 1e-2) for epsilon in (0.0, 1.0)
    ]
    rows, figure = drawn("epsilon", family(tmp_path, variants))
    names = ["η = 0.001", "η = 0.01"]
    assert [(row["series"], row["epsilon"]) for row in rows.rows] == [(name, x) for name in names for x in (0, 1)]
    lines = [line for line in figure.axes[2].lines if str(line.get_marker()) in "os"]
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines]
    assert all(one != other for one, other in zip(*looks, strict=True))


def test_fleets_of_other_totals_and_without_budgets_are_noted(tmp_path: Path) -> None:
    rows, _ = drawn("vram_heterogeneity", family(tmp_path, [FLEETS[0], {"budgets": (2000, 6000)}, {}]))
    assert rows.notes[0] == "1 group of runs without budget_cv left out"
    assert rows.notes[1].startswith("the fleets' total budgets differ: 5.859 KiB to 7.812 KiB")


@pytest.mark.parametrize("name", FIGURES)
def test_files_are_fit_for_print(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TrueType fonts only, a picture of 300 dots per inch that is not empty, the CSV of its rows."""
    runs = family(tmp_path / "runs", VARIANTS[name])
    out = tmp_path / "figures" / "fig.v1"
    assert run_script(name, *runs, "-o", out) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {out}.{ending}" for ending in ("pdf", "png", "csv")]
    pdf = Path(f"{out}.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    picture = imread(f"{out}.png")
    assert picture.shape[1] in (round(3.4 * 300), round(7.0 * 300))
    assert 0.01 < (picture[..., :3].min(axis=2) < 0.9).mean() < 0.5, "ink covers a part of the page"
    edges = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert (edges[:, :3] == 1).all(), "ink at the edge: something is cut off"
    with Path(f"{out}.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows = FIGURES[name].rows(collect(runs)[0])
    assert [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows.rows] == table


def test_the_same_runs_give_the_same_files(tmp_path: Path) -> None:
    runs = family(tmp_path, VARIANTS["perturbation_scale"])
    for name in ("a", "b"):
        assert run_script("perturbation_scale", *runs, "-o", tmp_path / f"{name}.pdf") == 0
    for ending in ("pdf", "png", "csv"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_hostile_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """Dollar signs start no formula, unknown scripts stop nothing, long names widen nothing."""
    paths = ["$\\frac{", "data/$a$_b", "数据/🙂", "x" * 200, "a%b c"]
    runs = [write_member(tmp_path / f"{n}", settings={"data.path": path}) for n, path in enumerate(paths)]
    assert run_script("loss_curves", *runs, "-o", tmp_path / "fig") == 0
    assert imread(tmp_path / "fig.png").shape[1] == 2100
    texts = [text.get_text() for text in drawn("loss_curves", runs)[1].legends[0].get_texts()]
    assert texts[1] == "data = data/$a$_b"
    assert len(texts) == 5


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("loss_curves", {"losses": (1.0, 0.5), "accuracies": None, "finished": False}, "no finished run"),
        ("epsilon", {}, "two values of epsilon (allocation.epsilon); found: 0.2"),
        ("vram_heterogeneity", {}, "two values of budget_cv (federation.fleet); found: none"),
    ],
)
def test_what_is_missing_is_said(
    name: str, variant: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script(name, write_member(tmp_path / "run", **variant), "-o", tmp_path / "fig") == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.startswith("error: ")
    assert not list(tmp_path.glob("fig*"))


def test_damaged_runs_are_named_and_the_others_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = family(tmp_path, settings("allocation.epsilon", 0.0, 1.0))
    (runs[1] / "metrics.jsonl").write_text("{\n{}\n", encoding="utf-8")
    assert run_script("epsilon", *runs, "-o", tmp_path / "fig") == 0
    errors = capsys.readouterr().err
    assert errors.startswith(f"left out: {runs[1]}: ")
    assert "metrics.jsonl, line 1: damaged, or not a record" in errors
    with (tmp_path / "fig.csv").open(encoding="utf-8", newline="") as file:
        assert [row["seeds"] for row in csv.DictReader(file)] == ["1", "1 2"]
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run_script("epsilon", *runs, "-o", tmp_path / "file" / "fig") == 2
    assert "error: " in capsys.readouterr().err
