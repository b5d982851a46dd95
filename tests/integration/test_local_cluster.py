"""`python cluster/local.py`: several nodes on loopback behind a token, ended by the one process id that it prints."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.token_head import status_of
from zorba_ray.federation.ray_folder import ray_folder

SCRIPT = Path(__file__).parents[2] / "cluster" / "local.py"
PORTS = ("--port", "27300", "--dashboard-port", "27301")


COMMAND = [sys.executable, str(SCRIPT), "--workers", "1", "--cpus", "1", *PORTS]


def start() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def greeting(process: subprocess.Popen[str]) -> tuple[str, Path]:
    """What it prints when it is up, and its token file."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if line.startswith("To end it"):
            break
    token_file = re.search(r"export RAY_AUTH_TOKEN_PATH=(\S+)", said)
    assert token_file, said
    return said, Path(token_file[1])


@pytest.mark.timeout(400)
def test_a_cluster_in_one_command():
    process = start()
    try:
        said, token_file = greeting(process)
        token = token_file.read_text(encoding="ascii")
        assert token_file.stat().st_mode & 0o077 == 0
        assert "2 nodes." in said
        assert f"kill {process.pid}" in said
        assert status_of("http://127.0.0.1:27301/api/version") == 401
        assert status_of("http://127.0.0.1:27301/api/version", token) == 200
        second = start()
        text, _ = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "port 27300 is taken" in text
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
    assert status_of("http://127.0.0.1:27301/api/version") == 0
    assert not token_file.parent.exists()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_after_a_kill_the_next_start_removes_what_it_left():
    process = start()
    try:
        _, token_file = greeting(process)
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert token_file.exists()
    with ray_folder():
        assert not token_file.parent.exists()
    assert status_of("http://127.0.0.1:27301/api/version") == 0
