"""The grid of coefficients, against rational arithmetic; weights that add up."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zorba_ray.active_sets import ActiveSets
from zorba_ray.zo import RoundUpdate, UpdateRule, block_weights, commit_terms, on_grid, round_seeds

values = st.floats(-1e37, 1e37, allow_nan=False) | st.floats(-1.0, 1.0) | st.floats(-1e-40, 1e-40)
coefficients = st.lists(values, max_size=60)


def wanted_grid(given_values: list[float]) -> list[Fraction]:
    """rng.md in rationals: δ = 2^x, x from e − 24 on (never below −149), raised until Σ|m| < 2²⁴."""
    total = sum(abs(value) for value in given_values)
    if total == 0:
        return [Fraction(0)] * len(given_values)
    x = max(math.frexp(total)[1] - 24, -149)
    while True:
        delta = Fraction(2) ** x
        integers = [round(Fraction(value) / delta) for value in given_values]  # halves to even
        if sum(map(abs, integers)) < 2**24:
            return [m * delta for m in integers]
        x += 1


@settings(max_examples=300, deadline=None)
@given(coefficients)
@example([2.0**24 - 2, 0.75, 0.75])
@example([2.0**23, 0.5, 1.5, 2.5])
@example([2.0**-150, 2.0**-149, 1.5 * 2.0**-149])
def test_grid_is_the_definition(given_values: list[float]) -> None:
    assert [Fraction(float(v)) for v in on_grid(np.array(given_values))] == wanted_grid(given_values)


@settings(max_examples=300, deadline=None)
@given(coefficients)
def test_grid_is_exact_to_add_and_close_to_what_it_was(given_values: list[float]) -> None:
    """Multiples of one power of two with Σ|m| < 2²⁴; each off by at most 2⁻²³ Σ|c| (or half the smallest fp32)."""
    grid = on_grid(np.array(given_values))
    assert grid.dtype == np.float32
    units = [int(Fraction(float(v)) * 2**149) for v in grid]
    common = math.gcd(*units) if units else 0
    if common:
        delta = common & -common
        assert sum(abs(unit) // delta for unit in units) < 2**24
    bound = Fraction(sum(abs(v) for v in given_values)) / 2**23 + Fraction(1, 2**150)
    assert all(abs(Fraction(float(g)) - Fraction(v)) <= bound for g, v in zip(grid, given_values, strict=True))


@settings(max_examples=150, deadline=None)
@given(coefficients, st.integers(0, 2**32 - 1))
def test_signed_sums_are_exact_in_any_order(given_values: list[float], seed: int) -> None:
    grid = on_grid(np.array(given_values))
    rng = np.random.default_rng(seed)
    signed = grid * rng.choice(np.array([-1, 1], dtype=np.float32), len(grid))
    exact = sum((Fraction(float(v)) for v in signed), Fraction(0))
    for order in (np.arange(len(grid)), rng.permutation(len(grid))):
        total = np.float32(0)
        for place in order:
            total += signed[place]
        assert Fraction(float(total)) == exact


@st.composite
def federations(draw: st.DrawFn) -> tuple[UpdateRule, np.ndarray]:
    clients, blocks = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    samples = tuple(draw(st.lists(st.integers(1, 10**6), min_size=clients, max_size=clients)))
    active = np.zeros((clients, blocks), dtype=bool)
    for own in active:
        own[list(draw(st.frozensets(st.integers(0, blocks - 1), min_size=1)))] = True
    rule = UpdateRule(
        draw(st.integers(0, 2**64 - 1)), draw(st.sampled_from(["per_client", "shared"])),
        draw(st.sampled_from(["data", "inverse_noise"])), "rademacher", "all",
        draw(st.integers(1, 3)), draw(st.integers(1, 3)), samples,
    )  # fmt: skip
    return rule, active


@settings(max_examples=150, deadline=None)
@given(federations())
def test_weights_add_up_to_one(federation: tuple[UpdateRule, np.ndarray]) -> None:
    rule, active = federation
    for block in range(active.shape[1]):
        holders = np.flatnonzero(active[:, block])
        if len(holders):
            weights = block_weights(rule, holders, ActiveSets(active))
            assert math.isclose(weights.sum(), 1.0, rel_tol=1e-12)
            assert weights.min() > 0


@settings(max_examples=100, deadline=None)
@given(federations(), st.integers(0, 2**32 - 1))
def test_entries_are_those_of_the_holders_in_ledger_order(federation: tuple[UpdateRule, np.ndarray], seed: int) -> None:
    """Every holder gives K · P terms, none is lost or mixed up: equal scalars ρ = −1, η = P give back the weights."""
    rule, active = federation
    rng = np.random.default_rng(seed)
    clients = np.flatnonzero(rng.random(len(active)) < 0.7)
    scalars = np.full((len(clients), rule.local_steps, rule.directions), -1.0, dtype=np.float32)
    update = RoundUpdate(3, float(rule.directions), clients, scalars, ActiveSets(active))
    seeds = round_seeds(rule, update)
    for block in range(active.shape[1]):
        places = np.flatnonzero(active[clients, block])
        terms = commit_terms(rule, update, seeds, block)
        if not len(places):
            assert len(terms) == 0
            continue
        repeat = rule.local_steps * rule.directions
        grid = on_grid(np.repeat(block_weights(rule, clients[places], ActiveSets(active)), repeat))
        own = np.repeat(seeds[places].reshape(-1), rule.directions)
        numbers = np.tile(np.arange(rule.directions), rule.local_steps * len(places))
        if rule.seeds == "shared":
            grid = grid.reshape(len(places), repeat).sum(axis=0)
            own, numbers = own[:repeat], numbers[:repeat]
        moving = grid != 0
        assert terms.coefficients.tolist() == grid[moving].tolist()
        assert terms.seeds.tolist() == own[moving].tolist()
        assert terms.directions.tolist() == numbers[moving].tolist()
