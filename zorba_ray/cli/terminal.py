"""The one way to the terminal: names, paths, label words and messages reach it as text, never as commands to it.

Whoever names a client class `\\x1b[2J` or `[red]` sees just that. Commands print by `say` and by a `Console` of this
file; what libraries print passes `guarded`.
"""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import rich.console
import typer
from rich.segment import Segment
from rich.text import Text

from zorba_ray.printable import UNPRINTABLE, printable

_ANSI = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
"""Colours and cursor movements, as progress bars and Ray's messages have them."""


_PIPE = 10_000
"""Characters of a line where nobody's terminal sets a width: nothing is cut or wrapped."""


class Console(rich.console.Console):
    """rich's, without markup, emoji codes and highlighting in text, and with control characters written out.

    On a pipe or in a file tables and lines are as wide as they need to be, unless COLUMNS says otherwise.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **settings})
        if not self.is_terminal and "width" not in settings and "COLUMNS" not in os.environ:
            self.width = _PIPE

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text), **settings)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and UNPRINTABLE.search(segment.text):
                yield Segment(printable(segment.text), segment.style)
            else:
                yield segment


def say(text: str, err: bool = False) -> None:
    """One line on stdout, or on stderr."""
    typer.echo(printable(text), err=err)


class _Guarded:
    """A stream whose text passes `printable`; carriage returns pass, colours and cursor movements are dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.rich_proxied_file = stream
        """Where rich's consoles write: what they say in colour is the program's own, or passed `Console`."""

    def write(self, text: str) -> int:
        self._stream.write("\r".join(printable(part) for part in _ANSI.sub("", text).split("\r")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """stdout and stderr are guarded, and then what they were."""
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    guards = {name: _Guarded(stream) for name, stream in streams.items()}
    for name, guard in guards.items():
        setattr(sys, name, guard)
    try:
        yield
    finally:
        for name, stream in streams.items():
            if getattr(sys, name) is guards[name]:  # a broken pipe puts something else there
                setattr(sys, name, stream)
