"""Weights & Biases as a sink: never asks, never holds a run up for more than 20 s, falls back to offline.

What was seen with wandb 0.31 and shaped this file: without a key a terminal gets an interactive menu; init against a
dead host outlives `init_timeout`; after a failed init the same id is "in use" until `wandb.teardown()`; error reports
to a host that swallows them hold the interpreter's exit for 20 s.
"""

import contextlib
import json
import logging
import os
import shlex
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from zorba_ray.config import TrackingConfig
from zorba_ray.experiment.tracking.mode import Mode, has_credentials
from zorba_ray.experiment.tracking.wandb_records import (
    allocation_table,
    allocation_values,
    history_row,
    summary_values,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")

START_S, ONLINE_S, RELEASE_S = 19.0, 9.0, 4.0
"""Seconds for all of a start; of these, for going online, and where that fails, for ending wandb's process."""
FINISH_S = 15.0
"""Seconds for uploading what is left when a run ends."""
CALL_S = 8.0
"""Seconds for handing rows or a file to wandb's process, which takes milliseconds where that process is well."""
FLUSH_S = 2.0
"""Seconds of rows that a kill may lose (15 by default); `wandb leet` follows a run that is under way."""


class WandbMonitor:
    """One W&B run, written by one process. Files lie under `run_dir`/wandb; a resumed run has the same id.

    The row of a record has the W&B step of the record's place in metrics.jsonl, from 1; step 0 is the allocation. A
    resumed run tells the rows from the first step on that W&B lacks. Offline nobody can be asked, so each session's
    files hold the whole run, and the newest one is all that has to be uploaded.

    Args:
        run_id: stable id, of letters, digits, '-', '_' and '.'.
        mode: as resolved by `resolve_mode`. `online` without a key becomes offline with a warning.
        past: the records of metrics.jsonl when this session begins, in file order.
    """

    def __init__(
        self, run_dir: Path, tracking: TrackingConfig, run_id: str, mode: Mode, past: Sequence[dict[str, Any]] = ()
    ) -> None:
        self.mode: Mode = mode
        self._run_dir = run_dir.resolve()
        self._folder = self._run_dir / "wandb"
        self._tracking = tracking
        self._run_id = run_id
        self._rows = [history_row(record) for record in past]
        self._next_step = 0
        """The first W&B step that is not told yet."""
        self._run: Any = None
        self._environment = contextlib.ExitStack()

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Begins the W&B run, within 20 s; offline, with one warning, where online fails.

        Raises:
            Exception: neither worked, or nothing can be written under the run directory.
        """
        if self.mode == "online" and not has_credentials():
            self._fall_back("no key: set WANDB_API_KEY or use `wandb login`")
        self._folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder):  # where it cannot write, wandb takes a temporary folder silently
            pass
        with contextlib.ExitStack() as stack:
            stack.enter_context(_environment(self._variables()))
            self._run = self._begin({**config, "provenance": provenance})
            from wandb.sdk.lib import import_hooks

            os.environ.pop("WANDB_SERVICE", None)  # children of this program may not join its wandb process
            # wandb.init hooks later imports, which would speak to its process and fail once that is lost.
            import_hooks.unregister_all_post_import_hooks()
            self._run.define_metric("round")
            for pattern in ("round/*", "eval/*"):
                self._run.define_metric(pattern, step_metric="round")
            self._environment = stack.pop_all()

    def log(self, record: dict[str, Any]) -> None:
        """Round figures as round/…, evaluations as eval/SPLIT/…, against `round`."""
        self._rows.append(history_row(record))
        self._guarded("log", self._catch_up)

    def artifact(self, path: Path, kind: str) -> None:
        """The file as an artifact; allocation.json as a table and figures, too."""
        self._guarded("artifact", lambda: self._add_artifact(path, kind))

    def finish(self, summary: dict[str, Any]) -> str | None:
        """Ends the W&B run, within 20 s. Returns the line that uploads what is not uploaded yet, None if nothing is."""
        run, line = self._run, None
        sync = f"wandb sync {shlex.quote(str(Path(run.dir).parent))}"
        self._guarded("log", self._catch_up)
        try:
            run.summary.update(summary_values(summary))
            _within(FINISH_S + 2, "finish", lambda: run.finish(0 if summary.get("status") == "finished" else 1))
            if self.mode == "offline":
                line = f"W&B: kept offline; upload it with `{sync}`"
        except TimeoutError:
            _kill_service()  # its exit hook would go on uploading
            line = f"W&B: not all was uploaded in {FINISH_S:.0f} s; {sync}"
        finally:
            self._environment.close()
        if line:
            logger.info(line)
        return line

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        """A call that must come back: wandb's own process may be dead, or stuck on a folder that hangs."""
        try:
            _within(CALL_S, name, call)
        except Exception:
            _kill_service()
            self._environment.close()
            raise

    def _catch_up(self) -> None:
        """Logs the rows that W&B lacks. The step of row i is i + 1."""
        for step in range(max(1, self._next_step), len(self._rows) + 1):
            self._run.log(self._rows[step - 1], step=step, commit=True)
        self._next_step = max(self._next_step, len(self._rows) + 1)

    def _add_artifact(self, path: Path, kind: str) -> None:
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self._run_id}", type=kind)
        # A resumed run changes all files but the allocation: what is uploaded later must be a copy.
        artifact.add_file(str(path.resolve()), policy="immutable" if kind == "allocation" else "mutable")
        self._run.log_artifact(artifact)
        if kind == "allocation":
            allocation = json.loads(path.read_text(encoding="utf-8"))
            self._run.summary.update(allocation_values(allocation))
            if self._next_step == 0:
                columns, rows = allocation_table(allocation)
                self._run.log({"allocation/table": wandb.Table(columns=columns, data=rows)}, step=0, commit=True)

    def _begin(self, config: dict[str, Any]) -> Any:
        """The running W&B run, online or, if that fails, offline."""
        import wandb

        deadline = time.monotonic() + START_S
        if self.mode == "online":
            try:
                run = _within(ONLINE_S, "init", lambda: self._init("online", config))
            except Exception as error:
                self._fall_back(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
                try:  # the failed init still holds the id
                    _within(RELEASE_S, "teardown", lambda: wandb.teardown(exit_code=1))
                except Exception:
                    _kill_service()
            else:
                self._next_step = getattr(run, "starting_step", 0)
                return run
        return _within(deadline - time.monotonic(), "init", lambda: self._init("offline", config))

    def _init(self, mode: Mode, config: dict[str, Any]) -> Any:
        import wandb

        settings = wandb.Settings(
            init_timeout=ONLINE_S - 1.5,
            login_timeout=1,
            finish_timeout=FINISH_S,
            finish_timeout_raises=True,
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            reinit="create_new",
            x_disable_meta=True,  # it has the command line with its secrets; ours is logged without
        )
        if hasattr(settings, "x_transaction_log_flush_interval"):  # newer wandb only
            settings.x_transaction_log_flush_interval = FLUSH_S
        return wandb.init(
            project=self._tracking.project,
            group=self._tracking.group,
            id=self._run_id,
            name=str(config.get("name", self._run_id)),
            config=config,
            dir=str(self._run_dir),
            mode=mode,
            resume="allow",
            settings=settings,
        )

    def _fall_back(self, reason: str) -> None:
        logger.warning("W&B online failed (%s): this run is kept offline, `wandb sync` uploads it", reason)
        self.mode = "offline"

    def _variables(self) -> dict[str, str | None]:
        """Silence (which also rules prompts out), no error reports, and nothing written outside the run directory."""
        folders = {
            name: os.environ.get(name) or str(self._folder / name.split("_")[1].lower())
            for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")
        }
        # The process of the program that started this one still knows this run's id when this program is killed and
        # resumed, and it may be gone before this program ends: it is not joined.
        return {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_SERVICE": None, **folders}


@contextlib.contextmanager
def _environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables for a while; None takes one away."""

    def put(values: Mapping[str, str | None]) -> None:
        for name, value in values.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value

    before = {name: os.environ.get(name) for name in variables}
    put(variables)
    try:
        yield
    finally:
        put(before)


def _within(seconds: float, name: str, call: Callable[[], T]) -> T:
    """`call()` in a thread of its own, which is left behind where it does not come back.

    Raises:
        TimeoutError: not back after `seconds`.
        Exception: what the call raised.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    threading.Thread(target=work, name=f"wandb {name}", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"wandb {name} was not back after {seconds:.0f} s") from error


def _kill_service() -> None:
    """Ends wandb's own process (wandb-core) by force, and the exit hook that would wait for it for ever.

    What it had not written is lost to W&B, and told again when the run resumes. These are private names of wandb: where
    another version has others, a stuck process holds up the interpreter's exit, and nothing else.
    """
    try:
        from wandb.sdk import wandb_setup

        connection: Any = wandb_setup.singleton()._connection
        wandb_setup._singleton = None
        with contextlib.ExitStack() as stack:  # killed, also where a stuck process lets nothing be cleaned up
            stack.callback(lambda: connection._proc._process.kill())
            connection._cleanup()
    except Exception as error:
        logger.debug("wandb's process: %s", error)
