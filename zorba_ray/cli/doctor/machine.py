"""Checks of this machine: versions, solver, kernels, accelerators, W&B, disk and shared memory."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Literal

from zorba_ray.cli.doctor import Finding
from zorba_ray.units import format_bytes

_STORE_BYTES = 256 * 2**20
"""Object store of a private Ray."""


def versions() -> Iterator[Finding]:
    """Python and the libraries on which results depend."""
    names = ("torch", "transformers", "ray", "datasets", "pyomo", "highspy", "numba", "msgspec", "pydantic")
    try:
        listing = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    except importlib.metadata.PackageNotFoundError as error:
        yield Finding(
            "fault", f"{error.name} is missing", "install with `make install` (pip install -c constraints.txt -e .)"
        )
    else:
        yield Finding("ok", f"Python {sys.version.split()[0]}, {listing}")


def solver() -> Iterator[Finding]:
    """Solves a problem of two clients with a known answer: three active blocks, 32 bytes."""
    import numpy as np

    from zorba_ray.allocation import AllocationProblem, allocate

    problem = AllocationProblem(
        base_bytes=np.array([10, 10]),
        active_bytes=np.array([[4, 4], [4, 4]]),
        budget_bytes=np.array([14, 18]),
    )
    answer = allocate(problem, 10.0, 1e-4)
    if answer.active.counts.sum() == 3 and answer.f2_bytes == 32:
        yield Finding("ok", f"allocation solved by {answer.solver}")
    else:
        yield Finding("fault", f"{answer.solver} gives a wrong answer to a known allocation", "reinstall highspy")


def kernels() -> Iterator[Finding]:
    """Compares the compiled directions with the reference."""
    from zorba_ray.directions.choose import cpu_directions, first_difference

    difference = first_difference(cpu_directions("numba"), "cpu")
    if difference is None:
        yield Finding("ok", "numpy and numba directions agree bit for bit")
    else:
        yield Finding(
            "fault", f"numpy and numba directions differ in {difference}", "please report it as a defect of zorba-ray"
        )


def accelerators() -> Iterator[Finding]:
    """CUDA devices, cores and memory."""
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    if count:
        from zorba_ray.directions import direction_backend

        drawn = direction_backend("auto", "cuda").name
        yield Finding("ok", f"CUDA: {names}; directions by {drawn}")
    else:
        yield Finding("note", "no CUDA device", "GPUs are simulated: clients compute on the CPU, memory is modelled")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("ok", f"{os.cpu_count()} cores, {format_bytes(memory)}")


def wandb(setting: Literal["auto", "online", "offline", "disabled"]) -> Iterator[Finding]:
    """The mode of W&B that `tracking.wandb` has on this machine. On a cluster the nodes' environment needs the key."""
    from zorba_ray.experiment.tracking.mode import has_credentials, resolve_mode

    mode = resolve_mode(setting)
    if mode == "online" and not has_credentials():
        yield Finding(
            "fault",
            f"tracking.wandb={setting}, but no key is configured",
            "set WANDB_API_KEY (on a cluster in the nodes' environment, never in a job's runtime_env), or "
            "tracking.wandb=auto",
        )
        return
    hints = {
        "offline": "`wandb sync` uploads a run later; with WANDB_API_KEY runs are online",
        "disabled": "no key is configured; WANDB_API_KEY switches it on, tracking.wandb=offline writes files for "
        "`wandb sync`",
    }
    hint = hints.get(mode, "") if setting != "disabled" else ""
    yield Finding("ok", f"W&B: tracking.wandb={setting} means {mode} here", hint)


def disk() -> Iterator[Finding]:
    """Free space of the disk for runs."""
    free = shutil.disk_usage(".").free
    if free > 2 * 2**30:
        yield Finding("ok", f"{format_bytes(free)} free on the disk of this folder")
    else:
        yield Finding(
            "fault",
            f"{format_bytes(free)} free on the disk of this folder",
            "free some space: a run needs a few MB, Ray about 1 GiB per session",
        )


def shared_memory() -> Iterator[Finding]:
    """Free shared memory, in which Ray keeps its object store."""
    folder = "/dev/shm"
    if not os.path.isdir(folder):
        return
    free = shutil.disk_usage(folder).free
    if free >= _STORE_BYTES:
        yield Finding("ok", f"{format_bytes(free)} free in {folder}")
    else:
        yield Finding(
            "fault",
            f"{format_bytes(free)} free in {folder}, and the object store of a run takes {format_bytes(_STORE_BYTES)}",
            "give the container more shared memory (docker --shm-size=1g; Kubernetes: an emptyDir with medium Memory); "
            "without it Ray keeps objects on disk",
        )
