"""`python -m benchmarks NAME [--quick] [--json]`."""

import argparse

from benchmarks import allocation, contest, gpu, memory, reference, scale, speed, sweeps
from benchmarks.rows import print_rows

NAMES = {
    "reference": reference.rows,
    "sweeps": sweeps.rows,
    "speed": speed.rows,
    "scale": scale.rows,
    "memory": memory.rows,
    "gpu": gpu.rows,
    "allocation": allocation.rows,
    "contest": contest.rows,
}


def main() -> None:
    """Runs one benchmark, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument("--quick", action="store_true", help="under a minute; figures are for a look only")
    parser.add_argument("--json", action="store_true", help="one JSON list")
    arguments = parser.parse_args()
    names = list(NAMES) if arguments.name == "all" else [arguments.name]
    print_rows([row for name in names for row in NAMES[name](arguments.quick)], arguments.json)


if __name__ == "__main__":
    main()
