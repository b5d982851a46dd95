"""The style of figures for print: sizes, fonts, letters over panels, and the files."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zorba_ray.report.figure import STYLE, styled

COLUMN_IN, SHEET_IN = 3.4, 7.0
"""Widths of a paper's column and of its sheet."""

_PRINT: Any = STYLE | {
    "pdf.fonttype": 42,  # TrueType: text stays text, and publishers refuse Type 3
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 7.5,
    "axes.labelsize": 7.5,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.handlelength": 2.6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.6,
    "figure.constrained_layout.wspace": 0.05,
    "figure.constrained_layout.hspace": 0.04,
    "savefig.dpi": 300,
}


def print_style() -> Any:
    """A context in which figures are made and saved for print."""
    return styled(_PRINT)


def save(figure: Figure, out: Path) -> list[Path]:
    """Writes OUT.pdf and OUT.png, 300 dots per inch."""
    pdf, png = out.with_name(out.name + ".pdf"), out.with_name(out.name + ".png")
    figure.savefig(pdf, metadata={"CreationDate": None})
    figure.savefig(png, metadata={"Software": None})
    return [pdf, png]


def letters(panels: Iterable[Axes], names: Sequence[str] = (), room: int = 40) -> None:
    """Writes (a), (b), … over the panels, with their names, in lines of `room` characters."""
    for index, axes in enumerate(panels):
        name = names[index] if index < len(names) else ""
        text = textwrap.fill(f"({chr(ord('a') + index)}) {name}".strip(), max(10, room))
        axes.set_title(text, loc="left", fontsize=7.5, pad=3)
