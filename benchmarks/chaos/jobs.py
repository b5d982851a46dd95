"""`ray job submit` to a head with a token: a run, failing jobs, a job that is stopped and submitted again."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.program import CONFIG, call, digest_in, rounds_in
from benchmarks.chaos.token_head import TokenHead, status_of, token_head
from benchmarks.rows import Row, make_row

DEVICE = "cpu, a Ray head of 4 CPUs behind a token"
ROUNDS = 60
_RUN = ("zorba-ray", "run", "tiny.yaml")
_ON_RAY = ("federation.backend=ray", "federation.workers=2")
FAILING = {
    "bad-setting": (("zo.lrr=1",), 2, "did you mean zo.lr?"),
    "too-small": ((*_ON_RAY, "federation.workers=64", "federation.clients=64"), 4, "CPU"),
    "infeasible": (('federation.fleet=[{"name": "a", "count": 4, "vram": 1000}]',), 3, "bytes missing"),
}
"""Jobs that fail: name -> settings, the program's exit code, what its log says."""


def rows(quick: bool) -> list[Row]:
    """All rows of this file, quick or not."""
    with tempfile.TemporaryDirectory(prefix="zc-") as name, token_head() as head:
        folder = working_directory(Path(name) / "work")
        return [
            _row("no token: 401, and nothing runs", lambda: refused_without_token(head, folder)),
            _row("a run: code 0, the same SHA-256", lambda: runs(head, folder)),
            *(_row(f"a failing job: {each}", lambda each=each: fails(head, folder, each)) for each in FAILING),
            _row("a job stopped, submitted again with --resume", lambda: stops_and_resumes(head, folder)),
        ]


def _row(name: str, drill: Callable[[], None]) -> Row:
    faults = {}
    try:
        drill()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        faults = {"fault": str(error)[-600:]}
    return make_row(f"ray job submit, {name}", [len(faults)], "wrong", "0", not faults, DEVICE, faults)


def working_directory(folder: Path) -> Path:
    """A small working directory with a config of its own."""
    folder.mkdir(parents=True)
    shutil.copy(CONFIG, folder / "tiny.yaml")
    return folder


def refused_without_token(head: TokenHead, folder: Path) -> None:
    """The jobs API refuses with 401, the command says that a token is missing, and nothing runs."""
    require(status_of(f"{head.url}/api/jobs/") == 401, "no token is not answered by 401")
    require(status_of(f"{head.url}/api/jobs/", "0" * 64) in (401, 403), "a wrong token is not refused")
    refused = head.ray("job", "submit", "--working-dir", ".", "--", *_RUN, token=None, cwd=folder)
    require(refused.returncode == 1 and "token" in refused.stdout.lower(), refused.stdout)


def runs(head: TokenHead, folder: Path) -> None:
    """The command of a terminal, unchanged, with --runtime-env: code 0, the summary in the log, the run outside the
    unpacked working directory, and the numbers of a run without a job."""
    (folder / "env.yaml").write_text("env_vars: {ZORBA_PROBE: there}\n", encoding="utf-8")
    code, output = head.submit(
        folder, "run-ok", *_RUN, *_ON_RAY, "--run-dir", "runs/ok", flags=("--runtime-env", "env.yaml")
    )
    require(code == 0, output)
    details = head.job("run-ok")
    require((details["status"], details["driver_exit_code"]) == ("SUCCEEDED", 0), str(details))
    log, run = head.logs("run-ok"), head.home / "runs" / "ok"
    digest = digest_in(run)
    for said in (f"run directory {run}", "4 rounds, finished", f"θ SHA-256 {digest}"):
        require(said in log, f"the log does not say {said!r}: {log[-2000:]}")
    coloured = log.split("Running entrypoint", 1)[1].split("SHA-256")[0]
    require("\x1b[" not in coloured, "escape codes in a job's log")
    require((run / "report.html").exists(), "no report")
    require(digest == _undisturbed(folder.parent / "here"), f"another SHA-256: {digest}")


def fails(head: TokenHead, folder: Path, name: str) -> None:
    """`ray job submit` answers 1; the jobs API has the program's exit code, and the log one sentence that says why."""
    settings, code, said = FAILING[name]
    submitted, output = head.submit(folder, name, *_RUN, *settings, "--run-dir", f"runs/{name}")
    details, log = head.job(name), head.logs(name)
    require(submitted == 1, output)
    require((details["status"], details["driver_exit_code"]) == ("FAILED", code), f"{details}: {output}")
    require(log.count("error: ") == 1 and said in log and "Traceback" not in log, log)


def stops_and_resumes(head: TokenHead, folder: Path) -> None:
    """Stopped in the middle: STOPPED, an interrupted run; the same command with --resume ends at the SHA-256
    of the undisturbed run, every round once."""
    settings = (f"rounds={ROUNDS}", f"eval.every={ROUNDS}")
    words, run = [*_RUN, *_ON_RAY, *settings, "--run-dir", "runs/stopped"], head.home / "runs" / "stopped"
    code, output = head.submit(folder, "to-stop", *words, flags=("--no-wait",))
    require(code == 0, output)
    wait_for(lambda: rounds_in(run) >= 2 or head.job("to-stop")["status"] == "FAILED", "two rounds", 300)
    require(head.job("to-stop")["status"] == "RUNNING", head.logs("to-stop"))
    head.stop("to-stop")
    wait_for(lambda: head.job("to-stop")["status"] == "STOPPED", "a stopped job")
    done = rounds_in(run)
    require(2 <= done < ROUNDS, f"{done} rounds")
    code, output = head.submit(folder, "resumed", *words, "--resume")
    require(code == 0, output)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    require(summary["resumed_after_round"] >= 2, str(summary["resumed_after_round"]))
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    numbers = [line["round"] for line in lines if line["kind"] == "round"]
    require(numbers == list(range(1, ROUNDS + 1)), f"rounds {numbers}")
    found, expected = digest_in(run), _undisturbed(folder.parent / "undisturbed", *settings)
    require(found == expected, f"{found}, not {expected}")


def _undisturbed(path: Path, *settings: str) -> str | None:
    """SHA-256 of θ of the same run in one process."""
    end = call("run", CONFIG, *settings, "--run-dir", path)
    require(end.code == 0, end.text)
    return digest_in(path)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Polls until `condition` holds.

    Raises:
        AssertionError: it does not in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        require(time.monotonic() < end, f"{what}: not within {seconds:.0f} s")
        time.sleep(0.2)


def require(condition: bool, fault: str) -> None:
    """Raises AssertionError with `fault` unless `condition`."""
    if not condition:
        raise AssertionError(fault)
