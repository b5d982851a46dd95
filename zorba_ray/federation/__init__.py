"""Rounds over a backend: in this process, or on Ray."""

from zorba_ray.federation.backend import Answer, Backend, Failure, Usage
from zorba_ray.federation.gpu_budget import GpuBudgets
from zorba_ray.federation.host import ClientHost
from zorba_ray.federation.round import RoundResult, needed_reports, participants, run_round
from zorba_ray.federation.sequential import SequentialBackend

__all__ = [
    "Answer",
    "Backend",
    "ClientHost",
    "Failure",
    "GpuBudgets",
    "RoundResult",
    "SequentialBackend",
    "Usage",
    "needed_reports",
    "participants",
    "run_round",
]
