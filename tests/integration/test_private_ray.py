"""The private Ray of a run: reachable from this machine alone."""

import json
import os
import subprocess
import sys

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


def test_every_port_is_on_loopback():
    """The control store, the node's processes and their metrics."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    answer = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, env=environment, timeout=250
    )
    assert answer.returncode == 0, answer.stderr
    addresses = json.loads(answer.stdout.splitlines()[-1])
    assert addresses
    assert set(addresses) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
