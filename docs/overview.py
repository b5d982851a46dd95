"""Draws the picture on the first page: a server, three unequal clients, a scalar up, seeds down.

`python docs/overview.py` writes docs/figures/overview-light.svg and docs/figures/overview-dark.svg.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "figures"
BLOCKS = 6
WIDTH, HEIGHT = 960, 400


@dataclass(frozen=True)
class Theme:
    """Colours of one page background."""

    text: str
    quiet: str
    """Lines, and text that explains."""
    box: str
    frozen: str
    active: str
    up: str
    down: str


@dataclass(frozen=True)
class Client:
    """One machine of the federation, and the blocks that it activates."""

    name: str
    memory: str
    active: frozenset[int]


THEMES = {
    "light": Theme("#1b1f24", "#57606a", "#f6f8fa", "#d5dae0", "#2f6fbb", "#b3541e", "#1a7f4b"),
    "dark": Theme("#e6edf3", "#9aa4af", "#161b22", "#3b434c", "#6aa9f5", "#f0975a", "#5ccf91"),
}
CLIENTS = (
    Client("workstation", "24 GB", frozenset({0, 1, 2, 4, 5})),
    Client("desktop", "12 GB", frozenset({0, 3, 5})),
    Client("laptop", "6 GB", frozenset({2})),
)


def text(x: float, y: float, words: str, fill: str, size: int = 15, anchor: str = "start", bold: bool = False) -> str:
    """One line of text; `anchor` as SVG has it."""
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" fill="{fill}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def box(x: float, y: float, width: float, height: float, fill: str, line: str = "none", radius: int = 8) -> str:
    """A rectangle with round corners."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}" stroke="{line}"/>'


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str, head: str) -> str:
    """A line that ends in the arrow head of that name."""
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}" stroke-width="2" marker-end="url(#{head})"/>'
    )


def picture(theme: Theme) -> str:
    """The whole SVG document."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        "<title>A server and three unequal clients: seeds go down, one scalar per forward pair comes up</title>",
        "<defs>",
        *(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker>'
            for name, colour in (("up", theme.up), ("down", theme.down))
        ),
        "</defs>",
        box(20, 110, 250, 190, theme.box, theme.quiet),
        text(145, 142, "server", theme.text, 18, "middle", bold=True),
        *(
            text(145, 172 + 24 * row, words, theme.quiet, 14, "middle")
            for row, words in enumerate(
                ("decides who activates which", "blocks, by memory (a MILP)", "adds up the scalars", "keeps the ledger")
            )
        ),
    ]
    for row, client in enumerate(CLIENTS):
        top = 22 + 112 * row
        parts += [
            box(520, top, 420, 96, theme.box, theme.quiet),
            text(536, top + 28, client.name, theme.text, 16, bold=True),
            text(536, top + 50, f"{client.memory}, own data", theme.quiet, 14),
            text(536, top + 72, "forward passes only", theme.quiet, 14),
        ]
        for block in range(BLOCKS):
            fill = theme.active if block in client.active else theme.frozen
            parts.append(box(708 + 37 * block, top + 20, 30, 56, fill, radius=4))
        parts.append(arrow(274, 138 + 55 * row, 514, top + 36, theme.down, "down"))
        parts.append(arrow(516, top + 62, 276, 158 + 55 * row, theme.up, "up"))
    parts += [
        text(290, 60, "down: seeds, and the", theme.down, 14),
        text(290, 78, "scalars of the round", theme.down, 14),
        text(290, 330, "up: one scalar ρ per", theme.up, 14),
        text(290, 348, "pair of forward passes", theme.up, 14),
        text(20, 386, "ρ = [ F(θ + μz) − F(θ − μz) ] / 2μ", theme.text, 16),
        box(536, 370, 18, 18, theme.active, radius=3),
        text(562, 384, "block that the client perturbs", theme.quiet, 14),
        box(776, 370, 18, 18, theme.frozen, radius=3),
        text(802, 384, "frozen block", theme.quiet, 14),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes both files."""
    for name, theme in THEMES.items():
        (FOLDER / f"overview-{name}.svg").write_text(picture(theme), "utf-8")


if __name__ == "__main__":
    main()
