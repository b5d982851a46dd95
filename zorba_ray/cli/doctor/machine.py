"""This machine: versions, solver, kernels, accelerators, W&B, disk and shared memory."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator

from zorba_ray.cli.doctor.finding import Finding
from zorba_ray.units import format_bytes

_STORE_BYTES = 256 * 2**20
"""Object store of a private Ray."""


def python() -> Iterator[Finding]:
    yield Finding("ok", f"Python {sys.version.split()[0]}")


def packages() -> Iterator[Finding]:
    for name in ("torch", "transformers", "ray", "datasets", "pyomo", "highspy", "numba", "msgspec", "pydantic"):
        try:
            yield Finding("ok", f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("fault", f"{name} is missing", "`make install` (pip install -c constraints.txt -e .)")


def solver() -> Iterator[Finding]:
    import numpy as np

    from zorba_ray.allocation import AllocationProblem, allocate

    problem = AllocationProblem(
        base_bytes=np.array([10, 10]),
        active_bytes=np.array([[4, 4], [4, 4]]),
        budget_bytes=np.array([14, 18]),
        client_names=("a", "b"),
        block_weight=np.ones(2),
        shared_cost=np.zeros(2),
        beta=0.0,
        epsilon=0.0,
        data_weight=np.array([0.5, 0.5]),
    )
    answer = allocate(problem, 10.0, 1e-4)
    known = answer.active.counts.sum() == 3 and answer.f2_bytes == 32
    yield Finding(
        "ok" if known else "fault", f"allocation solved by {answer.solver}", "" if known else "reinstall highspy"
    )


def kernels() -> Iterator[Finding]:
    import torch

    from zorba_ray.directions import direction_backend, tensor_stream

    theta = torch.linspace(-1, 1, 1000)
    results = []
    for name in ("numpy", "numba"):
        scratch = torch.empty_like(theta)
        direction_backend(name).perturb_into(scratch, theta, tensor_stream(7, 1, 2, 3, "rademacher"), 1e-3)
        results.append(scratch)
    same = torch.equal(*results)
    yield Finding(
        "ok" if same else "fault", "numpy and numba directions agree bit for bit", "" if same else "report this"
    )


def accelerators() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    if count:
        from zorba_ray.directions import direction_backend

        drawn = direction_backend("auto", "cuda").name
        yield Finding("ok", f"CUDA: {names}; directions by {drawn}", "real where memory is fp32, device, device")
    else:
        yield Finding("note", "no CUDA device", "GPUs are simulated: memory is modelled and marked so")
    yield Finding(
        "ok", f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    )


def wandb(setting: str = "auto") -> Iterator[Finding]:
    """What `tracking.wandb` comes to here; on a cluster the key must be in the environment of the nodes."""
    from zorba_ray.experiment.tracking.mode import has_credentials, resolve_mode

    mode = resolve_mode(setting)
    if mode == "online" and not has_credentials(os.environ):
        yield Finding(
            "fault",
            f"tracking.wandb={setting}, but no key is configured",
            "set WANDB_API_KEY (on a cluster in the nodes' environment, never in a job's runtime_env), or "
            "tracking.wandb=auto",
        )
        return
    hint = "" if mode != "offline" else "runs are kept offline; `wandb sync` uploads them, WANDB_API_KEY makes it live"
    yield Finding("ok", f"W&B mode {setting} is {mode}", hint)


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free / 2**30
    if free > 2:
        yield Finding("ok", f"{free:.0f} GiB free here")
    else:
        yield Finding("fault", f"{free:.1f} GiB free here", "a run needs a few MB, Ray about 1 GiB for its session")


def shared_memory() -> Iterator[Finding]:
    """Where Ray keeps its object store."""
    folder = "/dev/shm"
    if not os.path.isdir(folder):
        return
    free = shutil.disk_usage(folder).free
    if free >= _STORE_BYTES:
        yield Finding("ok", f"{format_bytes(free)} free in {folder}")
    else:
        yield Finding(
            "fault",
            f"{format_bytes(free)} free in {folder}, the object store of a run takes {format_bytes(_STORE_BYTES)}",
            "give the container more (docker --shm-size=1g; Kubernetes: an emptyDir with medium Memory), else Ray "
            "keeps objects on disk",
        )
