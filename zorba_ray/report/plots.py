"""The figures of one run and of several."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zorba_ray.report.canvas import (
    BLUE,
    CYCLE,
    DASHES,
    GREY,
    MANY_CLIENTS,
    MARKERS,
    RED,
    Plot,
    budget_text,
    legend_below,
    number,
    plot,
    short,
    unit_of,
    whole_rounds,
)
from zorba_ray.report.load import Eval, RunRecord
from zorba_ray.report.numbers import text_bytes, text_loss, text_percent


def figures_of_run(run: RunRecord, memory: str) -> list[Plot]:
    """All figures of one run; those without data are left out. `memory` labels the VRAM figures."""
    return [
        found
        for found in (
            _evals([run], ["validation"], "loss", ("test",)),
            _evals([run], ["validation"], "accuracy", ("test",)),
            _training(run),
            _traffic(run),
            _allocation(run),
            _vram(run, memory),
        )
        if found is not None
    ]


def figures_of_runs(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Plot]:
    """Overlaid curves of several runs."""
    found = (_evals(runs, names, "loss"), _evals(runs, names, "accuracy"))
    return [one for one in found if one is not None]


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
                markersize=8 if test else 4,
                markerfacecolor="none" if test else None,
                markeredgewidth=1.8 if test else 1,
                label=name,
            )
        axes.set_xlabel("round (0: zero-shot)")
        axes.set_ylabel(field)
        whole_rounds(axes)
        if field == "accuracy":
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g} %"))
        if len(curves) > 1:
            legend_below(figure, axes, columns=1 if len(runs) > 1 else 2)

    text = text_loss if field == "loss" else text_percent
    parts = [
        f"{name}: {text(getattr(points[0], field))} at round {points[0].round}"
        + (f", {text(getattr(points[-1], field))} at round {points[-1].round}" if len(points) > 1 else "")
        for name, points in curves
    ]
    title = f"{field.capitalize()}: validation" + (" and test" if extra and len(curves) > 1 else "")
    legend_in = 0.22 * len(curves) if len(runs) > 1 else 0.2
    return plot(title, f"{title} against rounds. {'; '.join(parts)}.", draw, 2.7 + legend_in)


def _training(run: RunRecord) -> Plot | None:
    """Training loss above, spread of the scalars below."""
    known = [record for record in run.rounds if record.loss is not None]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        x = [record.round for record in known]
        y = np.array([record.loss for record in known], dtype=float)
        width = max(1, len(y) // 12)
        top.plot(x, y, color=BLUE if width == 1 else "#9ecae8", linewidth=1, label="round")
        if width > 1:
            smooth = np.convolve(y, np.ones(width) / width, mode="valid")
            top.plot(x[width - 1 :], smooth, color=BLUE, label=f"mean of {width}")
            top.legend(loc="upper right", ncols=2)
        top.set_ylabel("training loss")
        spread = [record for record in run.rounds if record.scalar_rms is not None]
        bottom.plot([r.round for r in spread], [number(r.scalar_rms) for r in spread], color=RED, label="rms")
        means = [r for r in spread if r.scalar_mean is not None]
        bottom.plot([r.round for r in means], [number(r.scalar_mean) for r in means], color=GREY, ls="--", label="mean")
        bottom.legend(loc="upper right", ncols=2)
        bottom.set_ylim(top=1.35 * bottom.get_ylim()[1])
        bottom.set_ylabel("scalars ρ")
        bottom.set_xlabel("round")
        whole_rounds(bottom)

    alt = (
        f"Training loss per round, {text_loss(known[0].loss)} at round {known[0].round}, {text_loss(known[-1].loss)} "
        f"at round {known[-1].round}; below it the root mean square and the mean of the scalars."
    )
    return plot("Training loss and scalars", alt, draw, 3.8)


def _traffic(run: RunRecord) -> Plot | None:
    """Bytes per round over all clients, up and down."""
    up = [(record.round, record.bytes_up) for record in run.rounds if record.bytes_up is not None]
    down = [(record.round, record.bytes_down) for record in run.rounds if record.bytes_down is not None]
    if not up or not down:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        size, unit = unit_of(max(count for _, count in down + up))
        for curve, color, dash, name in ((down, RED, "-", "down"), (up, BLUE, "--", "up")):
            x, y = [number for number, _ in curve], [count / size for _, count in curve]
            axes.plot(x, y, color=color, linestyle=dash, drawstyle="steps-mid", label=f"{name}, all clients")
        axes.set_ylim(bottom=0, top=1.08 * axes.get_ylim()[1])
        axes.set_xlabel("round")
        axes.set_ylabel(unit)
        whole_rounds(axes)
        legend_below(figure, axes, columns=2)

    totals = f"up {text_bytes(sum(y for _, y in up))}, down {text_bytes(sum(y for _, y in down))}"
    return plot(
        "Bytes sent per round",
        f"Bytes sent per round over all clients; in all {totals}.",
        draw,
        3.4,
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
            names = [f"{c.client}  {short(c.kind)}{budget_text(c.budget_bytes)}" for c in clients]
            axes.set_yticks(range(len(clients)), names, fontsize=9)
        if not many and blocks <= 64:  # white lines between the cells, over the picture
            axes.set_axisbelow(False)
            axes.set_xticks(np.arange(blocks + 1) - 0.5, minor=True)
            axes.set_yticks(np.arange(len(clients) + 1) - 0.5, minor=True)
            axes.grid(which="minor", color="white", linewidth=1)
            axes.tick_params(which="minor", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)

    active = [len(client.blocks) for client in clients]
    alt = (
        f"Which of {blocks} blocks each of {len(clients)} clients activates: {min(active)} to {max(active)} blocks per "
        f"client; every block is active on {int(grid.sum(0).min())} to {int(grid.sum(0).max())} clients."
    )
    height = 3.4 if many else 0.8 + 0.27 * max(5, len(clients))
    note = "Dark: active." if many else "Dark: active. Beside a client: its class and VRAM budget."
    return plot("Active blocks by client", alt, draw, height, note)


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
        largest = max([c.bytes for c in clients] + [budget for _, budget in budgets] + [1])
        size, unit = unit_of(largest)
        held = [client.bytes / size for client in clients]
        edge = BLUE if many else "none"  # without it, hairlines show between touching bars
        axes.barh(rows, held, height=1.0 if many else 0.62, color=BLUE, edgecolor=edge, linewidth=0.5, label="held")
        if budgets:
            y, x = np.array([row for row, _ in budgets]), [budget / size for _, budget in budgets]
            half = 0.55 if many else 0.42
            axes.vlines(x, y - half, y + half, color=RED, linewidth=2.5, label="budget")
        axes.set_ylim(len(clients) - 0.5, -0.5)
        axes.set_xlim(0, 1.06 * largest / size)
        if many:
            axes.set_ylabel("client")
        else:
            axes.set_yticks(rows, [f"{c.client}  {short(c.kind)}" for c in clients], fontsize=9)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(f"VRAM in {unit} ({memory})")
        legend_below(figure, axes, columns=2)

    shares = [client.share for client in clients if client.share is not None]
    span = f"from {text_percent(min(shares))} to {text_percent(max(shares))} of the budget" if shares else "no budgets"
    height = 3.8 if many else 1.2 + 0.27 * max(5, len(clients))
    return plot("VRAM per client", f"VRAM held per client, {memory}: {span}.", draw, height, f"Figures are {memory}.")
