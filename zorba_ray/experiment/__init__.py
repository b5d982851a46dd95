"""One run: wiring, rounds, evaluation, tracking, resume."""

from zorba_ray.experiment.allocate import solve_allocation
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.experiment.run import run_experiment
from zorba_ray.experiment.rundir import RunDir

__all__ = ["RunDir", "Setup", "prepare", "run_experiment", "solve_allocation"]
