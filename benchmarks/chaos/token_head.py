"""A real Ray head with token authentication: all its ports on loopback, its own folder, ended by its own process id."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "5f4d" * 16
_START_S = 120.0

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Ray's switch for one machine: 127.0.0.1 stays what it is, and nothing listens on other interfaces."""


@dataclass(frozen=True)
class TokenHead:
    """A running head and how to reach it."""

    url: str
    """Dashboard and jobs API."""
    address: str
    """host:port for RAY_ADDRESS."""
    metrics_url: str
    home: Path
    """ZORBA_HOME of its jobs: where their run directories stand."""
    process: int
    """Id of the process that owns the whole head."""

    def environment(self, token: str | None = TOKEN) -> dict[str, str]:
        """Variables of a client; without the token if None."""
        base = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        base |= LOOPBACK | {"RAY_API_SERVER_ADDRESS": self.url, "RAY_USAGE_STATS_ENABLED": "0"}
        return base if token is None else {**base, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}

    def job(self, submission_id: str) -> dict[str, Any]:
        """Details of a job, as the jobs API has them: `status`, `driver_exit_code`, `message`."""
        return self._call(f"/api/jobs/{submission_id}", "GET")

    def stop(self, submission_id: str) -> None:
        """What `ray job stop --no-wait` asks for, without the seconds that the command takes to start."""
        self._call(f"/api/jobs/{submission_id}/stop", "POST")

    def _call(self, path: str, method: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def logs(self, submission_id: str) -> str:
        """What the job has printed so far."""
        return self.ray("job", "logs", submission_id).stdout

    def submit(self, folder: Path, name: str, *command: str, flags: tuple[str, ...] = ()) -> tuple[int, str]:
        """Submits a command with a working directory, and waits; exit code of `ray job submit` and what it printed."""
        words = ("job", "submit", "--submission-id", name, "--working-dir", ".", *flags, "--", *command)
        done = self.ray(*words, cwd=folder)
        return done.returncode, done.stdout

    def ray(
        self, *arguments: str, token: str | None = TOKEN, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`ray ARGUMENTS` as a user would type it; stdout and stderr together."""
        return subprocess.run(
            [str(Path(sys.executable).parent / "ray"), *arguments],
            env=self.environment(token),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )


@contextmanager
def token_head(ports: int = 26500) -> Iterator[TokenHead]:
    """A head with 4 CPUs and one logical GPU on ports from `ports` on; about 10 s to start, 4 s to end."""
    folder = Path(tempfile.mkdtemp(prefix="zh-"))  # short: Ray puts unix sockets inside
    ports = _free_range(ports)
    names = ["port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port"]
    names += ["runtime-env-agent-port", "metrics-export-port", "ray-client-server-port"]
    names += ["object-manager-port", "node-manager-port"]
    port = {name: ports + place for place, name in enumerate(names)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= LOOPBACK | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_metrics_report_interval_ms": "500",
        "AUTOSCALER_METRIC_PORT": str(ports + 20),
        "DASHBOARD_METRIC_PORT": str(ports + 21),
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ZORBA_HOME": str(folder / "home"),
        "HOME": str(folder / "home"),
    }
    (folder / "home").mkdir()
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += ["--num-cpus=4", "--num-gpus=1", "--object-store-memory=134217728", "--dashboard-host=127.0.0.1"]
    command += [f"--{name}={number}" for name, number in port.items()]
    command += [f"--min-worker-port={ports + 30}", f"--max-worker-port={ports + 200}", f"--temp-dir={folder / 'ray'}"]
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    head = TokenHead(
        url=f"http://127.0.0.1:{port['dashboard-port']}",
        address=f"127.0.0.1:{port['port']}",
        metrics_url=f"http://127.0.0.1:{port['metrics-export-port']}/metrics",
        home=folder / "home",
        process=process.pid,
    )
    try:
        _await(head, process, folder / "head.log")
        yield head
    finally:
        process.terminate()  # it drains its node and ends its own processes
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def status_of(url: str, token: str | None = None) -> int:
    """HTTP status of a GET; 0 where nothing answers."""
    request = urllib.request.Request(url, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _await(head: TokenHead, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if status_of(f"{head.url}/api/version", TOKEN) == 200 and status_of(head.metrics_url) == 200:
            return
        time.sleep(0.3)
    raise AssertionError(f"no head within {_START_S:.0f} s:\n{log.read_text()}")


def _free_range(first: int) -> int:
    """The first block of 300 ports from `first` on whose leading 40 are free; another session may hold the first."""
    for start in range(first, first + 1500, 300):
        for number in range(start, start + 40):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", number)) == 0:
                    break
        else:
            return start
    raise AssertionError(f"no free ports from {first} on")
