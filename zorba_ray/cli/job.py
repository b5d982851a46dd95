"""Run directories inside a Ray job.

A job runs in a copy of the submitted folder, which Ray deletes: a run directory in it would be lost with it. So inside
a job a relative run directory stands under ZORBA_HOME (default: ~/zorba-ray), on the node where the job's command
runs. The same command then works in a terminal and in a job, and a second job finds the run of the first with --resume.
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path

from zorba_ray.cli.terminal import say
from zorba_ray.errors import RunDirError

_UNPACKED = "working_dir_files"
"""Ray's folder of unpacked working directories."""


def job_id(environ: Mapping[str, str] | None = None) -> str | None:
    """Submission id of the Ray job whose command this process is, or None outside a job."""
    environ = os.environ if environ is None else environ
    try:
        metadata = json.loads(environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")).get("metadata") or {}
    except ValueError:
        return None
    return metadata.get("job_submission_id")


def lasting(path: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Where a run (or sweep) directory stands: `path` itself, but inside a job a relative one under ZORBA_HOME.

    Raises:
        RunDirError: inside a job, an absolute path in the unpacked copy of the working directory.
    """
    environ = os.environ if environ is None else environ
    if job_id(environ) is None:
        return path
    home = Path(environ.get("ZORBA_HOME") or Path.home() / "zorba-ray")
    place = home / path.expanduser()
    if _UNPACKED in place.resolve().parts:
        raise RunDirError(
            f"run directory {place} lies in the job's unpacked working directory, which Ray deletes: give a relative "
            "path (it stands under ZORBA_HOME, default ~/zorba-ray) or one on a lasting volume"
        )
    # The job's log is all that a user sees: it says where the run is, also when the run ends in an error.
    say(f"Ray job {job_id(environ)} on {platform.node()}: run directory {place}", err=True)
    return place
