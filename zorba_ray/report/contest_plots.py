"""Figures of a comparison: validation loss against four costs, final losses seed by seed, paired differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from zorba_ray.contest.records import Contest, Outcome, Point
from zorba_ray.contest.texts import interval, loss, signed
from zorba_ray.report.canvas import CYCLE, DASHES, GREY, MARKERS, Plot, legend_below, plot, unit_of
from zorba_ray.report.numbers import text_loss

_LOG = 300
"""Costs that are so many times apart stand on a logarithmic axis."""


def curves(state: Contest) -> list[Plot]:
    """Validation loss against rounds, forward passes, bytes and CPU seconds; those without data are left out."""
    largest = max((point.bytes or 0.0 for outcome in state.outcomes for point in outcome.curve), default=0.0)
    factor, unit = unit_of(largest)
    central = [one.method for one in state.contestants if one.central]
    bytes_note = f"Nothing travels in {', '.join(central)}." if central else ""
    passes_note = f"{', '.join(central)}: passes divided by the participants that it computes for." if central else ""
    kinds: list[tuple[str, str, Callable[[Point], float | None], str]] = [
        ("rounds", "round", lambda point: float(point.round), ""),
        ("forward passes", "forward passes of a client", lambda point: point.passes, passes_note),
        (
            "bytes per client",
            f"bytes of a client, up and down ({unit})",
            lambda point: None if point.bytes is None else point.bytes / factor,
            bytes_note,
        ),
        ("CPU seconds", "CPU seconds of the rounds", lambda point: point.cpu_s, ""),
    ]
    found = [_curve(state, title, label, cost, note) for title, label, cost, note in kinds]
    return [one for one in found if one is not None]


def _curve(state: Contest, title: str, label: str, cost: Callable[[Point], float | None], note: str) -> Plot | None:
    known: list[tuple[int, Outcome, list[tuple[float, Point]]]] = []
    for place, outcome in enumerate(state.outcomes):
        points = [(value, point) for point in outcome.curve if (value := cost(point)) is not None]
        if points:
            known.append((place, outcome, points))
    if not known:
        return None
    ends = [points[-1][0] for *_, points in known]
    logarithmic = min(ends) > 0 and max(ends) > _LOG * min(ends)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for place, outcome, points in known:
            shown = [(value, point) for value, point in points if value > 0 or not logarithmic]
            x = [value for value, _ in shown]
            look = _look(place)
            axes.plot(x, [point.loss for _, point in shown], label=outcome.method, markersize=3.5, **look)
            low, high = [point.loss_low for _, point in shown], [point.loss_high for _, point in shown]
            if low != high:
                axes.fill_between(x, low, high, color=look["color"], alpha=0.14, linewidth=0)
        for target in state.targets:
            axes.axhline(target, color=GREY, linewidth=0.8, linestyle=":")
        if logarithmic:
            axes.set_xscale("log")
            # Plain text: this page's figures set no formulas.
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel(label)
        axes.set_ylabel("validation loss")
        legend_below(figure, axes, columns=3)

    texts = "; ".join(
        f"{outcome.method}: {text_loss(points[0][1].loss)} at the start, {text_loss(points[-1][1].loss)} after "
        f"{points[-1][0]:.6g}"
        for _, outcome, points in known
    )
    bands = "Mean over the seeds; band: smallest to largest."
    dotted = " Dotted: the losses to reach." if state.targets else ""
    alt = f"Validation loss against {title}. {texts}."
    height = 2.9 + 0.22 * ((len(known) + 2) // 3)
    return plot(f"Validation loss against {title}", alt, draw, height, f"{bands}{dotted} {note}".strip())


def finals(state: Contest) -> Plot | None:
    """Final validation loss of every seed, with mean and interval."""
    known = [(place, one) for place, one in enumerate(state.outcomes) if "final_loss" in one.figures]
    if not known:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for row, (place, outcome) in enumerate(known):
            found, look = outcome.figures["final_loss"], _look(place)
            values = list(found.values.values())
            # Side by side, so that equal seeds do not hide each other.
            axes.plot(values, row + np.linspace(-0.18, 0.18, len(values)), "o", color=look["color"], ms=4, alpha=0.55)
            axes.errorbar(
                [found.mean or 0.0], [row], xerr=found.half, color=look["color"], marker="|", ms=14, capsize=4
            )
        _rows(axes, [outcome.method for _, outcome in known])
        axes.set_xlabel("final validation loss")

    texts = "; ".join(f"{one.method}: {interval(one.figures['final_loss'], loss)}" for _, one in known)
    note = "Dots: seeds. Bar: mean and its 95 % interval."
    return plot(
        "Final validation loss", f"Final validation loss. {texts}.", draw, 1.2 + 0.38 * max(3, len(known)), note
    )


def differences(state: Contest) -> Plot | None:
    """Paired differences in final loss to the first method."""
    known = [(place, one) for place, one in enumerate(state.outcomes) if _has(one)]
    if not known:
        return None
    first = state.contestants[0].method

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0.0, color=GREY, linestyle="--", linewidth=1)
        for row, (place, outcome) in enumerate(known):
            found, look = outcome.differences["final_loss"], _look(place)
            axes.errorbar(
                [found.mean or 0.0], [row], xerr=found.half, color=look["color"], marker=look["marker"], capsize=4
            )
        _rows(axes, [outcome.method for _, outcome in known])
        axes.set_xlabel(f"final loss minus that of {first}, seed by seed")

    texts = "; ".join(f"{one.method}: {interval(one.differences['final_loss'], signed)}" for _, one in known)
    note = f"Right of the line: {first} is lower. Bar: 95 % interval of the paired differences."
    alt = f"Paired differences in final validation loss to {first}. {texts}."
    return plot(f"Difference to {first}", alt, draw, 1.2 + 0.38 * max(3, len(known)), note)


def _has(outcome: Outcome) -> bool:
    found = outcome.differences.get("final_loss")
    return found is not None and found.mean is not None


def _look(place: int) -> dict[str, Any]:
    return {
        "color": CYCLE[place % len(CYCLE)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[place // len(CYCLE) % len(DASHES)],
    }


def _rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.margins(x=0.08)
