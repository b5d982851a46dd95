"""Rules, limits and times: contradictions are refused by name and number, and what is asked for holds."""

from dataclasses import replace

import numpy as np
import pytest

from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, allocate, check, smallest_budgets
from zorba_ray.allocation.objectives import client_seconds, round_seconds
from zorba_ray.errors import AllocationInfeasible, ConfigError


def flags(clients: int, blocks: int, *entries: tuple[int, int]) -> np.ndarray:
    found = np.zeros((clients, blocks), dtype=bool)
    for entry in entries:
        found[entry] = True
    return found


def make(room: list[int], sizes: list[int], **changes) -> AllocationProblem:
    """Clients with a base of 1,000 bytes and `room[n]` more, all with blocks of `sizes`."""
    clients = len(room)
    settings = {
        "base_bytes": np.full(clients, 1_000),
        "active_bytes": np.tile(sizes, (clients, 1)),
        "budget_bytes": 1_000 + np.array(room),
        "client_names": tuple(f"client {n} (class small)" for n in range(clients)),
    }
    return AllocationProblem.plain(**{**settings, **changes})


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"must_hold": flags(2, 3, (1, 2)), "must_not_hold": flags(2, 3, (1, 2))},
            ["client 1 (class small) must hold block 2", "must not hold it", "drop one"],
        ),
        ({"must_hold": np.ones((2, 2), dtype=bool)}, ["must_hold", "(2, 2)", "(2, 3)"]),
        ({"must_not_hold": np.full((2, 3), 0.5)}, ["must_not_hold", "truth values"]),
        ({"min_blocks": 0}, ["min_blocks", "0", ">= 1"]),
        ({"min_blocks": 4}, ["client 0 (class small)", "at least 4", "at most 3"]),
        ({"min_blocks": np.array([1, 3]), "max_blocks": 2}, ["client 1 (class small)", "at least 3", "at most 2"]),
        ({"max_blocks": np.array([2, 0])}, ["max_blocks[1]", "0", "> 0"]),
        ({"order": ("convergence", "time")}, ["time", "block_seconds"]),
        ({"order": ("convergence",)}, ["order", "two or three"]),
        ({"block_seconds": np.full((2, 3), np.nan)}, ["block_seconds[0, 0]", "finite"]),
        ({"block_seconds": np.full((2, 3), -1.0)}, ["block_seconds[0, 0]", "-1.0", ">= 0"]),
        ({"block_seconds": np.ones((2, 3)), "time_objective": "mean"}, ["time_objective", "mean", "slowest"]),
        ({"active_bytes": np.full((2, 3), 2**61)}, ["2**62", "bytes"]),
    ],
)
def test_contradictions_are_refused_by_name(changes, words):
    with pytest.raises(ConfigError) as caught:
        make([500, 500], [100, 100, 100], **changes)
    for word in words:
        assert word in str(caught.value)


def message(problem: AllocationProblem) -> str:
    with pytest.raises(AllocationInfeasible) as caught:
        allocate(problem, 30.0, 0.0)
    return str(caught.value)


def test_blocks_that_must_be_held_and_do_not_fit():
    text = message(make([450, 900], [100, 200, 300], must_hold=flags(2, 3, (0, 1), (0, 2))))
    assert text == (
        "allocation, constraint budget: client 0 (class small) needs 1,500 bytes for the blocks that it must hold (1, "
        "2) but has a budget of 1,450: 50 bytes missing; the smallest budget that would do is 1,500"
    )


def test_the_least_number_of_blocks_that_does_not_fit():
    text = message(make([250, 900], [100, 200, 300], min_blocks=2))
    assert "client 0 (class small) needs 1,300 bytes for its 2 smallest blocks (min_blocks)" in text
    assert "50 bytes missing; the smallest budget that would do is 1,300" in text
    text = message(make([350, 900], [100, 200, 300], min_blocks=2, must_hold=flags(2, 3, (0, 2))))
    assert "needs 1,400 bytes for the blocks that it must hold (2) and its 1 smallest others" in text


def test_the_smallest_block_is_one_that_may_be_held():
    text = message(make([150, 900], [100, 200, 300], must_not_hold=flags(2, 3, (0, 0))))
    assert "needs 1,200 bytes for its smallest block (block 1)" in text


