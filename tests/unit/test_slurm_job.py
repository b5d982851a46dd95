"""cluster/slurm.sbatch, with commands in place of Slurm, Ray and zorba-ray that write down how they were called."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "cluster" / "slurm.sbatch"
RECORD = '#!/bin/bash\necho "$(basename "$0") $*" >>"$CALLS"\n'
STUBS = {
    "hostname": "echo 10.0.0.7 fe80::1",
    "python": "if [[ $1 == -c ]]; then echo 0123abcd; else until grep -q 'head up' $CALLS; do sleep 0.05; done; fi",
    "ray": "[[ $RAY_AUTH_MODE-$RAY_AUTH_TOKEN == token-0123abcd ]] || exit 1\n"
    "[[ $2 == --head ]] || exit 0\n"
    'trap "echo head ended >>$CALLS; exit 0" TERM\necho head up >>$CALLS\nfor _ in {1..200}; do sleep 0.05; done',
    "srun": "",
    "zorba-ray": 'trap "echo stopped >>$CALLS; exit 0" TERM\necho "at $RAY_ADDRESS" >>"$CALLS"\n'
    "[[ -z ${SLOW:-} ]] || for _ in {1..200}; do sleep 0.05; done",
}


@pytest.fixture
def job(tmp_path: Path) -> dict[str, str]:
    """The environment of a job on three nodes; calls are written to CALLS."""
    commands = tmp_path / "env" / "bin"
    commands.mkdir(parents=True)
    (commands / "activate").write_text(f"PATH={commands}:$PATH\n", encoding="utf-8")
    for name, body in STUBS.items():
        (commands / name).write_text(f"{RECORD}{body}\n", encoding="utf-8")
        (commands / name).chmod(0o755)
    return {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "ZORBA_ENV": str(tmp_path / "env"),
        "CALLS": str(tmp_path / "calls"), "SLURM_JOB_ID": "41", "SLURM_NNODES": "3", "SLURM_CPUS_PER_TASK": "8",
        "SLURMD_NODENAME": "node1",
    }  # fmt: skip


def submit(job: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", SCRIPT, *arguments], env=job, capture_output=True, text=True, timeout=30)


def calls(job: dict[str, str]) -> list[str]:
    """Those of `srun` run beside the others and may come late."""
    path = Path(job["CALLS"])
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def test_a_head_without_clients_two_workers_and_the_run(job: dict[str, str], tmp_path: Path) -> None:
    """The run joins the head; a second job of the same line resumes."""
    done = submit(job, "my.yaml", str(tmp_path / "a"))
    assert done.returncode == 0, done.stderr
    found = calls(job)
    [head] = [line for line in found if line.startswith("ray start --head")]
    assert {"--node-ip-address=10.0.0.7", "--num-cpus=0", "--dashboard-host=127.0.0.1"} <= set(head.split())
    [workers] = [line for line in found if line.startswith("srun")]
    assert {
        "--nodes=2",
        "--ntasks=2",
        "--exclude=node1",
        "--cpus-per-task=8",
        "--address=10.0.0.7:20041",
        "--num-gpus=1",
    } <= {*workers.split()}
    assert {f"zorba-ray run my.yaml --run-dir {tmp_path}/a", "at 10.0.0.7:20041"} <= set(found)
    end = time.monotonic() + 20
    while "head ended" not in calls(job):
        assert time.monotonic() < end
        time.sleep(0.05)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "ledger.zl").touch()
    submit(job, "my.yaml", str(tmp_path / "a"))
    assert f"zorba-ray run my.yaml --run-dir {tmp_path}/a --resume" in calls(job)


def test_gpus_of_the_job_are_used_as_they_are(job: dict[str, str], tmp_path: Path) -> None:
    submit(job | {"SLURM_GPUS_ON_NODE": "1"}, "my.yaml", str(tmp_path / "a"))
    [workers] = [line for line in calls(job) if line.startswith("srun")]
    assert "--num-gpus" not in workers


def test_what_is_missing_is_said(job: dict[str, str]) -> None:
    done = submit(job, "my.yaml")
    assert done.returncode == 1
    assert "usage: sbatch" in done.stderr
    done = submit(job | {"SLURM_NNODES": "1"}, "my.yaml", "a")
    assert done.returncode == 2
    assert "zorba-ray run my.yaml --run-dir a" in done.stderr
    assert not calls(job)


def test_slurms_signal_reaches_the_run(job: dict[str, str]) -> None:
    """Slurm signals the process of the script alone."""
    process = subprocess.Popen(["bash", SCRIPT, "my.yaml", "a"], env=job | {"SLOW": "1"}, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while "at 10.0.0.7:20041" not in calls(job):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "stopped" in calls(job)


def test_a_shell_checker_finds_nothing() -> None:
    found = subprocess.run(["bash", "-n", SCRIPT], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    if shutil.which("shellcheck"):
        found = subprocess.run(["shellcheck", SCRIPT], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout
