"""What a page is made of, and the page as text; page.html.j2 shows it. All text is plain: the template escapes it."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zorba_ray.report.figure import Plot
from zorba_ray.tables import Link, Table


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    title: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Failure:
    """A run that failed."""

    title: str
    error: str
    files: Sequence[tuple[str, Link]]
    """(what it is, where it lies)"""


@dataclass(frozen=True)
class Section:
    """A part of the page under one heading."""

    title: str
    note: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    failures: Sequence[Failure] = ()
    commands: Sequence[tuple[str, str]] = ()
    """(what it is, shell line)"""

    @property
    def empty(self) -> bool:
        """Has nothing to show."""
        return not (self.plots or self.tables or self.failures or self.commands)


@dataclass(frozen=True)
class Page:
    """All of it."""

    title: str
    lead: str
    sections: Sequence[Section]
    again: Sequence[Section]
    """What folds away: commands and settings to run it again. The first is open where `opened`."""
    warnings: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
    digest: str | None = None
    """SHA-256 of θ."""
    opened: bool = True
    interactive: bool = False
    """Has marks and tables for page.js."""


def render(page: Page) -> str:
    """The page as text. Everything that comes from a run is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The script holds no data: it is the same on every page, and the page's policy admits it alone, by its hash.
    script = environment.get_template("page.js.j2").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html.j2")
    return template.render(page=page, script=Markup(script), script_hash=f"sha256-{digest}")
