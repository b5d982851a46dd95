"""A command of the program in a fork of a process that has its imports: as a user runs it, without the seconds of a
start. Where a process is killed or stopped, it is started whole (`program.start`)."""

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chaos.faulty_calls import die_before

_IMPORTS = (
    "zorba_ray.cli.main", "zorba_ray.cli.run", "zorba_ray.cli.repair", "zorba_ray.cli.report",
    "zorba_ray.experiment.run", "zorba_ray.experiment.execute", "zorba_ray.experiment.repair",
    "zorba_ray.report.write", "zorba_ray.allocation.highs", "zorba_ray.allocation.program",
    "zorba_ray.methods.zorba", "zorba_ray.directions.numba_cpu", "zorba_ray.cli.summary",
    "transformers.models.opt.modeling_opt", "transformers.generation.candidate_generator",
)  # fmt: skip
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(_IMPORTS))


def run_forked(arguments: Sequence[str], limit_s: float, die_at: int = 0) -> tuple[int, str]:
    """`zorba-ray ARGUMENTS`: its exit code, or minus the number of the signal that ended it, and all that it said.

    Args:
        limit_s: seconds after which it is killed.
        die_at: as of `die_before`; 0: never.
    """
    with tempfile.NamedTemporaryFile(prefix="zc-") as said:
        process = _FORKS.Process(target=_run, args=(list(arguments), said.name, die_at))
        process.start()
        process.join(limit_s)
        late = process.is_alive()
        if late:
            process.kill()
            process.join()
        text = Path(said.name).read_text(encoding="utf-8", errors="replace")
        assert process.exitcode is not None
        return process.exitcode, text + (f"\nno end within {limit_s:g} s" if late else "")


def _run(arguments: list[str], said: str, die_at: int) -> None:
    os.environ.pop("RAY_ADDRESS", None)
    handle = os.open(said, os.O_WRONLY)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["zorba-ray", *arguments]
    from zorba_ray.cli.main import main

    if die_at:
        die_before(die_at)
    main()
