"""Transformers as ordered blocks: loading, θ in one arena, the paired forward, and heads."""

from zorba_ray.models.batch import Batch
from zorba_ray.models.evaluation import Evaluation
from zorba_ray.models.load import load_model
from zorba_ray.models.loaded import LoadedModel, loaded_model
from zorba_ray.models.manifest import Manifest, Scope, TensorEntry
from zorba_ray.models.paired import PreparedBatch
from zorba_ray.models.perturbation import Perturbation
from zorba_ray.models.placement import RESIDENT, STREAMED, HostStore, Placement
from zorba_ray.models.replica import Replica, export
from zorba_ray.models.task import TaskModel

__all__ = [
    "RESIDENT",
    "STREAMED",
    "Batch",
    "Evaluation",
    "HostStore",
    "LoadedModel",
    "Manifest",
    "Perturbation",
    "Placement",
    "PreparedBatch",
    "Replica",
    "Scope",
    "TaskModel",
    "TensorEntry",
    "export",
    "load_model",
    "loaded_model",
]
