"""One run: wiring, loop, evaluation, tracking, resume."""

from zorba_ray.experiment.allocate import allocation_record, solve_allocation
from zorba_ray.experiment.backends import sequential_backend
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.experiment.probe import probe_here
from zorba_ray.experiment.run import run_experiment

__all__ = [
    "Setup",
    "allocation_record",
    "prepare",
    "probe_here",
    "run_experiment",
    "sequential_backend",
    "solve_allocation",
]
