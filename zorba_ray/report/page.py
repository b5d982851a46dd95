"""What a page is made of, and the page as text; page.html.j2 shows it. All text is plain: the template escapes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from zorba_ray.report.figure import Plot
from zorba_ray.tables import Table


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    title: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class PageSection:
    """A part of the page under one heading; left out where it has nothing to show."""

    title: str
    note: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[tuple[str, str]] = ()
    """(what it is, shell line)"""


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    lead: str
    sections: Sequence[PageSection]
    again: Sequence[PageSection]
    """What folds away: commands and settings to run it again."""
    warnings: Sequence[str] = ()
    tiles: Sequence[Tile] = ()


def render_page(page: Page) -> str:
    """The page as text. Everything that comes from a run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(page=page)
