"""Makes docs/licences.md: the licence of every package that an installation brings, as its own metadata says.

    python -m tools.licences

Reads the packages of this environment, which should be those of constraints.txt.
"""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
EXTRAS = ("", "gguf", "optuna", "workspaces")
"""What a user installs: the package itself, and its extras but those for its developers."""
UNKNOWN, LONGEST = "not stated", 90
_HEAD = """# Licences

zorba-ray is under Apache-2.0. This is what an installation brings, with the versions of constraints.txt on Linux. The
licence is what a package's own metadata says. `python -m tools.licences` makes this page.

| package | version | licence | brought by |
| --- | --- | --- | --- |
"""


def licence_of(package: Distribution) -> str:
    """The SPDX expression of a package, else its classifiers, else the first line of its licence field."""
    about = package.metadata
    classifiers = [
        entry.split(" :: ")[-1] for entry in about.get_all("Classifier") or [] if entry.startswith("License")
    ]
    named = [entry for entry in classifiers if entry != "OSI Approved"]
    stated = about["License-Expression"] or " and ".join(named) or (about["License"] or "").strip().split("\n")[0]
    return f"{stated[:LONGEST]}…" if len(stated) > LONGEST else stated or UNKNOWN


def brought(extra: str) -> dict[str, Distribution]:
    """Name -> package, of all that zorba-ray with this extra needs, directly or not, where this machine has it."""
    found: dict[str, Distribution] = {}
    waiting = [("zorba-ray", frozenset({extra}))]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform or version of Python, or not installed here
        found[canonicalize_name(name)] = package
        for need in map(Requirement, package.requires or []):
            wanted = (canonicalize_name(need.name), frozenset(need.extras))
            if wanted not in seen and any(
                need.marker is None or need.marker.evaluate({"extra": e}) for e in extras | {""}
            ):
                seen.add(wanted)
                waiting.append(wanted)
    return {name: package for name, package in found.items() if name != "zorba-ray"}


def page() -> str:
    """The document."""
    rows: dict[str, str] = {}
    for extra in EXTRAS:
        for name, package in brought(extra).items():
            licence = re.sub(r"\s+", " ", licence_of(package)).replace("|", "/")
            rows.setdefault(name, f"| {name} | {package.version.split('+')[0]} | {licence} | {extra or 'zorba-ray'} |")
    return _HEAD + "".join(f"{rows[name]}\n" for name in sorted(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"{PAGE}: {page().count(chr(10)) - _HEAD.count(chr(10))} packages", file=sys.stderr)
