"""What federated methods share: their base class, and the checks of reports."""

from zorba_ray.methods.base.backprop import BackpropMethod, BackpropSettings
from zorba_ray.methods.base.method import (
    Method,
    build_method,
    data_shares,
    method_of,
    report_loss,
    reporters,
    require_loss,
    require_scalars,
    require_size,
)
from zorba_ray.methods.base.tensors import TensorMethod

__all__ = [
    "BackpropMethod",
    "BackpropSettings",
    "Method",
    "TensorMethod",
    "build_method",
    "data_shares",
    "method_of",
    "report_loss",
    "reporters",
    "require_loss",
    "require_scalars",
    "require_size",
]
