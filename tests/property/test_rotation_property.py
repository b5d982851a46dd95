"""A new deal keeps what was optimised and lets every client meet every block it can."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.allocation import AllocationProblem, allocate_simply, check, objectives, rotate
from zorba_ray.errors import AllocationInfeasible


def fleet(dice: np.random.Generator, equal_blocks: bool, weights: bool) -> tuple[AllocationProblem, np.ndarray]:
    """A random problem and a valid deal of it."""
    while True:
        clients, blocks = int(dice.integers(2, 9)), int(dice.integers(2, 7))
        sizes = np.full(blocks, 4) if equal_blocks else dice.integers(1, 4, blocks)
        kinds = dice.integers(int(sizes.max()), int(sizes.sum()) + 1, 3)
        problem = AllocationProblem(
            base_bytes=np.full(clients, 10),
            active_bytes=np.tile(sizes, (clients, 1)),
            budget_bytes=10 + dice.choice(kinds, clients),
            client_names=tuple(f"client {n}" for n in range(clients)),
            block_weight=dice.uniform(0.5, 1.5, blocks) if weights else np.ones(blocks),
            shared_cost=np.ones(blocks),
            beta=0.0,
            epsilon=0.0,
            vram_objective="worst_share",
            data_weight=np.full(clients, 1.0 / clients),
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
    problem = AllocationProblem(
        base_bytes=np.full(8, 10),
        active_bytes=np.ones((8, 6)),
        budget_bytes=np.full(8, 12),
        client_names=tuple(f"client {n}" for n in range(8)),
        block_weight=np.ones(6),
        shared_cost=np.ones(6),
        beta=0.0,
        epsilon=0.0,
        data_weight=np.full(8, 0.125),
    )
    active = allocate_simply(problem, "greedy", dice.random((8, 6))).active
    seen = active.astype(np.float64)
    for _ in range(20):
        active = rotate(active, seen, problem)
        seen += active
        assert seen.max() - seen.min() <= 2, seen


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_fixed_entries_stay(seed: int):
    dice = np.random.default_rng(seed)
    problem, active = fleet(dice, equal_blocks=True, weights=False)
    fixed = dice.random(active.shape) < 0.3
    dealt = rotate(active, active.astype(np.float64), problem, fixed)
    assert (dealt[fixed] == active[fixed]).all()
    assert check(problem, dealt) == []
