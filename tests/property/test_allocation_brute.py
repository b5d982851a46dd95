"""Every allocation of tiny problems, enumerated: the reference the solver is held to.

The enumeration writes the constraints and objectives again, in numpy over all 0/1 matrices at once, and imports
nothing of the model. Instances are seeded; a failure prints its seed.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zorba_ray.allocation import AllocationProblem, allocate, check, classes, solve
from zorba_ray.allocation.greedy import greedy
from zorba_ray.errors import AllocationInfeasible

SEEDS = range(60)
MANY_SEEDS = range(60, 1060)


def random_problem(seed: int) -> AllocationProblem:
    """Up to 4 clients x 4 blocks; equal and unequal blocks, tight and loose budgets, both objectives and orders."""
    rng = np.random.default_rng(seed)
    clients, blocks = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    base = rng.integers(5, 20, clients)
    if rng.random() < 0.4:
        active = np.repeat(rng.integers(1, 6, (clients, 1)), blocks, axis=1)
        budget = base + rng.integers(4, 25, clients)
    else:
        active = rng.integers(1, 30, (clients, blocks))
        budget = base + rng.integers(10, 75, clients)
    if rng.random() < 0.2:
        base, active, budget = base * 1_000_003, active * 1_000_003, budget * 1_000_003 + rng.integers(0, 3, clients)
    return AllocationProblem(
        base_bytes=base,
        active_bytes=active,
        budget_bytes=budget,
        client_names=tuple(f"client {client}" for client in range(clients)),
        block_weight=rng.uniform(0.5, 2.0, blocks) if rng.random() < 0.6 else np.ones(blocks),
        shared_cost=rng.uniform(0.0, 1.0, blocks),
        beta=float(rng.choice([0.0, 0.0, 0.3])),
        epsilon=float(rng.choice([0.0, 1.0, 0.25, 0.5, 0.8])),
        coverage=int(min(clients, rng.choice([1, 1, 2]))),
        max_blocks=None if rng.random() < 0.6 else int(rng.integers(1, 4)),
        vram_objective="worst_share" if rng.random() < 0.5 else "total_bytes",
        order=("convergence", "vram") if rng.random() < 0.7 else ("vram", "convergence"),
        data_weight=np.full(clients, 1.0 / clients),
    )


def every_allocation(problem: AllocationProblem) -> np.ndarray:
    """[M, N, L] bool: all valid matrices."""
    clients, blocks = problem.active_bytes.shape
    rows = []
    for client in range(clients):
        rows.append(
            [
                row
                for row in itertools.product((False, True), repeat=blocks)
                if 1 <= sum(row) <= (problem.max_blocks or blocks)
                and problem.base_bytes[client] + problem.active_bytes[client][list(row)].sum()
                <= problem.budget_bytes[client]
            ]
        )
    matrices = np.array(list(itertools.product(*rows)), dtype=bool).reshape(-1, clients, blocks)
    return matrices[(matrices.sum(axis=1) >= problem.coverage).all(axis=1)]


def evaluate(problem: AllocationProblem, matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Both objectives of every matrix, [M] each."""
    held = matrices.sum(axis=1)
    everybody = problem.block_weight.sum() / problem.clients + problem.beta * problem.shared_cost.sum()
    rare = (problem.block_weight / held).sum(axis=1)
    shared = problem.beta * (problem.shared_cost * held).sum(axis=1) / problem.clients
    used = problem.base_bytes + (matrices * problem.active_bytes).sum(axis=2)
    total, share = used.sum(axis=1).astype(float), (used / problem.budget_bytes).max(axis=1)
    vram = total if problem.vram_objective == "total_bytes" else share
    return {"convergence": (rare + shared) / everybody, "vram": vram}


def expected_steps(problem: AllocationProblem, matrices: np.ndarray) -> list[float]:
    """The five optima of the algorithm, in its order."""
    values = evaluate(problem, matrices)
    first, second = (values[name] for name in problem.order)
    digits = 1 + 1e-9
    best_first, best_second = first.min(), second.min()
    nadir = first[second <= best_second * digits].min()
    allowed = best_first + problem.epsilon * (nadir - best_first)
    constrained = second[first <= allowed * digits].min()
    return [best_first, best_second, nadir, constrained, first[second <= constrained * digits].min()]


def compare_with_enumeration(seed: int) -> bool:
    """Assert the solver's answer for one seed; whether the instance was feasible."""
    problem = random_problem(seed)
    matrices = every_allocation(problem)
    if len(matrices) == 0:
        with pytest.raises(AllocationInfeasible):
            allocate(problem, time_limit_s=60.0, gap=0.0)
        return False
    answer = allocate(problem, time_limit_s=60.0, gap=0.0)
    expected = expected_steps(problem, matrices)

    # The same optimum in every step, and a bound that is one.
    np.testing.assert_allclose([done.value for done in answer.steps], expected, rtol=1e-7, err_msg=f"seed {seed}")
    for done, optimum in zip(answer.steps, expected, strict=True):
        assert done.status == "optimal", f"seed {seed}: {done}"
        assert done.bound <= optimum * (1 + 1e-6), f"seed {seed}: {done}"
        assert done.gap <= 1e-6, f"seed {seed}: {done}"

    # The point returned has those values, is valid, and no other point dominates it.
    mine = evaluate(problem, answer.active[None])
    first, second = (float(mine[name][0]) for name in problem.order)
    np.testing.assert_allclose([first, second], [expected[4], expected[3]], rtol=1e-7, err_msg=f"seed {seed}")
    assert any((answer.active == matrix).all() for matrix in matrices), f"seed {seed}: not a valid matrix"
    others = evaluate(problem, matrices)
    less = [others[name] < float(mine[name][0]) * (1 - 1e-9) for name in problem.order]
    not_more = [others[name] <= float(mine[name][0]) * (1 + 1e-9) for name in problem.order]
    assert not (not_more[0] & not_more[1] & (less[0] | less[1])).any(), f"seed {seed}: dominated"
    return True


