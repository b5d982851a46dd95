"""The problem's validation, the answer's JSON form, and the objectives against numbers worked out by hand."""

import numpy as np
import pytest

from tests.support.fleets import flags, fleet
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, check
from zorba_ray.allocation.classes import merge
from zorba_ray.allocation.objectives import counting_bound, f1, f2_bytes, worst_share
from zorba_ray.errors import ConfigError


def two_by_two(**changes) -> AllocationProblem:
    settings = {
        "base_bytes": np.array([100, 200]),
        "active_bytes": np.array([[10, 20], [30, 40]]),
        "budget_bytes": np.array([130, 260]),
        "client_names": ("client 0 (class small)", "client 1 (class large)"),
        "block_weight": np.array([1.0, 3.0]),
        "shared_cost": np.array([1.0, 2.0]),
        "beta": 0.0,
        "epsilon": 0.5,
    }
    return AllocationProblem(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_bytes": np.array([100])}, ["base_bytes", "(1,)", "(2,)"]),
        ({"active_bytes": np.ones(2)}, ["active_bytes", "(2,)", "[N, L]"]),
        ({"active_bytes": np.ones((2, 0))}, ["active_bytes", "(2, 0)", "at least 1"]),
        ({"active_bytes": np.ones((2, 3), dtype=int)}, ["block_weight", "(2,)", "(3,)"]),
        ({"active_bytes": np.array([[1, 2], [3, -4]])}, ["active_bytes[1, 1]", "-4", ">= 0"]),
        ({"base_bytes": np.array([100, 0])}, ["base_bytes[1]", "> 0"]),
        ({"budget_bytes": np.array([-1, 5])}, ["budget_bytes[0]", "-1", "> 0"]),
        ({"budget_bytes": np.array([1.5, 5.0])}, ["budget_bytes[0]", "whole"]),
        ({"budget_bytes": np.array([np.nan, 5.0])}, ["budget_bytes[0]", "finite"]),
        ({"block_weight": np.array([1.0, np.nan])}, ["block_weight[1]", "finite"]),
        ({"block_weight": np.array([1.0, 0.0])}, ["block_weight[1]", "> 0"]),
        ({"shared_cost": np.array([-1.0, 0.0])}, ["shared_cost[0]", ">= 0"]),
        ({"shared_cost": "much"}, ["shared_cost", "much"]),
        ({"client_names": ("", "b")}, ["client_names", "non-empty"]),
        ({"beta": -0.1}, ["beta", "-0.1"]),
        ({"beta": float("inf")}, ["beta", "finite"]),
        ({"epsilon": 1.01}, ["epsilon", "1.01", "[0, 1]"]),
        ({"epsilon": float("nan")}, ["epsilon", "nan"]),
        ({"coverage": 0}, ["coverage", "0"]),
        ({"coverage": 3}, ["coverage", "3", "2"]),
        ({"coverage": True}, ["coverage", "True"]),
        ({"max_blocks": 0}, ["max_blocks", "0", ">= 1"]),
        ({"vram_objective": "mean"}, ["vram_objective", "mean", "worst_share"]),
        ({"order": ("vram", "vram")}, ["order", "vram", "convergence"]),
        ({"order": ("convergence",)}, ["order", "two or three"]),
        ({"order": ("convergence", "time")}, ["time", "block_seconds"]),
        (
            {"must_hold": flags(2, 2, (1, 1)), "must_not_hold": flags(2, 2, (1, 1))},
            ["client 1 (class large) must hold block 1", "must not hold it", "drop one"],
        ),
        ({"must_hold": np.ones((3, 2), dtype=bool)}, ["must_hold", "(3, 2)", "(2, 2)"]),
        ({"must_not_hold": np.full((2, 2), 0.5)}, ["must_not_hold", "truth values"]),
        ({"min_blocks": 0}, ["min_blocks", "0", ">= 1"]),
        ({"min_blocks": 4}, ["client 0 (class small)", "at least 4", "at most 2"]),
        ({"min_blocks": np.array([1, 2]), "max_blocks": 1}, ["client 1 (class large)", "at least 2", "at most 1"]),
        ({"max_blocks": np.array([2, 0])}, ["max_blocks[1]", "0", "> 0"]),
        ({"block_seconds": np.full((2, 2), np.nan)}, ["block_seconds[0, 0]", "finite"]),
        ({"block_seconds": np.full((2, 2), -1.0)}, ["block_seconds[0, 0]", "-1.0", ">= 0"]),
        ({"active_bytes": np.full((2, 2), 2**61)}, ["2**62", "bytes"]),
    ],
)
def test_bad_settings_are_refused_by_name(changes, words):
    with pytest.raises(ConfigError) as caught:
        two_by_two(**changes)
    for word in words:
        assert word in str(caught.value)


