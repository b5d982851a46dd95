"""The terminal's watch over its driver, on processes that are stopped, wait or compute; limits and leftovers of Ray."""

import ast
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import zorba_ray
from zorba_ray.errors import ClusterError
from zorba_ray.federation import ray_driver, ray_session
from zorba_ray.federation.ray_driver import Watchdog
from zorba_ray.federation.ray_folder import ray_folder


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs the given program and has said that it does."""
    code = f"print(flush=True)\n{request.param}"
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    yield running
    running.kill()
    running.wait()
    running.stdout.close()


WAITS, COMPUTES = "import time; time.sleep(600)", "while True: pass"


@pytest.mark.parametrize("process", [WAITS, COMPUTES], indirect=True)
def test_a_stopped_driver_is_named_and_ended(process: subprocess.Popen[bytes]) -> None:
    watchdog = Watchdog(process.pid)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    for _ in range(9):
        watchdog.waited(1.0)
    with pytest.raises(ClusterError, match=rf"process {process.pid}\) has not answered for 10 s: it was stopped"):
        watchdog.waited(1.0)
    assert process.wait(20) == -signal.SIGKILL


@pytest.mark.parametrize("process", [WAITS], indirect=True)
def test_a_driver_that_waits_is_given_time(process: subprocess.Popen[bytes]) -> None:
    """It may wait for a disk; less if the user wants it to stop."""
    watchdog = Watchdog(process.pid)
    for _ in range(int(ray_driver.HUNG_S) - 1):
        watchdog.waited(1.0)
    watchdog.answered()
    for _ in range(9):
        watchdog.waited(1.0, stopping=True)
    with pytest.raises(ClusterError, match="for 10 s: it uses no CPU"):
        watchdog.waited(1.0, stopping=True)


@pytest.mark.parametrize("process", [COMPUTES], indirect=True)
def test_a_driver_that_computes_is_left_alone(
    process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_driver, "HUNG_S", 0.5)
    watchdog, end = Watchdog(process.pid), time.monotonic() + 1.0
    while time.monotonic() < end:
        time.sleep(0.1)
        watchdog.waited(0.1)
    assert process.poll() is None


def test_a_terminal_that_was_asleep_blames_nobody() -> None:
    """A machine or a terminal that was suspended: one long wait counts as a short one."""
    Watchdog(os.getpid()).waited(1e6, stopping=True)


def test_nothing_waits_for_ray_without_an_end() -> None:
    """`ray.get` and `ray.wait` have a timeout, wherever they are called."""
    bare = []
    for file in Path(zorba_ray.__file__).parent.rglob("*.py"):
        if "ray.get" not in (text := file.read_text(encoding="utf-8")) and "ray.wait" not in text:
            continue
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
        waits = [call for call in calls if ast.unparse(call.func) in ("ray.get", "ray.wait")]
        bare += [(file.name, call.lineno) for call in waits if "timeout" not in [word.arg for word in call.keywords]]
    assert not bare


def test_too_few_files_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    with pytest.raises(ClusterError, match=r"may open 64 files here \(ulimit -Hn\), and a private Ray of 4 CPUs needs"):
        ray_session.require_limits(4)


def test_a_soft_limit_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: raised.append(limits))
    ray_session.require_limits(4)
    assert raised == [(256, 4096)]


def test_what_a_killed_program_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder, and a process of Ray that has a file there open. Not: folders in use, links, processes of others."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / "zr-dead"
    for folder in (dead, tmp_path / "zr-unknown"):
        folder.mkdir()
        (folder / "log").touch()
    (dead / ".owner").touch()
    (tmp_path / "zr-link").symlink_to(tmp_path / "zr-unknown")
    program = tmp_path / "ray" / "agent.py"
    program.parent.mkdir()
    program.write_text("import sys, time\nlog = open(sys.argv[1])\nprint(flush=True)\ntime.sleep(600)\n")
    stranger = tmp_path / "reader.py"
    stranger.write_text(program.read_text())
    running = [
        subprocess.Popen([sys.executable, str(script), str(dead / "log")], stdout=subprocess.PIPE)
        for script in (program, stranger)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        with ray_folder() as first:
            assert running[0].wait(20) == -signal.SIGKILL
            assert running[1].poll() is None
            assert not dead.exists()
            with ray_folder() as second:
                assert first.exists()
                assert second.exists()
        assert {path.name for path in tmp_path.glob("zr-*")} == {"zr-unknown", "zr-link"}
    finally:
        for process in running:
            process.kill()
            process.communicate()
