"""A Ray cluster of several nodes on this machine: every port on loopback, token authentication, one command.

    python cluster/local.py --workers 2
    python cluster/local.py --workers 2 --cpus 4 --gpus 1 --port 6379 --dashboard-port 8265

Nodes are processes of this one; it prints what to export, stays in the foreground, and ends its nodes, and nothing
else, on Ctrl-C or SIGTERM. GPUs are logical ones: enough for a simulation, and marked so in all outputs.
"""

import argparse
import os
import secrets
import signal
import socket
import sys
import threading
from pathlib import Path

from zorba_ray.federation.ray_folder import ray_folder

LOOPBACK = {
    # Ray's own switch for "one machine": without it 127.0.0.1 is replaced by the address of a network card, and the
    # control store, the raylets and the metrics listen on all interfaces. Clients need it too, hence the exports.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
"""Environment of all nodes and clients, beside the token."""

_STORE_BYTES = 200_000_000


def main() -> None:
    """Starts the nodes, prints the exports, waits for a signal, ends the nodes."""
    parser = argparse.ArgumentParser(description="A Ray cluster on loopback, with token authentication.")
    parser.add_argument("--workers", type=int, default=2, help="nodes beside the head [2]")
    parser.add_argument("--cpus", type=int, default=2, help="logical CPUs of a node [2]")
    parser.add_argument("--gpus", type=int, default=1, help="logical GPUs of a node [1]")
    parser.add_argument("--port", type=int, default=6379, help="port of the head [6379]")
    parser.add_argument(
        "--dashboard-port", type=int, default=8265, help="port of dashboard and jobs; the next one is taken too [8265]"
    )
    options = parser.parse_args()

    # The agent that starts jobs: at Ray's own default another Ray of this machine may sit, and jobs would never start.
    agent_port = options.dashboard_port + 1
    for number in (options.port, options.dashboard_port, agent_port):
        if _listening(number):
            sys.exit(f"port {number} is taken: choose others with --port and --dashboard-port (which takes two)")
    with ray_folder() as folder:
        _serve(options, folder, agent_port)


def _serve(options: argparse.Namespace, folder: Path, agent_port: int) -> None:
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32), encoding="ascii")
    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would win over the file
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.update(
        LOOPBACK,
        RAY_AUTH_TOKEN_PATH=str(token),
        RAY_TMPDIR=str(folder),  # Ray adds /ray
        RAY_USAGE_STATS_ENABLED="0",
        RAY_worker_niceness="0",
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # jobs find zorba-ray
        AUTOSCALER_METRIC_PORT="0",  # else fixed ports, which a second Ray on this machine has taken
        DASHBOARD_METRIC_PORT="0",
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    from ray.cluster_utils import Cluster

    node = {"num_cpus": options.cpus, "num_gpus": options.gpus, "object_store_memory": _STORE_BYTES}
    cluster = Cluster(shutdown_at_exit=True)
    try:
        cluster.add_node(
            **node,
            gcs_server_port=options.port,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=options.dashboard_port,
            dashboard_agent_listen_port=agent_port,
        )
        for _ in range(options.workers):
            cluster.add_node(**node)
        cluster.wait_for_nodes()
        while not (_listening(agent_port) or stop.wait(0.5)):
            pass
        print(_greeting(options.workers + 1, options.port, options.dashboard_port, token), flush=True)
        stop.wait()
    finally:
        cluster.shutdown()


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _greeting(nodes: int, port: int, dashboard_port: int, token: Path) -> str:
    exports = {
        **LOOPBACK,
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard_port}",
    }
    lines = "\n".join(f"export {name}={value}" for name, value in exports.items())
    return f"""{nodes} nodes. In another terminal:

{lines}
ray job submit --working-dir . -- zorba-ray run demo

To join without a job: export RAY_ADDRESS=127.0.0.1:{port}
To end it: Ctrl-C here, or kill {os.getpid()}"""


if __name__ == "__main__":
    main()
