"""`zorba-ray doctor`: what this machine can do, and the remedy for what it cannot."""

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import typer

Level = Literal["ok", "note", "fault"]


class Finding(NamedTuple):
    """One line of the doctor's answer."""

    level: Level
    what: str
    remedy: str = ""


def doctor() -> None:
    """Check Python, packages, solver, kernels, Ray, GPUs, W&B and disk; every fault comes with its remedy."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    colours = {"ok": "green", "note": "yellow", "fault": "red"}
    faults = 0
    for check in (_python, _packages, _solver, _kernels, _ray, _accelerators, _wandb, _disk):
        for finding in _guarded(check):
            faults += finding.level == "fault"
            line = f"[{colours[finding.level]}]{finding.level:<5}[/] {finding.what}"
            console.print(line + (f" → {finding.remedy}" if finding.remedy else ""), highlight=False)
    if faults:
        raise typer.Exit(4)


def _guarded(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # a check that fails is itself a finding
        yield Finding(
            "fault", f"{check.__name__.strip('_')}: {type(error).__name__}: {error}", "reinstall with `make install`"
        )


def _python() -> Iterator[Finding]:
    yield Finding("ok", f"Python {sys.version.split()[0]}")


def _packages() -> Iterator[Finding]:
    for name in ("torch", "transformers", "ray", "datasets", "pyomo", "highspy", "numba", "msgspec", "pydantic"):
        try:
            yield Finding("ok", f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("fault", f"{name} is missing", "`make install` (pip install -c constraints.txt -e .)")


def _solver() -> Iterator[Finding]:
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
    known = answer.active.sum() == 3 and answer.f2_bytes == 32
    yield Finding(
        "ok" if known else "fault", f"allocation solved by {answer.solver}", "" if known else "reinstall highspy"
    )


def _kernels() -> Iterator[Finding]:
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


def _ray() -> Iterator[Finding]:
    address = os.environ.get("RAY_ADDRESS")
    if importlib.util.find_spec("ray") is None:
        return
    if address:
        import ray

        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            yield Finding("ok", f"Ray cluster at RAY_ADDRESS={address}: {ray.cluster_resources()}")
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            yield Finding(
                "fault", f"no answer at RAY_ADDRESS={address}: {reason}", "start the cluster or unset RAY_ADDRESS"
            )
        finally:
            ray.shutdown()
    else:
        yield Finding(
            "note", "RAY_ADDRESS is not set", "runs start a private Ray on this machine; set it to join a cluster"
        )
    if address and os.environ.get("RAY_AUTH_MODE") != "token":
        yield Finding(
            "note",
            "RAY_AUTH_MODE is not token",
            "a Ray head without token auth runs anybody's code: set it on all nodes",
        )


def _accelerators() -> Iterator[Finding]:
    import torch

    count = torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    if count:
        yield Finding("note", f"CUDA: {names}", "this version computes on CPUs; GPUs are simulated")
    else:
        yield Finding("note", "no CUDA device", "GPUs are simulated: memory is modelled and marked so")
    yield Finding(
        "ok", f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    )


def _wandb() -> Iterator[Finding]:
    from zorba_ray.experiment.tracking import resolve_mode

    mode = resolve_mode("auto")
    hint = "" if mode == "online" else "runs are kept offline; `wandb sync` uploads them, WANDB_API_KEY makes it live"
    yield Finding("ok", f"W&B mode auto is {mode}", hint)


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free / 2**30
    if free > 2:
        yield Finding("ok", f"{free:.0f} GiB free here")
    else:
        yield Finding("fault", f"{free:.1f} GiB free here", "a run needs a few MB, Ray about 1 GiB for its session")
