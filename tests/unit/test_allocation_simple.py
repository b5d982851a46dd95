"""The comparators of the lexicographic allocation: the same constraints, worked out by hand where they can be."""

from dataclasses import replace

import numpy as np
import pytest

from zorba_ray.allocation import AllocationProblem, allocate, allocate_simply, check
from zorba_ray.allocation.comparators import Comparator, last, random
from zorba_ray.errors import AllocationInfeasible, ConfigError


def ruled(dice: np.random.Generator) -> AllocationProblem:
    """Six clients and five blocks of 1 to 5 bytes with rules and limits of their own; feasible or not."""
    while True:
        draw = dice.random((6, 5))
        low = dice.integers(1, 4, 6)
        try:
            return replace(
                problem(dice.integers(1, 6, 5).tolist(), dice.integers(6, 16, 6).tolist(), coverage=2),
                must_hold=draw < 0.08,
                must_not_hold=draw > 0.9,
                min_blocks=low,
                max_blocks=low + dice.integers(0, 3, 6),
            )
        except ConfigError:
            continue


def problem(sizes: list[int], room: list[int], coverage: int = 1, max_blocks: int | None = None) -> AllocationProblem:
    """Clients with `room` bytes beside a base of 100; block b takes sizes[b] bytes on each."""
    clients = len(room)
    return AllocationProblem.plain(
        np.full(clients, 100),
        np.tile(sizes, (clients, 1)),
        100 + np.array(room),
        shared_cost=np.full(len(sizes), 1.0 / len(sizes)),
        coverage=coverage,
        max_blocks=max_blocks,
    )


def draws(clients: int, blocks: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((clients, blocks))


def test_last_takes_the_last_blocks_that_fit_without_a_hole():
    """Blocks of 5, 1, 4, 2 bytes: 7 bytes hold the last three (1 + 4 + 2), 6 the last two, 2 the last."""
    found = last(problem([5, 1, 4, 2], [7, 6, 2]))
    assert found.matrix.astype(int).tolist() == [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]


def test_last_leaves_blocks_to_nobody_and_says_so_by_f1():
    found = allocate_simply(problem([1] * 4, [2, 2, 2, 2]), "last", draws(4, 4, 0))
    assert found.f1 == float("inf")
    assert found.gap == 1.0
    assert found.f2_bytes == 4 * 102


def test_last_keeps_max_blocks():
    found = last(problem([1] * 4, [4, 4], max_blocks=2))
    assert found.counts.tolist() == [2, 2]


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
    assert active == again


def test_random_gives_a_block_that_nobody_drew_to_someone():
    """Two clients with one block each that both draw block 0 first: block 1 takes one of the places."""
    one = problem([1, 1], [1, 1])
    active = random(one, np.array([[0.1, 0.9], [0.1, 0.9]]))
    assert active is not None
    assert active.holders.tolist() == [1, 1]


def test_random_differs_between_draws():
    one = problem([1] * 8, [3] * 6)
    found = {random(one, draws(6, 8, seed)).packed for seed in range(5)}  # type: ignore[union-attr]
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


@pytest.mark.parametrize("algorithm", ["greedy", "random", "last"])
def test_rules_are_kept_or_refused_by_name(algorithm: Comparator):
    """Of 60 random fleets with rules and limits, each is dealt by the rules (coverage aside for `last`) or refused."""
    dealt = 0
    for seed in range(60):
        dice = np.random.default_rng(seed)
        one = ruled(dice)
        try:
            active = allocate_simply(one, algorithm, draws(6, 5, seed)).active
        except AllocationInfeasible:
            continue
        assert check(one, active, covered=algorithm != "last") == []
        dealt += 1
    assert dealt >= 15


def test_last_steps_over_what_is_forbidden_and_keeps_what_is_required():
    """Room for three blocks of one byte. Client 0 must hold block 0: the last two of the others beside it. Client 1
    must not hold block 3: the last three but that one. Client 2 has a limit of one block."""
    rules = np.zeros((2, 3, 5), dtype=bool)
    rules[0, 0, 0] = rules[1, 1, 3] = True
    one = replace(
        problem([1] * 5, [3, 3, 3]), must_hold=rules[0], must_not_hold=rules[1], max_blocks=np.array([5, 5, 1])
    )
    assert last(one).matrix.astype(int).tolist() == [[1, 0, 0, 1, 1], [0, 1, 1, 0, 1], [0, 0, 0, 0, 1]]


def test_random_leaves_room_for_the_least_number_of_blocks():
    """Four bytes and two blocks at least: the block of 3 bytes leaves one for a block of 1 and is taken, that of 4 is
    not, however early it is drawn."""
    one = replace(problem([3, 4, 1, 1], [4, 9]), min_blocks=2)
    active = random(one, np.array([[0.3, 0.1, 0.5, 0.7], [0.1, 0.2, 0.3, 0.4]]))
    assert active is not None
    assert active.matrix.astype(int).tolist() == [[1, 0, 1, 0], [1, 1, 1, 1]]


def test_last_that_breaks_a_rule_names_it():
    """Client 0 has room for the last block only, and must hold two."""
    one = replace(problem([1, 1, 4], [4, 6]), min_blocks=2)
    with pytest.raises(AllocationInfeasible, match=r"algorithm=last .*client 0: has 1 active blocks; min_blocks is 2"):
        allocate_simply(one, "last", draws(2, 3, 0))
