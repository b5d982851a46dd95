"""What all scripts share: arguments, what was left out, errors, files."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from analysis.groups import Group, collect
from analysis.rows import Rows
from zorba_ray.errors import RunDirError, ZorbaError
from zorba_ray.report.comparison import write_csv
from zorba_ray.report.figure import print_style, save

_ENDINGS = {".pdf", ".png", ".csv", ".tex"}
Write = Callable[[Rows, Path], list[Path]]
"""Writes what it makes of rows to OUT, a path without ending, and returns the files."""


def figure(draw: Callable[[Rows], Figure]) -> Write:
    """A writer of OUT.pdf and OUT.png."""

    def write(rows: Rows, out: Path) -> list[Path]:
        with print_style():
            return save(draw(rows), out)

    return write


def runs_command(
    doc: str | None, rows: Callable[[Sequence[Group]], Rows], write: Write, arguments: Sequence[str] | None = None
) -> int:
    """Of a script that reads runs and sweeps: `rows` computes, OUT.csv holds the numbers, `write` shows them. Returns
    the exit code."""

    def numbers(paths: Sequence[Path]) -> Rows:
        groups, left_out = collect(paths)
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        return rows(groups)

    return command(doc, "run directories and sweep directories", numbers, write, arguments)


def command(
    doc: str | None,
    reads: str,
    rows: Callable[[Sequence[Path]], Rows],
    write: Write,
    arguments: Sequence[str] | None = None,
) -> int:
    """As `runs_command`, for directories of another kind; `reads` says of which, and is empty for none."""
    title, _, rest = (doc or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest.strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if reads:
        parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help=reads)
    parser.add_argument("-o", "--out", type=Path, required=True, help="files to write, without ending")
    given = parser.parse_args(arguments)
    out = given.out.with_suffix("") if given.out.suffix in _ENDINGS else given.out
    try:
        numbers = rows(given.dirs if reads else ())
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
