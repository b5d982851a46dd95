"""Ray nodes of this machine, each in a network namespace of its own: cables that can be cut, no port of the machine.

Everything runs in a user, mount and process namespace that this program is started in (`inside`): it needs no rights,
nothing of it is seen outside, and it all ends with its first process.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.processes import family

_UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--mount-proc",
            "--kill-child")  # fmt: skip
_PORT = 6379
_START_S = 300.0
_UP = "Ray runtime started."
"""What `ray start` prints when it is up."""


def inside(words: Sequence[str]) -> list[str] | None:
    """The command in namespaces of its own; None where this machine has no such tools or does not allow it."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return None
    tried = subprocess.run([*_UNSHARE, "ip", "link", "add", "b0", "type", "bridge"], capture_output=True, check=False)
    return [*_UNSHARE, *words] if tried.returncode == 0 else None


def ip(*arguments: object) -> None:
    """`ip ARGUMENTS`."""
    subprocess.run(["ip", *map(str, arguments)], check=True, capture_output=True, timeout=60)


class Node:
    """A network namespace with an address, and Ray's processes in it."""

    def __init__(self, number: int, folder: Path, cpus: int) -> None:
        """Number 1 is the head."""
        self.number, self.name, self.address = number, f"n{number}", f"10.77.0.{number}"
        self._folder, self._cpus = folder / self.name, cpus
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        ip("netns", "add", self.name)
        ip("link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", f"v{number}", "master", "bridge0", "up")
        for words in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):  # fmt: skip
            ip("-n", self.name, *words)

    def words(self, *command: str) -> list[str]:
        """A command as this node runs it."""
        return ["ip", "netns", "exec", self.name, *command]

    def start(self) -> None:
        """Starts Ray's processes and waits until they are up.

        Raises:
            AssertionError: they are not.
        """
        role = ("--head", f"--port={_PORT}", "--include-dashboard=false")
        if self.number > 1:
            role = (f"--address=10.77.0.1:{_PORT}",)
        command = self.words(
            str(Path(sys.executable).parent / "ray"), "start", *role, "--block", "--disable-usage-stats",
            f"--node-ip-address={self.address}", f"--num-cpus={self._cpus}", "--num-gpus=1",
            "--object-store-memory=100000000", f"--temp-dir={self._folder}",
        )  # fmt: skip
        with (self._folder / "start.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        self._starts += 1
        end = time.monotonic() + _START_S
        while self._log().count(_UP) < self._starts:
            if self._process.poll() is not None or time.monotonic() >= end:
                raise AssertionError(f"{self.name} did not start: {self._log()[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """kill -9 of all its processes."""
        if self._process is not None:
            for pid in family(self._process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(timeout=60)
        self._process = None

    def running(self) -> bool:
        """Whether Ray's processes there have not ended."""
        return self._process is not None and self._process.poll() is None

    def cut(self) -> None:
        """Takes the cable out: packets are lost without a word."""
        ip("link", "set", f"v{self.number}", "down")

    def heal(self) -> None:
        """Puts it back."""
        ip("link", "set", f"v{self.number}", "up")

    def _log(self) -> str:
        return (self._folder / "start.log").read_text(errors="replace")


def environment() -> dict[str, str]:
    """Variables of the nodes and of a program that joins them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {
        "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5f4d" * 16, "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0", "RAY_raylet_start_wait_time_s": "120", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def three_nodes(folder: Path) -> list[Node]:
    """A head without CPUs and two nodes with one each, so that each of these has one actor. None is started."""
    ip("link", "set", "lo", "up")
    ip("link", "add", "bridge0", "type", "bridge")
    ip("link", "set", "bridge0", "up")
    # Names of namespaces are files of /run/netns, which this user may not be allowed to write.
    subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True, timeout=60)
    return [Node(number, folder, 0 if number == 1 else 1) for number in (1, 2, 3)]
