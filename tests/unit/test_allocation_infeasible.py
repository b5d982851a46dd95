"""Infeasible problems: the message names client, constraint and bytes, and its advice is enough and not too much."""

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.support.enumerated import every_allocation, random_full_problem, random_problem
from tests.support.fleets import flags, fleet
from zorba_ray.allocation import AllocationProblem, allocate, smallest_budgets
from zorba_ray.errors import AllocationInfeasible


def message(problem: AllocationProblem) -> str:
    with pytest.raises(AllocationInfeasible) as caught:
        allocate(problem, time_limit_s=30.0, gap=0.0)
    return str(caught.value)


def what_if_message(problem: AllocationProblem) -> str:
    with pytest.raises(AllocationInfeasible) as caught:
        smallest_budgets(problem)
    return str(caught.value)


def assert_advice_is_tight(problem: AllocationProblem, text: str) -> None:
    """The budgets that the message names are enough, and none of the raises can be a byte smaller."""
    budgets = problem.budget_bytes.copy()
    for client, to in re.findall(r"client (\d+) \(class \w+\) from [\d,]+ to ([\d,]+)", text):
        budgets[int(client)] = int(to.replace(",", ""))
    raised = np.flatnonzero(budgets > problem.budget_bytes)
    assert len(raised) > 0
    allocate(replace(problem, budget_bytes=budgets), 30.0, 0.0)
    for client in raised:
        less = budgets.copy()
        less[client] -= 1
        message(replace(problem, budget_bytes=less))


NEEDS = [
    # One client cannot hold even what it must.
    (
        fleet([250, 900], [300, 400]),
        "allocation, constraint budget: client 0 (class small) needs 1,300 bytes for its smallest block (block 0) but "
        "has a budget of 1,250: 50 bytes missing; raise it to at least 1,300",
    ),
    (fleet([-600, 900], [300, 400]), "900 bytes missing; raise it to at least 1,300"),
    (fleet([0] * 9, [300]), "client 0 (class small) (and 8 with the same figures) needs 1,300 bytes"),
    (
        fleet([450, 900], [100, 200, 300], must_hold=flags(2, 3, (0, 1), (0, 2))),
        "allocation, constraint budget: client 0 (class small) needs 1,500 bytes for the blocks that it must hold (1, "
        "2) but has a budget of 1,450: 50 bytes missing; raise it to at least 1,500",
    ),
    (
        fleet([250, 900], [100, 200, 300], min_blocks=2),
        "needs 1,300 bytes for its 2 smallest blocks (min_blocks) but has a budget of 1,250: 50 bytes missing",
    ),
    (
        fleet([350, 900], [100, 200, 300], min_blocks=2, must_hold=flags(2, 3, (0, 2))),
        "needs 1,400 bytes for the blocks that it must hold (2) and its 1 smallest others",
    ),
    (
        fleet([150, 900], [100, 200, 300], must_not_hold=flags(2, 3, (0, 0))),
        "needs 1,200 bytes for its smallest block (block 1)",
    ),
    (
        fleet([100, 250, 900], [100, 300], coverage=2, must_not_hold=flags(3, 2, (0, 1))),
        "block 1 must be active on 2 clients, but only 1 can hold it; the nearest other, client 1 (class large), needs "
        "1,300 bytes and has 1,250: 50 bytes missing",
    ),
]


@pytest.mark.parametrize(("problem", "text"), NEEDS)
def test_what_one_client_or_block_lacks_is_said_in_bytes(problem: AllocationProblem, text: str):
    assert text in message(problem)


HOPELESS = [
    (
        fleet([900, 900], [100] * 3, must_hold=flags(2, 3, (1, 0), (1, 1)), max_blocks=1),
        "client 1 (class large) must hold 2 blocks (0, 1), but max_blocks lets it hold only 1",
    ),
    (
        fleet([900, 900], [100] * 3, must_not_hold=flags(2, 3, (0, 0), (0, 1)), min_blocks=2),
        "client 0 (class small) may hold 1 of 3 blocks, but must have at least 2",
    ),
    (
        fleet([900, 900], [100] * 3, must_not_hold=flags(2, 3, (0, 2)), coverage=2),
        "block 2 must be active on 2 clients, but only 1 of 2 may hold it (must_not_hold: allocation.rules)",
    ),
    (
        fleet([900, 900], [100] * 3, max_blocks=np.array([1, 1])),
        "3 block places, but max_blocks gives 2 clients 2, 1 too few, whatever the budgets",
    ),
    (
        fleet([10, 10], [1, 1, 1], coverage=2, max_blocks=2),
        "6 block places, but max_blocks = 2 gives 2 clients 4, 2 too few, whatever the budgets; raise "
        "max_blocks to at least 3",
    ),
    # Each rule leaves enough alone; together blocks 0 and 1 both need the one place of client 0.
    (
        fleet([900] * 2, [100] * 3, max_blocks=np.array([1, 2]), must_not_hold=flags(2, 3, (1, 0), (1, 1))),
        "max_blocks, must_hold and must_not_hold",
    ),
]


