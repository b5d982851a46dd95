"""Federated methods, one file each."""

from zorba_ray.methods.base import Method
from zorba_ray.methods.registry import build_method
from zorba_ray.methods.zorba import Zorba, report_loss

__all__ = ["Method", "Zorba", "build_method", "report_loss"]
