"""Rows of the comparison of allocations, from curves worked out by hand, and the settings of its arms."""

import pytest

from benchmarks.allocation.learning import ARMS, BUILTIN, Outcome, arm_config, comparison_rows, rounds_to
from zorba_ray.experiment import prepare, solve_allocation


def outcome(arm: str, seed: int, *losses: float) -> Outcome:
    rounds = tuple(4 * place for place in range(len(losses)))
    return Outcome("built-in", "algorithms", arm, seed, rounds, losses)


def test_rounds_to_a_loss():
    one = outcome("greedy", 1, 2.0, 1.5, 1.0)
    assert [rounds_to(one, target) for target in (2.5, 1.5, 1.2, 0.5)] == [0, 4, 8, 12]


@pytest.mark.parametrize(("other", "met"), [((2.0, 1.7, 1.0), True), ((2.0, 1.1, 1.0), False)])
def test_the_first_arm_is_judged_by_the_others(other: tuple[float, ...], met: bool):
    """From 2 to 1: the target is 1.2. The first arm takes 8 rounds; another arm 8 or 4."""
    found = [outcome("lexicographic", 1, 2.0, 1.5, 1.0), outcome("greedy", 1, *other)]
    rows = comparison_rows(found)
    assert [row.met for row in rows] == [met, None, None, None]
    assert "1.200" in rows[0].row
    assert (rows[0].value, rows[1].value) == (8.0, 1.0)


def test_arms_have_equal_budgets_and_pairs():
    """Every arm of the algorithms: the same budgets, directions, rounds and data; room for 4, 3 and 2 blocks."""
    configs = [arm_config(BUILTIN, "algorithms", arm, 1) for arm in ARMS["algorithms"]]
    assert len({repr((c.federation, c.zo, c.rounds, c.data, c.seed, c.memory)) for c in configs}) == 1
    allocation = solve_allocation(prepare(configs[0])).allocation
    assert allocation.active.counts.tolist() == [4, 4, 3, 3, 3, 2, 2, 2]
