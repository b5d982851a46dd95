"""Whether the numbers of a report can be those of any model: absurd ones are refused before they are used.

Losses are cross entropies: never negative, and fp32. So the scalars of a report are bounded by its own loss:

    ρ = (F⁺ − F⁻) / 2μ   and   |F⁺ − F⁻| ≤ F⁺ + F⁻,   so   mean |ρ| ≤ loss / μ,

the loss being the mean of (F⁺ + F⁻)/2 over the same pairs. Of one-sided differences (F⁺ − F)/μ, whose loss is the mean
of F, this bounds the negative ones. A loss of LIMIT = 2^24 or more has no digit after the point left in fp32, so a
difference of two of them says nothing; it bounds the positive ones too: |ρ| < 2^24 / μ.
"""

import math

import numpy as np

from zorba_ray.errors import NotFinite, ReportRejected
from zorba_ray.zo import LIMIT

_SLACK = (1.01, 1e-3)
"""On the loss, relative and absolute: many times what rounding in fp32, or in a 16-bit forward pass, can do."""


def require_loss(loss: float) -> None:
    """Judges a mean training loss.

    Raises:
        NotFinite: it is not finite, or too large to be one.
        ReportRejected: it is negative.
    """
    if not math.isfinite(loss):
        raise NotFinite("the loss is not finite")
    if loss >= LIMIT:
        raise NotFinite(f"a loss of {loss:.4g}: from {LIMIT:.0f} on fp32 has no digit after the point")
    if loss < -_SLACK[1]:
        raise ReportRejected(f"a loss of {loss:.4g}: a cross entropy is never negative")


def require_scalars(scalars: np.ndarray, loss: float, scale: float, one_sided: bool) -> None:
    """Judges float32 ρ of any shape by the loss over the same pairs.

    Args:
        scale: μ.
        one_sided: as `zo.difference: forward`.

    Raises:
        ReportRejected: no losses can give these scalars.
    """
    require_size(scalars, scale)
    values = scalars.astype(np.float64) * scale
    bound = _SLACK[0] * max(loss, 0.0) + _SLACK[1]
    if float((np.maximum(-values, 0.0) if one_sided else np.abs(values)).mean()) > bound:
        raise ReportRejected(
            f"|ρ| up to {np.abs(scalars).max():.4g} with a loss of {loss:.4g} and μ = {scale:g}: losses cannot differ "
            "by more than they are, so these scalars are of no model"
        )


def require_size(scalars: np.ndarray, scale: float) -> None:
    """Judges finite float32 ρ of any shape whose loss is not known.

    Raises:
        ReportRejected: losses with digits after the point cannot differ by so much.
    """
    largest = float(np.abs(scalars).max(initial=0.0))
    if largest * scale >= LIMIT:
        raise ReportRejected(
            f"|ρ| up to {largest:.4g} with μ = {scale:g}: losses would differ by {LIMIT:.0f} or more, so these scalars "
            "are of no model"
        )
