"""A new deal keeps what was optimised and lets every client meet every block it can."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.allocation import AllocationProblem, allocate_simply, check, objectives, rotate
from zorba_ray.errors import AllocationInfeasible, ConfigError


def fleet(dice: np.random.Generator, equal_blocks: bool, weights: bool) -> tuple[AllocationProblem, np.ndarray]:
    """A random problem and a valid deal of it."""
    while True:
        clients, blocks = int(dice.integers(2, 9)), int(dice.integers(2, 7))
        sizes = np.full(blocks, 4) if equal_blocks else dice.integers(1, 4, blocks)
        kinds = dice.integers(int(sizes.max()), int(sizes.sum()) + 1, 3)
        problem = AllocationProblem.plain(
            np.full(clients, 10),
            np.tile(sizes, (clients, 1)),
            10 + dice.choice(kinds, clients),
            block_weight=dice.uniform(0.5, 1.5, blocks) if weights else np.ones(blocks),
            shared_cost=np.ones(blocks),
            vram_objective="worst_share",
        )
        try:
            found = allocate_simply(problem, "random", dice.random((clients, blocks)))
        except AllocationInfeasible:
            continue
        return problem, found.active


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_new_deal_is_worth_the_same(seed: int, equal_blocks: bool, weights: bool):
    problem, active = fleet(np.random.default_rng(seed), equal_blocks, weights)
    seen = np.zeros(active.shape)
    for _ in range(4):
        seen += 5 * active
        dealt = rotate(active, seen, problem)
        assert check(problem, dealt) == []
        assert sorted(objectives.holders(dealt)) == sorted(objectives.holders(active))
        assert np.isclose(objectives.f1(dealt, problem), objectives.f1(active, problem), rtol=1e-12)
        assert objectives.f2_bytes(dealt, problem) == objectives.f2_bytes(active, problem)
        assert np.isclose(objectives.worst_share(dealt, problem), objectives.worst_share(active, problem), rtol=1e-15)
        assert sorted(dealt.sum(axis=1)) == sorted(active.sum(axis=1))
        assert (rotate(active, seen, problem) == dealt).all()
        active = dealt


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_every_client_comes_to_hold_every_block_of_equal_size(seed: int):
    """Any budgets: with blocks of one size and weight all (client, block) pairs are met within a few times N · L deals,
    though a client that holds one block meets one a deal."""
    problem, active = fleet(np.random.default_rng(seed), equal_blocks=True, weights=False)
    clients, blocks = active.shape
    seen = active.astype(np.float64)
    for _ in range(2 * clients * blocks):
        active = rotate(active, seen, problem)
        seen += active
    assert (seen > 0).all()


def test_equal_clients_share_out_evenly():
    """Eight clients with two of six blocks: after k deals no pair is ahead of another by more than two."""
    dice = np.random.default_rng(5)
    problem = AllocationProblem.plain(np.full(8, 10), np.ones((8, 6)), np.full(8, 12), shared_cost=np.ones(6))
    active = allocate_simply(problem, "greedy", dice.random((8, 6))).active
    seen = active.astype(np.float64)
    for _ in range(20):
        active = rotate(active, seen, problem)
        seen += active
        assert seen.max() - seen.min() <= 2, seen


def ruled(dice: np.random.Generator, timed: bool = False) -> tuple[AllocationProblem, np.ndarray]:
    """A random fleet of a few kinds of clients with rules and limits of their own, and a valid deal of it. Budgets are
    never the reason why two clients differ, so that only rules, limits and speeds are."""
    while True:
        clients, blocks = int(dice.integers(2, 10)), int(dice.integers(2, 7))
        kind = dice.integers(0, 3, clients)
        draw = dice.random((3, blocks))
        must, may_not = (draw < 0.15)[kind], (draw > 0.8)[kind]
        low = dice.integers(1, 3, 3)[kind]
        speed = dice.choice([0.5, 1.0], 3)[kind]
        sizes = dice.integers(1, 3, blocks)
        try:
            problem = AllocationProblem.plain(
                np.full(clients, 10),
                np.tile(sizes, (clients, 1)),
                np.full(clients, 10 + int(dice.integers(sizes.max(), sizes.sum() + 1))),
                shared_cost=np.ones(blocks),
                min_blocks=low,
                max_blocks=low + dice.integers(0, 3, 3)[kind],
                must_hold=must,
                must_not_hold=may_not,
                order=("convergence", "time") if timed else ("convergence", "vram"),
                block_seconds=np.ones(blocks) / speed[:, None],
            )
            active = allocate_simply(problem, "random", dice.random((clients, blocks))).active
        except (AllocationInfeasible, ConfigError):
            continue
        return problem, active


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_rules_and_limits_are_kept(seed: int):
    problem, active = ruled(np.random.default_rng(seed))
    seen = active.astype(np.float64)
    for _ in range(4):
        dealt = rotate(active, seen, problem)
        assert check(problem, dealt) == []
        assert np.isclose(objectives.f1(dealt, problem), objectives.f1(active, problem), rtol=1e-12)
        assert objectives.f2_bytes(dealt, problem) == objectives.f2_bytes(active, problem)
        active = dealt
        seen += active


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_the_round_time_is_kept_where_it_is_an_objective(seed: int):
    problem, active = ruled(np.random.default_rng(seed), timed=True)
    dealt = rotate(active, active.astype(np.float64), problem)
    assert check(problem, dealt) == []
    for goal in ("slowest", "sum"):
        timed = replace(problem, time_objective=goal)
        assert np.isclose(objectives.round_seconds(dealt, timed), objectives.round_seconds(active, timed), rtol=1e-12)


def two_clients(**rules) -> AllocationProblem:
    return AllocationProblem(
        base_bytes=np.full(2, 10),
        active_bytes=np.ones((2, 3)),
        budget_bytes=np.full(2, 13),
        client_names=("a", "b"),
        block_weight=np.ones(3),
        shared_cost=np.ones(3),
        beta=0.0,
        epsilon=0.0,
        data_weight=np.full(2, 0.5),
        **rules,
    )


def test_what_cannot_move_stays():
    """Two clients whose rules settle every entry; and two whose limits alone forbid to hand on the sets {0, 1, 2} and
    {0}: the larger stays where it is, and only the single block wanders."""
    active = np.array([[True, False, True], [False, True, False]])
    settled = two_clients(must_hold=active, must_not_hold=~active)
    assert (rotate(active, 9.0 * active, settled) == active).all()
    limited = two_clients(max_blocks=np.array([3, 1]))
    active = np.array([[True, True, True], [True, False, False]])
    for _ in range(3):
        active = rotate(active, 9.0 * active, limited)
        assert active.sum(axis=1).tolist() == [3, 1]


def test_equal_clients_with_the_same_rules_still_hand_their_sets_on():
    """Block 0 is for both: the rest of the two sets changes hands."""
    problem = two_clients(must_hold=np.array([[True, False, False]] * 2), block_seconds=np.ones((2, 3)))
    problem = replace(problem, order=("convergence", "time"))
    active = np.array([[True, True, False], [True, False, True]])
    assert (rotate(active, 1.0 * active, problem) == active[::-1]).all()
