"""Federated methods, one file each; `base` holds what they share.

A method's file is imported when settings name it (`config.method`), so it imports no torch: what runs a model is
imported inside its functions.
"""

from zorba_ray.methods.base import Method, build_method, method_of, report_loss

__all__ = ["Method", "build_method", "method_of", "report_loss"]
