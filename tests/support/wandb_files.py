"""The offline files of W&B, read back by wandb's own reader (`wandb leet inspect`)."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import read_metrics
from zorba_ray.experiment.tracking.wandb_records import history_row


@dataclass(frozen=True)
class OfflineRun:
    """One session of a run, as `wandb sync` would upload it."""

    folder: Path
    run_id: str
    project: str
    group: str | None
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    """History, without wandb's own keys, which begin with _."""
    steps: list[int]
    """W&B step of each row."""
    step_metrics: dict[str, str]
    """x axis of each pattern of metric names."""
    summary: dict[str, Any]
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """name -> {"type", "files": {name in the artifact -> local path}}."""
    exit_code: int | None = None
    """None: cut off."""

    def records(self) -> list[dict[str, Any]]:
        """The rows that stand for a record of metrics.jsonl."""
        return [row for row in self.rows if "round" in row]


def read_offline_runs(folder: Path, patience: float = 5.0) -> list[OfflineRun]:
    """All offline sessions anywhere below `folder`, oldest first; those of which nothing reached the disk left out.

    wandb writes the last bytes of a session after its `finish` has returned: up to `patience` seconds are waited until
    the newest session has ended.
    """
    files = sorted(folder.rglob("offline-run-*/run-*.wandb"), key=lambda file: file.parent.name)
    deadline = time.monotonic() + patience
    while True:
        runs = [run for run in map(_read, files) if run is not None]
        if (runs and runs[-1].exit_code is not None) or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def assert_all_metrics(run_dir: Path, sessions: list[OfflineRun]) -> None:
    """The newest session tells every record of metrics.jsonl exactly once, in order, with equal values."""
    newest = sessions[-1]
    assert newest.records() == [history_row(record.tree()) for record in read_metrics(run_dir / "metrics.jsonl")]
    assert newest.steps == sorted(set(newest.steps)), "W&B drops rows whose step does not grow"


def inspect(file: Path) -> list[dict[str, Any]]:
    """The records of a .wandb file."""
    wandb = Path(sys.executable).with_name("wandb")
    done = subprocess.run(
        [str(wandb), "leet", "inspect", "--json", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _read(file: Path) -> OfflineRun | None:
    by_kind: dict[str, list[Any]] = {}
    for entry in inspect(file):
        by_kind.setdefault(entry["type"], []).append(entry[entry["type"]])
    if "run" not in by_kind:
        return None
    run = by_kind["run"][0]
    history = by_kind.get("history", [])
    return OfflineRun(
        folder=file.parent,
        run_id=run["run_id"],
        project=run["project"],
        group=run.get("run_group"),
        config=run["config"]["update"],
        rows=[{k: v for k, v in entry["item"].items() if not k.startswith("_")} for entry in history],
        steps=[entry["step"]["num"] for entry in history],
        step_metrics={m["glob_name"]: m["step_metric"] for m in by_kind.get("metric", []) if "glob_name" in m},
        summary={k: v for entry in by_kind.get("summary", []) for k, v in entry["update"].items()},
        artifacts={
            a["name"]: {
                "type": a["type"],
                "files": {c["path"]: c.get("local_path") for c in a["manifest"]["contents"]},
            }
            for a in by_kind.get("artifact", [])
        },
        exit_code=by_kind["exit"][0].get("exit_code") if "exit" in by_kind else None,
    )
