"""What a Markdown document holds beside its prose: fenced blocks, and commands and settings between backticks."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tools.plain_sentences import ROOT, documents

PAGES = [name for name in documents() if not name.startswith(("docs/log/", "CHANGELOG", "DECISIONS", "docs/tried"))]
"""Documents that say how things are now; the others say how they were, or were decided."""
_FENCE = re.compile(r"```(\w*)\n(.*?)^```", re.M | re.S)
_CODE = re.compile(r"`([^`]+)`")
_NAMED = re.compile(r"`([\w.-]+\.(?:yaml|csv))`")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    language: str
    text: str
    file: str | None
    """The file that the lines before it name last: what the reader is to write the block into."""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text, found, before = (ROOT / page).read_text("utf-8"), [], 0
    for match in _FENCE.finditer(text):
        named = _NAMED.findall(text[before : match.start()].rsplit("\n\n", 3)[-2] if before or match.start() else "")
        found.append(Block(page, match[1], match[2], named[-1] if named else None))
        before = match.end()
    return found


def commands(page: str) -> list[list[str]]:
    """The words of every command of a document: lines of sh blocks, parted at && and &, and between backticks."""
    lines = [line for block in blocks(page) if block.language == "sh" for line in block.text.splitlines()]
    inline = [" ".join(code.split()) for code in inline_code(page)]
    lines += [code for code in inline if code.startswith(("zorba-ray ", "make ", "python -m "))]
    parts = [part for line in lines for part in re.split(r"\s+&&\s+|\s+&(?=\s|$)", line)]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def inline_code(page: str) -> list[str]:
    """What stands between backticks in the prose."""
    return _CODE.findall(_FENCE.sub("", (ROOT / page).read_text("utf-8")))


def written(page: str, folder: Path) -> None:
    """Writes the files that a reader of the page is told to write; of rows, which are a sample, some dozens."""
    for block in blocks(page):
        if block.file is not None and block.language in ("yaml", "csv"):
            header, *rows = block.text.splitlines(keepends=True)
            many = 12 if block.language == "csv" else 1
            (folder / block.file).write_text(header + "".join(rows) * many, "utf-8")
