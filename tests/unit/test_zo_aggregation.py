"""Median, trimmed mean and Krum against plain twins, what hostile rows can do, and blocks with too few reports."""

import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.active_sets import ActiveSets
from zorba_ray.config.aggregation import COMPARING, reports_needed
from zorba_ray.errors import MessageError
from zorba_ray.protocol.aggregation import refused_of, refused_section
from zorba_ray.protocol.messages import RoundCommit, Section
from zorba_ray.zo import RoundUpdate, UpdateRule, commit_terms, round_seeds
from zorba_ray.zo.aggregation import combined

SAMPLES = (10, 30, 60, 5, 5)


def rule(aggregate: str, byzantine: int = 1, **changes: object) -> UpdateRule:
    base = {
        "seed": 9, "seeds": "shared", "weights": "data", "distribution": "rademacher", "scope": "all",
        "directions": 2, "local_steps": 1, "samples": SAMPLES,
    }  # fmt: skip
    return UpdateRule(**{**base, "aggregate": aggregate, "byzantine": byzantine, **changes})  # type: ignore[arg-type]


def plain(aggregate: str, byzantine: int, rows: list[list[float]]) -> list[float]:
    """The definitions, in pure Python."""
    if aggregate == "median":
        return [statistics.median(column) for column in zip(*rows, strict=True)]
    if aggregate == "trimmed_mean":
        kept = [sorted(column)[byzantine : len(rows) - byzantine] for column in zip(*rows, strict=True)]
        return [sum(column) / len(column) for column in kept]

    def score(own: int) -> float:
        others = (rows[n] for n in range(len(rows)) if n != own)
        distances = sorted(sum((a - b) ** 2 for a, b in zip(rows[own], other, strict=True)) for other in others)
        return sum(distances[: len(rows) - byzantine - 2])

    return rows[min(range(len(rows)), key=lambda n: (score(n), n))]


@pytest.mark.parametrize("aggregate", COMPARING)
@given(count=st.integers(5, 9), byzantine=st.integers(1, 3), seed=st.integers(0, 2**32 - 1))
def test_they_are_the_definitions(aggregate: str, count: int, byzantine: int, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal((count, 2, 3))
    found = combined(aggregate, byzantine, values)
    if count < reports_needed(aggregate, byzantine):
        assert found.shape == (0, 2, 3)
        return
    assert found.shape == (1, 2, 3)
    assert found.reshape(-1).tolist() == pytest.approx(plain(aggregate, byzantine, values.reshape(count, -1).tolist()))


@pytest.mark.parametrize("aggregate", COMPARING)
@given(data=st.data(), byzantine=st.integers(1, 2))
def test_f_hostile_rows_stay_within_the_honest_ones(aggregate: str, data: st.DataObject, byzantine: int) -> None:
    """Whatever they say, the result is between the least and the greatest honest value of each direction."""
    needed = reports_needed(aggregate, byzantine)
    honest = np.array(
        data.draw(st.lists(st.lists(st.floats(-9, 9), min_size=2, max_size=2), min_size=needed - byzantine, max_size=7))
    )
    lie = st.sampled_from([-3e38, -100.0, 0.0, 100.0, 3e38])
    hostile = data.draw(st.lists(st.lists(lie, min_size=2, max_size=2), min_size=byzantine, max_size=byzantine))
    found = combined(aggregate, byzantine, np.concatenate([honest, np.array(hostile)]))[0]
    if aggregate != "krum":
        assert (honest.min(axis=0) <= found).all()
        assert (found <= honest.max(axis=0)).all()
    elif all(max(map(abs, row)) > 50 for row in hostile):
        assert any(np.array_equal(found, row) for row in honest)


@pytest.mark.parametrize("aggregate", COMPARING)
def test_the_order_of_the_clients_does_not_matter(aggregate: str) -> None:
    values = np.random.default_rng(0).standard_normal((5, 3))
    first = combined(aggregate, 1, values)
    for order in itertools.permutations(range(5)):
        assert combined(aggregate, 1, values[list(order)]) == pytest.approx(first, rel=1e-15)


def update(scalars: np.ndarray, active: np.ndarray) -> RoundUpdate:
    return RoundUpdate(1, 0.5, np.arange(len(scalars)), scalars[:, None].astype("f4"), ActiveSets(active))


@pytest.mark.parametrize("aggregate", COMPARING)
def test_each_block_has_the_scalars_of_its_holders(aggregate: str) -> None:
    """c = −η m / P with m of the holders alone; a block with fewer holders than 2f + 1 has no terms."""
    scalars = np.array([[1.0, 2.0], [3.0, -1.0], [2.0, 0.5], [400.0, -400.0], [1.5, 1.0]])
    active = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], dtype=bool)
    own = rule(aggregate)
    given_update = update(scalars, active)
    for block, holders in enumerate(([0, 1, 2, 3, 4], [0, 1, 2, 4], [0, 1])):
        terms = commit_terms(own, given_update, round_seeds(own, given_update), block)
        if len(holders) < reports_needed(aggregate, 1):
            assert len(terms.coefficients) == 0
            continue
        wanted = -0.5 / 2 * np.array(plain(aggregate, 1, scalars[holders].tolist()))
        assert terms.coefficients.tolist() == pytest.approx(wanted.tolist(), rel=1e-6)
        assert terms.directions.tolist() == [0, 1]


def test_gaussian_directions_have_the_same_terms() -> None:
    scalars = np.random.default_rng(1).standard_normal((5, 2))
    everything = np.ones((5, 1), dtype=bool)
    found = [
        commit_terms(own, update(scalars, everything), round_seeds(own, update(scalars, everything)), 0)
        for own in (rule("median"), rule("median", distribution="gaussian"))
    ]
    assert np.array_equal(found[0].coefficients, found[1].coefficients)
    assert np.array_equal(found[0].seeds, found[1].seeds)


def test_a_refused_client_is_no_longer_an_unknown_one() -> None:
    """Three holders, of which one was refused: the two others suffice for f = 1, but only on blocks that it holds."""
    scalars, own = np.array([[1.0, 2.0], [3.0, -1.0]]), rule("median")
    active = np.array([[1, 1], [1, 1], [1, 0], [0, 0], [0, 0]], dtype=bool)
    whole = RoundUpdate(1, 0.5, np.arange(2), scalars[:, None].astype("f4"), ActiveSets(active), np.array([2]))
    seeds = round_seeds(own, whole)
    assert commit_terms(own, whole, seeds, 0).coefficients.tolist() == [-0.5, -0.125]
    assert len(commit_terms(own, whole, seeds, 1)) == 0


def test_refused_clients_in_a_commit() -> None:
    commit = RoundCommit(1, 0.1, b"", b"", sections=refused_section([1, 4]))
    assert refused_of(commit, 5).tolist() == [1, 4]
    assert refused_of(RoundCommit(1, 0.1, b"", b""), 5).tolist() == []
    assert refused_section([]) == {}
    for content in (b"abc", b"\x05\0\0\0", b"\1\0\0\0\1\0\0\0"):
        strange = RoundCommit(1, 0.1, b"", b"", sections={"refused": Section(1, content, required=True)})
        with pytest.raises(MessageError, match="refused"):
            refused_of(strange, 5)
