"""What all scripts share: arguments, errors, files."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from matplotlib.figure import Figure

from analysis.printed import print_style, save
from analysis.rows import Rows
from zorba_ray.errors import RunDirError, ZorbaError
from zorba_ray.report.comparison import write_csv

_ENDINGS = {".pdf", ".png", ".csv", ".tex"}
Write = Callable[[Rows, Path], list[Path]]
"""Writes what it makes of rows to OUT, a path without ending, and returns the files."""


def parser_of(doc: str | None, reads: str = "", names: Iterable[str] = ()) -> argparse.ArgumentParser:
    """Of a script: its docstring is the help, -o is where to write.

    Args:
        reads: which directories it takes; empty for none.
        names: what can be made, if several things.
    """
    title, _, rest = (doc or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest.strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if names:
        parser.add_argument("name", choices=list(names), help="what to draw")
    if reads:
        parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help=reads)
    parser.add_argument("-o", "--out", type=Path, required=True, help="files to write, without ending")
    return parser


def make(out: Path, rows: Callable[[], Rows], write: Write) -> int:
    """Computes, writes OUT.csv and what `write` makes of the rows, and names the files. Returns the exit code."""
    out = out.with_suffix("") if out.suffix in _ENDINGS else out
    try:
        numbers = rows()
        for note in numbers.notes:
            print(f"note: {note}", file=sys.stderr)
        out.parent.mkdir(parents=True, exist_ok=True)
        table = out.with_name(out.name + ".csv")
        write_csv(numbers.rows, table)
        for path in (*write(numbers, out), table):
            print(f"wrote {path}")
    except (ZorbaError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, ZorbaError) else RunDirError.exit_code
    return 0


def drawn_by(draw: Callable[[Rows], Figure]) -> Write:
    """A writer of OUT.pdf and OUT.png."""

    def write(rows: Rows, out: Path) -> list[Path]:
        with print_style():
            return save(draw(rows), out)

    return write
