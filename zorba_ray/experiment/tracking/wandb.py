"""Weights & Biases as a sink: never asks, never holds a run up for more than 20 s, falls back to offline.

What was seen with wandb 0.31 and shaped this file: without a key a terminal gets an interactive menu; init against a
dead host outlives `init_timeout`; after a failed init the same id is "in use" until `wandb.teardown()`; error reports
to a host that swallows them hold the interpreter's exit for 20 s.
"""

import importlib.util
import json
import logging
import os
import shlex
import tempfile
import time
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

from zorba_ray.experiment.tracking.mode import Mode, has_credentials
from zorba_ray.experiment.tracking.wandb_records import (
    allocation_picture,
    allocation_rows,
    allocation_values,
    history_row,
    summary_values,
)
from zorba_ray.experiment.tracking.wandb_service import (
    drop_import_hooks,
    kill_service,
    put_environment,
    release,
    within,
)
from zorba_ray.experiment.tracking.wandb_sessions import read_sessions, wait_for_end

logger = logging.getLogger(__name__)

ONLINE_S = 8.0
"""Seconds for going online; what is left of START_S is for falling back."""
START_S = 19.0
FINISH_S = 15.0
CALL_S = 8.0
"""Seconds for handing rows or a file to wandb's process, which takes milliseconds where that process is well."""
CLOSE_S = 2.0
"""Seconds for the last bytes of an offline file, which wandb writes after its `finish` has returned."""
FLUSH_S = 2.0
"""Seconds of rows that a kill may lose (15 by default); `wandb leet` follows a run that is under way."""


