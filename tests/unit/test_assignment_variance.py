"""The exact variance of an update, by hand and against the rule of algorithm.md section 5."""

import numpy as np
import pytest

from zorba_ray.assignment.variance import exact_variance
from zorba_ray.errors import ConfigError


def test_exact_variance_by_hand():
    share = np.array([0.25, 0.75])
    active = np.array([[True, False], [True, True]])
    sizes = np.array([10, 20])
    # Scalars carry 1 and 2 units of noise. data: 10 (.25²·1 + .75²·2) + 20 (1²·2) = 11.875 + 40.
    assert exact_variance(active, share, "data", sizes, directions=1) == pytest.approx(51.875)
    # inverse_noise: .25/1 : .75/2 = .4 : .6, so 10 (.4²·1 + .6²·2) + 40.
    assert exact_variance(active, share, "inverse_noise", sizes, directions=1) == pytest.approx(48.8)
    # Energies (2, 3): noise 2 and 5; four directions divide by 4.
    expected = (10 * (0.0625 * 2 + 0.5625 * 5) + 20 * 5) / 4
    assert exact_variance(active, share, "data", sizes, 4, np.array([2.0, 3.0])) == pytest.approx(expected)
    with pytest.raises(ConfigError, match="weighting"):
        exact_variance(active, share, "equal", sizes, 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="directions"):
        exact_variance(active, share, "data", sizes, 0)


def test_exact_variance_does_not_depend_on_equal_numbers_of_blocks():
    """algorithm.md section 5: with k of L blocks each and N_b balanced, d_b L / (P N) per block, for every k."""
    clients, blocks, size, directions = 8, 4, 16, 2
    expected = blocks * size * blocks / (directions * clients)
    for k in (1, 2, 4):
        active = np.array([[(block - client) % blocks < k for block in range(blocks)] for client in range(clients)])
        found = exact_variance(active, np.full(clients, 1 / clients), "data", np.full(blocks, size), directions)
        assert found == pytest.approx(expected)
