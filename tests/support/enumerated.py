"""Every allocation of tiny problems, enumerated: the reference that solver and checker are held to.

The enumeration writes the constraints and objectives again, in numpy over all 0/1 matrices at once, and imports
nothing of the model. Instances are seeded; a failure prints its seed.
"""

import itertools
from dataclasses import replace

import numpy as np

from zorba_ray.allocation import AllocationProblem, allocate
from zorba_ray.errors import AllocationInfeasible


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
        found["time"] = seconds.max(axis=1)
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
    """Assert the solver's answer, step by step and as a Pareto-optimal point; whether the instance was feasible."""
    matrices = every_allocation(problem)
    if len(matrices) == 0:
        try:
            allocate(problem, time_limit_s=60.0, gap=0.0)
        except AllocationInfeasible:
            return False
        raise AssertionError(f"seed {seed}: there is no allocation, and one was returned")
    answer = allocate(problem, time_limit_s=60.0, gap=0.0)
    expected = expected_steps(problem, matrices)

    # The same optimum in every step, and a bound that is one.
    np.testing.assert_allclose([done.value for done in answer.steps], expected, rtol=1e-7, err_msg=f"seed {seed}")
    for done, optimum in zip(answer.steps, expected, strict=True):
        assert done.status == "optimal", f"seed {seed}: {done}"
        assert done.bound <= optimum * (1 + 1e-6), f"seed {seed}: {done}"
        assert done.gap <= 1e-6, f"seed {seed}: {done}"

    # The point returned has those values, is valid, and no other point dominates it.
    mine = {name: float(value[0]) for name, value in evaluate(problem, answer.active.matrix[None]).items()}
    last = [mine[name] for name in problem.order[::-1]]
    fixed = expected[-len(problem.order) :]  # the last objective's optimum, then those of the polishing steps
    np.testing.assert_allclose(last, fixed, rtol=1e-7, err_msg=f"seed {seed}")
    assert any((answer.active.matrix == matrix).all() for matrix in matrices), f"seed {seed}: not a valid matrix"
    others = evaluate(problem, matrices)
    not_more = np.logical_and.reduce([others[name] <= mine[name] * (1 + 1e-9) for name in problem.order])
    less = np.logical_or.reduce([others[name] < mine[name] * (1 - 1e-9) for name in problem.order])
    assert not (not_more & less).any(), f"seed {seed}: dominated"
    return True


def random_matrix(problem: AllocationProblem, valid: np.ndarray, rng: np.random.Generator, near: bool) -> np.ndarray:
    """[N, L] bool: any matrix, or, where there is one, a valid one with some entries turned over."""
    if near and len(valid):
        return valid[rng.integers(len(valid))] ^ (rng.random(problem.active_bytes.shape) < 0.1)
    return rng.random(problem.active_bytes.shape) < rng.uniform(0.2, 1.0)
