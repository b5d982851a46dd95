"""The private Ray of a run: reachable from this machine alone."""

import json
import os
import subprocess
import sys

import pytest

_PROBE = """
import json
from zorba_ray.federation.ray_session import ray_session
with ray_session(1, 0):
    import ray, psutil
    ray.get(ray.remote(lambda: 1).remote())
    processes = psutil.Process().children(recursive=True)
    sockets = [socket for process in processes for socket in process.net_connections("tcp")]
    print(json.dumps(sorted({socket.laddr.ip for socket in sockets if socket.status == "LISTEN"})))
"""

_DEAD = """
import sys
from zorba_ray.errors import ClusterError
from zorba_ray.federation.ray_session import ray_session
try:
    with ray_session(1, 0):
        import psutil
        for process in psutil.Process().children(recursive=True):
            if process.name() == "raylet":
                process.kill()
                process.wait()
        raise ClusterError("the driver actor died")
except ClusterError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def answer_of(program: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=250)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_error_is_told_when_ray_is_dead():
    """Ray ends its process with code 1 once it finds its raylet dead; the error and its exit code come first."""
    answer = answer_of(_DEAD)
    assert answer.returncode == 4, answer.stderr
    assert answer.stdout.endswith("the driver actor died\n")


def test_every_port_is_on_loopback():
    """The control store, the node's processes and their metrics."""
    answer = answer_of(_PROBE)
    assert answer.returncode == 0, answer.stderr
    addresses = json.loads(answer.stdout.splitlines()[-1])
    assert addresses
    assert set(addresses) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
