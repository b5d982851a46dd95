"""95 % intervals of figures that are no plain shares: the figure again on rows drawn with replacement (Efron, Annals of
Statistics 7, 1979), and the middle 95 % of what comes out.

The draws follow from a seed by counters, so that the same rows give the same interval in every session.
"""

from collections.abc import Iterator

import numpy as np

from zorba_ray.directions import uniforms

RESAMPLES = 1000
"""Draws behind an interval."""


def resamples(seed: int, stream: int, rows: int) -> Iterator[np.ndarray]:
    """RESAMPLES times as many row numbers as there are rows: int64 [rows] in [0, rows), drawn with replacement.

    Args:
        stream: what is drawn for, as a number: each has draws of its own.
    """
    for draw in range(RESAMPLES):
        yield (uniforms(seed, "bootstrap", stream, draw, rows) * rows).astype(np.int64)


def percentiles(values: np.ndarray) -> tuple[float, float] | None:
    """From the 2.5 to the 97.5 percentile of a figure's resampled `values` [RESAMPLES]. None where a value is not
    finite, or where all are the same: that says nothing of other rows, as when every answer is right."""
    if not np.isfinite(values).all() or np.isclose(values.min(), values.max(), rtol=1e-9, atol=1e-12):
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
