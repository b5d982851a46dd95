"""One look for all figures: column widths, colours that colour-blind readers can tell apart, fonts that print.

Colours are Okabe and Ito's; marker and dash differ too, so that figures survive a black-and-white printer.
"""

import math
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from analysis.rows import Rows

COLUMN_IN, PAGE_IN = 3.4, 7.0
"""Widths of one column and of a page."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 1.5, 2.5, 1.5)))

_STYLE: Any = {
    "pdf.fonttype": 42,  # TrueType: text stays text, and publishers refuse Type 3
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "axes.formatter.useoffset": False,
    "figure.constrained_layout.wspace": 0.05,
    "figure.constrained_layout.hspace": 0.04,
    "savefig.dpi": 300,
}

_KEY, _LINE_IN = 9, 0.145
"""Width of a legend's key in characters, height of a line."""


@contextmanager
def style() -> Iterator[None]:
    """Figures made inside have the look."""
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts that the font lacks
        yield


def look(index: int) -> dict[str, Any]:
    """Colour, marker and dash of the series `index`."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def plain(text: str) -> str:
    """Text as it is: a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def curve(axes: Axes, rows: Rows, x: str, y: str, index: int, label: str, unit: float = 1.0) -> None:
    """Mean of y over the seeds against x / unit, with a band from the smallest to the largest."""
    places, mean = rows.column(x) / unit, rows.column(f"{y}_mean")
    axes.plot(places, mean, label=plain(label), markevery=_every(len(places)), **look(index))
    low, high = rows.column(f"{y}_min"), rows.column(f"{y}_max")
    if (high > low).any():
        axes.fill_between(places, low, high, color=look(index)["color"], alpha=0.16, linewidth=0)


def points(axes: Axes, rows: Rows, x: str, y: str, index: int, label: str, fill: str | None = None) -> None:
    """Mean of y at each x, joined, with a bar from the smallest to the largest over the seeds."""
    places, mean, kind = rows.column(x), rows.column(f"{y}_mean"), look(index)
    kind["markerfacecolor"] = fill or kind["color"]
    axes.errorbar(places, mean, yerr=reach(rows, y), label=plain(label), capsize=1.8, elinewidth=0.8, **kind)


def level(axes: Axes, rows: Rows, y: str, index: int, name: str) -> None:
    """A level line, with its name beside it, and a band from the smallest to the largest; no rows, no line."""
    for mean, low, high in zip(*(rows.column(f"{y}_{part}") for part in ("mean", "min", "max")), strict=True):
        axes.axhline(mean, color=look(index)["color"], linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axhspan(low, high, color=look(index)["color"], alpha=0.1, linewidth=0)
        beside = axes.get_yaxis_transform()
        axes.text(1.01, mean, name, transform=beside, va="center", color=look(index)["color"])


def reach(rows: Rows, name: str) -> np.ndarray:
    """[2, rows]: how far the smallest and the largest over the seeds are from the mean."""
    mean = rows.column(f"{name}_mean")
    # fmean of equal numbers may differ from them in the last digit; a bar of negative length is refused.
    return np.maximum([mean - rows.column(f"{name}_min"), rows.column(f"{name}_max") - mean], 0.0)


def legend(figure: Figure, axes: Axes, title: str) -> None:
    """Under the panels, where it hides nothing: the figure grows. The title alone where there is one unnamed series."""
    handles, names = axes.get_legend_handles_labels()
    shown = [(handle, name) for handle, name in zip(handles, names, strict=True) if name]
    if not shown:
        figure.supxlabel(plain(title), fontsize=7)
        return
    room = int(figure.get_figwidth() * 15)  # characters of the legend's size in the figure's width
    texts = [textwrap.fill(name, room - _KEY) for _, name in shown]
    longest = max(len(line) for text in texts for line in text.splitlines())
    columns = max(1, min(len(shown), room // (longest + _KEY)))
    columns = math.ceil(len(shown) / math.ceil(len(shown) / columns))  # rows of about equal length
    # Matplotlib fills a legend column by column.
    height = max(
        sum(text.count("\n") + 1 for text in texts[start : start + math.ceil(len(texts) / columns)])
        for start in range(0, len(texts), math.ceil(len(texts) / columns))
    )
    figure.set_figheight(figure.get_figheight() + _LINE_IN * (height - 1))
    figure.legend(
        [handle for handle, _ in shown],
        texts,
        loc="outside lower center",
        ncols=columns,
        title=plain(title),
    )


def percent(axes: Axes) -> None:
    """Shares on the y axis read as percent."""
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))


def letters(axes: Any) -> None:
    """(a), (b), … over the panels."""
    for index, one in enumerate(np.ravel(axes)):
        one.set_title(f"({chr(ord('a') + index)})", loc="left", fontsize=7.5, pad=3)


def unit_of(values: np.ndarray) -> tuple[int, str]:
    """Bytes per unit, and its name, for axis marks that are small numbers."""
    largest = np.nanmax(values, initial=0)
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if largest >= 2**power:
            return 2**power, name
    return 1, "bytes"


def save(figure: Figure, out: Path) -> list[Path]:
    """OUT.pdf and OUT.png; the same figure gives the same bytes."""
    pdf, png = out.with_name(out.name + ".pdf"), out.with_name(out.name + ".png")
    figure.savefig(pdf, metadata={"CreationDate": None})
    figure.savefig(png, metadata={"Software": None})
    return [pdf, png]


def _every(count: int) -> int:
    """About twelve markers on a curve."""
    return max(1, count // 12)
