"""Who hears of a run beside metrics.jsonl."""

from typing import Any

from zorba_ray.config import TrackingConfig
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.experiment.tracking import Monitor, WandbMonitor, read_records, resolve_mode
from zorba_ray.experiment.tracking.ray_metrics import ray_monitors


def monitors(tracking: TrackingConfig, run: RunDir, provenance: dict[str, Any]) -> list[Monitor]:
    """The sinks that the settings and this process call for; none is started."""
    mode = resolve_mode(tracking.wandb)
    if mode == "disabled":
        return ray_monitors()
    past = read_records(run.metrics) if run.metrics.exists() else []
    return [WandbMonitor(run.path, tracking, provenance["run_id"], mode, past), *ray_monitors()]
