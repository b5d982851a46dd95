"""What a page is made of; page.html.j2 shows it. Text is plain: the template escapes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zorba_ray.report.canvas import Plot


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    title: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell that is more than text."""

    text: str
    sort: float | None = None
    """Sorts by this number instead of its text."""
    href: str = ""
    """Relative address; empty for none."""


@dataclass(frozen=True)
class Table:
    """A table with a caption; `numeric` names the columns set flush right."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    numeric: frozenset[int] = field(default_factory=frozenset)
    note: str = ""
    trials: Sequence[str] = ()
    """Of a sweep: per row the numbers of its trials; a table with these can be sorted and lights up."""


@dataclass(frozen=True)
class Failure:
    """A trial that failed."""

    title: str
    error: str
    files: Sequence[tuple[str, Cell]]
    """(what it is, where it lies)"""


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    title: str
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    failures: Sequence[Failure] = ()
    note: str = ""


@dataclass(frozen=True)
class Detail:
    """What folds away: commands, settings."""

    name: str
    lead: str
    commands: Sequence[tuple[str, str]]
    """(what it is, shell line)"""
    tables: Sequence[Table]
    opened: bool = False


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    lead: str
    warnings: Sequence[str]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    details: Sequence[Detail]
    digest: str | None = None
    """SHA-256 of θ."""
    interactive: bool = False
    """Has marks and tables for page.js."""
    source: str = "the run"
    """What the files that it was written from are of."""
