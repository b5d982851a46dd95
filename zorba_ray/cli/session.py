"""For long commands: a run directory that is not deleted, and a way to stop.

A Ray job runs in a copy of the submitted folder, which Ray deletes later, with all run directories in it. So inside a
job a relative run directory is under ZORBA_HOME (default: ~/zorba-ray), on the node of the job's command. The same
command works in a terminal and in a job, and a second job finds the run of the first with --resume.
"""

import json
import os
import platform
import signal
from pathlib import Path
from typing import Any

from zorba_ray.cli.terminal import say
from zorba_ray.errors import RunDirError

_UNPACKED = "working_dir_files"
"""Ray's folder of unpacked working directories."""


def job_id() -> str | None:
    """Submission id of the Ray job that runs this process; None outside a job."""
    try:
        metadata = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("metadata") or {}
    except ValueError:
        return None
    return metadata.get("job_submission_id")


def lasting(path: Path) -> Path:
    """The directory of a run or sweep: `path`; inside a job, a relative path is under ZORBA_HOME.

    Raises:
        RunDirError: inside a job, an absolute path in the unpacked copy of the working directory.
    """
    if job_id() is None:
        return path
    home = Path(os.environ.get("ZORBA_HOME") or Path.home() / "zorba-ray")
    path = home / path.expanduser()
    if _UNPACKED in path.resolve().parts:
        raise RunDirError(
            f"run directory {path} is in the job's copy of the working directory, which Ray deletes: use a relative "
            "path (it is under ZORBA_HOME, default ~/zorba-ray), or a path on a permanent volume"
        )
    # A user only sees the job's log. It says where the run is, also if the run ends in an error.
    say(f"Ray job {job_id()} on {platform.node()}: run directory {path}", err=True)
    return path


class StopFlag:
    """The first SIGINT or SIGTERM asks for a stop after the present round. A second SIGINT stops at once."""

    def __init__(self) -> None:
        self._set = False
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: Any) -> None:
        if self._set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._set = True
        say("stopping after this round (Ctrl-C again stops at once); the ledger keeps every finished round", err=True)

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._set
