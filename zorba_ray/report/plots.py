"""The figures, as SVG data URIs with alternative texts. Colours: Okabe and Ito's, safe for colour-blind readers.

Figures are narrow (4.6 inches) so that their text stays readable when a phone shrinks them, and have a light ground in
both colour schemes.
"""

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from zorba_ray.report.load import Eval, RunRecord
from zorba_ray.report.numbers import text_bytes, text_loss, text_percent

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
CYCLE = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
DASHES = ("-", "--", ":", "-.")
WIDTH_IN = 4.6
MANY_CLIENTS = 24
"""Above this many clients their single names are left out of the figures."""

_STYLE = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "figure.facecolor": "white",
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a '$' in a name is a '$'
    "svg.hashsalt": "zorba-ray",
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Plot:
    """A figure of the page."""

    title: str
    alt: str
    uri: str
    note: str = ""


def figures_of_run(run: RunRecord, memory: str) -> list[Plot]:
    """All figures of one run; those without data are left out. `memory` labels the VRAM figures."""
    return [
        plot
        for plot in (
            _evals([run], ["validation"], "loss", ("test",)),
            _evals([run], ["validation"], "accuracy", ("test",)),
            _training(run),
            _traffic(run),
            _allocation(run),
            _vram(run, memory),
        )
        if plot is not None
    ]


def figures_of_runs(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Plot]:
    """Overlaid curves of several runs."""
    found = (_evals(runs, names, "loss"), _evals(runs, names, "accuracy"))
    return [plot for plot in found if plot is not None]


