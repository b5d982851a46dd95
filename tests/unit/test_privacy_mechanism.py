"""What a client with `privacy` reports: within the clip, on a grid, with noise that nobody else can draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from zorba_ray.directions import uniforms
from zorba_ray.directions.streams import sample_words
from zorba_ray.errors import ConfigError, ReportRejected
from zorba_ray.privacy import GaussianMechanism, Secret, client_key
from zorba_ray.privacy.mechanism import normals

SECRET = Secret(bytes(range(32)))
KEY = client_key(SECRET, 3, "noise", b"plan")
QUIET = 1e-3
"""The smallest noise multiplier."""


def released(scalars: np.ndarray, clip: float, multiplier: float, key: bytes = KEY) -> np.ndarray:
    return np.frombuffer(GaussianMechanism(clip, multiplier).release(scalars.astype("<f4").tobytes(), key), "<f4")


SCALARS = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=40)


@given(SCALARS, st.floats(1e-4, 1e4), st.floats(QUIET, 500))
@settings(max_examples=100, deadline=None)
def test_whatever_the_data_are_a_report_moves_by_two_clips(values: list[float], clip: float, z: float) -> None:
    """Noise is the same for the same key, so that the difference of two reports is that of the scalars."""
    noisy, zero = released(np.array(values), clip, z), released(np.zeros(len(values)), clip, z)
    moved = noisy.astype(np.float64) - zero.astype(np.float64)
    assert np.sqrt((moved**2).sum()) <= clip
    step = GaussianMechanism(clip, z).step
    whole = noisy.astype(np.float64) / step
    assert np.array_equal(whole, np.rint(whole))
    assert np.abs(whole).max() < 2**24
    GaussianMechanism(clip, z).require(noisy)


def test_scalars_within_the_clip_keep_their_direction_and_size() -> None:
    zero = released(np.zeros(2), 10.0, QUIET)
    assert released(np.array([3.0, -4.0]), 10.0, QUIET) - zero == pytest.approx([3.0, -4.0], rel=1e-2)
    assert released(np.array([300.0, -400.0]), 10.0, QUIET) - zero == pytest.approx([6.0, -8.0], rel=1e-2)


def test_what_is_not_finite_counts_as_zero() -> None:
    odd = released(np.array([np.nan, np.inf, -np.inf, 0.5]), 1.0, 2.0)
    assert np.array_equal(odd, released(np.array([0.0, 0.0, 0.0, 0.5]), 1.0, 2.0))


def test_the_noise_is_normal() -> None:
    drawn = normals(KEY, 200_000)
    assert kstest(drawn, "norm").pvalue > 1e-3
    assert np.abs(drawn).max() < 8.5
    assert released(np.zeros(100_000), 2.0, 3.0).std() == pytest.approx(6.0, rel=0.01)


def test_the_same_question_gives_the_same_bytes_and_another_one_independent_noise() -> None:
    """Another client, plan or run: no correlation is left, not even in the low bits."""
    first = normals(KEY, 20_000)
    assert np.array_equal(first, normals(client_key(SECRET, 3, "noise", b"plan"), 20_000))
    others = {
        "client": client_key(SECRET, 4, "noise", b"plan"),
        "plan": client_key(SECRET, 3, "noise", b"plam"),
        "purpose": client_key(SECRET, 3, "mac", b"plan"),
        "secret": client_key(Secret.new(), 3, "noise", b"plan"),
    }
    for key in others.values():
        assert abs(np.corrcoef(first, normals(key, 20_000))[0, 1]) < 5 / np.sqrt(20_000)


def test_nothing_public_correlates_with_the_noise() -> None:
    """The run's seed drives all other random numbers."""
    drawn = normals(KEY, 20_000)
    for seed in (0, 3, int.from_bytes(SECRET.mark, "little")):
        for purpose in ("batches", "participants", "probe"):
            public = uniforms(seed, purpose, 3, 1, 20_000)
            assert abs(np.corrcoef(drawn, public)[0, 1]) < 5 / np.sqrt(20_000)
    words = sample_words(0, "batches", 3, 1, 20_000)
    assert not set(words.tolist()) & set(np.frombuffer(drawn.tobytes(), "<u8").tolist())


@pytest.mark.parametrize(
    ("scalars", "fault"),
    [([np.nan], "none is beyond"), ([np.inf], "none is beyond"), ([1e4], "none is beyond"), ([0.3], "no multiples")],
)
def test_what_no_client_can_have_sent_is_refused(scalars: list[float], fault: str) -> None:
    with pytest.raises(ReportRejected, match=fault):
        GaussianMechanism(1.0, 2.0).require(np.array(scalars, dtype="<f4"))


def test_too_many_scalars_for_the_grid() -> None:
    with pytest.raises(ConfigError, match=r"2,000,000 scalars.*fewer zo.directions"):
        GaussianMechanism(1.0, 2.0).radius(2_000_000)


def test_secrets() -> None:
    assert Secret.of_text(SECRET.text, "file") == SECRET
    assert repr(SECRET) == "Secret()"
    assert SECRET.value.hex() not in SECRET.mark.hex()
    assert len(SECRET.mark) == 8
    assert Secret.new() != Secret.new()
    for text in ("", "ab" * 31, "ab" * 33, "zz" * 32):
        with pytest.raises(ConfigError, match="64 hexadecimal digits"):
            Secret.of_text(text, "keys/secret.key")
