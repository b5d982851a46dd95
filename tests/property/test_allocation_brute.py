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

from zorba_ray.allocation import AllocationProblem, allocate, check, classes, solve, step
from zorba_ray.allocation.greedy import greedy
from zorba_ray.errors import AllocationInfeasible

SEEDS = range(60)
FULL_SEEDS = range(40)
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


def random_full_problem(seed: int) -> AllocationProblem:
    """The same with all that the problem knows: rules, limits per client, times, and any order of the objectives."""
    plain = random_problem(seed)
    rng = np.random.default_rng((seed, 1))
    shape = (plain.clients, plain.blocks)
    rule = rng.choice([0, 0, 0, 0, 0, 1, 2], shape)
    orders = [order for count in (2, 3) for order in itertools.permutations(("convergence", "vram", "time"), count)]
    speed = rng.uniform(0.5, 2.0, (plain.clients, 1))
    equal = rng.random() < 0.3
    same = np.zeros(plain.clients, dtype=int) if equal else np.arange(plain.clients)
    return replace(
        plain,
        **{name: getattr(plain, name)[same] for name in ("base_bytes", "active_bytes", "budget_bytes")},
        min_blocks=rng.integers(1, 3, plain.clients).clip(1, plain.blocks) if rng.random() < 0.3 else 1,
        max_blocks=rng.integers(2, 5, plain.clients) if rng.random() < 0.3 and plain.blocks > 1 else None,
        must_hold=(rule == 1)[same] if rng.random() < 0.5 else None,
        must_not_hold=(rule == 2)[same] if rng.random() < 0.5 else None,
        block_seconds=(speed * rng.uniform(0.5, 1.5, plain.blocks))[same],
        stream_seconds=rng.uniform(0.0, 0.5, shape)[same] if rng.random() < 0.5 else None,
        time_objective="slowest" if rng.random() < 0.5 else "sum",
        order=orders[int(rng.integers(len(orders)))],
    )


def every_allocation(problem: AllocationProblem) -> np.ndarray:
    """[M, N, L] bool: all valid matrices."""
    clients, blocks = problem.active_bytes.shape
    low = np.broadcast_to(problem.min_blocks, (clients,))
    high = np.broadcast_to(blocks if problem.max_blocks is None else problem.max_blocks, (clients,))
    must = np.zeros((clients, blocks)) if problem.must_hold is None else problem.must_hold
    never = np.zeros((clients, blocks)) if problem.must_not_hold is None else problem.must_not_hold
    rows = []
    for client in range(clients):
        rows.append(
            [
                row
                for row in itertools.product((False, True), repeat=blocks)
                if low[client] <= sum(row) <= high[client]
                and problem.base_bytes[client] + problem.active_bytes[client][list(row)].sum()
                <= problem.budget_bytes[client]
                and all(held or not has for held, has in zip(row, must[client], strict=True))
                and not any(held and may_not for held, may_not in zip(row, never[client], strict=True))
            ]
        )
    matrices = np.array(list(itertools.product(*rows)), dtype=bool).reshape(-1, clients, blocks)
    return matrices[(matrices.sum(axis=1) >= problem.coverage).all(axis=1)]


def evaluate(problem: AllocationProblem, matrices: np.ndarray) -> dict[str, np.ndarray]:
    """The objectives of every matrix, [M] each."""
    held = matrices.sum(axis=1)
    everybody = problem.block_weight.sum() / problem.clients + problem.beta * problem.shared_cost.sum()
    rare = (problem.block_weight / held).sum(axis=1)
    shared = problem.beta * (problem.shared_cost * held).sum(axis=1) / problem.clients
    used = problem.base_bytes + (matrices * problem.active_bytes).sum(axis=2)
    total, share = used.sum(axis=1).astype(float), (used / problem.budget_bytes).max(axis=1)
    vram = total if problem.vram_objective == "total_bytes" else share
    found = {"convergence": (rare + shared) / everybody, "vram": vram}
    if problem.block_seconds is not None:
        # A block runs twice when it or one before it is active; a frozen one is streamed.
        seconds = np.zeros(matrices.shape[:2])
        started = np.zeros(matrices.shape[:2], dtype=bool)
        for block in range(matrices.shape[2]):
            started |= matrices[:, :, block]
            seconds += problem.block_seconds[:, block] * np.where(started, 2, 1)
            if problem.stream_seconds is not None:
                seconds += problem.stream_seconds[:, block] * ~matrices[:, :, block]
        found["time"] = seconds.max(axis=1) if problem.time_objective == "slowest" else seconds.sum(axis=1)
    return found


def expected_steps(problem: AllocationProblem, matrices: np.ndarray) -> list[float]:
    """The optima of the algorithm's steps, in its order."""
    values, digits = evaluate(problem, matrices), 1 + 1e-9
    order = problem.order
    allowed = [np.ones(len(matrices), dtype=bool)]  # by the caps of the first 0, 1, 2 objectives
    optima = [float(values[order[0]].min())]
    for one, other in itertools.pairwise(order):
        first, second, mask = values[one], values[other], allowed[-1]
        best_second = second[mask].min()
        nadir = first[mask & (second <= best_second * digits)].min()
        best_first = first[mask].min()
        allowed.append(mask & (first <= (best_first + problem.epsilon * (nadir - best_first)) * digits))
        optima += [float(best_second), float(nadir), float(second[allowed[-1]].min())]
    fixed = values[order[-1]] <= optima[-1] * digits
    for place in range(len(order) - 2, -1, -1):
        objective = values[order[place]]
        optima.append(float(objective[fixed & allowed[place]].min()))
        fixed = fixed & (objective <= optima[-1] * digits)
    return optima


def compare_with_enumeration(problem: AllocationProblem, seed: int) -> bool:
    """Assert the solver's answer; whether the instance was feasible."""
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
    mine = {name: float(value[0]) for name, value in evaluate(problem, answer.active[None]).items()}
    last = [mine[name] for name in problem.order[::-1]]
    fixed = expected[-len(problem.order) :]  # the last objective's optimum, then those of the polishing steps
    np.testing.assert_allclose(last, fixed, rtol=1e-7, err_msg=f"seed {seed}")
    assert any((answer.active == matrix).all() for matrix in matrices), f"seed {seed}: not a valid matrix"
    others = evaluate(problem, matrices)
    not_more = np.logical_and.reduce([others[name] <= mine[name] * (1 + 1e-9) for name in problem.order])
    less = np.logical_or.reduce([others[name] < mine[name] * (1 - 1e-9) for name in problem.order])
    assert not (not_more & less).any(), f"seed {seed}: dominated"
    return True


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


def test_check_agrees_with_enumeration():
    """Random matrices, and valid ones with an entry or two turned over."""
    seen = {True: 0, False: 0}
    for seed in range(60):
        problem = random_full_problem(seed)
        valid = every_allocation(problem)
        known = {matrix.tobytes() for matrix in valid}
        rng = np.random.default_rng(seed)
        for trial in range(20):
            active = rng.random(problem.active_bytes.shape) < rng.uniform(0.2, 1.0)
            if trial % 2 and len(valid):
                active = valid[rng.integers(len(valid))] ^ (rng.random(active.shape) < 0.1)
            expected = active.tobytes() in known
            assert (check(problem, active) == []) == expected, f"seed {seed}, trial {trial}"
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
            assert step.is_valid(merged, counts)
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
