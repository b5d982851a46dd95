"""Lines of a file as bytes, and whether they are UTF-8."""

from collections.abc import Iterator
from pathlib import Path

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(number from 1, line), without the byte order mark of UTF-8."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            yield number, raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw


def decodable(raw: bytes) -> bool:
    """Whether a line is UTF-8."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
