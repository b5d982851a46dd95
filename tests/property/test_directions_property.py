"""Directions on drawn sizes, offsets, seeds and coefficients: backends agree, signs are balanced."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.directions import (
    Distribution,
    Terms,
    direction_backend,
    direction_seed,
    direction_seeds,
    permutation,
    tensor_stream,
    uniforms,
)
from zorba_ray.directions.reference import direction

torch.set_num_threads(1)

NUMPY, NUMBA = direction_backend("numpy"), direction_backend("numba")

seeds = st.integers(0, 2**64 - 1)
distributions = st.sampled_from(["rademacher", "gaussian"])
sizes = st.integers(1, 9000)
offsets = st.integers(0, 2**40)
finite = st.floats(-8.0, 8.0, width=32, allow_subnormal=True)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 2**32 - 1), st.integers(0, 400), distributions, sizes, offsets, finite, st.booleans())
def test_backends_agree_bit_for_bit(
    seed: int, block: int, slot: int, distribution: Distribution, size: int, offset: int, scale: float, narrow: bool
) -> None:
    theta = torch.from_numpy(np.random.default_rng(seed).standard_normal(size).astype(np.float32))
    stream = tensor_stream(seed, block, slot, 3, distribution)
    dtype = torch.bfloat16 if narrow else torch.float32
    first, second = torch.empty(size, dtype=dtype), torch.empty(size, dtype=dtype)
    NUMPY.perturb_into(first, theta, stream, scale, offset)
    NUMBA.perturb_into(second, theta, stream, scale, offset)
    assert torch.equal(first.view(torch.int16), second.view(torch.int16))
    count = 1 + slot % 70
    coefficients = (scale / np.arange(1, count + 1)).astype(np.float32)
    terms = Terms(np.full(count, seed, np.uint64), np.arange(count, dtype=np.uint64), coefficients, distribution)
    first, second = theta.clone(), theta.clone()
    NUMPY.apply_commits(first, block, slot, [terms], offset)
    NUMBA.apply_commits(second, block, slot, [terms], offset)
    assert torch.equal(first.view(torch.int32), second.view(torch.int32))


@settings(max_examples=30, deadline=None)
@given(seeds, distributions)
def test_mean_and_variance(seed: int, distribution: Distribution) -> None:
    """Of 2¹⁶ entries, within six standard deviations: 6/256 for the mean, 6·√2/256 for a gaussian's mean square."""
    z = direction(tensor_stream(seed, 0, 0, 0, distribution), 0, 1 << 16).astype(np.float64)
    assert abs(z.mean()) < 6 / 256
    assert abs((z**2).mean() - 1) < 6 * 1.42 / 256


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(0, 2**32), st.integers(0, 2**32), st.integers(0, 500))
def test_permutation_is_one_and_uniforms_are_inside(seed: int, a: int, b: int, count: int) -> None:
    assert sorted(permutation(seed, "rows", a, b, count).tolist()) == list(range(count))
    drawn = uniforms(seed, "rows", a, b, count)
    assert len(drawn) == count
    assert ((drawn > 0) & (drawn < 1)).all()


@given(seeds, st.integers(1, 2**32), st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(1, 4))
def test_seeds_of_many_clients_are_those_of_each(master: int, round: int, streams: list[int], steps: int) -> None:
    found = direction_seeds(master, round, np.array(streams, dtype=np.uint64), steps)
    assert found.dtype == np.uint64
    assert found.shape == (len(streams), steps)
    wanted = [[direction_seed(master, round, stream, step) for step in range(steps)] for stream in streams]
    assert found.tolist() == wanted
