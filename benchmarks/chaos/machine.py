"""A machine in the way: a full disk, a disk for reading only, few file handles, a clock set back, two owners."""

import resource
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from benchmarks.chaos.faulty_calls import environment
from benchmarks.chaos.program import (
    Ended,
    Tally,
    Undisturbed,
    after_round,
    call,
    command,
    digest_in,
    ended,
    faults_row,
    rounds_in,
    run_arguments,
    start,
    undisturbed,
)
from benchmarks.rows import Row, not_run

_DAY_S = 86_400.0
_FULL_KIB = (64, 128)
"""Sizes of a disk on which a run does not end."""


def rows(quick: bool) -> list[Row]:
    """Quick: one disk, one clock."""
    with undisturbed() as base, tempfile.TemporaryDirectory(prefix="zc-") as name:
        folder = Path(name)
        return [
            *(_full_disk(base, folder, size) for size in (_FULL_KIB[:1] if quick else _FULL_KIB)),
            _read_only(base, folder),
            _few_handles(folder),
            _clock(base, folder, (_DAY_S,) if quick else (_DAY_S, 3600.0, 400 * _DAY_S)),
            _two_owners(base, folder),
        ]


def _judged(name: str, faults: list[str], said: str) -> Row:
    return faults_row(name, faults, "0: a sentence and an exit code, nothing lost", {"said": said})


def _sentence(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("error")), text[-120:].strip())


def _on_a_disk(folder: Path, size: str, script: str) -> Ended | None:
    """Runs a script in a mount namespace of its own, with a disk of `size` at `folder`/disk; None: not allowed here."""
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    mount = f"mount -t tmpfs -o size={size} none {shlex.quote(str(disk))}"
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    try:
        allowed = subprocess.run([*words, mount], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        allowed = False
    return ended(start([*words, f"{mount} && {script}"])) if allowed else None


def _full_disk(base: Undisturbed, folder: Path, kib: int) -> Row:
    """A run on a disk that is too small; then the disk grows, and the run goes on."""
    name = f"disk full: {kib} KiB, then --resume with room"
    run = shlex.join(command(*run_arguments(folder / "disk" / "run")))
    script = f"""{run}; echo "first exit code $?"
        mount -o remount,size=64m {shlex.quote(str(folder / "disk"))}
        if [ -e {folder}/disk/run/config.resolved.json ]; then {run} --resume; else rm -rf {folder}/disk/run; {run}; fi
        echo "second exit code $?"; cat {folder}/disk/run/summary.json"""
    end = _on_a_disk(folder, f"{kib}k", script)
    if end is None:
        return not_run(name, "wrong", "0", "no mount namespaces here")
    faults = []
    first = end.text.partition("first exit code ")[2][:1]
    if first not in ("2", "8") or "Traceback" in end.text:
        faults.append(f"the first run ended with {first}: {end.text}")
    if base.digest not in end.text:
        faults.append(f"the second run has another digest: {end.text}")
    return _judged(name, faults, f"{_sentence(end.text)}, exit code {first}")


def _read_only(base: Undisturbed, folder: Path) -> Row:
    """A run directory on a disk for reading only: a sentence, and nothing in it is changed."""
    name = "disk for reading only: --resume of a run on it"
    disk = shlex.quote(str(folder / "disk"))
    run = shlex.join(command(*run_arguments(folder / "disk" / "run"), "--resume"))
    sums = f"(cd {disk}/run && find . -type f | sort | xargs sha256sum | sha256sum)"
    script = f"""cp -r {shlex.quote(str(base.stopped))} {disk}/run && {sums} > {folder}/before
        mount -o remount,ro {disk} && {run}; echo "exit code $?"; {sums} | cmp - {folder}/before && echo "unchanged" """
    end = _on_a_disk(folder, "64m", script)
    if end is None:
        return not_run(name, "wrong", "0", "no mount namespaces here")
    faults = [] if "exit code 8" in end.text or "exit code 2" in end.text else [end.text]
    if "unchanged" not in end.text or "Traceback" in end.text:
        faults.append(end.text)
    return _judged(name, faults, _sentence(end.text))


def _few_handles(folder: Path) -> Row:
    """`ulimit -n 64`, with Ray: refused at once."""
    path = folder / "handles"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    words = command(*run_arguments(path, "federation.backend=ray"))
    end = ended(start(words, before=limit), limit_s=120)
    shutil.rmtree(path, ignore_errors=True)
    return _judged("ulimit -n 64, with Ray", [] if end.said else [end.text], f"{_sentence(end.text)}, code {end.code}")


def _clock(base: Undisturbed, folder: Path, backs: tuple[float, ...]) -> Row:
    """The clock is set back between an interrupted run and its resume."""
    tally = Tally(base.digest)
    for back in backs:
        path = base.copy(folder / "clock")
        tally.noted(ended(start(command(*run_arguments(path)), environment(folder, back_s=back))), path, f"{back} s")
        shutil.rmtree(path)
    return tally.row(f"clock set back before --resume: {len(backs)} times", may_refuse=False)


def _two_owners(base: Undisturbed, folder: Path) -> Row:
    """A second process wants the run that the first one is at: it is refused, the first one ends as ever."""
    path = base.copy(folder / "owned")
    process = start(command(*run_arguments(path)))
    after_round(process, path, rounds_in(path) + 1)
    process.send_signal(signal.SIGSTOP)  # so that it does not end before the second has begun
    second = call(*run_arguments(path))
    process.send_signal(signal.SIGCONT)
    first = ended(process)
    faults = [] if second.said else [f"the second ended with {second.code}: {second.text}"]
    if digest_in(path) != base.digest:
        faults.append(f"the first ended with {first.code}: {first.text}")
    shutil.rmtree(path)
    return _judged("two owners of one run", faults, f"{_sentence(second.text)}, exit code {second.code}")
