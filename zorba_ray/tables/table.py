"""A table: things, one per row, and columns that say which value of a thing they show and how it reads.

The same table is rendered to a page (`rows`, by the report's template) and to a terminal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from zorba_ray.tables.spread import Spread
from zorba_ray.tables.text import NONE

if TYPE_CHECKING:
    import rich.table

_BORDERS = 3
"""Characters around a column in a terminal; one more closes the table."""

T = TypeVar("T")
Text = Callable[[Any], str]
"""A value -> how it reads."""


@dataclass(frozen=True)
class Link:
    """A value that leads to a file."""

    value: str | float
    href: str
    """Relative address; empty for none."""


Cell = str | int | float | None | Spread | Link


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column."""

    name: str
    get: Callable[[T], Cell]
    """The value of a row's thing; None is unknown."""
    text: Text | None = None
    """How a value reads that is neither text nor None. A column with it holds numbers and is set flush right."""
    keep: int = 0
    """In a terminal that is too narrow, columns with the smallest number go first, equal ones together; 0 and above
    stay."""
    fold: bool = False
    """On a page a long text is folded to its beginning."""
    style: str = ""
    """Of the cells in a terminal, in the words of rich."""

    def show(self, cell: Cell) -> str:
        """A cell's text; '–' for unknown."""
        value = cell.value if isinstance(cell, Link) else cell
        if value is None:
            return NONE
        return value if isinstance(value, str) else (self.text or str)(value)


@dataclass(frozen=True)
class Table(Generic[T]):
    """Rows under a caption, with a note below."""

    caption: str
    items: Sequence[T]
    """One per row."""
    columns: Sequence[Column[T]]
    note: str = ""

    @classmethod
    def pairs(cls, caption: str, what: str, value: str, pairs: Sequence[tuple[str, str]], note: str = "") -> "Table":
        """Of names and texts, under the headers `what` and `value`."""
        return Table(caption, pairs, [Column(what, lambda pair: pair[0]), Column(value, lambda pair: pair[1])], note)

    def texts(self) -> list[list[str]]:
        """The cells as they read, row by row."""
        return [[column.show(column.get(item)) for column in self.columns] for item in self.items]

    def rows(self) -> list[list[tuple[str, str]]]:
        """The cells of a page, row by row: text, and the address that it leads to, if any."""
        cells = [[(column, column.get(item)) for column in self.columns] for item in self.items]
        return [
            [(column.show(cell), cell.href if isinstance(cell, Link) else "") for column, cell in row] for row in cells
        ]

    def terminal(self, width: int | None = None) -> "rich.table.Table":
        """For rich's console: the columns that fit `width` characters, all where None. Longer text is folded."""
        import rich.table

        texts = self.texts()
        kept = self.fitting(width, texts)
        table = rich.table.Table(
            title=self.caption, title_justify="left", caption=self.note or None, caption_justify="left"
        )
        for column in (self.columns[place] for place in kept):
            justify = "right" if column.text else "left"
            table.add_column(column.name, justify=justify, overflow="fold", style=column.style)
        for row in texts:
            table.add_row(*(row[place] for place in kept))
        return table

    def fitting(self, width: int | None, texts: Sequence[Sequence[str]]) -> list[int]:
        """The columns that stay at `width`, by their place: what matters least goes before anything is cut."""
        from rich.cells import cell_len

        takes = [
            _BORDERS + max(map(cell_len, (column.name, *(row[place] for row in texts))))
            for place, column in enumerate(self.columns)
        ]
        kept = list(range(len(self.columns)))
        while width is not None and sum(takes[place] for place in kept) + 1 > width:
            least = min(self.columns[place].keep for place in kept)
            if least >= 0:
                break
            kept = [place for place in kept if self.columns[place].keep > least]
        return kept


def with_interval(text: Text) -> Text:
    """For a `Spread`: '0.3471 ± 0.0210', half of the 95 % interval. One value or two stand as they are, in the order of
    their seeds and once where they read alike: an interval from two values says nothing."""

    def show(spread: Spread) -> str:
        if spread.count <= 2:
            return ", ".join(dict.fromkeys(map(text, spread.values)))
        return text(spread.mean) + (f" ± {text(spread.half)}" if spread.half else "")

    return show
