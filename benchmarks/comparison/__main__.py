"""`python -m benchmarks.comparison [TASK …]`: runs or resumes some, then prints all rows."""

import argparse

from benchmarks.comparison import ALL_TASKS
from benchmarks.comparison.measures import task_rows
from benchmarks.comparison.tasks import read_task, run_task
from benchmarks.rows import print_rows


def main() -> None:
    """Without a task it only reads."""
    known = {task.name: task for task in ALL_TASKS}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(known))
    parser.add_argument("--json", action="store_true", help="one JSON list")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tasks if name not in known]
    if unknown:
        parser.error(f"no task {', '.join(unknown)}; there are {', '.join(known)}")
    for name in arguments.tasks:
        run_task(known[name])
    found = {name: read_task(task) for name, task in known.items()}
    print_rows(task_rows(found), arguments.json)


if __name__ == "__main__":
    main()
