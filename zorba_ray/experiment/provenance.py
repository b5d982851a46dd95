"""What a run was made with: versions, commit, machine, command."""

import importlib.metadata
import os
import platform
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import Provenance, read_record
from zorba_ray.errors import RunDirError

_PACKAGES = ("zorba-ray", "torch", "transformers", "numpy", "numba", "ray", "pyomo", "highspy", "datasets", "wandb")


def provenance(path: Path, command: list[str]) -> Provenance:
    """What goes into provenance.json. Paths of this machine are left out, but for the command as it was typed.

    `run_id` is drawn once and kept by every later session, wherever it runs: trackers know the run by it. It is no
    function of the folder's name: another run in a folder of the same name is another run.

    Args:
        path: provenance.json of an earlier session, if there was one.
    """
    return Provenance(
        run_id=_kept_id(path) or secrets.token_hex(8),
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=tuple(command),
        python=sys.version.split()[0],
        versions={name: _version(name) for name in _PACKAGES},
        git=_git(),
        machine={
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "gpus": _gpus(),
        },
    )


def _kept_id(path: Path) -> str:
    try:
        return read_record(path, Provenance).run_id
    except RunDirError:
        return ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the source tree that this package runs from, None outside a checkout."""
    folder = Path(__file__).resolve().parent.parent
    try:
        top, commit = (
            subprocess.run(
                ["git", *args], cwd=folder, capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for args in (["rev-parse", "--show-toplevel"], ["rev-parse", "HEAD"])
        )
        if Path(top).resolve() != folder.parent:
            return None  # some other repository around an installed package
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "dirty": bool(status.stdout.strip())}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
