"""Sweeps: many runs on Ray Tune over a space of settings. Each trial has an ordinary run directory."""

from zorba_ray.campaigns.sweep.plan import plan_trials
from zorba_ray.campaigns.sweep.run import run_sweep

__all__ = ["plan_trials", "run_sweep"]
