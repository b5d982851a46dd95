"""Makes foreign text safe to show: without control characters, and not too long."""

import re
import reprlib
from collections.abc import Collection
from itertools import islice
from typing import Any

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters except tab and line feed, marks that change the direction of text, halves of surrogate pairs."""

MESSAGE = 1_900
"""Most characters of an error message. A command may put up to 100 before it."""
_TAIL = 500


def printable(text: str) -> str:
    """`text` with each unprintable character replaced by Python's escape, such as \\x1b."""
    return UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def shortened(text: str, most: int = MESSAGE) -> str:
    """`text` with at most `most` characters. In a longer text the middle is replaced by the number of characters.

    The end stays, because a message says there what to do. A text that was shortened before is not shortened again.
    """
    if len(text) <= most:
        return text
    note = f" … {len(text):,} characters, shortened … "
    tail = min(_TAIL, most // 4)
    return text[: most - tail - len(note)] + note + text[len(text) - tail :]


class _Short(reprlib.Repr):
    """A `repr` that only looks at the beginning of a large value."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxstring, self.maxother = 2, 4, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write integers of more than 4,300 digits.
        return repr(x) if x.bit_length() <= 256 else f"an integer of {x.bit_length():,} bits"

    def repr_str(self, x: str, level: int) -> str:
        return repr(x) if len(x) <= self.maxstring else f"{x[: self.maxstring]!r}… ({len(x):,} characters)"


_SHORT = _Short()


def shown(value: Any) -> str:
    """`repr(value)` with at most 400 characters; quick also for a large value."""
    return shortened(_SHORT.repr(value), 400)


def listed(values: Collection[Any], most: int = 12) -> str:
    """The first `most` values as `shown`, separated by commas; if there are more, also their number."""
    more = f", … ({len(values)} in all)" if len(values) > most else ""
    return ", ".join(map(shown, islice(values, most))) + more


def on_one_line(text: str) -> str:
    """A path or a library's message on one line of at most 400 characters; unprintable characters are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shortened(text, 400))


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of a library's error message; the name of its class if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]
