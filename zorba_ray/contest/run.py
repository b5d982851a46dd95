"""A comparison: learning rates first, then every method on every seed, one run after another in this process.

Runs are ordinary run directories and numbers do not depend on the backend, so nothing is gained by one Ray for each;
CPU seconds are those of this process, and comparable. What is finished is never run again; a run that was cut off goes
on from its ledger.
"""

import gc
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from zorba_ray.config import ExperimentConfig
from zorba_ray.contest.files import write_tables
from zorba_ray.contest.plan import Plan, plan_contest
from zorba_ray.contest.rates import chosen
from zorba_ray.contest.records import Cell, Contest, Contestant, Try
from zorba_ray.contest.results import find_results
from zorba_ray.contest.settings import ContestSettings
from zorba_ray.contest.state import ContestDir, ending, require_free
from zorba_ray.errors import ContestIncomplete, Interrupted, StorageError
from zorba_ray.experiment import RunDir, prepare, run_experiment, sequential_backend
from zorba_ray.experiment.run import Closing, Emit
from zorba_ray.experiment.rundir import raise_storage_error
from zorba_ray.federation.accelerator import choose_accelerator


def run_contest(
    base: ExperimentConfig,
    settings: ContestSettings,
    path: Path,
    resume: bool,
    command: list[str],
    emit: Emit,
    should_stop: Callable[[], bool],
    closing: Closing | None = None,
) -> Contest:
    """Runs what has not ended; returns the state with its results, which are in compare.json however it ends.

    Args:
        base: zorba's configuration.
        emit: receives {"kind": "cell", …} at every run's start and end, {"kind": "chosen", …}, and the runs' own
            records.
        closing: writes the report of a run directory.

    Raises:
        ConfigError: settings, data or model are refused, before anything runs.
        RunDirError: the directory exists, is in use, or is of a comparison with other settings.
        Interrupted: asked to stop; everything goes on with `resume`.
        ContestIncomplete: all runs ended, some of them failed.
        StorageError: a file cannot be written.
    """
    planned = plan_contest(base, settings, command, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    if resume:
        ContestDir.reopen(path, planned)
    else:
        require_free(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = RunDir(path)
        lock.lock(wait_s=15.0)
        try:
            directory = ContestDir.reopen(path, planned) if resume else ContestDir.create(path, planned)
            return _Session(Plan(base, settings), directory, command, emit, should_stop, closing).run()
        finally:
            lock.unlock()
    except OSError as error:
        raise_storage_error(path, error)
        raise


class _Session:
    """One session of a comparison."""

    def __init__(
        self,
        plan: Plan,
        directory: ContestDir,
        command: list[str],
        emit: Emit,
        should_stop: Callable[[], bool],
        closing: Closing | None,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._state = directory.state
        self._command = command
        self._emit = emit
        self._should_stop = should_stop
        self._closing = closing

    def run(self) -> Contest:
        state, directory = self._state, self._directory
        directory.take_stock()
        runs = [*state.cells, *(one for each in state.contestants for one in each.tries)]
        left = sum(one.status == "pending" for one in runs)
        self._emit({"kind": "plan", "runs": len(runs), "ended": len(runs) - left})
        if left:
            # What is wrong with data or model is wrong for every run: said once, before any begins.
            prepare(self._plan.compared(state.contestants[0].method, 1, None))
            gc.collect()
        directory.write()
        try:
            for contestant in state.contestants:
                self._tune(contestant)
            for cell in state.cells:
                self._compare(cell)
            state.status = "finished"
        except BaseException:
            state.status = "interrupted"
            raise
        finally:
            find_results(state, directory.path)
            directory.write()
            write_tables(state, directory.path)
        failed = [one for one in runs if one.status == "failed"]
        if failed:
            listing = "".join(
                f"\n  {one.run}: {(one.error or 'unknown').splitlines()[0]}\n    log {directory.path / one.run}.log"
                for one in failed[:10]
            )
            raise ContestIncomplete(
                f"{len(failed)} of {len(runs)} runs failed, the others are whole; --resume tries them again:{listing}"
            )
        return state

    def _tune(self, contestant: Contestant) -> None:
        for one in contestant.tries:
            self._one(one, contestant.method, lambda one=one: self._plan.tried(contestant.method, one.rate))
        if contestant.tries:
            contestant.rate = chosen(contestant.tries)
            ends = (contestant.rates[0], contestant.rates[-1])
            contestant.at_end = len(contestant.rates) > 1 and contestant.rate in ends
            self._directory.write()
            self._emit({"kind": "chosen", "method": contestant.method, "rate": contestant.rate})

    def _compare(self, cell: Cell) -> None:
        contestant = self._state.contestant(cell.method)
        if contestant.rate is None:
            # Nothing is run at a rate that was seen to fail.
            errors = {one.status for one in contestant.tries}
            cell.status = "failed" if "failed" in errors else "diverged"
            cell.error = (
                f"none of the learning rates {', '.join(f'{rate:g}' for rate in contestant.rates)} ran to its end"
            )
            return
        self._one(cell, cell.method, lambda: self._plan.compared(cell.method, cell.seed, contestant.rate))

    def _one(self, one: Cell | Try, method: str, make: Callable[[], ExperimentConfig]) -> None:
        """Runs one run to its end, and says how it ended; a failure stops no other.

        Raises:
            Interrupted, KeyboardInterrupt: asked to stop.
            StorageError: the disk is full, which the next run would meet as well.
        """
        if one.status in ("finished", "diverged"):
            self._read(one)
            return
        if self._should_stop():
            raise Interrupted(self._stopped())
        path = self._directory.path / one.run
        one.status, one.error = "running", None
        self._directory.write()
        self._tell(one, method)
        try:
            config = make()
            run = (
                RunDir.reopen(path, config) if (path / "config.resolved.json").exists() else RunDir.create(path, config)
            )
            run_experiment(
                config, run, sequential_backend, choose_accelerator(config), self._command, self._emit,
                self._should_stop, self._closing if isinstance(one, Cell) else None,
            )  # fmt: skip
            one.status = "finished"
        except (Interrupted, KeyboardInterrupt) as error:
            one.status = "pending"
            if isinstance(error, Interrupted):
                raise Interrupted(self._stopped()) from error
            raise
        except StorageError:
            one.status = "pending"
            raise
        except Exception as error:
            ended = ending(path)
            one.status, one.error = ended or ("failed", f"{type(error).__name__}: {error}")
            if one.status == "failed":
                self._log(path, traceback.format_exc())
        finally:
            # A model stands in reference cycles: without this the next run starts beside this one's weights.
            gc.collect()
        self._read(one)
        self._directory.write()
        self._tell(one, method)

    def _read(self, one: Cell | Try) -> None:
        """What of a run's summary the state repeats."""
        run = RunDir(self._directory.path / one.run)
        if not run.summary.exists():
            return
        summary = run.read_json(run.summary)
        if isinstance(one, Cell):
            one.round, one.weights_sha256 = summary["rounds_done"], summary["weights_sha256"]
        elif one.status == "finished":
            one.loss = summary["final_loss"]

    def _stopped(self) -> str:
        left = sum(cell.status in ("pending", "running") for cell in self._state.cells)
        return (
            f"comparison stopped with {left} compared run(s) to go; continue with "
            f"`zorba-ray compare … --dir {self._directory.path} --resume`"
        )

    def _tell(self, one: Cell | Try, method: str) -> None:
        self._emit({"kind": "cell", "method": method, **one.model_dump(mode="json")})

    def _log(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.log").open("a", encoding="utf-8") as file:
            file.write(text)
