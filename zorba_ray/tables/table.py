"""A table: one item per row, and columns. A column says which value of an item it shows, and in which format.

The same table is shown on a page (`rows`, by the report's template) and in a terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zorba_ray.tables.spread import Spread
from zorba_ray.tables.text import NONE

if TYPE_CHECKING:
    import rich.table

_BORDERS = 3
"""Characters around a column in a terminal; one more closes the table."""

T = TypeVar("T")
Text = Callable[[Any], str]
"""A value -> its text."""


@dataclass(frozen=True)
class Link:
    """A value with a link to a file."""

    value: str | float
    href: str
    """Relative address; empty: no link."""


Cell = str | int | float | None | Spread | Link


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column."""

    name: str
    get: Callable[[T], Cell]
    """The value of a row's item; None: unknown."""
    text: Text | None = None
    """Format of values that are neither text nor None. A column with a format has numbers, and is aligned right."""
    keep: int = 0
    """Priority in a terminal that is too narrow: columns with the smallest number are left out first, equal ones
    together. Columns with 0 or more are never left out."""
    fold: bool = False
    """On a page, only the beginning of a long text is shown; the rest unfolds."""
    style: str = ""
    """Style of the cells in a terminal, as rich names it."""

    def show(self, cell: Cell) -> str:
        """The text of a cell; '–' for unknown."""
        value = cell.value if isinstance(cell, Link) else cell
        if value is None:
            return NONE
        return value if isinstance(value, str) else (self.text or str)(value)


@dataclass(frozen=True)
class Table(Generic[T]):
    """Rows with a caption above and a note below."""

    caption: str
    items: Sequence[T]
    """One per row."""
    columns: Sequence[Column[T]]
    note: str = ""

    @classmethod
    def of_rows(
        cls, caption: str, columns: Mapping[str, Text | None], rows: Sequence[Sequence[Cell]], note: str = ""
    ) -> "Table":
        """A table whose items are the rows of its cells. `columns`: name -> format, as of `Column`."""
        return Table(
            caption, rows, [Column(name, itemgetter(i), text) for i, (name, text) in enumerate(columns.items())], note
        )

    def texts(self) -> list[list[str]]:
        """The texts of the cells, row by row."""
        return [[column.show(column.get(item)) for column in self.columns] for item in self.items]

    def rows(self) -> list[list[tuple[str, str]]]:
        """The cells for a page, row by row: (text, address of its link or '')."""
        cells = [[(column, column.get(item)) for column in self.columns] for item in self.items]
        return [
            [(column.show(cell), cell.href if isinstance(cell, Link) else "") for column, cell in row] for row in cells
        ]

    def terminal(self, width: int | None = None) -> "rich.table.Table":
        """A table of rich, with the columns that fit into `width` characters (None: all). Longer texts are folded."""
        import rich.table

        texts = self.texts()
        columns = self.fitting(width, texts)
        table = rich.table.Table(
            title=self.caption, title_justify="left", caption=self.note or None, caption_justify="left"
        )
        for column in (self.columns[index] for index in columns):
            justify = "right" if column.text else "left"
            table.add_column(column.name, justify=justify, overflow="fold", style=column.style)
        for row in texts:
            table.add_row(*(row[index] for index in columns))
        return table

    def fitting(self, width: int | None, texts: Sequence[Sequence[str]]) -> list[int]:
        """Indices of the columns that are shown at `width`; columns with a low `keep` are left out first."""
        from rich.cells import cell_len

        widths = [
            _BORDERS + max(map(cell_len, (column.name, *(row[index] for row in texts))))
            for index, column in enumerate(self.columns)
        ]
        columns = list(range(len(self.columns)))
        while width is not None and sum(widths[index] for index in columns) + 1 > width:
            least = min(self.columns[index].keep for index in columns)
            if least >= 0:
                break
            columns = [index for index in columns if self.columns[index].keep > least]
        return columns


def with_interval(text: Text) -> Text:
    """A format for a `Spread`: '0.3471 ± 0.0210', the mean and half of its 95 % interval.

    One or two values are shown themselves, in the order of their seeds (equal texts once), because an interval from two
    values says nothing.
    """

    def show(spread: Spread) -> str:
        if spread.count <= 2:
            return ", ".join(dict.fromkeys(map(text, spread.values)))
        return text(spread.mean) + (f" ± {text(spread.half)}" if spread.half else "")

    return show
