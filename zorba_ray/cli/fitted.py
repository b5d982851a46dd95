"""Tables that fit the terminal: what matters least is left out before anything is cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Column:
    """One column of a table: its cells, and how soon it may go."""

    name: str
    cells: Sequence[str | Text]
    keep: int = 0
    """Columns with the smallest number are left out first; 0 and above stay however narrow the terminal is. Equal
    numbers go together."""
    left: bool = False
    """Text is on the left, numbers are on the right."""

    @property
    def width(self) -> int:
        """Cells that it takes, borders apart."""
        return max([len(self.name), *(cell_len(str(cell)) for cell in self.cells)])


BORDERS = 3
"""Cells around each column; one more closes the table."""


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that stay at this width, in order."""
    kept = list(columns)
    while sum(column.width + BORDERS for column in kept) + 1 > width:
        least = min(column.keep for column in kept)
        if least >= 0:
            break
        kept = [column for column in kept if column.keep > least]
    return kept


def fitted_table(title: str, columns: Sequence[Column], width: int) -> Table:
    """A table of the columns that fit. Longer text is wrapped where even the last ones are too wide."""
    table = Table(title=title, title_justify="left")
    kept = fitting(columns, width)
    for column in kept:
        table.add_column(column.name, justify="left" if column.left else "right", overflow="fold")
    for cells in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*cells)
    return table
