"""Connects to Ray: joins a cluster, or starts a private Ray on this machine. It never waits without a message."""

import atexit
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from zorba_ray.errors import ClusterError
from zorba_ray.federation.placement import ActorSpec, cpus_needed, gpus_needed
from zorba_ray.federation.ray_folder import ray_folder

_OBJECT_STORE = 256 * 2**20
_FILES, _FILES_PER_CPU = 192, 16
"""Files that each process of a private Ray may have to open. Measured: 60 with two workers."""
_REMEDY = {
    "GPU": "raise federation.gpu_memory, use federation.mode=packed with fewer federation.workers, or start Ray with "
    "--num-gpus (logical GPUs are enough for a simulation)",
    "CPU": "lower federation.workers or add CPUs to the cluster",
}


def set_ray_environment(address: str | None) -> None:
    """Sets environment variables of Ray. They have an effect only before the first import of Ray.

    Args:
        address: of the cluster that will be joined; None: a private Ray.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")  # an actor without GPUs sees none
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray's default niceness of 15 would give workers no CPU while other programs are busy.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Ray's default of 30 s is too short for a busy machine.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")
    if not address:
        # Ray's switch for one machine: without it 127.0.0.1 is replaced by the address of a network card, and Ray
        # listens on all interfaces.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")


@contextlib.contextmanager
def ray_session(cpus: int, gpus: int) -> Iterator[Mapping[str, float]]:
    """Joins the cluster at RAY_ADDRESS, or starts a private Ray on the loopback interface and ends it afterwards.

    If this process has joined a Ray before, that one is used and left running. Yields all resources of the cluster.

    Args:
        cpus, gpus: least resources of a private Ray; they may be logical.

    Raises:
        ClusterError: no cluster answers at the address.
    """
    address = os.environ.get("RAY_ADDRESS")
    set_ray_environment(address)
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    if address and address.startswith("ray://"):
        raise ClusterError(
            f"RAY_ADDRESS={address}: a run does not work over Ray Client; set RAY_ADDRESS to HOST:PORT of a node, or "
            "use `ray job submit`"
        )
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with contextlib.ExitStack() as stack:
        settings: dict[str, Any] = {"address": address}
        if not address:
            cpus = max(os.cpu_count() or 1, cpus)
            require_limits(cpus)
            folder = str(stack.enter_context(ray_folder()))
            settings = {
                "num_cpus": cpus,
                "num_gpus": gpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_temp_dir": folder,
                "_node_ip_address": "127.0.0.1",
            }
        stack.callback(_leave)
        try:
            ray.init(**settings, logging_level=logging.WARNING, log_to_driver=False)
        except Exception as error:  # Ray raises ConnectionError, ValueError, AuthenticationError, …
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            if not address:
                raise ClusterError(
                    f"Ray cannot start on this machine ({type(error).__name__}: {reason}). `zorba-ray doctor` checks "
                    "the machine; TMPDIR should be short, such as /tmp; federation.backend=sequential needs no Ray"
                ) from error
            raise ClusterError(
                f"no Ray cluster answers at {address!r} (RAY_ADDRESS): {reason}. Start the cluster, correct the "
                "address, or unset RAY_ADDRESS for a private Ray"
            ) from error
        # `ray.init` replaces the handler of SIGTERM by one that ends the process at once, without a summary.
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
        yield ray.cluster_resources()


def _leave() -> None:
    """Ends this process's part in Ray.

    If the raylet of this machine is dead, Ray would end this process as soon as it is told, or when Python ends: with
    exit code 1, and before an error is printed. So it is told nothing, and this process ends before Ray hears of it.
    """
    import ray
    from ray._private.worker import global_worker

    node = global_worker.node
    with socket.socket(socket.AF_UNIX) as probe:
        if node is None or probe.connect_ex(node.raylet_socket_name) == 0:
            ray.shutdown()
        else:
            node.kill_all_processes(check_alive=False)
            atexit.register(_exit)


def _exit() -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ClusterError.exit_code)


def require_limits(cpus: int) -> None:
    """Raises the number of files that Ray's processes may open to what this user may have.

    Args:
        cpus: of a private Ray.

    Raises:
        ClusterError: that is too few.
    """
    need = _FILES + _FILES_PER_CPU * cpus
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and hard < need:
        raise ClusterError(
            f"a process may open {hard} files here (ulimit -Hn), and a private Ray of {cpus} CPUs needs {need}: raise "
            "the limit, or set federation.backend=sequential, which gives the same results"
        )
    if soft != resource.RLIM_INFINITY and soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def require_capacity(specs: list[ActorSpec], resources: Mapping[str, float]) -> None:
    """Checks that a cluster has enough resources for all actors.

    Raises:
        ClusterError: it has not; names what it has, what is needed, and what is missing.
    """
    needs = {"GPU": float(gpus_needed(specs)), "CPU": float(cpus_needed(specs))}
    for kind, need in needs.items():
        have = resources.get(kind, 0.0)
        if have < need:
            raise ClusterError(
                f"the cluster has {have:g} {kind}, the {len(specs)} client actors need {need:g} "
                f"({need - have:g} missing): {_REMEDY[kind]}"
            )
