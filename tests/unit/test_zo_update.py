"""Weights, coefficients and their order; what a commit moves and what it leaves alone."""

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, tiny_loaded
from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import Terms, direction_backend, direction_seed
from zorba_ray.directions.reference import direction
from zorba_ray.directions.streams import tensor_stream
from zorba_ray.errors import Diverged
from zorba_ray.models import Replica
from zorba_ray.zo import RoundUpdate, UpdateRule, apply_rounds, block_weights, commit_terms, on_grid, round_seeds

SAMPLES = (10, 30, 60)
ACTIVE = ActiveSets(np.array([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0]]))


def rule(**changes: object) -> UpdateRule:
    base = {
        "seed": 99, "seeds": "per_client", "weights": "data", "distribution": "rademacher", "scope": "all",
        "directions": 2, "local_steps": 2, "samples": SAMPLES,
    }  # fmt: skip
    return UpdateRule(**{**base, **changes})  # type: ignore[arg-type]


def update_of(
    round: int, lr: float, clients: list[int], scalars: np.ndarray, active: ActiveSets = ACTIVE
) -> RoundUpdate:
    return RoundUpdate(round, lr, np.array(clients, dtype=np.int64), scalars, active)


def entries_of(rule: UpdateRule, update: RoundUpdate, block: int) -> list[tuple[int, int, float]]:
    """(seed, direction, coefficient) of every term."""
    terms = commit_terms(rule, update, round_seeds(rule, update), block)
    return list(zip(terms.seeds.tolist(), terms.directions.tolist(), terms.coefficients.tolist(), strict=True))


def test_grid_rounds_halves_to_even() -> None:
    """Σ = 2²³ + 4.5 lies in [2²³, 2²⁴), so δ = 1."""
    assert on_grid(np.array([2.0**23, 0.5, -1.5, 2.5])).tolist() == [2.0**23, 0.0, -2.0, 2.0]


def test_grid_is_coarser_where_the_rounded_integers_do_not_fit() -> None:
    """Σ|c| = 2²⁴ − ½ asks for δ = 1, but the rounded sum is 2²⁴; with δ = 2 the small ones round to 0."""
    assert on_grid(np.array([2.0**24 - 2, 0.75, 0.75])).tolist() == [2.0**24 - 2, 0.0, 0.0]


def test_grid_ends_at_the_smallest_fp32() -> None:
    tiny = 2.0**-149
    assert on_grid(np.array([tiny, 1.5 * tiny, -0.5 * tiny, 0.0])).tolist() == [tiny, 2 * tiny, 0.0, 0.0]
    assert on_grid(np.array([1e-60, -1e-300])).tolist() == [0.0, 0.0]
    assert on_grid(np.array([0.0, -0.0])).tolist() == [0.0, 0.0]
    assert on_grid(np.zeros(0)).tolist() == []


def test_grid_takes_the_largest_sums_and_refuses_more() -> None:
    assert on_grid(np.array([2.0**126, -(2.0**125)])).tolist() == [2.0**126, -(2.0**125)]
    for values in ([2.0**127], [2.0**126, -(2.0**126)], [1e308, 1e308], [float("inf")], [1.0, float("nan")]):
        with pytest.raises(Diverged, match=r"zo\.lr"):
            on_grid(np.array(values))


def test_weights_by_hand() -> None:
    """data: 30 : 60; inverse_noise: 30/3 : 60/2 = 10 : 30."""
    assert block_weights(rule(), np.array([1, 2]), ACTIVE).tolist() == [30 / 90, 60 / 90]
    assert block_weights(rule(weights="inverse_noise"), np.array([1, 2]), ACTIVE).tolist() == [0.25, 0.75]
    assert block_weights(rule(weights="inverse_noise"), np.array([1]), ACTIVE).tolist() == [1.0]


def test_entries_come_by_client_then_step_then_direction() -> None:
    """Block 1 is held by clients 1 and 2; each coefficient is −η w ρ / P on the grid."""
    scalars = np.arange(1, 13, dtype=np.float32).reshape(3, 2, 2)
    entries = entries_of(rule(), update_of(7, 0.25, [0, 1, 2], scalars), 1)
    wanted = [
        (direction_seed(99, 7, client, step), place, -0.25 * weight * float(scalars[client, step, place]) / 2)
        for client, weight in ((1, 1 / 3), (2, 2 / 3))
        for step in (0, 1)
        for place in (0, 1)
    ]
    assert [entry[:2] for entry in entries] == [entry[:2] for entry in wanted]
    assert [entry[2] for entry in entries] == on_grid(np.array([entry[2] for entry in wanted])).tolist()
    assert [entry[2] for entry in entries] == pytest.approx([entry[2] for entry in wanted], rel=1e-6)


