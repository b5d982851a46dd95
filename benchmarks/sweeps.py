"""What sweeps and their reports must hold: times, digests after kills, sizes."""

import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rows import Row, make_row
from zorba_ray.artifacts import Round, RunDir, records_of
from zorba_ray.artifacts.campaigns import Sweep, read_campaign
from zorba_ray.campaigns.sweep import plan_trials, run_sweep
from zorba_ray.cli.report import write_run_report
from zorba_ray.config import load_sweep
from zorba_ray.experiment import run_experiment
from zorba_ray.federation.ray_session import ray_session
from zorba_ray.report import write_report

ROOT = Path(__file__).resolve().parents[1]
KILLS = 5


def rows(quick: bool) -> list[Row]:
    """All rows; `quick` leaves out what takes minutes."""
    os.environ["WANDB_MODE"] = "disabled"
    with tempfile.TemporaryDirectory(prefix="zb-") as name:
        folder = Path(name)
        if quick:
            return [*overhead(folder, 3), *report(None, folder)]
        return [
            *overhead(folder, 9),
            *killed(folder),
            *report(folder / "killed", folder),
        ]


def overhead(folder: Path, trials: int) -> list[Row]:
    """Seconds that a trial inside Tune takes beyond the same run in this process, one at a time, from the second on;
    half of the plain runs come before the sweep and half after it, and their median counts.

    The first trial pays for its process: it starts, imports torch and loads the compiled kernels.
    """
    file = _sweep_file(folder, "overhead", {"seed": {"grid": list(range(trials))}}, {"concurrency": 1})
    sweep, base = load_sweep(file)
    plan = plan_trials(sweep, base)[0]
    plain: list[float] = []
    numbers = itertools.count()

    def run_plain(count: int) -> None:
        for _ in range(count):
            run = RunDir.create(folder / f"plain-{next(numbers)}", plan.config)
            began = time.perf_counter()
            run_experiment(
                plan.config, run, "simulated", [], lambda event: None, lambda: False,
                write_run_report,
            )  # fmt: skip
            plain.append(time.perf_counter() - began)

    run_plain(1 + trials // 2)
    del plain[0]  # it warmed this process up
    ends: dict[int, float] = {}

    def hear(event: dict[str, Any]) -> None:
        if event["kind"] == "trial" and event["status"] == "finished":
            ends.setdefault(event["trial"], time.perf_counter())

    with ray_session(2, 0):
        began = time.perf_counter()
        run_sweep(sweep, base, folder / "overhead", False, sys.argv, hear, lambda: False, write_run_report)
        run_plain(trials // 2)
    usual = sorted(plain)[len(plain) // 2]
    times = [ends[number] for number in range(trials)]
    over = [times[n] - times[n - 1] - usual for n in range(1, trials)]
    start = times[0] - began - usual
    median = sorted(over)[len(over) // 2]
    return [
        make_row("overhead of Tune per trial over a plain run", over, "s", "≤ 1", median <= 1.0),
        make_row("worker start of a sweep (process, torch, kernels), once", [start], "s", "none, reported apart", None),
        make_row("a plain run of the same settings", plain, "s", "none, for comparison", None),
    ]


def killed(folder: Path) -> list[Row]:
    """24 trials of ε × heterogeneity; kill -9 of the program five times at random moments, then to the end."""
    file = _sweep_file(
        folder,
        "killed",
        {
            "allocation.epsilon": {"grid": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]},
            "federation.fleet": {"grid": _FLEETS},
        },
        {"set": {"rounds": 12, "eval.every": 4}},
    )
    undisturbed = _program(file, folder / "undisturbed")
    undisturbed.wait()
    dice = random.Random(20261125)
    path = folder / "killed"
    for kill in range(KILLS):
        process = _program(file, path, *(["--resume"] if (path / "sweep.json").exists() else []))
        target = _rounds(path) + dice.randrange(10, 45)
        while process.poll() is None and _rounds(path) < target:
            time.sleep(0.02)
        time.sleep(dice.uniform(0.0, 0.5))
        process.kill()
        process.wait()
        print(f"kill {kill + 1}: {_rounds(path)} rounds on record", file=sys.stderr)
    last = _program(file, path, "--resume")
    code = last.wait()
    state, expected = read_campaign(path, Sweep), read_campaign(folder / "undisturbed", Sweep)
    equal = sum(a.weights_sha256 == b.weights_sha256 for a, b in zip(state.trials, expected.trials, strict=True))
    whole = sum(_rounds_of(path / trial.run) == list(range(1, trial.rounds + 1)) for trial in state.trials)
    goal = "24 of 24"
    return [
        make_row(
            f"24 trials, {KILLS} × kill -9: trials finished", [_finished(state)], "", goal, _finished(state) == 24
        ),
        make_row("  digests equal to the undisturbed sweep's", [equal], "", goal, equal == 24),
        make_row("  trials with every round exactly once", [whole], "", goal, whole == 24),
        make_row("  exit code of the last --resume", [code], "", "0", code == 0),
    ]


def report(sweep_dir: Path | None, folder: Path) -> list[Row]:
    """The report of 24 trials in Chromium: size, time to the load event, console errors, requests to elsewhere."""
    from tests.support.browser import View, browser_path, chromium
    from tests.support.fake_sweep import write_fake_sweep

    page = write_report([sweep_dir or write_fake_sweep(folder / "fake")], folder / "sweep-report.html")
    size = page.stat().st_size / 1e6
    found = [make_row("report of a 24-trial sweep: size", [size], "MB", "≤ 3", size <= 3)]
    path = browser_path()
    if path is None:
        print("no Chromium on the PATH: the report was not opened", file=sys.stderr)
        return found
    seconds, said, outside = [], 0, 0
    with chromium(path) as browser:
        for _ in range(5):
            with View(browser, page) as view:
                seconds.append(view.load_s)
                said += len(view.said)
                outside += sum(url != page.as_uri() and not url.startswith("data:") for url in view.asked)
    return [
        *found,
        make_row("  opens in Chromium", seconds, "s", "≤ 2", sorted(seconds)[2] <= 2),
        make_row("  console messages", [said], "", "0", said == 0),
        make_row("  requests to elsewhere", [outside], "", "0", outside == 0),
    ]


def _sweep_file(folder: Path, name: str, space: dict[str, Any], more: dict[str, Any]) -> str:
    path = folder / f"{name}.yaml"
    tree = {"name": name, "run": str(ROOT / "tune_configs" / "runs" / "tiny.yaml"), "space": space, **more}
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return str(path)


def _program(file: str, path: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zorba_ray", "sweep", file, "--sweep-dir", str(path), *flags]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True, cwd=ROOT)


def _finished(state: Sweep) -> int:
    return sum(trial.status == "finished" for trial in state.trials)


def _rounds(path: Path) -> int:
    return sum(len(_rounds_of(run)) for run in path.glob("trials/*"))


def _rounds_of(run: Path) -> list[int]:
    return [record.round for record in records_of(run / "metrics.jsonl", Round)]


_FLEETS = {
    "equal": [{"name": "three", "count": 4, "vram": 5_964_672}],
    "mild": [{"name": "four", "count": 2, "vram": 5_970_496}, {"name": "two", "count": 2, "vram": 5_958_848}],
    "strong": [{"name": "five", "count": 2, "vram": 5_976_320}, {"name": "one", "count": 2, "vram": 5_953_024}],
    "extreme": [
        {"name": "six", "count": 1, "vram": 5_982_144},
        {"name": "three", "count": 1, "vram": 5_964_672},
        {"name": "two", "count": 1, "vram": 5_958_848},
        {"name": "one", "count": 1, "vram": 5_953_024},
    ],
}
"""Four fleets of four clients with room for twelve blocks in all (bytes of `tune_configs/runs/tiny.yaml`)."""
