"""The Gaussian mechanism on a client's scalars: clip, round to a grid, add noise.

1. A scalar that is not finite counts as 0. The vector of all scalars of a report is shortened to a norm below C.
2. It is rounded to integers on a grid. The step g of the grid is a power of two, at most a thousandth of C and of the
   noise. The norm stays within C.
3. To each integer an integer is added: a normal number of standard deviation z C / g, rounded.

To round the sum of an integer and noise is the same as to round the noise alone. So a report is a rounded value of the
exact Gaussian mechanism, and its low bits say nothing more (Mironov: On Significance of the Least Significant Bits for
Differential Privacy, CCS 2012). All integers are below 2²⁴, so that fp32 holds them exactly.

Normal numbers are made from the keystream of ChaCha20 (RFC 8439) under a key of the client and of the plan. The same
plan gives the same noise; another plan, another client or another run gives noise that is independent of it.
"""

import math
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from zorba_ray.errors import ConfigError, ReportRejected

_FINENESS = 10
"""Binary digits between C, or the noise, and the step of the grid."""
_FURTHEST = 8.5
"""No normal number made of 52 bits is further away, in standard deviations."""


@dataclass(frozen=True)
class GaussianMechanism:
    """How the scalars of a report become noisy."""

    clip: float
    """C, the largest norm of a report's scalars."""
    multiplier: float
    """z: the noise of each scalar has the standard deviation z C."""

    @property
    def deviation(self) -> float:
        """z C."""
        return self.multiplier * self.clip

    @property
    def step(self) -> float:
        """g, a power of two."""
        return 2.0 ** (math.floor(math.log2(min(self.clip, self.deviation))) - _FINENESS)

    def release(self, scalars: bytes, key: bytes) -> bytes:
        """The noisy scalars of a report.

        Args:
            scalars: float32 [n], ρ.
            key: of this client, for this plan alone.

        Raises:
            ConfigError: so many scalars that rounding them takes half of the clip.
        """
        values = np.frombuffer(scalars, dtype="<f4").astype(np.float64)
        noise = np.rint(normals(key, len(values)) * (self.deviation / self.step))
        return ((self._integers(values) + noise) * self.step).astype("<f4").tobytes()

    def _integers(self, values: np.ndarray) -> np.ndarray:
        """float64 [n] of integers, whose norm times the step is at most C."""
        room = self.radius(len(values))
        values = np.where(np.isfinite(values), values, 0.0)
        norm = math.sqrt(math.fsum((values * values).tolist()))
        shortened = values * (room / norm) if norm > room else values
        return np.rint(shortened / self.step)

    def radius(self, count: int) -> float:
        """The norm below which `count` scalars can be rounded to the grid without leaving C.

        Raises:
            ConfigError: it is less than half of C.
        """
        radius = self.clip - self.step * math.sqrt(count) / 2 - 1e-9 * self.clip
        if radius < self.clip / 2:
            raise ConfigError(
                f"{count:,} scalars in a report with privacy.clip={self.clip:g}: rounding them takes more than half of "
                "it; set fewer zo.directions or zo.local_steps"
            )
        return radius

    def require(self, scalars: np.ndarray) -> None:
        """Checks noisy scalars: float32 [n].

        Raises:
            ReportRejected: they cannot be a release of this mechanism.
        """
        limit = self.clip + _FURTHEST * self.deviation
        if not np.isfinite(scalars).all() or float(np.abs(scalars).max(initial=0.0)) > limit:
            raise ReportRejected(
                f"|ρ| up to {np.abs(scalars).max():.4g}: with privacy.clip={self.clip:g} and a noise multiplier of "
                f"{self.multiplier:g} none is beyond {limit:.4g}"
            )
        whole = scalars.astype(np.float64) / self.step
        if not np.array_equal(whole, np.rint(whole)):
            raise ReportRejected(f"scalars that are no multiples of {self.step:g}, the grid of noisy ones")


def normals(key: bytes, count: int) -> np.ndarray:
    """Normal numbers of mean 0 and variance 1: float64 [count], a pure function of `key`."""
    from scipy.special import ndtri  # as in `gaussian`: half a second

    stream = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
    words = np.frombuffer(stream, dtype="<u8")
    return ndtri(((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)