def test_arrays_are_read_only_copies():
    mine = np.array([100, 200])
    problem = two_by_two(base_bytes=mine)
    mine[0] = 999
    assert problem.base_bytes[0] == 100
    with pytest.raises(ValueError, match="read-only"):
        problem.base_bytes[0] = 1


def test_one_row_or_number_for_all_stays_one():
    row = np.broadcast_to(np.array([3, 4]), (1_000, 2))
    problem = AllocationProblem(np.array(10), row, np.array(20), must_hold=np.broadcast_to([True, False], (1_000, 2)))
    assert problem.active_bytes.strides[0] == 0
    assert problem.required.strides[0] == 0
    assert problem.active_bytes.shape == (1_000, 2)
    assert (problem.base_bytes == 10).all()


def test_large_bytes_stay_exact():
    # 2**53 + 1 does not exist in float64.
    problem = two_by_two(budget_bytes=np.array([2**53 + 1, 2**53 + 3]))
    assert problem.budget_bytes.tolist() == [2**53 + 1, 2**53 + 3]


def test_objectives_by_hand():
    problem = two_by_two(beta=0.5)
    active = np.array([[True, False], [True, True]])
    # N_b = (2, 1). Rare: 1/2 + 3/1 = 3.5. Shared: 0.5 (1·2 + 2·1)/2 = 1. Everybody: (1 + 3)/2 + 0.5 (1 + 2) = 3.5.
    assert f1(active, problem) == pytest.approx(4.5 / 3.5)
    assert f1(np.ones((2, 2), dtype=bool), problem) == pytest.approx(1.0)
    assert f1(np.array([[True, False], [True, False]]), problem) == float("inf")
    assert f2_bytes(active, problem) == 380
    assert worst_share(active, problem) == pytest.approx(270 / 260)


def test_counting_bounds_are_bounds_and_not_nothing():
    problem = merge(two_by_two(beta=0.5))
    # Alone each block does best on both clients: f1 = 1 is a bound here, and total bytes >= base + cheapest blocks.
    assert counting_bound(problem, "convergence") == pytest.approx(1.0)
    assert counting_bound(problem, "vram") == 100 + 200 + max(10 + 30, 10 + 20)
    share = merge(two_by_two(beta=0.5, vram_objective="worst_share"))
    assert counting_bound(share, "vram") == pytest.approx(230 / 260)
    # Block 1 fits client 0 only: its best is one holder, (1/2 + 3) / 2 with β = 0.
    narrow = merge(two_by_two(budget_bytes=np.array([130, 239])))
    assert counting_bound(narrow, "convergence") == pytest.approx(3.5 / 2)


def test_check_names_every_violation():
    problem = two_by_two(coverage=2, max_blocks=1)
    found = check(problem, ActiveSets(np.array([[True, True], [False, False]])))
    assert found == [
        "client 1 (class large): has no active block; every client needs at least 1",
        "client 0 (class small): has 2 active blocks; max_blocks is 1",
        "block 0: active on 1 clients; coverage is 2",
        "block 1: active on 1 clients; coverage is 2",
    ]
    over = check(two_by_two(), ActiveSets(np.array([[True, False], [True, True]])))
    assert over == ["client 1 (class large): holds 270 bytes, 10 over its budget of 260"]
    ruled = fleet([900] * 2, [100] * 3, must_hold=flags(2, 3, (0, 2)), must_not_hold=flags(2, 3, (1, 0)), min_blocks=2)
    assert check(ruled, ActiveSets.of_sets([{0}, {0, 1}], 3)) == [
        "client 0 (class small): has 1 active blocks; min_blocks is 2",
        "client 0 (class small): must hold block 2 and does not",
        "client 1 (class large): must not hold block 0 and does",
        "block 2: active on 0 clients; coverage is 1",
    ]
    assert "shape (2, 3)" in check(problem, ActiveSets.of_all(2, 3))[0]
    assert check(two_by_two(), ActiveSets.of_sets([{0}, {1}], 2)) == []