def test_solver_equals_enumeration():
    feasible = [compare_with_enumeration(seed) for seed in SEEDS]
    assert 20 <= sum(feasible) < len(SEEDS)  # both kinds were seen


@pytest.mark.slow
def test_solver_equals_enumeration_on_many():
    feasible = [compare_with_enumeration(seed) for seed in MANY_SEEDS]
    assert sum(feasible) >= 200


def one_by_one(merged: classes.Merged) -> classes.Merged:
    """The same problem with a row for every client."""
    group = np.repeat(np.arange(len(merged.size)), merged.size)[np.argsort(np.concatenate(merged.members))]
    rows = ("equal", "active_bytes", "capacity", "least", "required", "forbidden", "budget_bytes", "base_bytes")
    return replace(
        merged,
        members=tuple(np.array([client]) for client in range(merged.clients)),
        size=np.ones(merged.clients, dtype=np.int64),
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
    monkeypatch.setattr(solve, "merge", lambda problem: one_by_one(classes.merge(problem)))
    for problem, answer in zip(problems, merged, strict=True):
        plain = allocate(problem, 60.0, 0.0)
        assert answer.gap <= 1e-6
        np.testing.assert_allclose(
            [done.value for done in answer.steps], [done.value for done in plain.steps], rtol=1e-7
        )


def test_front_is_monotone_and_ends_at_the_optima():
    seeds = [seed for seed in range(200) if len(every_allocation(random_problem(seed))) > 300][:4]
    for seed in seeds:
        problem = random_problem(seed)
        answers = [allocate(replace(problem, epsilon=eps), 60.0, 0.0) for eps in (0.0, 0.3, 0.6, 1.0)]
        first, second = (
            [float(evaluate(problem, answer.active[None])[name][0]) for answer in answers] for name in problem.order
        )
        assert all(a <= b * (1 + 1e-9) for a, b in itertools.pairwise(first)), f"seed {seed}: {first}"
        assert all(a * (1 + 1e-9) >= b for a, b in itertools.pairwise(second)), f"seed {seed}: {second}"
        values = evaluate(problem, every_allocation(problem))
        assert first[0] == pytest.approx(values[problem.order[0]].min(), rel=1e-9), f"seed {seed}: ε = 0"
        assert second[-1] == pytest.approx(values[problem.order[1]].min(), rel=1e-9), f"seed {seed}: ε = 1"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), density=st.floats(0.2, 1.0))
def test_check_agrees_with_enumeration(seed: int, density: float):
    problem = random_problem(seed)
    active = np.random.default_rng(seed).random(problem.active_bytes.shape) < density
    valid = any((active == matrix).all() for matrix in every_allocation(problem))
    assert (check(problem, active) == []) == valid


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_greedy_is_valid_or_none(seed: int):
    problem = random_problem(seed)
    merged = classes.merge(problem)
    for objective in ("convergence", "vram"):
        counts = greedy(merged, objective)
        if counts is not None:
            assert check(problem, classes.deal(counts, merged)) == []
        elif merged.equal.all():
            # Where blocks cost the same, the heuristic is exact about feasibility.
            assert len(every_allocation(problem)) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_dealing_gives_the_counts_back_and_balances(data: st.DataObject):
    size, blocks = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    counts = np.array([data.draw(st.lists(st.integers(0, size), min_size=blocks, max_size=blocks))])
    # One client of another kind, then the group, then another one more.
    places = np.array([blocks + 1, *[blocks] * size, blocks + 2])
    problem = AllocationProblem(
        base_bytes=np.ones(size + 2),
        active_bytes=np.array([[2] * blocks, *[[1] * blocks] * size, [3] * blocks]),
        budget_bytes=1 + 3 * places,
        client_names=tuple(f"client {client}" for client in range(size + 2)),
        block_weight=np.ones(blocks),
        shared_cost=np.zeros(blocks),
        beta=0.0,
        epsilon=0.0,
        data_weight=np.full(size + 2, 1.0 / (size + 2)),
    )
    merged = classes.merge(problem)
    assert [len(members) for members in merged.members] == [1, size, 1]
    active = classes.deal(np.concatenate([0 * counts, counts, 0 * counts]), merged)
    assert (active.sum(axis=0) == counts[0]).all()
    assert not active[[0, size + 1]].any()  # nobody outside the group
    held = active[1 : 1 + size].sum(axis=1)
    assert held.max() - held.min() <= 1
