"""The provenance of a run: versions, commit, machine and command."""

import importlib.metadata
import os
import platform
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from zorba_ray.artifacts import HubPin, Provenance, read_record
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import RunDirError
from zorba_ray.hub import hub_commit

_PACKAGES = (
    "zorba-ray", "torch", "transformers", "numpy", "numba", "ray", "pyomo", "highspy", "datasets",
    "scikit-learn", "wandb",
)  # fmt: skip

_HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"(?i)(^|[._-])(token|secret|password|passwd|passphrase|credentials?|((api|access|auth)[_-]?)?key)$"
)
_SECRET_PART = re.compile(
    r"(?i)(?<=://)[^/@\s]+(?=@)|(?<=[?&]token=)[^&\s]+|(?<=[?&]sig=)[^&\s]+"
    r"|\b(hf_\w{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|sk-[\w-]{16,}|xox[abp]-[\w-]{10,}|AKIA[0-9A-Z]{16})"
)


def hub_pins(config: ExperimentConfig) -> dict[str, HubPin]:
    """The present commits of model and data, if they are on the hub."""
    model, data = config.model, config.data
    commits = {
        "model": (model, hub_commit("model", model.path, model.revision)),
        "data": (data, hub_commit("dataset", data.path, data.revision)),
    }
    return {
        part: HubPin(path=section.path, asked=section.revision, revision=commit)
        for part, (section, commit) in commits.items()
        if commit is not None
    }


def provenance(path: Path, command: list[str], hub: dict[str, HubPin]) -> Provenance:
    """The content of provenance.json. It has no path of this machine, except in the command as it was typed, without
    secrets.

    `run_id` is random, and the same in all sessions of the run. Trackers know the run by it. It does not depend on the
    name of the folder, so that two runs in folders of the same name have different ids.

    Args:
        path: provenance.json of an earlier session, if there was one.
        hub: commits at the start of the run.
    """
    run_id = ""
    with suppress(RunDirError):
        run_id = read_record(path, Provenance).run_id
    versions: dict[str, str | None] = dict.fromkeys(_PACKAGES)
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return Provenance(
        run_id=run_id or secrets.token_hex(8),
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=without_secrets(command),
        python=sys.version.split()[0],
        versions=versions,
        git=_git(),
        machine={
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
        hub=hub,
    )


def without_secrets(command: Sequence[str]) -> tuple[str, ...]:
    """A command line with `***` in the place of what looks like a secret: the value of an option or setting whose name
    says so, a password in an address, a key of a known form."""
    shown, hide = [], False
    for word in command:
        name, _, value = word.partition("=")
        if hide and not word.startswith("-"):
            word = _HIDDEN
        elif value and _SECRET_NAME.search(name):
            word = f"{name}={_HIDDEN}"
        hide = word.startswith("-") and not value and bool(_SECRET_NAME.search(word))
        shown.append(_SECRET_PART.sub(_HIDDEN, word))
    return tuple(shown)


def _git() -> dict[str, Any] | None:
    """Commit of the source tree of this package; None if it is not a git checkout."""
    folder = Path(__file__).resolve().parents[1]

    def git(*args: str) -> str:
        command = ["git", *args]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10).stdout

    try:
        top, commit = git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() != folder.parent:
            return None  # the package is installed inside another repository
        return {"commit": commit, "dirty": bool(git("status", "--porcelain").strip())}
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _cpu_name() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
