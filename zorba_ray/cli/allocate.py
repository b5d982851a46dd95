"""`zorba-ray allocate`: which client would activate which blocks, with proven bounds, alternatives and what-if."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zorba_ray.cli.allowed_code import ALLOW_CODE, allowed_reward
from zorba_ray.cli.terminal import say

if TYPE_CHECKING:
    from zorba_ray.assignment import Solved
    from zorba_ray.experiment import Setup


def allocate(
    config: str = typer.Argument(help="A YAML file, or a preset (demo)."),
    overrides: list[str] = typer.Argument(None, help="Settings as key=value, e.g. allocation.epsilon=0.2."),
    front: int = typer.Option(
        None, "--front", metavar="K", help="Also the Pareto front at K values of ε. Each may take the time limit."
    ),
    what_if: bool = typer.Option(False, "--what-if", help="Also the smallest budgets that are enough."),
    out: Path = typer.Option(
        None,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder for allocation.json and .png; with --front front.json and .png.",
    ),
    json_out: bool = typer.Option(False, "--json", help="Print JSON instead of tables."),
    allow_code: list[str] = ALLOW_CODE,
) -> None:
    """Show which client would hold which blocks, and how near to the best that is proven to be."""
    import json

    from zorba_ray.allocation.front import require_count
    from zorba_ray.assignment import allocation_record, problem_of, what_if_record
    from zorba_ray.cli.allocation_view import print_answer
    from zorba_ray.config import load_config
    from zorba_ray.errors import AllocationInfeasible, ConfigError
    from zorba_ray.experiment import prepare, solve_allocation
    from zorba_ray.experiment.scope import with_scope

    settings = load_config(config, overrides)
    # Wrong options are refused before minutes are spent on an answer.
    if front is not None:
        require_count(front)
    if out is not None:
        with _storing(out):
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
    if what_if and settings.federation.fleet is None:
        raise ConfigError(
            f"--what-if: federation.fleet is null, so none of the {settings.federation.clients} clients has a budget; "
            "set federation.fleet"
        )
    setup = prepare(with_scope(settings)[0], reward=allowed_reward(settings, config, allow_code))
    answers: dict[str, Any] = {}

    def answer(name: str, tree: Any) -> None:
        """Prints and writes an answer at once, so that it is not lost if a later one is interrupted."""
        answers[name] = tree
        if not json_out:
            print_answer(name, answers)
        if out is not None:
            _write(out, name, answers)

    try:
        # A front may need a probe at other values of ε, even if the ε of the settings does not.
        solved = solve_allocation(setup, epsilon=None if front is None else 1.0)
        answer("allocation", allocation_record(setup, solved).tree())
        if what_if:
            answer("what_if", what_if_record(solved.problem))
        if front is not None:
            answer("front", _front(setup, solved, front))
    except AllocationInfeasible as error:
        answers["infeasible"] = str(error)
        answer("what_if", what_if_record(problem_of(setup, setup.fleet.at(1))))
        raise
    finally:
        if json_out and answers:
            say(json.dumps({**answers.pop("allocation", {}), **answers}, indent=1))


def _front(setup: "Setup", solved: "Solved", count: int) -> dict[str, Any]:
    from zorba_ray.allocation.front import pareto_front
    from zorba_ray.assignment import front_record

    def announce(epsilon: float) -> None:
        say(f"front: solving ε = {epsilon:.3g}", err=True)

    limits = setup.config.allocation
    points = pareto_front(solved.problem, count, limits.time_limit_s, limits.gap, announce)
    return front_record(setup, solved, points)


@contextmanager
def _storing(out: Path) -> Iterator[None]:
    """Turns an error of the operating system about files in `out` into a message with exit code 8.

    Raises:
        StorageError: from the OSError.
    """
    from zorba_ray.errors import StorageError

    try:
        yield
    except OSError as error:
        raise StorageError(
            f"--out {out}: {error.strerror or error} ({error.filename or out}): name a folder that can be written to, "
            "or free some space"
        ) from error


def _write(out: Path, name: str, answers: dict[str, Any]) -> None:
    """Writes one answer as JSON; allocation and front also as a picture."""
    from zorba_ray.artifacts import record_of, write_json
    from zorba_ray.artifacts.allocation import AllocationRecord
    from zorba_ray.report.allocation_pictures import write_allocation_picture, write_front_picture

    with _storing(out):
        write_json(out / f"{name}.json", answers[name])
        written = [out / f"{name}.json"]
        if name == "allocation":
            allocation = record_of(AllocationRecord, answers[name], "allocation")
            written.append(write_allocation_picture(allocation, out / "allocation.png"))
        elif name == "front":
            written.append(write_front_picture(answers["front"], answers["allocation"], out / "front.png"))
    for path in written:
        say(f"wrote {path}", err=True)
