"""Infeasible problems: the message names client, constraint and bytes, and its advice is enough and not too much."""

import re
from dataclasses import replace

import numpy as np
import pytest

from zorba_ray.allocation import AllocationProblem, allocate
from zorba_ray.errors import AllocationInfeasible


def make(active: list[list[int]], room: list[int], **changes) -> AllocationProblem:
    """Clients with a base of 1,000 bytes and `room[n]` more."""
    clients = len(active)
    settings = {
        "base_bytes": np.full(clients, 1_000),
        "active_bytes": np.array(active),
        "budget_bytes": 1_000 + np.array(room),
        "client_names": tuple(f"client {n} (class {'small' if n == 0 else 'large'})" for n in range(clients)),
        "epsilon": 0.5,
    }
    return AllocationProblem(**{**settings, **changes})


def message(problem: AllocationProblem) -> str:
    with pytest.raises(AllocationInfeasible) as caught:
        allocate(problem, time_limit_s=30.0, gap=0.0)
    return str(caught.value)


def advised(problem: AllocationProblem, text: str) -> np.ndarray:
    """[N] the budgets the message says would do."""
    budgets = problem.budget_bytes.copy()
    for client, to in re.findall(r"client (\d+) \(class \w+\) from [\d,]+ to ([\d,]+)", text):
        budgets[int(client)] = int(to.replace(",", ""))
    return budgets


def assert_advice_is_tight(problem: AllocationProblem, text: str) -> None:
    budgets = advised(problem, text)
    raised = np.flatnonzero(budgets > problem.budget_bytes)
    assert len(raised) > 0
    allocate(replace(problem, budget_bytes=budgets), 30.0, 0.0)
    for client in raised:
        less = budgets.copy()
        less[client] -= 1
        message(replace(problem, budget_bytes=less))


def test_a_client_too_small_for_any_block():
    text = message(make([[300, 400], [300, 400]], [250, 900]))
    assert text == (
        "allocation, constraint budget: client 0 (class small) needs 1,300 bytes for its smallest block (block 0) but "
        "has a budget of 1,250: 50 bytes missing; the smallest budget that would do is 1,300"
    )


def test_a_client_smaller_than_its_base():
    text = message(make([[300, 400], [300, 400]], [-600, 900]))
    assert "client 0 (class small)" in text
    assert "900 bytes missing; the smallest budget that would do is 1,300" in text


def test_many_small_clients_are_counted_not_listed():
    text = message(make([[300]] * 9, [0] * 9))
    assert text.count("smallest block") == 1
    assert "client 0 (class small) (and 8 with the same figures) needs 1,300 bytes" in text


def test_max_blocks_too_small_for_the_coverage():
    text = message(make([[1, 1, 1]] * 2, [10, 10], coverage=2, max_blocks=2))
    assert "6 block places, but max_blocks = 2 gives 2 clients 4, 2 too few" in text
    assert "the smallest max_blocks that would do is 3" in text


def test_a_block_that_too_few_clients_can_hold():
    problem = make([[100, 700], [100, 700], [100, 700]], [750, 650, 400], coverage=2)
    text = message(problem)
    assert "constraint coverage: block 1 must be active on 2 clients, but only 1 can hold it" in text
    assert "client 1 (class large), needs 1,700 bytes and has 1,650: 50 bytes missing" in text
    assert_advice_is_tight(problem, text)


def test_too_few_places_with_equal_blocks():
    # 4 blocks on 2 of 2 clients each are 8 places. Room for 3 (10 left over) and 2 (40 left over): 90 + 60 + 100 more.
    problem = make([[100] * 4] * 2, [310, 240], coverage=2)
    text = message(problem)
    assert "constraint coverage: 4 blocks on 2 clients each are 8 block places, but the budgets hold 5" in text
    assert "short by 3" in text
    assert "250 bytes missing in all" in text
    assert "client 0 (class small) from 1,310 to 1,400 (+90)" in text
    assert "client 1 (class large) from 1,240 to 1,400 (+160)" in text
    assert_advice_is_tight(problem, text)


def test_too_few_places_takes_the_cheapest_client():
    # One place short of 3: client 0 lacks 60 of its 100 bytes, client 1 only 5 of its 10.
    problem = make([[100] * 3, [10] * 3], [140, 15])
    text = message(problem)
    assert "5 bytes missing in all; the smallest budget that would do: client 1 (class large)" in text
    assert "from 1,015 to 1,020 (+5)" in text
    assert_advice_is_tight(problem, text)


def test_max_blocks_limits_the_places_of_a_large_client():
    # Rooms for 5 and 1 of 4 blocks, but max_blocks = 2: 3 places, and only client 1 can take the fourth.
    problem = make([[100] * 4] * 2, [500, 130], max_blocks=2)
    text = message(problem)
    assert "are 4 block places, but the budgets hold 3, short by 1" in text
    assert "client 1 (class large) from 1,130 to 1,200 (+70)" in text
    assert_advice_is_tight(problem, text)


def test_too_few_places_with_unequal_blocks():
    problem = make([[100, 200, 300]], [350])
    text = message(problem)
    assert "short by at least 1" in text
    assert "client 0 (class small) from 1,350 to 1,600 (+250)" in text
    assert_advice_is_tight(problem, text)


def test_what_only_the_solver_can_see():
    problem = make([[4, 5, 6, 6]] * 2, [10, 10])
    text = message(problem)
    assert "budget and coverage together" in text
    assert "proven by the solver" in text
    assert "1 bytes missing in all" in text
    assert_advice_is_tight(problem, text)


def test_the_repair_is_the_cheapest_in_sum():
    # Client 0 keeps block 0 (50) and client 1 takes 45 + 55 in a room of 40: +60. Next best: 65, then 75, then 80.
    problem = make([[50, 60, 70], [40, 45, 55]], [50, 40])
    text = message(problem)
    assert "60 bytes missing in all" in text
    assert "client 1 (class large) from 1,040 to 1,100 (+60)" in text
    assert_advice_is_tight(problem, text)
