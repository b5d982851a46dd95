"""A new assignment keeps what was optimised and lets every client meet every block it can."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, allocate_simply, check, objectives
from zorba_ray.assignment.rotate import rotate
from zorba_ray.errors import AllocationInfeasible, ConfigError

SEEDS = st.integers(0, 2**32 - 1)


def fleet(seed: int, equal_blocks: bool = False, weights: bool = False) -> tuple[AllocationProblem, ActiveSets]:
    """A random problem without rules and a valid assignment of it."""
    dice = np.random.default_rng(seed)
    while True:
        clients, blocks = int(dice.integers(2, 9)), int(dice.integers(2, 7))
        sizes = np.full(blocks, 4) if equal_blocks else dice.integers(1, 4, blocks)
        kinds = dice.integers(int(sizes.max()), int(sizes.sum()) + 1, 3)
        problem = AllocationProblem(
            np.full(clients, 10),
            np.tile(sizes, (clients, 1)),
            10 + dice.choice(kinds, clients),
            block_weight=dice.uniform(0.5, 1.5, blocks) if weights else np.ones(blocks),
            shared_cost=np.ones(blocks),
            vram_objective="worst_share",
        )
        try:
            return problem, allocate_simply(problem, "random", dice.random((clients, blocks))).active
        except AllocationInfeasible:
            continue


def ruled(seed: int, timed: bool = False) -> tuple[AllocationProblem, ActiveSets]:
    """A random fleet of a few kinds of clients with rules and limits of their own, and a valid assignment of it.

    Budgets are never the reason why two clients differ, so that only rules, limits and speeds are.
    """
    dice = np.random.default_rng(seed)
    while True:
        clients, blocks = int(dice.integers(2, 10)), int(dice.integers(2, 7))
        kind, draw = dice.integers(0, 3, clients), dice.random((3, blocks))
        low = dice.integers(1, 3, 3)[kind]
        speed = dice.choice([0.5, 1.0], 3)[kind]
        sizes = dice.integers(1, 3, blocks)
        try:
            problem = AllocationProblem(
                np.full(clients, 10),
                np.tile(sizes, (clients, 1)),
                np.full(clients, 10 + int(dice.integers(sizes.max(), sizes.sum() + 1))),
                shared_cost=np.ones(blocks),
                min_blocks=low,
                max_blocks=low + dice.integers(0, 3, 3)[kind],
                must_hold=(draw < 0.15)[kind],
                must_not_hold=(draw > 0.8)[kind],
                order=("convergence", "time") if timed else ("convergence", "vram"),
                block_seconds=np.ones(blocks) / speed[:, None],
            )
            return problem, allocate_simply(problem, "random", dice.random((clients, blocks))).active
        except (AllocationInfeasible, ConfigError):
            continue


def assert_worth_the_same(problem: AllocationProblem, active: ActiveSets) -> None:
    """Four rotations keep every constraint, f1, the total bytes, and numbers of holders and blocks as multisets."""
    seen = active.matrix.astype(np.float64)
    for _ in range(4):
        turned = rotate(active, seen, problem)
        assert check(problem, turned) == []
        assert sorted(turned.holders) == sorted(active.holders)
        assert sorted(turned.counts) == sorted(active.counts)
        assert np.isclose(objectives.f1(turned.matrix, problem), objectives.f1(active.matrix, problem), rtol=1e-12)
        assert objectives.f2_bytes(turned.matrix, problem) == objectives.f2_bytes(active.matrix, problem)
        if problem.vram_objective == "worst_share":
            shares = [objectives.worst_share(each.matrix, problem) for each in (turned, active)]
            assert np.isclose(*shares, rtol=1e-15)
        assert rotate(active, seen, problem) == turned
        active = turned
        seen = seen + active.matrix


@given(SEEDS, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_new_assignment_is_worth_the_same(seed: int, equal_blocks: bool, weights: bool):
    assert_worth_the_same(*fleet(seed, equal_blocks, weights))


@given(SEEDS)
@settings(max_examples=200, deadline=None)
def test_rules_and_limits_are_kept(seed: int):
    assert_worth_the_same(*ruled(seed))


@given(SEEDS)
@settings(max_examples=100, deadline=None)
def test_the_round_time_is_kept_where_it_is_an_objective(seed: int):
    problem, active = ruled(seed, timed=True)
    turned = rotate(active, active.matrix.astype(np.float64), problem)
    assert check(problem, turned) == []
    seconds = [objectives.round_seconds(each.matrix, problem) for each in (turned, active)]
    assert np.isclose(*seconds, rtol=1e-12)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_client_comes_to_hold_every_block_of_equal_size(seed: int):
    """Any budgets: with blocks of one size and weight all (client, block) pairs are met within a few times N · L
    rotations, though a client that holds one block meets one at a time."""
    problem, active = fleet(seed, equal_blocks=True)
    seen = active.matrix.astype(np.float64)
    for _ in range(2 * seen.size):
        active = rotate(active, seen, problem)
        seen += active.matrix
    assert (seen > 0).all()


def test_equal_clients_share_out_evenly():
    """Eight clients with two of six blocks: after k rotations no pair is ahead of another by more than two."""
    problem = AllocationProblem(np.full(8, 10), np.ones((8, 6)), np.full(8, 12), shared_cost=np.ones(6))
    active = allocate_simply(problem, "greedy", np.full((8, 6), 0.5)).active
    seen = active.matrix.astype(np.float64)
    for _ in range(20):
        active = rotate(active, seen, problem)
        seen += active.matrix
        assert seen.max() - seen.min() <= 2, seen


SETTLED = np.array([[True, False, True], [False, True, False]])
BOTH = {"must_hold": np.array([[True, False, False]] * 2), "order": ("convergence", "time")}


@pytest.mark.parametrize(
    ("rules", "sets", "expected"),
    [
        # Two clients whose rules settle every entry.
        ({"must_hold": SETTLED, "must_not_hold": ~SETTLED}, ({0, 2}, {1}), ({0, 2}, {1})),
        # Limits alone forbid to hand on whole sets: the larger one stays, only the single block wanders.
        ({"max_blocks": np.array([3, 1])}, ({0, 1, 2}, {0}), ({0, 1, 2}, {2})),
        # Equal clients with the same rules still hand their sets on; block 0 is for both.
        ({**BOTH, "block_seconds": np.ones((2, 3))}, ({0, 1}, {0, 2}), ({0, 2}, {0, 1})),
    ],
)
def test_what_rules_and_limits_let_move(rules, sets, expected):
    problem = AllocationProblem(np.full(2, 10), np.ones((2, 3)), np.full(2, 13), **rules)
    active = ActiveSets.of_sets(sets, 3)
    assert rotate(active, 9.0 * active.matrix, problem) == ActiveSets.of_sets(expected, 3)
