"""Runs rounds over a backend: in this process, or on Ray."""

from zorba_ray.federation.backend import Answer, Backend, Failure, Usage
from zorba_ray.federation.client_accelerator import ClientAccelerator
from zorba_ray.federation.host import ClientBatches, ClientHost, SequentialBackend
from zorba_ray.federation.outliers import Outliers
from zorba_ray.federation.round import RoundResult, participants, read_replies, run_round, spare_clients

__all__ = [
    "Answer",
    "Backend",
    "ClientAccelerator",
    "ClientBatches",
    "ClientHost",
    "Failure",
    "Outliers",
    "RoundResult",
    "SequentialBackend",
    "Usage",
    "participants",
    "read_replies",
    "run_round",
    "spare_clients",
]
