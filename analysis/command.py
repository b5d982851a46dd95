"""What all scripts share: arguments, what was left out, errors, files."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from analysis.collect import Group, collect
from analysis.rows import Rows, write_csv
from analysis.style import save, style
from zorba_ray.errors import RunDirError, ZorbaError
from zorba_ray.report.contest import ContestRecord, load_contest

_ENDINGS = {".pdf", ".png", ".csv", ".tex"}


def figure_command(
    doc: str | None,
    rows: Callable[[Sequence[Group]], Rows],
    draw: Callable[[Rows], Figure],
    arguments: Sequence[str] | None = None,
) -> int:
    """`rows` computes the numbers, `draw` shows them: OUT.pdf, OUT.png and OUT.csv. Returns the exit code."""

    def write(found: Rows, out: Path) -> list[Path]:
        with style():
            return save(draw(found), out)

    return command(doc, rows, write, arguments)


def command(
    doc: str | None,
    rows: Callable[[Sequence[Group]], Rows],
    write: Callable[[Rows, Path], list[Path]],
    arguments: Sequence[str] | None = None,
) -> int:
    """The same for any writer: it gets the rows and OUT, a path without ending, and returns the files it wrote."""
    given = _parser(doc, "run directories and sweep directories").parse_args(arguments)

    def numbers() -> Rows:
        found = collect(given.dirs)
        for line in found.left_out:
            print(f"left out: {line}", file=sys.stderr)
        return rows(found.groups)

    return _finish(numbers, write, given.out)


def contest_command(
    doc: str | None,
    rows: Callable[[Sequence[ContestRecord]], Rows],
    write: Callable[[Sequence[ContestRecord], Rows, Path], list[Path]],
    arguments: Sequence[str] | None = None,
) -> int:
    """As `command`, for directories of `zorba-ray compare`; `write` gets the comparisons, too."""
    given = _parser(doc, "directories of zorba-ray compare").parse_args(arguments)
    records: list[ContestRecord] = []

    def numbers() -> Rows:
        seen: set[Path] = set()
        for path in given.dirs:
            if path.resolve() in seen:
                print(f"left out: {path}: named twice", file=sys.stderr)
                continue
            seen.add(path.resolve())
            records.append(load_contest(path))
        return rows(records)

    return _finish(numbers, lambda found, out: write(records, found, out), given.out)


def simulation_command(
    doc: str | None, rows: Callable[[], Rows], draw: Callable[[Rows], Figure], arguments: Sequence[str] | None = None
) -> int:
    """As `figure_command`, for numbers that need no runs; prints them, too, but not those without an expected value."""
    parser = _parser(doc)

    def write(found: Rows, out: Path) -> list[Path]:
        for row in found.rows:
            if row["expected"] is not None:
                figures = f"{row['expected']:>12.6g} {row['simulated']:>12.6g} ± {row['standard_error']:<10.3g}"
                print(f"{row['step']:<10} {row['case']:<24} {row['weights']:<14} {figures}")
        with style():
            return save(draw(found), out)

    return _finish(rows, write, parser.parse_args(arguments).out)


def _parser(doc: str | None, dirs: str | None = None) -> argparse.ArgumentParser:
    """Of a script with this docstring; `dirs` says of which kind the directories are that it reads, if it reads any."""
    title, _, rest = (doc or "").partition("\n")
    parser = argparse.ArgumentParser(
        description=title, epilog=rest.strip(), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if dirs is not None:
        parser.add_argument("dirs", nargs="+", type=Path, metavar="DIR", help=dirs)
    parser.add_argument("-o", "--out", type=Path, required=True, help="files to write, without ending")
    return parser


def _finish(rows: Callable[[], Rows], write: Callable[[Rows, Path], list[Path]], out: Path) -> int:
    """Writes what there is and says so; errors become a message and an exit code."""
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
    except ZorbaError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return RunDirError.exit_code
    return 0