def test_entries_count_only_those_who_reported() -> None:
    """Client 1 alone reported on block 1: its weight is 1. `scalars` goes by place in R_t, not by client id."""
    scalars = np.array([[[8.0]], [[4.0]]], dtype=np.float32)
    entries = entries_of(rule(directions=1, local_steps=1), update_of(1, 0.5, [0, 1], scalars), 1)
    assert entries == [(direction_seed(99, 1, 1, 0), 0, -2.0)]
    assert entries_of(rule(directions=1, local_steps=1), update_of(1, 0.5, [0], scalars[:1]), 1) == []


def test_shared_seeds_are_those_of_stream_zero() -> None:
    scalars = np.ones((2, 1, 1), dtype=np.float32)
    shared = rule(seeds="shared", directions=1, local_steps=1)
    update = update_of(3, 1.0, [1, 2], scalars)
    assert round_seeds(shared, update).tolist() == [[direction_seed(99, 3, 0, 0)]] * 2


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_shared_directions_are_drawn_once_where_that_is_exact(distribution: str) -> None:
    """Adding the coefficients up first gives the bytes of adding every client's term; for gaussian it would not."""
    shared = rule(seeds="shared", distribution=distribution)
    scalars = np.random.default_rng(5).standard_normal((3, 2, 2)).astype(np.float32)
    update = update_of(3, 0.3, [0, 1, 2], scalars)
    terms = commit_terms(shared, update, round_seeds(shared, update), 1)
    assert len(terms) == (4 if distribution == "rademacher" else 8)
    weights = block_weights(shared, np.array([1, 2]), ACTIVE)
    raw = (-0.3 * weights)[:, None] * scalars[1:].reshape(2, 4).astype(np.float64) / 2
    one_by_one = Terms(
        np.tile(np.repeat(round_seeds(shared, update)[0], 2), 2),
        np.tile(np.arange(2, dtype=np.uint64), 4),
        on_grid(raw.reshape(-1)),
        shared.distribution,
    )
    first, second = torch.linspace(-2, 2, 5000), torch.linspace(-2, 2, 5000)
    direction_backend("numpy").apply_commits(first, 1, 0, [terms])
    direction_backend("numpy").apply_commits(second, 1, 0, [one_by_one])
    assert torch.equal(first.view(torch.int32), second.view(torch.int32))


def test_zero_terms_are_dropped() -> None:
    scalars = np.array([[[0.0, 3.0], [-0.0, 1e-30]]], dtype=np.float32)
    entries = entries_of(rule(), update_of(1, 1.0, [0], scalars), 0)
    assert entries == [(direction_seed(99, 1, 0, 0), 1, -1.5)]


@pytest.mark.parametrize("scope", ["all", "matrices", "bias_norm"])
def test_a_commit_moves_what_was_reported_and_no_other_byte(scope: str) -> None:
    """One client with ρ = 2 on blocks 0, 1, 2 of 5: θ_b − η ρ z there, exactly; elsewhere −0.0 stays −0.0."""
    replica = Replica(tiny_loaded("opt"))
    for tensor in replica.parameters.values():
        tensor[0] = -0.0
    before = {name: tensor.clone() for name, tensor in replica.parameters.items()}
    own = rule(scope=scope, directions=1, local_steps=1)
    scalars = np.full((1, 1, 1), 2.0, dtype=np.float32)
    update = update_of(4, 0.125, [1], scalars)
    apply_rounds(direction_backend("numpy"), own, replica.manifest, replica.parameters, [update])
    seed = direction_seed(99, 4, 1, 0)
    for entry in replica.manifest.tensors:
        found = replica.parameters[entry.name].view(torch.int32)
        wanted = before[entry.name]
        if entry.block in (0, 1, 2) and entry.in_scope(scope):  # type: ignore[arg-type]
            z = direction(tensor_stream(seed, entry.block, entry.slot, 0, "rademacher"), 0, entry.numel)
            wanted = wanted + torch.from_numpy(np.float32(-0.25) * z)
            assert not torch.equal(wanted, before[entry.name])
        assert torch.equal(found, wanted.view(torch.int32)), entry.name


def test_scalars_of_zero_move_no_byte() -> None:
    replica = Replica(tiny_loaded("opt"))
    replica.theta.zero_().neg_()
    before = replica.digest()
    everything = ActiveSets(np.ones((3, BLOCKS), dtype=bool))
    update = update_of(1, 1.0, [0, 1, 2], np.zeros((3, 2, 2), dtype=np.float32), everything)
    apply_rounds(direction_backend("numba"), rule(), replica.manifest, replica.parameters, [update])
    assert replica.digest() == before
    assert bool(torch.signbit(replica.theta).all())
