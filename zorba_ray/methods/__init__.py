"""Federated methods, one file each."""

from zorba_ray.methods.base import Method, report_loss
from zorba_ray.methods.registry import METHODS, build_method
from zorba_ray.methods.zorba import Zorba

__all__ = ["METHODS", "Method", "Zorba", "build_method", "report_loss"]
