"""The comparators of the lexicographic allocation: the same constraints, worked out by hand where they can be."""

import numpy as np
import pytest

from zorba_ray.allocation import AllocationProblem, allocate, allocate_simply, check
from zorba_ray.allocation.simple import last, random
from zorba_ray.errors import AllocationInfeasible


def problem(sizes: list[int], room: list[int], coverage: int = 1, max_blocks: int | None = None) -> AllocationProblem:
    """Clients with `room` bytes beside a base of 100; block b takes sizes[b] bytes on each."""
    clients = len(room)
    return AllocationProblem(
        base_bytes=np.full(clients, 100),
        active_bytes=np.tile(sizes, (clients, 1)),
        budget_bytes=100 + np.array(room),
        client_names=tuple(f"client {n}" for n in range(clients)),
        block_weight=np.ones(len(sizes)),
        shared_cost=np.full(len(sizes), 1.0 / len(sizes)),
        beta=0.0,
        epsilon=0.0,
        coverage=coverage,
        max_blocks=max_blocks,
        data_weight=np.full(clients, 1.0 / clients),
    )


def draws(clients: int, blocks: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((clients, blocks))


def test_last_takes_the_last_blocks_that_fit_without_a_hole():
    """Blocks of 5, 1, 4, 2 bytes: 7 bytes hold the last three (1 + 4 + 2), 6 the last two, 2 the last."""
    found = last(problem([5, 1, 4, 2], [7, 6, 2]))
    assert found is not None
    assert found.astype(int).tolist() == [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]


def test_last_leaves_blocks_to_nobody_and_says_so_by_f1():
    found = allocate_simply(problem([1] * 4, [2, 2, 2, 2]), "last", draws(4, 4, 0))
    assert found.f1 == float("inf")
    assert found.gap == 1.0
    assert found.f2_bytes == 4 * 102


def test_last_keeps_max_blocks():
    found = last(problem([1] * 4, [4, 4], max_blocks=2))
    assert found is not None
    assert found.sum(axis=1).tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(30))
def test_random_is_valid_and_fills_the_budgets(seed: int):
    dice = np.random.default_rng(seed)
    sizes = dice.integers(1, 6, 5).tolist()
    one = problem(sizes, dice.integers(6, 16, 6).tolist(), coverage=2)
    active = random(one, draws(6, 5, seed))
    assert active is not None
    assert check(one, active) == []
    again = random(one, draws(6, 5, seed))
    assert again is not None
    assert (active == again).all()


def test_random_gives_a_block_that_nobody_drew_to_someone():
    """Two clients with one block each that both draw block 0 first: block 1 takes one of the places."""
    one = problem([1, 1], [1, 1])
    active = random(one, np.array([[0.1, 0.9], [0.1, 0.9]]))
    assert active is not None
    assert active.sum(axis=0).tolist() == [1, 1]


def test_random_differs_between_draws():
    one = problem([1] * 8, [3] * 6)
    found = {random(one, draws(6, 8, seed)).tobytes() for seed in range(5)}  # type: ignore[union-attr]
    assert len(found) == 5


def test_no_comparator_is_better_than_the_program():
    one = problem([3, 2, 4, 2, 3], [9, 7, 5, 14])
    best = allocate(one, 20.0, 0.0).f1
    for algorithm in ("greedy", "random", "last"):
        assert allocate_simply(one, algorithm, draws(4, 5, 3)).f1 >= best - 1e-9


def test_the_gap_of_a_comparator_is_against_a_true_bound():
    one = problem([1] * 4, [2] * 4)
    found = allocate_simply(one, "greedy", draws(4, 4, 0))
    assert 0.0 <= found.gap < 1.0
    assert found.f1 * (1.0 - found.gap) <= allocate(one, 20.0, 0.0).f1 + 1e-9
    assert found.solver == "greedy"


def test_a_comparator_that_finds_nothing_says_so():
    """The last block is the largest and fits nobody; the problem itself is refused first where it has no solution."""
    one = problem([1, 9], [9, 1])
    with pytest.raises(AllocationInfeasible, match=r"allocation\.algorithm=last"):
        allocate_simply(one, "last", draws(2, 2, 0))
    with pytest.raises(AllocationInfeasible, match="smallest budget that would do"):
        allocate_simply(problem([3, 3], [2, 3]), "random", draws(2, 2, 0))
