"""Safe output to the terminal: names, paths, label words and messages are shown as text, never as control codes.

For example, a client class named `\\x1b[2J` or `[red]` is shown like this. Commands print by `say` and by the `Console`
of this file. The output of libraries goes through `guarded`.
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
"""Codes for colours and cursor movements, as in progress bars and in messages of Ray."""


_PIPE = 10_000
"""Width if the output is not a terminal: so large that nothing is cut or wrapped."""


class Console(rich.console.Console):
    """The console of rich, without markup, emoji codes and highlighting; control characters are shown as text.

    In a pipe or a file tables and lines are as wide as they need, unless COLUMNS is set.
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
    """A stream whose text goes through `printable`. Carriage returns stay; colours and cursor movements are removed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.rich_proxied_file = stream
        """The stream for rich's consoles. Their colours are safe, because their text went through `Console`."""

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
    """Replaces stdout and stderr by guarded streams, and restores them at the end."""
    streams = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    guards = {name: _Guarded(stream) for name, stream in streams.items()}
    for name, guard in guards.items():
        setattr(sys, name, guard)
    try:
        yield
    finally:
        for name, stream in streams.items():
            if getattr(sys, name) is guards[name]:  # after a broken pipe it is another stream
                setattr(sys, name, stream)
