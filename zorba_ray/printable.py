"""Text that others wrote, made safe to show: no control characters, and no more of it than can be read."""

import re
import reprlib
from collections.abc import Collection
from itertools import islice
from typing import Any

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters but tab and line feed, marks that turn the direction of text around, halves of surrogate pairs."""

MESSAGE = 1_900
"""Characters of the longest error message; with what a command puts before it, 2,000."""
_TAIL = 500


def printable(text: str) -> str:
    """`text` with the escape that Python writes in the place of each unprintable character, as in \\x1b."""
    return UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], text)


def shortened(text: str, most: int = MESSAGE) -> str:
    """`text`, of at most `most` characters; the middle of a longer one is left out and counted.

    The end stays, as that is where a message says what to do. A text that was shortened once is not shortened again.
    """
    if len(text) <= most:
        return text
    note = f" … {len(text):,} characters, shortened … "
    tail = min(_TAIL, most // 4)
    return text[: most - tail - len(note)] + note + text[len(text) - tail :]


class _Short(reprlib.Repr):
    """Looks at the beginning of a value only, however large it is."""

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
    """`repr(value)`, in at most 400 characters and without a walk through all of a large value."""
    return shortened(_SHORT.repr(value), 400)


def listed(values: Collection[Any], most: int = 12) -> str:
    """The first `most` values as `shown`, between commas, and how many there are if there are more."""
    more = f", … ({len(values)} in all)" if len(values) > most else ""
    return ", ".join(map(shown, islice(values, most))) + more


def on_one_line(text: str) -> str:
    """A path or a library's message: at most 400 characters, line ends and all else that does not print escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in shortened(text, 400))


def first_line(error: BaseException, most: int = 160) -> str:
    """What an error of a library says, cut to its first line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]
