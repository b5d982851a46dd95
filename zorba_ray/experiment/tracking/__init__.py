"""Where the numbers of a run go: metrics.jsonl always, W&B if asked."""

from zorba_ray.experiment.tracking.fanout import Fanout, Monitor
from zorba_ray.experiment.tracking.mode import has_credentials, resolve_mode
from zorba_ray.experiment.tracking.wandb import WandbMonitor

__all__ = [
    "Fanout",
    "Monitor",
    "WandbMonitor",
    "has_credentials",
    "resolve_mode",
]
