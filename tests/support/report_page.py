"""A report's page, taken apart without a browser."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path


class ReportPage(HTMLParser):
    """Text, tags, tables and figures of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        """Caption -> rows, the header first."""
        self.texts: list[str] = []
        self._in_cell = False
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "table":
            self._rows: list[list[str]] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag == "caption" and data.strip():
            self.tables[data] = self._rows
        elif self._in_cell:
            self._rows[-1][-1] += data
        if tag not in ("style", "script") and data.strip():
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All text that is read, a line per node."""
        return "\n".join(self.texts)

    def values(self) -> dict[str, str]:
        """Headline: title -> value."""
        pattern = r"<dt>([^<]*)</dt><dd(?: class=\"value\")?>(?:<code class=\"digest\">)?([^<]*)<"
        return dict(re.findall(pattern, self.source))

    def plots(self) -> dict[str, ET.Element]:
        """Title -> figure; fails where a figure is not well-formed."""
        found = re.findall(r"<h3>([^<]*)</h3>\s*(?:<div[^>]*>)?(<svg .*?</svg>)", self.source, re.DOTALL)
        return {title: ET.fromstring(text) for title, text in found}
