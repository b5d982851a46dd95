"""Every allocation of tiny problems, enumerated: the reference the solver is held to.

The enumeration is `tests/support/enumerated.py`.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.enumerated import (
    compare_with_enumeration,
    every_allocation,
    random_full_problem,
    random_matrix,
    random_problem,
)
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import AllocationProblem, allocate, check, classes, lexicographic
from zorba_ray.allocation.start import greedy

SEEDS = range(60)
FULL_SEEDS = range(40)
MANY_SEEDS = range(60, 1060)


def test_solver_equals_enumeration():
    feasible = [compare_with_enumeration(random_problem(seed), seed) for seed in SEEDS]
    assert 20 <= sum(feasible) < len(SEEDS)  # both kinds were seen


def test_solver_equals_enumeration_with_rules_times_and_any_order():
    feasible = [compare_with_enumeration(random_full_problem(seed), seed) for seed in FULL_SEEDS]
    assert 10 <= sum(feasible) < len(FULL_SEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("family", [random_problem, random_full_problem])
def test_solver_equals_enumeration_on_many(family):
    feasible = [compare_with_enumeration(family(seed), seed) for seed in MANY_SEEDS]
    assert sum(feasible) >= 200


def one_by_one(merged: classes.Groups) -> classes.Groups:
    """The same problem with a row for every client."""
    group = np.repeat(np.arange(len(merged.size)), merged.size)[np.argsort(np.concatenate(merged.members))]
    rows = ("equal", "active_bytes", "capacity", "least", "required", "forbidden", "budget_bytes", "base_bytes")
    return replace(
        merged,
        members=tuple(np.array([client]) for client in range(merged.source.clients)),
        size=np.ones(merged.source.clients, dtype=np.int64),
        **{name: getattr(merged, name)[group] for name in rows},
    )


def test_merged_clients_equal_the_plain_model(monkeypatch):
    def merges_something(problem: AllocationProblem) -> bool:
        return len(classes.merge(problem).size) < problem.clients

    def with_equal_clients(seed: int) -> AllocationProblem:
        problem = random_problem(seed)
        same = np.zeros(problem.clients, dtype=int)
        fields = ("base_bytes", "active_bytes", "budget_bytes")
        return replace(problem, **{name: getattr(problem, name)[same] for name in fields}, epsilon=0.5)

    problems = [problem for problem in map(with_equal_clients, range(120)) if merges_something(problem)]
    problems = [problem for problem in problems if len(every_allocation(problem))][:10]
    assert len(problems) == 10
    merged = [allocate(problem, 60.0, 0.0) for problem in problems]
    monkeypatch.setattr(lexicographic, "merge", lambda problem: one_by_one(classes.merge(problem)))
    for problem, answer in zip(problems, merged, strict=True):
        plain = allocate(problem, 60.0, 0.0)
        assert answer.gap <= 1e-6
        np.testing.assert_allclose(
            [done.value for done in answer.steps], [done.value for done in plain.steps], rtol=1e-7
        )


def test_check_agrees_with_enumeration():
    """Random matrices, and valid ones with an entry or two turned over."""
    seen = {True: 0, False: 0}
    for seed in range(60):
        problem = random_full_problem(seed)
        valid = every_allocation(problem)
        known = {matrix.tobytes() for matrix in valid}
        rng = np.random.default_rng(seed)
        for trial in range(20):
            active = random_matrix(problem, valid, rng, near=trial % 2 == 1)
            expected = active.tobytes() in known
            assert (check(problem, ActiveSets(active)) == []) == expected, f"seed {seed}, trial {trial}"
            seen[expected] += 1
    assert min(seen.values()) >= 100


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_greedy_is_valid_or_none(seed: int):
    problem = random_full_problem(seed)
    merged = classes.merge(problem)
    for objective in ("convergence", "vram"):
        counts = greedy(merged, objective)
        if counts is not None:
            assert check(problem, classes.deal(counts, merged)) == []
            assert merged.accepts(counts)
        elif merged.equal.all() and problem.must_hold is None and problem.must_not_hold is None:
            # Where blocks cost the same, the heuristic is exact about feasibility.
            assert len(every_allocation(problem)) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_dealing_gives_the_counts_back_and_balances(data: st.DataObject):
    size, blocks = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    counts = np.array([data.draw(st.lists(st.integers(0, size), min_size=blocks, max_size=blocks))])
    # One client of another kind, then the group, then another one more.
    places = np.array([blocks + 1, *[blocks] * size, blocks + 2])
    active_bytes = np.array([[2] * blocks, *[[1] * blocks] * size, [3] * blocks])
    problem = AllocationProblem(np.ones(size + 2), active_bytes, 1 + 3 * places)
    merged = classes.merge(problem)
    assert [len(members) for members in merged.members] == [1, size, 1]
    active = classes.deal(np.concatenate([0 * counts, counts, 0 * counts]), merged).matrix
    assert (active.sum(axis=0) == counts[0]).all()
    assert not active[[0, size + 1]].any()  # nobody outside the group
    held = active[1 : 1 + size].sum(axis=1)
    assert held.max() - held.min() <= 1
