"""Federated methods, one file each. `base` has the code that they share.

A method's file is imported while settings are checked (`config.method`), so it must not import torch. Code that runs a
model is imported inside functions.
"""

from zorba_ray.methods.base import Method, build_method, method_of, report_loss

__all__ = ["Method", "build_method", "method_of", "report_loss"]
