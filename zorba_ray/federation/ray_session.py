"""A Ray to run on: a private one on this machine, or a cluster that is joined; never a silent wait."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from zorba_ray.errors import ClusterError
from zorba_ray.federation.placement import ActorSpec, cpus_needed, gpus_needed

_OBJECT_STORE = 256 * 2**20
_REMEDY = {
    "GPU": "raise federation.gpu_memory, use federation.mode=packed with fewer federation.workers, or start Ray with "
    "--num-gpus (logical GPUs are enough for a simulation)",
    "CPU": "lower federation.workers or add CPUs to the cluster",
}


def set_ray_environment(address: str | None) -> None:
    """Ray's switches, which count only before Ray is imported first.

    Args:
        address: of the Ray that will be joined; None: a private one.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # an actor without GPUs sees none
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # The clients are the job: at Ray's own 15 any other load starves them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if not address:
        # Ray's switch for one machine: without it 127.0.0.1 is replaced by the address of a network card, and Ray
        # listens on all interfaces.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@contextlib.contextmanager
def ray_session(cpus: int, gpus: int) -> Iterator[Mapping[str, float]]:
    """Joins RAY_ADDRESS, else starts a private Ray on loopback and ends it afterwards.

    A Ray that this process has joined before is used as it is, and left running. Yields what the cluster has in all.

    Args:
        cpus, gpus: what a private Ray offers at least (logical ones count as well as real ones).

    Raises:
        ClusterError: no answer at the address.
    """
    address = os.environ.get("RAY_ADDRESS")
    set_ray_environment(address)
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    if address and address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS={address}: a Ray Client cannot hold a run; give HOST:PORT of a node, or use `ray job submit`"
        )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {"address": address}
        if not address:
            folder = tempfile.mkdtemp(prefix="zr-")  # short: Ray puts unix sockets inside
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            settings = {
                "num_cpus": max(os.cpu_count() or 1, cpus),
                "num_gpus": gpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_temp_dir": folder,
                "_node_ip_address": "127.0.0.1",
            }
        stack.callback(ray.shutdown)
        try:
            ray.init(**settings, logging_level=logging.WARNING, log_to_driver=False)
        except Exception as error:  # Ray raises ConnectionError, ValueError, AuthenticationError, …
            if not address:
                raise
            reason = str(error).strip().splitlines()[0]
            raise ClusterError(f"no Ray cluster answers at {address!r} (RAY_ADDRESS): {reason}") from error
        # `ray.init` takes SIGTERM: its own handler ends the process at once, without a summary.
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        yield ray.cluster_resources()


def require_capacity(specs: list[ActorSpec], resources: Mapping[str, float]) -> None:
    """Whether a cluster can ever hold all actors.

    Raises:
        ClusterError: with what is needed, what there is, and what is missing.
    """
    needs = {"GPU": float(gpus_needed(specs)), "CPU": float(cpus_needed(specs))}
    for kind, need in needs.items():
        have = resources.get(kind, 0.0)
        if have < need:
            raise ClusterError(
                f"the cluster has {have:g} {kind}, the {len(specs)} client actors need {need:g} "
                f"({need - have:g} missing): {_REMEDY[kind]}"
            )
