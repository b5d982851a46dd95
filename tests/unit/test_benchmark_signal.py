"""Moments of scalars: unbiased on drawn vectors, by hand, and on the built-in task."""

import numpy as np
import pytest
import torch

from benchmarks.comparison.signal import Moments, measure, moments
from zorba_ray.config import load_config
from zorba_ray.experiment.build import prepare


def test_moments_are_unbiased() -> None:
    """Two clients of means (3, 0) and (1, 2), two batches of 4 with a variance of 5 per example and coordinate.

    Over 4,000 draws; the tolerances are five standard errors or more.
    """
    random = torch.Generator().manual_seed(0)
    means = torch.tensor([[3.0, 0.0], [1.0, 2.0]])

    def drawn() -> torch.Tensor:
        return means[:, None, :] + (5 / 4) ** 0.5 * torch.randn(2, 2, 2, generator=random)

    draws = [moments(drawn(), drawn(), (0.25, 0.75), 4) for _ in range(4000)]
    mean = torch.tensor([0.25, 0.75]) @ means
    assert np.mean([own.along for own in draws]) == pytest.approx(float(mean @ mean), abs=0.25)
    assert np.mean([own.clients for own in draws]) == pytest.approx(0.25 * 9 + 0.75 * 5, abs=0.3)
    assert np.mean([own.example for own in draws]) == pytest.approx(2 * 5, abs=0.6)


def test_scalar_and_gain_by_hand() -> None:
    own = Moments(along=2.0, clients=6.0, example=32.0)
    assert own.scalar(16) == 8.0
    assert own.gain(16) == 0.5
    assert Moments(-2.0, 6.0, 32.0).gain(16) == -0.5


def test_without_correction_it_is_the_gradient_of_the_federation() -> None:
    """On the built-in task: ‖∇F‖² between 0 and what the clients' own gradients have, and E[ρ²] falls with B."""
    config = load_config(
        "demo", ["federation.backend=sequential", "federation.fleet=null", "data.batch_size=8", "data.train_rows=400"]
    )
    found = measure(prepare(config), (0.0, 1.0), 3)
    assert 0 < found[0.0].along < found[0.0].clients
    assert found[0.0].scalar(8) > found[0.0].scalar(64) > found[0.0].clients
    assert found[1.0].clients < found[0.0].clients
    assert np.isfinite([own.gain(8) for own in found.values()]).all()
