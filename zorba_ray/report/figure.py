"""Common code of all figures, for pages and pictures: colours, styles, legends and output.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; markers and dashes differ, too. Figures
of a page are narrow (4.6 inches), so that their text stays readable on a phone. The same input gives the same bytes.
"""

import io
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from zorba_ray.report.svg import inline_svg

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
INK, CARD, PALE, OFF = "#000000", "#ffffff", "#9ecae8", "#eef1f4"
_CYCLE = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", INK)
_MARKERS = "osD^vPX<>"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (8, 1.5, 2.5, 1.5)))
SINGLE_CLIENTS = 24
"""Up to this many clients have a row or bar each; more are shown in groups, or as lines."""
WIDTH_IN = 4.6
"""Width of a page's figures."""

STYLE: Any = {
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "text.parse_math": False,  # a '$' in a name is shown as it is
}
_PAGE: Any = STYLE | {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "grid.color": "#e3e3e3",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "zorba-ray",
}
_SHADES = 10
"""Number of shades of cells."""
_KEY, _LINE_EM = 9, 1.5
"""Width of a legend's key in characters, height of a line in font sizes."""


@dataclass(frozen=True)
class Plot:
    """A figure of the page."""

    title: str
    svg: Markup
    note: str = ""


def plot(
    title: str, draw: Callable[[Figure], None], height_in: float, note: str = "", tips: Mapping[str, str] | None = None
) -> Plot:
    """Draws a figure for a page. Its text alternative is made from the drawing.

    Args:
        height_in: height in inches.
        tips: gid of an artist -> its tooltip.
    """
    with styled(_PAGE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    alt = " ".join([f"{title}.", *map(_alternative, figure.axes), note]).strip()
    return Plot(title, inline_svg(target.getvalue(), alt, tips or {}), note)


def _alternative(axes: Axes) -> str:
    """A panel in words: its axes, and the first and last point of each named line."""
    lines = []
    for line in axes.get_lines():
        x, y = (np.asarray(values, dtype=float) for values in (line.get_xdata(), line.get_ydata()))
        finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if len(finite) and not str(line.get_label()).startswith("_") and len(lines) < 24:
            ends = dict.fromkeys((finite[0], finite[-1]))
            points = " to ".join(f"{y[index]:.4g} at {x[index]:.6g}" for index in ends)
            lines.append(f"{line.get_label()}: {points}")
    what = f"{axes.get_ylabel()} against {axes.get_xlabel()}" if axes.get_ylabel() else axes.get_xlabel()
    what = f"{what[:1].upper()}{what[1:]}"
    return f"{what}{': ' if what and lines else ''}{'; '.join(lines)}." if what or lines else ""


def picture(path: Path, draw: Callable[[Figure], None], width_in: float, height_in: float) -> Path:
    """Draws a figure in the page's style, as a PNG with 200 dots per inch on white.

    Raises:
        OSError: the file cannot be written.
    """
    with styled(_PAGE | {"figure.frameon": True}):
        figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor=CARD)
        draw(figure)
        figure.savefig(path, format="png", dpi=200, metadata={"Software": None})
    return path


@contextmanager
def styled(settings: Any) -> Iterator[None]:
    """A context in which figures are made and saved in this style of matplotlib."""
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # names in scripts that the font lacks
        yield


def look(index: int) -> dict[str, Any]:
    """Colour, marker and dash of the series `index`."""
    return {
        "color": _CYCLE[index % len(_CYCLE)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index % len(_DASHES)],
    }


def legend(figure: Figure, axes: Axes, title: str = "") -> None:
    """Draws the legend below the panels, and makes the figure higher for it. Without named series only the title."""
    handles, names = axes.get_legend_handles_labels()
    named = [(handle, name) for handle, name in zip(handles, names, strict=True) if name]
    if not named:
        if title:
            figure.supxlabel(title, fontsize=7)
        return
    room = int(figure.get_figwidth() * 105 / rcParams["legend.fontsize"])  # characters in the figure's width
    texts = [textwrap.fill(short(name, 3 * room), room - _KEY) for _, name in named]
    longest = max(len(line) for text in texts for line in text.splitlines())
    columns = max(1, min(len(texts), room // (longest + _KEY)))
    rows = math.ceil(len(texts) / columns)
    columns = math.ceil(len(texts) / rows)  # of about equal length
    # Matplotlib fills a legend column by column.
    lines = max(sum(text.count("\n") + 1 for text in texts[at : at + rows]) for at in range(0, len(texts), rows))
    figure.set_figheight(figure.get_figheight() + _LINE_EM * rcParams["legend.fontsize"] / 72 * (lines - 1))
    figure.legend([h for h, _ in named], texts, loc="outside lower center", ncols=columns, title=title or None)


def name_points(axes: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> None:
    """Writes names beside points. Of points that overlap in the picture only the first is named."""
    spans = [max(float(np.ptp(values)), 1e-12) for values in (x, y)]
    named: list[tuple[float, float]] = []
    for a, b, name in zip(x, y, names, strict=True):
        near = (abs(a - c) < 0.035 * spans[0] and abs(b - d) < 0.045 * spans[1] for c, d in named)
        if not any(near):
            named.append((a, b))
            stroke = [withStroke(linewidth=1.5, foreground=CARD)]
            axes.annotate(name, (a, b), (5, 4), textcoords="offset points", fontsize="small", path_effects=stroke)


def shaded_cells(axes: Axes, share: np.ndarray) -> None:
    """Draws a grid of cells. A cell is bluer if its share [rows, columns] is nearer to 1."""
    # One path per shade keeps the file small for many cells. A share above 0 is never drawn as 0.
    shade = np.ceil(share * _SHADES).astype(int)
    half = 0.45 if share.shape[1] <= 64 else 0.5
    corners = np.array([(-half, -half), (half, -half), (half, half), (-half, half)])
    for level in np.unique(np.append(shade, 0)).tolist():
        cells = np.argwhere(shade == level if level else shade >= 0)[:, ::-1]  # level 0 is the background of all cells
        outline = Outline.make_compound_path_from_polys(cells[:, None, :] + corners)
        color, alpha = (BLUE, level / _SHADES) if level else (OFF, 1.0)
        axes.add_patch(PathPatch(outline, facecolor=color, alpha=alpha if alpha < 1 else None, edgecolor="none"))
    axes.grid(False)


def unit_of(largest: float) -> tuple[int, str]:
    """(bytes per unit, name of the unit), so that the numbers on an axis are small."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if largest >= 2**power:
            return 2**power, name
    return 1, "bytes"


def percent(axis: Axis) -> None:
    """Shows the numbers of an axis as percent."""
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))


def bytes_axis(axes: Axes) -> None:
    """Makes the horizontal axis one of bytes, logarithmic."""
    axes.set_xscale("log", base=10)
    low, high = axes.get_xlim()
    ticks = MaxNLocator(4) if high < 5 * low else LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,))
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def whole_rounds(axes: Axes) -> None:
    """Puts ticks only at whole rounds."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))


def short(name: str, limit: int = 14) -> str:
    """One line, cut at `limit` characters."""
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"
