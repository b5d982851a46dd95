"""Who hears of a run beside metrics.jsonl."""

from zorba_ray.artifacts import RunDir, read_metrics
from zorba_ray.config import TrackingConfig
from zorba_ray.experiment.tracking import Monitor, WandbMonitor, resolve_mode
from zorba_ray.experiment.tracking.ray_metrics import ray_monitors


def monitors(tracking: TrackingConfig, run: RunDir, run_id: str) -> list[Monitor]:
    """The sinks that the settings and this process call for; none is started."""
    mode = resolve_mode(tracking.wandb)
    if mode == "disabled":
        return ray_monitors()
    past = [record.tree() for record in read_metrics(run.metrics)] if run.metrics.exists() else []
    wandb = WandbMonitor(run.path, tracking.project, tracking.group, run_id, mode, tracking.job_type, past)
    return [wandb, *ray_monitors()]