def _evals(runs: Sequence[RunRecord], names: Sequence[str], field: str, extra: Sequence[str] = ()) -> Plot | None:
    """Validation (and, for one run, test) loss or accuracy against rounds; round 0 is zero-shot."""
    curves: list[tuple[str, list[Eval]]] = []
    for run, name in zip(runs, names, strict=True):
        for split, label in (("validation", name), *((split, split) for split in extra)):
            points = [record for record in run.split(split) if getattr(record, field) is not None]
            if points:
                curves.append((label, points))
    if not curves:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (name, points) in enumerate(curves):
            test = name in extra
            axes.plot(
                [record.round for record in points],
                [getattr(record, field) for record in points],
                color=CYCLE[index % len(CYCLE)],
                marker=MARKERS[index % len(MARKERS)],
                linestyle="none" if test else DASHES[index // len(CYCLE) % len(DASHES)],
                markersize=7 if test else 4,
                label=name,
            )
        axes.set_xlabel("round (0: zero-shot)")
        axes.set_ylabel(field)
        _whole_rounds(axes)
        if field == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        if len(curves) > 1:
            _legend_below(figure, axes, columns=1 if len(runs) > 1 else 2)

    text = text_loss if field == "loss" else text_percent
    parts = [
        f"{name}: {text(getattr(points[0], field))} at round {points[0].round}"
        + (f", {text(getattr(points[-1], field))} at round {points[-1].round}" if len(points) > 1 else "")
        for name, points in curves
    ]
    title = f"Validation {field}" + (" and test" if extra and len(curves) > 1 else "")
    legend_in = 0.22 * len(curves) if len(runs) > 1 else 0.2
    return _plot(title, f"{title} against rounds. {'; '.join(parts)}.", draw, 2.7 + legend_in)


def _training(run: RunRecord) -> Plot | None:
    """Training loss above, spread of the scalars below."""
    known = [record for record in run.rounds if record.loss is not None]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        x = [record.round for record in known]
        y = np.array([record.loss for record in known], dtype=float)
        top.plot(x, y, color="#9ecae8", linewidth=1, label="round")
        width = max(1, len(y) // 12)
        if width > 1:
            smooth = np.convolve(y, np.ones(width) / width, mode="valid")
            top.plot(x[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
            top.legend(loc="upper right", ncols=2)
        top.set_ylabel("training loss")
        spread = [record for record in run.rounds if record.scalar_rms is not None]
        bottom.plot([r.round for r in spread], [_number(r.scalar_rms) for r in spread], color=RED, label="rms")
        means = [r for r in spread if r.scalar_mean is not None]
        bottom.plot([r.round for r in means], [_number(r.scalar_mean) for r in means], color=GREY, ls="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        bottom.set_ylabel("scalars ρ")
        bottom.set_xlabel("round")
        _whole_rounds(bottom)

    alt = (
        f"Training loss per round, {text_loss(known[0].loss)} at round {known[0].round}, {text_loss(known[-1].loss)} at "
        f"round {known[-1].round}; below it the root mean square and the mean of the scalars."
    )
    return _plot("Training loss and scalars", alt, draw, 3.8)


def _traffic(run: RunRecord) -> Plot | None:
    """Bytes per round over all clients, up and down."""
    up = [(record.round, record.bytes_up) for record in run.rounds if record.bytes_up is not None]
    down = [(record.round, record.bytes_down) for record in run.rounds if record.bytes_down is not None]
    if not up or not down:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.plot(*zip(*down, strict=True), color=RED, drawstyle="steps-mid", label="down, all clients")
        axes.plot(*zip(*up, strict=True), color=BLUE, linestyle="--", drawstyle="steps-mid", label="up, all clients")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("round")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text_bytes(value)))
        _whole_rounds(axes)
        _legend_below(figure, axes, columns=2)

    totals = f"up {text_bytes(sum(y for _, y in up))}, down {text_bytes(sum(y for _, y in down))}"
    return _plot(
        "Bytes sent per round",
        f"Bytes sent per round over all clients; in all {totals}.",
        draw,
        2.9,
        f"Over all rounds and clients: {totals}.",
    )


def _allocation(run: RunRecord) -> Plot | None:
    """Heat map of clients by blocks; dark is active."""
    clients, blocks = run.allocation.clients, run.allocation.blocks
    if not clients:
        return None
    grid = np.zeros((len(clients), blocks))
    for row, client in enumerate(clients):
        grid[row, list(client.blocks)] = 1
    many = len(clients) > MANY_CLIENTS

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.imshow(grid, aspect="auto", interpolation="none", cmap=ListedColormap(["#eef1f4", BLUE]), vmin=0, vmax=1)
        axes.set_xlabel("block")
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
        axes.grid(False)
        axes.tick_params(length=0)
        if many:
            axes.set_ylabel("client")
        else:
            names = [f"{c.client}  {_short(c.kind)}{_budget(c.budget_bytes)}" for c in clients]
            axes.set_yticks(range(len(clients)), names, fontsize=9)
            axes.set_yticks(np.arange(len(clients) + 1) - 0.5, minor=True)
        if blocks <= 64:
            axes.set_xticks(np.arange(blocks + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    active = [len(client.blocks) for client in clients]
    alt = (
        f"Which of {blocks} blocks each of {len(clients)} clients activates: from {min(active)} to {max(active)} blocks per "
        f"client; every block is active on {int(grid.sum(0).min())} to {int(grid.sum(0).max())} clients."
    )
    height = 3.4 if many else 0.8 + 0.27 * max(5, len(clients))
    return _plot("Active blocks by client", alt, draw, height, "Dark: active. Beside a client: its class and VRAM budget.")


def _vram(run: RunRecord, memory: str) -> Plot | None:
    """Bytes per client as bars, budgets as marks."""
    clients = run.allocation.clients
    if not clients:
        return None
    many = len(clients) > MANY_CLIENTS
    budgets = [(row, client.budget_bytes) for row, client in enumerate(clients) if client.budget_bytes is not None]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        rows = np.arange(len(clients))
        axes.barh(rows, [c.bytes for c in clients], height=1.0 if many else 0.62, color=BLUE, label="held")
        if budgets:
            y, x = zip(*budgets, strict=True)
            size = max(2.0, 16.0 - 0.3 * len(clients)) if not many else 2.5
            axes.plot(x, y, linestyle="none", marker="|", markersize=size, mew=2.5, color=RED, label="budget")
        axes.set_ylim(len(clients) - 0.5, -0.5)
        axes.set_xlim(0, 1.06 * max([c.bytes for c in clients] + [b for _, b in budgets] + [1]))
        if many:
            axes.set_ylabel("client")
        else:
            axes.set_yticks(rows, [f"{c.client}  {_short(c.kind)}" for c in clients], fontsize=9)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: text_bytes(value)))
        axes.set_xlabel(f"VRAM ({memory})")
        _legend_below(figure, axes, columns=2)

    shares = [client.share for client in clients if client.share is not None]
    span = f"from {text_percent(min(shares))} to {text_percent(max(shares))} of the budget" if shares else "no budgets"
    height = 3.8 if many else 1.2 + 0.27 * max(5, len(clients))
    return _plot("VRAM per client", f"VRAM held per client, {memory}: {span}.", draw, height, f"Figures are {memory}.")


def _plot(title: str, alt: str, draw: Callable[[Figure], None], height_in: float, note: str = "") -> Plot:
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts the font lacks
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(target.getvalue().encode("utf-8")).decode("ascii")
    return Plot(title, alt, f"data:image/svg+xml;base64,{data}", note)


def _legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, [_short(name, 48) for name in names], loc="outside lower center", ncols=columns)


def _whole_rounds(axes: Any) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _short(name: str, limit: int = 14) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _budget(budget_bytes: int | None) -> str:
    return f"  {text_bytes(budget_bytes)}" if budget_bytes is not None else ""


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
