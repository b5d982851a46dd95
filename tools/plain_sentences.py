"""Whether the documents are as short as they promise; prints what is not, with its line.

    python -m tools.plain_sentences

README.md and docs/quickstart.md: no sentence over 30 words, no paragraph over 6 lines. README.md: at most 120 lines and
1,000 words. Every document: no line over 200 characters.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLAIN = ("README.md", "docs/quickstart.md")
SENTENCE_WORDS, PARAGRAPH_LINES = 30, 6
README_LINES, README_WORDS = 120, 1_000
LINE_CHARACTERS = 200
_FENCE = re.compile(r" *(```|~~~)")
_ITEM = re.compile(r" *(?:[-*+]|\d+\.) +")
_ENDS = re.compile(r"(?<=[.!?])[\"')*_`]*\s+")


def documents() -> list[str]:
    """Every Markdown file that git knows or would take, relative to the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).exists()]


def paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, lines) of each paragraph, list item and table cell; code and pictures are left out."""
    begun, lines, in_code = 0, [], False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        fence = _FENCE.match(line) is not None
        in_code ^= fence
        alone = fence or in_code or not line.strip() or line.lstrip().startswith(("#", "|", "<"))
        if lines and (alone or _ITEM.match(line)):
            yield begun, lines
            lines = []
        if not alone:
            begun = begun if lines else number
            lines = [*lines, _ITEM.sub("", line, count=1)]
        elif not fence and not in_code and line.lstrip().startswith("|"):
            yield from ((number, [cell]) for cell in line.strip().strip("|").split("|"))


def words(sentence: str) -> int:
    """Words of a sentence: what stands between blanks and has a letter or a digit; a link counts without its target."""
    return sum(any(map(str.isalnum, word)) for word in re.sub(r"\]\([^)]*\)", "]", sentence).split())


def long_sentences(text: str) -> Iterator[str]:
    """A line for each sentence and each paragraph that is too long."""
    for number, lines in paragraphs(text):
        if len(lines) > PARAGRAPH_LINES:
            yield f"{number}: a paragraph of {len(lines)} lines; {PARAGRAPH_LINES} at most"
        for sentence in _ENDS.split(" ".join(line.strip() for line in lines)):
            if (count := words(sentence)) > SENTENCE_WORDS:
                yield f"{number}: a sentence of {count} words, {SENTENCE_WORDS} at most: {sentence[:60]}…"


def long_lines(text: str) -> Iterator[str]:
    """A line for each line that is too long."""
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > LINE_CHARACTERS:
            yield f"{number}: a line of {len(line)} characters, {LINE_CHARACTERS} at most"


def too_long(text: str) -> Iterator[str]:
    """What the README's length breaks."""
    for count, most, what in (
        (len(text.splitlines()), README_LINES, "lines"),
        (len(text.split()), README_WORDS, "words"),
    ):
        if count > most:
            yield f"1: {count} {what}, {most} at most"


def faults() -> list[str]:
    """FILE:LINE: what, of all documents."""
    said = []
    for name in documents():
        text = (ROOT / name).read_text("utf-8")
        checks = [
            long_lines,
            *([long_sentences] if name in PLAIN else ()),
            *([too_long] if name == "README.md" else ()),
        ]
        said += [f"{name}:{fault}" for check in checks for fault in check(text)]
    return said


if __name__ == "__main__":
    print("\n".join(found := faults()) or "all documents are as short as they promise")
    sys.exit(bool(found))
