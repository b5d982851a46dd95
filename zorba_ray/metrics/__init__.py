"""From what a model answered to the figures that people report, with intervals over the rows. Knows no model."""

from zorba_ray.metrics.bootstrap import percentiles, resamples
from zorba_ray.metrics.labels import LABEL_FIGURES, confusion, counted_figures, label_counts, label_figures

__all__ = [
    "LABEL_FIGURES",
    "confusion",
    "counted_figures",
    "label_counts",
    "label_figures",
    "percentiles",
    "resamples",
]