@pytest.mark.parametrize("ask", [message, lambda problem: _what_if_message(problem)])
def test_rules_that_no_budget_cures(ask):
    must = make([900, 900], [100] * 3, must_hold=flags(2, 3, (1, 0), (1, 1)), max_blocks=1)
    assert "client 1 (class small) must hold 2 blocks (0, 1), but max_blocks lets it hold 1" in ask(must)
    never = make([900, 900], [100] * 3, must_not_hold=flags(2, 3, (0, 0), (0, 1)), min_blocks=2)
    assert "client 0 (class small) may hold 1 of 3 blocks, but must have at least 2" in ask(never)
    alone = make([900, 900], [100] * 3, must_not_hold=flags(2, 3, (0, 2)), coverage=2)
    assert "block 2 must be active on 2 clients, but only 1 of 2 may hold it (must_not_hold: allocation.rules)" in ask(
        alone
    )
    few = make([900, 900], [100] * 3, max_blocks=np.array([1, 1]))
    assert "3 block places, but max_blocks gives 2 clients 2, 1 too few, whatever the budgets" in ask(few)
    # Each rule leaves enough alone; together blocks 0 and 1 both need the one place of client 0.
    crossed = make([900] * 2, [100] * 3, max_blocks=np.array([1, 2]), must_not_hold=flags(2, 3, (1, 0), (1, 1)))
    assert "max_blocks, must_hold and must_not_hold" in ask(crossed)


def _what_if_message(problem: AllocationProblem) -> str:
    with pytest.raises(AllocationInfeasible) as caught:
        smallest_budgets(problem)
    return str(caught.value)


def test_holders_are_counted_among_those_that_may():
    problem = make([100, 250, 900], [100, 300], coverage=2, must_not_hold=flags(3, 2, (0, 1)))
    text = message(problem)
    assert "block 1 must be active on 2 clients, but only 1 can hold it" in text
    assert "the nearest other, client 1 (class small), needs 1,300 bytes and has 1,250: 50 bytes missing" in text


# --- kept ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[100, 100, 100, 100], [80, 100, 110, 130]])
def test_rules_and_limits_are_kept(sizes):
    must, never = flags(6, 4, (0, 3), (1, 3), (4, 0)), flags(6, 4, (2, 0), (3, 0), (5, 1))
    low, high = np.array([1, 1, 2, 2, 1, 1]), np.array([1, 2, 3, 3, 2, 2])
    problem = make([450] * 6, sizes, must_hold=must, must_not_hold=never, min_blocks=low, max_blocks=high, coverage=2)
    for epsilon in (0.0, 0.5, 1.0):
        answer = allocate(replace(problem, epsilon=epsilon), 30.0, 1e-2)
        assert answer.active.matrix[must].all()
        assert not answer.active.matrix[never].any()
        held = answer.active.counts
        assert (held >= low).all()
        assert (held <= high).all()
        assert answer.active.holders.min() >= 2


def test_check_names_rules_and_limits():
    problem = make([900] * 2, [100] * 3, must_hold=flags(2, 3, (0, 2)), must_not_hold=flags(2, 3, (1, 0)), min_blocks=2)
    found = "\n".join(check(problem, ActiveSets(np.array([[True, False, False], [True, True, False]]))))
    assert "client 0 (class small): has 1 active blocks; min_blocks is 2" in found
    assert "client 0 (class small): must hold block 2 and does not" in found
    assert "client 1 (class small): must not hold block 0 and does" in found
    assert "block 2: active on 0 clients" in found


# --- time ------------------------------------------------------------------------------------------------------------


def test_seconds_by_hand():
    seconds, stream = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]]), np.full((2, 3), 0.5)
    problem = make([900] * 2, [100] * 3, block_seconds=seconds, stream_seconds=stream)
    active = np.array([[False, True, False], [False, False, True]])
    # Client 0: 1 + 2·2 + 2·4 and two frozen blocks streamed; client 1: 10 + 20 + 2·40 and two.
    assert client_seconds(active, problem).tolist() == [13.0 + 1.0, 110.0 + 1.0]
    assert round_seconds(active, problem) == 111.0
    assert round_seconds(active, replace(problem, time_objective="sum")) == 125.0
    with pytest.raises(ConfigError, match="block_seconds"):
        client_seconds(active, make([900], [100, 100, 100]))


def test_time_first_leaves_slow_clients_the_last_blocks():
    """Four blocks on four clients, one of them ten times slower: it gets the last block, and f3 says so."""
    seconds = np.outer([1.0, 1.0, 1.0, 10.0], np.ones(4))
    problem = make([150] * 4, [100] * 4, block_seconds=seconds, order=("time", "convergence", "vram"))
    answer = allocate(problem, 30.0, 1e-6)
    assert answer.active.of(3) == {3}
    assert answer.f3_seconds == pytest.approx(10.0 * (4 + 1))
    assert [step.name for step in answer.steps] == [
        "best_time",
        "best_convergence",
        "nadir_time",
        "constrained_convergence",
        "best_vram",
        "nadir_convergence",
        "constrained_vram",
        "polished_convergence",
        "polished_time",
    ]
    assert {step.status for step in answer.steps} == {"optimal"}


def test_f3_is_reported_when_it_is_no_objective():
    problem = make([450] * 2, [100] * 3)
    assert allocate(problem, 30.0, 1e-6).f3_seconds is None
    timed = allocate(replace(problem, block_seconds=np.ones((2, 3))), 30.0, 1e-6)
    assert timed.f3_seconds == 6.0  # everything active: every block twice