@pytest.mark.parametrize("ask", [message, what_if_message])
@pytest.mark.parametrize(("problem", "text"), HOPELESS)
def test_rules_that_no_budget_cures(problem: AllocationProblem, text: str, ask):
    assert text in ask(problem)


ADVICE = [
    (
        fleet([750, 650, 400], [100, 700], coverage=2),
        ["block 1 must be active on 2 clients, but only 1 can hold it", "client 1 (class large), needs 1,700 bytes"],
    ),
    # 4 blocks on 2 of 2 clients each are 8 places. Room for 3 (10 left over) and 2 (40 left over): 90 + 60 + 100 more.
    (
        fleet([310, 240], [100] * 4, coverage=2),
        [
            "constraint coverage: 4 blocks on 2 clients each are 8 block places, but the budgets have room for 5",
            "250 bytes missing in all",
            "client 0 (class small) from 1,310 to 1,400 (+90)",
            "client 1 (class large) from 1,240 to 1,400 (+160)",
        ],
    ),
    # One place short of 3: client 0 lacks 60 of its 100 bytes, client 1 only 5 of its 10.
    (
        fleet([140, 15], [[100] * 3, [10] * 3]),
        ["5 bytes missing in all; the smallest raise of budgets: client 1 (class large) from 1,015 to 1,020 (+5)"],
    ),
    # Rooms for 5 and 1 of 4 blocks, but max_blocks = 2: 3 places, and only client 1 can take the fourth.
    (
        fleet([500, 130], [100] * 4, max_blocks=2),
        [
            "are 4 block places, but the budgets have room for 3: 1 too few",
            "client 1 (class large) from 1,130 to 1,200 (+70)",
        ],
    ),
    (fleet([350], [100, 200, 300]), ["at least 1 too few", "client 0 (class small) from 1,350 to 1,600 (+250)"]),
    # Counting passes, the solver decides: 4 + 5 + 6 + 6 bytes do not split into two rooms of 10.
    (
        fleet([10, 10], [4, 5, 6, 6]),
        ["budget and coverage together", "proven by the solver", "1 bytes missing in all"],
    ),
    # Client 0 keeps block 0 (50) and client 1 takes 45 + 55 in a room of 40: +60. Next best: 65, then 75, then 80.
    (
        fleet([50, 40], [[50, 60, 70], [40, 45, 55]]),
        ["60 bytes missing in all", "client 1 (class large) from 1,040 to 1,100 (+60)"],
    ),
]


@pytest.mark.parametrize(("problem", "texts"), ADVICE)
def test_advice_is_enough_and_not_a_byte_too_much(problem: AllocationProblem, texts: list[str]):
    text = message(problem)
    for part in texts:
        assert part in text
    assert_advice_is_tight(problem, text)


@pytest.mark.parametrize("family", [random_problem, random_full_problem])
def test_smallest_budgets_equal_the_enumeration(family):
    feasible = infeasible = hopeless = 0
    for seed in range(40):
        problem = family(seed)
        roomy = problem.base_bytes + problem.active_bytes.sum(axis=1)
        free = every_allocation(replace(problem, budget_bytes=np.maximum(roomy, problem.budget_bytes)))
        if len(free) == 0:
            hopeless += 1
            assert "whatever the budgets" in what_if_message(problem)
            continue
        answer = smallest_budgets(problem)
        used = problem.base_bytes + (free * problem.active_bytes).sum(axis=2)  # [M, N]
        missing = int(np.maximum(used - problem.budget_bytes, 0).sum(axis=1).min())
        factor = float((used / problem.budget_bytes).max(axis=1).min())
        assert answer.proven
        assert answer.factor == pytest.approx(factor, rel=1e-9), f"seed {seed}"
        assert answer.feasible == (len(every_allocation(problem)) > 0), f"seed {seed}"
        assert answer.missing_bytes == missing, f"seed {seed}"
        assert (answer.budget_bytes - problem.budget_bytes).sum() == missing
        assert len(every_allocation(replace(problem, budget_bytes=answer.budget_bytes))) > 0, f"seed {seed}"
        feasible, infeasible = feasible + answer.feasible, infeasible + (not answer.feasible)
    assert min(feasible, infeasible) >= 4
    assert hopeless >= 1


def test_a_large_fleet_is_counted_and_not_packed():
    """10,000 clients, each 5 bytes short of a place, one block too many for the places that there are."""
    clients = 10_000
    active = np.broadcast_to(np.int64(10), (clients, 4))
    problem = AllocationProblem(np.full(clients, 100), active, np.full(clients, 125), coverage=5_001)
    # 4 × 5,001 places are needed, 2 × 10,000 are there: four clients get five bytes more, or everybody 130 of 125.
    answer = smallest_budgets(problem)
    assert not answer.feasible
    assert (answer.missing_bytes, answer.budget_bytes.max()) == (20, 130)
    assert answer.factor == pytest.approx(130 / 125)
    assert answer.proven
