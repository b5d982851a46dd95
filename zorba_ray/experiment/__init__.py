"""One run: wiring, rounds, evaluation, tracking, resume."""

from zorba_ray.experiment.build import Setup, prepare, solve_allocation
from zorba_ray.experiment.run import run_experiment

__all__ = ["Setup", "prepare", "run_experiment", "solve_allocation"]
