"""From what a model answered to the figures that people report, with intervals over the rows. Knows no model."""

from zorba_ray.metrics.bootstrap import percentiles, resamples
from zorba_ray.metrics.labels import LABEL_FIGURES, confusion, counted_figures, label_counts, label_figures
from zorba_ray.metrics.text import SHARES, exact_match, require_scorable, text_scores

__all__ = [
    "LABEL_FIGURES",
    "SHARES",
    "confusion",
    "counted_figures",
    "exact_match",
    "label_counts",
    "label_figures",
    "percentiles",
    "require_scorable",
    "resamples",
    "text_scores",
]
