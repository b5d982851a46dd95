"""The offline files of W&B, read back by wandb's own reader (`wandb leet inspect`)."""

import json
import subprocess
import sys
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
    job_type: str | None
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


def read_offline_runs(folder: Path) -> list[OfflineRun]:
    """All offline sessions anywhere below `folder`, oldest first; those of which nothing reached the disk left out."""
    files = sorted(folder.rglob("offline-run-*/run-*.wandb"), key=lambda file: file.parent.name)
    return [run for run in map(_read, files) if run is not None]


def assert_all_metrics(run_dir: Path, sessions: list[OfflineRun]) -> None:
    """Every record of metrics.jsonl is told exactly once over all sessions, in order, with equal values."""
    expected = [history_row(record.tree()) for record in read_metrics(run_dir / "metrics.jsonl")]
    assert [row for session in sessions for row in session.records()] == expected
    steps = [step for session in sessions for step in session.steps]
    assert steps == sorted(set(steps)), "W&B drops rows whose step does not grow"


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
        job_type=run.get("job_type"),
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
