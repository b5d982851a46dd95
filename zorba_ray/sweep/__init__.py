"""Many runs on Ray Tune: a space over the settings of one, each trial an ordinary run directory."""

from zorba_ray.sweep.plan import TrialPlan, plan_trials
from zorba_ray.sweep.run import run_sweep
from zorba_ray.sweep.state import SweepState, TrialState, read_state

__all__ = ["SweepState", "TrialPlan", "TrialState", "plan_trials", "read_state", "run_sweep"]
