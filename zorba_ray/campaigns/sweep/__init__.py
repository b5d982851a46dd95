"""Many runs on Ray Tune: a space over the settings of one, each trial an ordinary run directory."""

from zorba_ray.campaigns.sweep.plan import TrialPlan, plan_trials
from zorba_ray.campaigns.sweep.run import run_sweep

__all__ = ["TrialPlan", "plan_trials", "run_sweep"]
