"""The comparators of the lexicographic allocation: the same constraints, worked out by hand where they can be."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.fleets import flags, fleet
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, allocate, allocate_simply, check
from zorba_ray.allocation.comparators import Comparator
from zorba_ray.errors import AllocationInfeasible, ConfigError

COMPARATORS: tuple[Comparator, ...] = ("greedy", "random", "last")


def draws(clients: int, blocks: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((clients, blocks))


def drawn(problem: AllocationProblem, numbers: np.ndarray) -> ActiveSets:
    return allocate_simply(problem, "random", numbers).active


RULED = fleet([3, 3, 3], [1] * 5, must_hold=flags(3, 5, (0, 0)), must_not_hold=flags(3, 5, (1, 3)))


@pytest.mark.parametrize(
    ("problem", "sets"),
    [
        # 7 bytes hold the last three blocks (1 + 4 + 2), 6 the last two, 2 the last: never with a hole.
        (fleet([7, 6, 2], [5, 1, 4, 2]), ({1, 2, 3}, {2, 3}, {3})),
        (fleet([4, 4], [1] * 4, max_blocks=2), ({2, 3}, {2, 3})),
        # Client 0 must hold block 0, client 1 must not hold block 3, client 2 has a limit of one block.
        (replace(RULED, max_blocks=np.array([5, 5, 1])), ({0, 3, 4}, {1, 2, 4}, {4})),
    ],
)
def test_last_takes_the_last_blocks_that_fit(problem: AllocationProblem, sets):
    found = allocate_simply(problem, "last", draws(problem.clients, problem.blocks, 0))
    assert found.active == ActiveSets.of_sets(sets, problem.blocks)


def test_last_leaves_blocks_to_nobody_and_says_so_by_f1():
    found = allocate_simply(fleet([2] * 4, [1] * 4), "last", draws(4, 4, 0))
    assert (found.f1, found.gap, found.f2_bytes) == (float("inf"), 1.0, 4 * 1_002)


def test_last_passes_over_a_block_that_nobody_may_hold():
    barred = np.zeros((2, 5), dtype=bool)
    barred[:, 4] = True
    problem = replace(fleet([2, 3], [1] * 5), must_not_hold=barred)
    found = allocate_simply(problem, "last", draws(2, 5, 0))
    assert found.active == ActiveSets.of_sets(({2, 3}, {1, 2, 3}), 5)
    with pytest.raises(AllocationInfeasible, match="block 4 must be active on 1 clients, but only 0 of 2 may hold it"):
        allocate_simply(problem, "greedy", draws(2, 5, 0))


@pytest.mark.parametrize("seed", range(30))
def test_random_is_valid_and_the_same_for_the_same_draws(seed: int):
    dice = np.random.default_rng(seed)
    problem = fleet(dice.integers(6, 16, 6).tolist(), dice.integers(1, 6, 5).tolist(), coverage=2)
    active = drawn(problem, draws(6, 5, seed))
    assert check(problem, active) == []
    assert active == drawn(problem, draws(6, 5, seed))


def test_random_depends_on_the_draws_and_gives_everybody_s_leftover_to_someone():
    problem = fleet([3] * 6, [1] * 8)
    assert len({drawn(problem, draws(6, 8, seed)).packed for seed in range(5)}) == 5
    # Two clients with one block each that both draw block 0 first: block 1 takes one of the places.
    both = drawn(fleet([1, 1], [1, 1]), np.array([[0.1, 0.9], [0.1, 0.9]]))
    assert both.holders.tolist() == [1, 1]


def test_the_program_is_never_worse_and_greedy_s_gap_is_against_a_true_bound():
    problem = fleet([9, 7, 5, 14], [3, 2, 4, 2, 3])
    best = allocate(problem, 20.0, 0.0).f1
    found = {algorithm: allocate_simply(problem, algorithm, draws(4, 5, 3)) for algorithm in COMPARATORS}
    assert all(each.f1 >= best - 1e-9 for each in found.values())
    assert 0.0 <= found["greedy"].gap < 1.0
    assert found["greedy"].f1 * (1.0 - found["greedy"].gap) <= best + 1e-9


@pytest.mark.parametrize(
    ("problem", "algorithm", "words"),
    [
        # The last block is the largest and fits nobody.
        (fleet([9, 1], [1, 9]), "last", r"allocation\.algorithm=last"),
        # The problem itself is refused first where it has no solution.
        (fleet([2, 3], [3, 3]), "random", "raise it to at least"),
        # Client 0 has room for the last block only, and must hold two.
        (fleet([4, 6], [1, 1, 4], min_blocks=2), "last", "client 0 .* has 1 active blocks; min_blocks is 2"),
    ],
)
def test_a_comparator_that_finds_nothing_says_so(problem: AllocationProblem, algorithm: Comparator, words: str):
    with pytest.raises(AllocationInfeasible, match=words):
        allocate_simply(problem, algorithm, draws(problem.clients, problem.blocks, 0))


@pytest.mark.parametrize("algorithm", COMPARATORS)
def test_rules_are_kept_or_refused_by_name(algorithm: Comparator):
    """Of 60 random fleets with rules and limits, each is given blocks by the rules (coverage aside for `last`) or
    refused."""
    kept = 0
    for seed in range(60):
        dice = np.random.default_rng(seed)
        draw, low = dice.random((6, 5)), dice.integers(1, 4, 6)
        try:
            problem = fleet(
                dice.integers(6, 16, 6).tolist(),
                dice.integers(1, 6, 5).tolist(),
                coverage=2,
                must_hold=draw < 0.08,
                must_not_hold=draw > 0.9,
                min_blocks=low,
                max_blocks=low + dice.integers(0, 3, 6),
            )
            active = allocate_simply(problem, algorithm, draws(6, 5, seed)).active
        except (AllocationInfeasible, ConfigError):
            continue
        assert check(problem, active, covered=algorithm != "last") == []
        kept += 1
    assert kept >= 10
