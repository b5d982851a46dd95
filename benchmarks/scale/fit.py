"""Straight lines through a few points."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """y ≈ intercept + slope · x."""

    intercept: float
    slope: float
    r2: float
    """Share of the (weighted) variance of y that the line explains."""


def fit_line(x: Sequence[float], y: Sequence[float], scale: Sequence[float] | None = None) -> Line:
    """Least squares; residuals are divided by `scale` first (None: 1), so that small points count beside large ones."""
    points, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    weights = np.ones(len(points)) if scale is None else 1.0 / np.asarray(scale, dtype=np.float64)
    design = np.stack([weights, weights * points], axis=1)
    (intercept, slope), *_ = np.linalg.lstsq(design, weights * values, rcond=None)
    mean = np.average(values, weights=weights**2)
    left = ((weights * (values - intercept - slope * points)) ** 2).sum()
    total = ((weights * (values - mean)) ** 2).sum()
    return Line(float(intercept), float(slope), float(1.0 - left / total))


def median_slope(values: Sequence[float]) -> float:
    """Median of the slopes of all pairs of (place, value): Theil and Sen's line, which outliers leave alone."""
    series = np.asarray(values, dtype=np.float64)
    first, second = np.triu_indices(len(series), 1)
    return float(np.median((series[second] - series[first]) / (second - first)))
