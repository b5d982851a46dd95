"""Where the numbers of a run go: metrics.jsonl always, W&B if asked."""

from zorba_ray.experiment.tracking.fanout import Fanout, Monitor
from zorba_ray.experiment.tracking.jsonl import JsonlMonitor, keep_rounds, read_records
from zorba_ray.experiment.tracking.mode import has_credentials, resolve_mode
from zorba_ray.experiment.tracking.wandb import WandbMonitor

__all__ = [
    "Fanout",
    "JsonlMonitor",
    "Monitor",
    "WandbMonitor",
    "has_credentials",
    "keep_rounds",
    "read_records",
    "resolve_mode",
]
