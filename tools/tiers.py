"""Which tests are in the slow tier: `tests/slow.txt`, one test per line, remade from measured times.

    pytest -m "not gpu" --durations=0 -vv > times.txt
    python -m tools.tiers times.txt --seconds 3

writes every test that took longer, set-up included, but for the promises below. On a machine that does other things at
the same time, give more seconds.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

SLOW = Path(__file__).parents[1] / "tests" / "slow.txt"
PROMISES = (
    "tests/docs/test_notebooks.py",
    "tests/golden/",
    "tests/integration/test_comparison.py::test_a_comparison_from_the_command_to_its_page",
    "tests/integration/test_jobs.py::test_a_run_as_a_job",
    "tests/integration/test_kill_and_resume.py::test_killed_twice_then_resumed",
    "tests/integration/test_private_ray.py",
    "tests/integration/test_ray_backend.py::test_killed_actor_changes_nothing",
    "tests/integration/test_ray_backend.py::test_ray_equals_sequential[pinned",
    "tests/integration/test_ray_backend.py::test_ray_equals_sequential[two workers",
    "tests/integration/test_sweep.py::TestOnRay::test_twin[epsilon]",
    "tests/integration/test_wandb_runs.py::test_killed_run_goes_on_as_the_same_run",
)
"""How names of tests begin that show a promise on real processes: in the default tier however long they take."""
_LINE = re.compile(r"\s*([0-9.]+)s (?:call|setup|teardown)\s+(tests/.*\S)")


def slow_tests(times: str, seconds: float) -> list[str]:
    """Tests that took longer in a report of pytest's `--durations=0`, promises left out; in order of their names."""
    taken: dict[str, float] = defaultdict(float)
    for found in map(_LINE.fullmatch, times.splitlines()):
        if found:
            taken[found[2]] += float(found[1])
    return sorted(name for name, spent in taken.items() if spent > seconds and not name.startswith(PROMISES))


def main() -> None:
    """Rewrites tests/slow.txt."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=Path, help="what pytest printed")
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    names = slow_tests(options.times.read_text("utf-8"), options.seconds)
    SLOW.write_text("".join(f"{name}\n" for name in names), "utf-8")
    print(f"{len(names)} tests are in the slow tier")


if __name__ == "__main__":
    main()
