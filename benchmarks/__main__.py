"""`python -m benchmarks NAME [--quick] [--json] [--row NAME] [--out FILE]`."""

import argparse
import importlib
from pathlib import Path

from benchmarks.rows import Row, print_rows

NAMES = (
    "reference",
    "sweeps",
    "speed",
    "scale",
    "memory",
    "gpu",
    "allocation",
    "comparison",
    "check",
    "tasks",
    "privacy",
    "headline",
    "adversaries",
    "chaos",
)
"""Modules of this package with a function `rows(quick)`."""


def main() -> None:
    """Runs one benchmark, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument("--quick", action="store_true", help="under a minute; figures are for a look only")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    parser.add_argument("--row", help="of `tasks`, `headline` and `chaos`: this row alone")
    parser.add_argument("--out", type=Path, help="of `gpu`: the file of its rows (build/gpu.json)")
    arguments = parser.parse_args()
    if arguments.row is not None:
        if arguments.name not in ("tasks", "headline", "chaos"):
            parser.error(f"--row is known to `tasks`, `headline` and `chaos`, not to `{arguments.name}`")
        module = importlib.import_module(f"benchmarks.{arguments.name}")
        if arguments.row not in module.NAMES:
            parser.error(f"no row {arguments.row}; there are {', '.join(module.NAMES)}")
        print_rows(module.rows(arguments.quick, arguments.row), arguments.json)
        return
    if arguments.out is not None:
        if arguments.name != "gpu":
            parser.error(f"--out is known to `gpu`, not to `{arguments.name}`")
        from benchmarks import gpu

        print_rows(gpu.rows(arguments.quick, arguments.out), arguments.json)
        return
    names = NAMES if arguments.name == "all" else (arguments.name,)
    print_rows([row for name in names for row in _rows(name, arguments.quick)], arguments.json)


def _rows(name: str, quick: bool) -> list[Row]:
    """Imported only when asked for: what one benchmark imports may be seconds, and Ray's switches count before its
    first import."""
    return importlib.import_module(f"benchmarks.{name}").rows(quick)


if __name__ == "__main__":
    main()
