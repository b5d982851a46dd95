"""What all figures share: colours, style, the way from a drawing to an element of the page. Colours: Okabe and Ito's,
safe for colour-blind readers, and a blue-to-orange row for values.

Figures are narrow (4.6 inches) so that their text stays readable when a phone shrinks them; wide ones scroll there.
"""

import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zorba_ray.report.svg import Mark, inline_svg
from zorba_ray.tables.text import text_bytes

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#6b6b6b"
INK, CARD, PALE, OFF = "#000000", "#ffffff", "#9ecae8", "#eef1f4"
CYCLE = (BLUE, RED, GREEN, "#CC79A7", "#E69F00", "#56B4E9", INK)
LEVELS = ("#084594", "#2171b5", "#4a90c4", "#8a8a8a", "#b97f3f", "#cc6a1e", "#a63603")
"""Best to worst; every colour has at least three times the contrast of its ground."""
MARKERS = "osD^vPX"
DASHES = ("-", "--", ":", "-.")
WIDTH_IN, WIDE_IN = 4.6, 9.5
MANY_CLIENTS = 24
"""Above this many clients their single names are left out of the figures."""

_STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": "#e3e3e3",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.frameon": False,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a '$' in a name is a '$'
    "svg.fonttype": "none",
    "svg.hashsalt": "zorba-ray",
    "axes.formatter.useoffset": False,
}


@dataclass(frozen=True)
class Plot:
    """A figure of the page."""

    title: str
    alt: str
    svg: Markup
    note: str = ""
    wide: bool = False
    """Takes the whole width of the page."""


def plot(
    title: str,
    alt: str,
    draw: Callable[[Figure], None],
    height_in: float,
    note: str = "",
    wide: bool = False,
    marks: Mapping[str, Mark] | None = None,
) -> Plot:
    """Draws on a fresh figure, `height_in` inches high, and renders it; the same input gives the same bytes. `marks`
    names what the artists with a gid stand for."""
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has more fonts
        figure = Figure(figsize=(WIDE_IN if wide else WIDTH_IN, height_in), layout="constrained")
        draw(figure)
        target = io.StringIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return Plot(title, alt, inline_svg(target.getvalue(), alt, marks or {}), note, wide)


def picture(path: Path, draw: Callable[[Figure], None], width_in: float, height_in: float) -> Path:
    """Draws as `plot` does, into a PNG of 200 dots per inch on white; the same input gives the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    with rc_context(_STYLE | {"figure.frameon": True}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width_in, height_in), layout="constrained", facecolor=CARD)
        draw(figure)
        figure.savefig(path, format="png", dpi=200, metadata={"Software": None})
    return path


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """The legend under the axes, where it hides nothing."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, [short(name, 48) for name in names], loc="outside lower center", ncols=columns)


def unit_of(largest: float) -> tuple[int, str]:
    """Bytes per unit and its name, so that axis marks are round numbers."""
    for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if largest >= 2**power:
            return 2**power, name
    return 1, "bytes"


def whole_rounds(axes: Any) -> None:
    """Marks at whole rounds only."""
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def short(name: str, limit: int = 14) -> str:
    """One line, cut at `limit` characters."""
    name = " ".join(name.split())
    return name if len(name) <= limit else name[: limit - 1] + "…"


def budget_text(budget_bytes: int | None) -> str:
    """What follows a client's class."""
    return f"  {text_bytes(budget_bytes)}" if budget_bytes is not None else ""


def number(value: float | None) -> float:
    """NaN for None."""
    return float("nan") if value is None else value
