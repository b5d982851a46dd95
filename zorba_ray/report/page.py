"""The parts of a page, and the page as HTML by the template page.html.j2, which escapes all text."""

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
    """A part of the page with a heading; left out if it is empty."""

    title: str
    note: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    commands: Sequence[tuple[str, str]] = ()
    """(description, shell command)."""


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    lead: str
    sections: Sequence[PageSection]
    again: Sequence[PageSection]
    """Sections that are folded at first: commands and settings to run it again."""
    warnings: Sequence[str] = ()
    tiles: Sequence[Tile] = ()


def render_page(page: Page) -> str:
    """The page as HTML. All text that comes from a run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(page=page)
