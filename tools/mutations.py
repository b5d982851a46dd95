"""Faults put into the core by hand, and the tests that must catch each of them.

`python -m tools.mutations` copies the tree, puts in one fault after another, runs the named tests, and prints a table:
caught or missed. `python -m tools.mutations --check` only looks whether every fault still has its line in the code; the
default tier runs that. A fault whose line has changed is to be written anew, never dropped.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tests" / "mutations.toml"


@dataclass(frozen=True)
class Mutation:
    """One fault: in `file`, the text `old`, which stands there exactly once, becomes `new`."""

    what: str
    """The fault in words."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Files of the default tier of which at least one test must fail."""


def mutations() -> list[Mutation]:
    """All of `tests/mutations.toml`, in its order."""
    entries = tomllib.loads(LIST.read_text("utf-8"))["mutation"]
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def applied(mutation: Mutation, root: Path) -> str:
    """The text of the file with the fault in it.

    Raises:
        ValueError: the old text stands nowhere in the file, or several times.
    """
    text = (root / mutation.file).read_text("utf-8")
    if (times := text.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.what}: {mutation.file} has its line {times} times, not once: {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)


def caught(mutation: Mutation, root: Path) -> bool:
    """Whether a test of the copy at `root` fails with the fault in it; the copy is put right again."""
    path = root / mutation.file
    whole = path.read_text("utf-8")
    path.write_text(applied(mutation, root), "utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not gpu and not real"]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        ended = subprocess.run([*command, *mutation.tests], cwd=root, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(whole, "utf-8")
    if ended.returncode not in (0, 1):
        raise RuntimeError(f"{mutation.what}: pytest ended with {ended.returncode}\n{ended.stdout}{ended.stderr}")
    return ended.returncode == 1


def main() -> None:
    """Prints a line per fault; exits with 1 if one was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only look whether every fault can be put in")
    parser.add_argument("--only", default="", help="faults whose words contain this")
    options = parser.parse_args()
    chosen = [mutation for mutation in mutations() if options.only in mutation.what]
    for mutation in chosen:
        applied(mutation, ROOT)
    if options.check:
        return
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "runs", "*.egg-info", "__pycache__"))
        for mutation in chosen:
            found = caught(mutation, copy)
            missed += not found
            print(f"{'caught' if found else 'MISSED'}  {mutation.what}  ({', '.join(mutation.tests)})", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} caught")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
