"""The closed form of ε against Opacus' PRV accountant, and tests of the noise."""

import importlib.util
import time
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.stats import kstest

from benchmarks.rows import Row, make_row, not_run
from zorba_ray.directions import uniforms
from zorba_ray.privacy import GaussianMechanism, Secret, client_key, epsilon_of, multiplier_for
from zorba_ray.privacy.mechanism import normals

DELTA = 1e-5


def account_rows() -> list[Row]:
    """How far the two accountants are apart, at ε 8, 4, 2 and 1, 100, 1000 reports."""
    name, goal = "privacy_account |ε − ε of Opacus' PRV| / ε", "<= .01"
    if importlib.util.find_spec("opacus") is None:
        return [not_run(name, "", goal, "opacus is not installed (pip install opacus)")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        apart = []
        for target in (8.0, 4.0, 2.0):
            for reports in (1, 100, 1000):
                z = multiplier_for(target, DELTA, reports)
                accountant = PRVAccountant()
                accountant.history = [(z / 2, 1.0, reports)]  # theirs is over the sensitivity, which is two clips
                own = epsilon_of(z, reports, DELTA)
                apart.append(abs(own - accountant.get_epsilon(DELTA)) / own)
    return [make_row(name, apart, "", goal, max(apart) <= 0.01)]


def noise_rows(count: int = 200_000) -> list[Row]:
    """The same bytes when asked again; no correlation with anything public, nor with another client's noise or plan's;
    normal; and its price."""
    secret = Secret.new()
    key = client_key(secret, 3, "noise", b"plan")
    noise = GaussianMechanism(1.0, 2.0)
    scalars = np.linspace(-0.01, 0.01, count, dtype="<f4").tobytes()
    start = time.process_time()
    first = noise.release(scalars, key)
    seconds = time.process_time() - start
    drawn = normals(key, count)
    others: Sequence[np.ndarray] = [
        normals(client_key(secret, 4, "noise", b"plan"), count),
        normals(client_key(secret, 3, "noise", b"other"), count),
        normals(client_key(Secret.new(), 3, "noise", b"plan"), count),
        *(uniforms(seed, "batches", 3, 1, count) for seed in range(5)),
        np.frombuffer(scalars, "<f4"),
    ]
    correlations = [abs(float(np.corrcoef(drawn, other)[0, 1])) * count**0.5 for other in others]
    p_value = float(kstest(drawn, "norm").pvalue)
    again = first == noise.release(scalars, key)
    return [
        make_row("privacy_noise asked twice, the same bytes", [float(again)], "", "1", again),
        make_row(
            "privacy_noise |correlation| · √n with seed, scalars, other clients, plans and runs",
            correlations, "", "< 4 (normal: .67 in the median)", max(correlations) < 4,
        ),
        make_row("privacy_noise Kolmogorov–Smirnov p", [p_value], "", "> .001", p_value > 0.001),
        make_row("privacy_noise CPU per scalar", [1e9 * seconds / count], "ns", "", None),
    ]  # fmt: skip