class WandbMonitor:
    """One W&B run, written by one process. Files lie under `run_dir`/wandb; a resumed run has the same id.

    The row of a record has the W&B step of the record's place in metrics.jsonl, from 1; step 0 is the allocation. So a
    later session knows from the steps on W&B, or in the files of earlier sessions, which rows are missing, and adds
    those: what died with a killed process, and what was recovered from the ledger.

    Args:
        run_id: stable id, of letters, digits, '-', '_' and '.'.
        mode: as resolved by `resolve_mode`. `online` without a key becomes offline with a warning.
        job_type: `train`, `sweep-trial` or `eval`.
        past: the records of metrics.jsonl when this session begins, in file order.
    """

    def __init__(
        self,
        run_dir: Path,
        project: str,
        group: str | None,
        run_id: str,
        mode: Mode,
        job_type: str = "train",
        past: Sequence[dict[str, Any]] = (),
    ) -> None:
        self.mode: Mode = mode
        self._run_dir = run_dir.resolve()
        self._folder = self._run_dir / "wandb"
        self._project = project
        self._group = group
        self._run_id = run_id
        self._job_type = job_type
        self._rows = [history_row(record) for record in past]
        self._logged = 0
        """Rows before this one need no more telling."""
        self._told: Container[int] = ()
        self._run: Any = None
        self._environment: dict[str, str | None] = {}

    def start(self, config: dict[str, Any], provenance: dict[str, Any]) -> None:
        """Begins the W&B run, within 20 s; offline, with one warning, where online fails.

        Raises:
            Exception: neither worked, or nothing can be written under the run directory.
        """
        if self.mode == "disabled":
            return
        deadline = time.monotonic() + START_S
        settings = {**config, "provenance": provenance}
        if self.mode == "online" and not has_credentials(os.environ):
            self._fall_back("no key: set WANDB_API_KEY or use `wandb login`")
        self._require_folder()
        self._set_environment()
        try:
            before = self._earlier_steps()
            if self.mode == "online":
                try:
                    self._run = within(ONLINE_S + 1.5, "wandb.init", lambda: self._init("online", settings))
                    self._told = range(getattr(self._run, "starting_step", 0))
                except Exception as error:
                    self._fall_back(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
                    release(min(4.0, deadline - time.monotonic()))
            if self.mode == "offline":
                left = max(1.0, deadline - time.monotonic())
                self._run = within(left, "wandb.init", lambda: self._init("offline", settings))
                self._told = before
            os.environ.pop("WANDB_SERVICE", None)  # nor may our children join ours
            drop_import_hooks()
            self._run.define_metric("round")
            for pattern in ("round/*", "eval/*"):
                self._run.define_metric(pattern, step_metric="round")
        except BaseException:
            self._restore_environment()
            raise

    def log(self, record: dict[str, Any]) -> None:
        """Round figures as round/…, evaluations as eval/SPLIT/…, against `round`."""
        if self._run is not None:
            self._rows.append(history_row(record))
            self._guarded("log", self._catch_up)

    def artifact(self, path: Path, kind: str) -> None:
        """The file as an artifact; allocation.json as a table, a heat map and figures, too."""
        if self._run is not None:
            self._guarded("artifact", lambda: self._add_artifact(path, kind))

    def finish(self, summary: dict[str, Any]) -> str | None:
        """Ends the W&B run, within 20 s. Returns the line that uploads what is not uploaded yet, None if nothing is."""
        if self._run is None:
            return None
        run, line = self._run, None
        now = Path(run.dir).parent
        try:
            self._guarded("log", self._catch_up)
            self._run = None
            run.summary.update(summary_values(summary))
            within(FINISH_S + 2, "wandb finish", lambda: run.finish(0 if summary.get("status") == "finished" else 1))
            if self.mode == "offline":
                line = self._sync_line(now, CLOSE_S)
        except TimeoutError:
            kill_service()  # its exit hook would go on uploading
            line = f"W&B: not all was uploaded in {FINISH_S:.0f} s; {self._sync_line(now)}"
        finally:
            self._restore_environment()
        if line:
            logger.info(line)
        return line

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        """A call that must come back: wandb's own process may be dead, or stuck on a folder that hangs."""
        try:
            within(CALL_S, f"wandb {name}", call)
        except Exception:
            self._run = None
            kill_service()
            self._restore_environment()
            raise

    def _add_artifact(self, path: Path, kind: str) -> None:
        import wandb

        artifact = wandb.Artifact(f"{kind}-{self._run_id}", type=kind)
        # A resumed run changes all files but the allocation: what is uploaded later must be a copy.
        artifact.add_file(str(path.resolve()), policy="immutable" if kind == "allocation" else "mutable")
        self._run.log_artifact(artifact)
        if kind == "allocation":
            self._show_allocation(json.loads(path.read_text(encoding="utf-8")))

    def _catch_up(self) -> None:
        """Logs the rows that W&B lacks. The step of row i is i + 1."""
        for index in range(self._logged, len(self._rows)):
            if index + 1 not in self._told:
                self._run.log(self._rows[index], step=index + 1, commit=True)
        self._logged = len(self._rows)

    def _show_allocation(self, allocation: dict[str, Any]) -> None:
        import wandb

        self._run.summary.update(allocation_values(allocation))
        if 0 in self._told:
            return
        columns, rows = allocation_rows(allocation)
        shown: dict[str, Any] = {"allocation/table": wandb.Table(columns=columns, data=rows)}
        if importlib.util.find_spec("PIL"):  # what wandb draws pictures with; it comes with matplotlib
            pixels, caption = allocation_picture(allocation)
            shown["allocation/blocks"] = wandb.Image(pixels, caption=caption)
        self._run.log(shown, step=0, commit=True)

    def _earlier_steps(self) -> frozenset[int]:
        """Steps that the files of earlier sessions hold; none where they cannot be read, so that all is told again."""
        try:
            return frozenset[int]().union(*(session.steps for session in read_sessions(self._folder, self._run_id)))
        except Exception as error:
            logger.debug("earlier W&B sessions: %s", error)
            return frozenset()

    def _require_folder(self) -> None:
        """wandb would go to a temporary folder in silence."""
        self._folder.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=self._folder):
            pass

    def _init(self, mode: Mode, config: dict[str, Any]) -> Any:
        import wandb

        settings = wandb.Settings(
            init_timeout=ONLINE_S,
            login_timeout=1,
            finish_timeout=FINISH_S,
            finish_timeout_raises=True,
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            reinit="create_new",
        )
        if hasattr(settings, "x_transaction_log_flush_interval"):  # newer wandb only
            settings.x_transaction_log_flush_interval = FLUSH_S
        return wandb.init(
            project=self._project,
            group=self._group,
            id=self._run_id,
            name=str(config.get("name", self._run_id)),
            job_type=self._job_type,
            config=config,
            dir=str(self._run_dir),
            mode=mode,
            resume="allow",
            settings=settings,
        )

    def _fall_back(self, reason: str) -> None:
        logger.warning("W&B online failed (%s): this run is kept offline, `wandb sync` uploads it", reason)
        self.mode = "offline"

    def _sync_line(self, now: Path, patience: float = 0) -> str:
        """Uploads session `now` and every earlier one that has something to upload, oldest first.

        Waits `patience` seconds at most for the end of the session on disk.
        """
        try:
            wait_for_end(now, self._run_id, patience)
            sessions = read_sessions(self._folder, self._run_id)
            folders = [session.folder for session in sessions if session.uploadable or session.folder == now]
        except Exception as error:
            logger.debug("earlier W&B sessions: %s", error)
            folders = [now]
        return f"wandb sync {' '.join(shlex.quote(str(folder)) for folder in folders)}"

    def _set_environment(self) -> None:
        """Silence (which also rules prompts out), no error reports, and nothing written outside the run directory."""
        wanted: dict[str, str | None] = {
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            # wandb's process of the program that started this one: it knows this run's id still when this program is
            # killed and resumed, and it may be gone before this program ends.
            "WANDB_SERVICE": None,
        }
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR"):
            wanted[name] = os.environ.get(name) or str(self._folder / name.split("_")[1].lower())
        self._environment = {name: os.environ.get(name) for name in wanted}
        put_environment(wanted)

    def _restore_environment(self) -> None:
        put_environment(self._environment)
        self._environment = {}
