"""`python cluster/local.py`: several nodes on loopback behind a token, ended by the one process id that it prints."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos.token_head import status_of

SCRIPT = Path(__file__).parents[2] / "cluster" / "local.py"
PORTS = ("--port", "27300", "--dashboard-port", "27301")


@pytest.mark.timeout(400)
def test_a_cluster_in_one_command():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    command = [sys.executable, str(SCRIPT), "--workers", "1", "--cpus", "1", *PORTS]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("To end it"):
                break
        token_file = re.search(r"export RAY_AUTH_TOKEN_PATH=(\S+)", said)
        assert token_file, said
        token = Path(token_file[1]).read_text(encoding="ascii")
        assert Path(token_file[1]).stat().st_mode & 0o077 == 0
        assert "2 nodes." in said
        assert f"kill {process.pid}" in said
        assert status_of("http://127.0.0.1:27301/api/version") == 401
        assert status_of("http://127.0.0.1:27301/api/version", token) == 200
        second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
        assert second.returncode == 1
        assert "port 27300 is taken" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=90)
    assert status_of("http://127.0.0.1:27301/api/version") == 0
    assert not Path(token_file[1]).parent.exists()
