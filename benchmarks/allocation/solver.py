"""Seconds and gaps of the solver on the fleets of `families.py`, one thread."""

import time

from benchmarks.allocation.families import five_classes
from benchmarks.allocation.families import unequal as unequal_fleet
from benchmarks.rows import Row, make_row
from zorba_ray.allocation import allocate, check

DEVICE = "cpu, 1 thread"
# Clients, blocks, seconds that one minimisation may take, the relative gap it stops at, and whether that is a goal.
SIZES = ((16, 24, 30.0, 0.01, True), (64, 24, 60.0, 0.02, True), (128, 32, 60.0, 0.02, False))
SEEDS = range(5)
CLASSES_GAP = 1e-4


def equal(quick: bool) -> list[Row]:
    """Five classes of equal clients: from building the problem to the checked matrix."""
    found = []
    for clients in (10_000,) if quick else (10_000, 1_000_000):
        wall, cpu, whole = [], [], True
        for _ in range(1 if quick else 3):
            began, cpu_began = time.perf_counter(), time.process_time()
            problem = five_classes(clients)
            answer = allocate(problem, time_limit_s=60.0, gap=CLASSES_GAP)
            wall.append(time.perf_counter() - began)
            cpu.append(time.process_time() - cpu_began)
            whole &= {step.status for step in answer.steps} == {"optimal"} and check(problem, answer.active) == []
        name, goal = f"equal blocks, 5 classes, {clients:,} × 32, all steps", f"proven within {CLASSES_GAP:g}, ≤ 5 s"
        for clock, seconds in (("wall", wall), ("CPU", cpu)):
            met = whole and sorted(seconds)[len(seconds) // 2] <= 5
            found.append(make_row(f"{name} ({clock})", seconds, "s", goal, met, DEVICE))
    return found


def unequal(quick: bool) -> list[Row]:
    """The longest minimisation and the largest gap of each seed; every one of the five has the limit for itself."""
    found = []
    for clients, blocks, limit, gap, is_goal in SIZES[:2] if quick else SIZES:
        longest, largest, first = [], [], []
        for seed in SEEDS[:1] if quick else SEEDS:
            answer = allocate(unequal_fleet(clients, blocks, seed), time_limit_s=5 * limit, gap=gap)
            longest.append(max(step.seconds for step in answer.steps))
            largest.append(100 * answer.gap)
            first.append(answer.steps[0].seconds)
        name, goal = f"unequal {clients}×{blocks}", f"gap ≤ {100 * gap:g} % in {limit:g} s" if is_goal else "none"
        met = max(longest) <= limit and max(largest) <= 100 * gap * (1 + 1e-3) if is_goal else None
        found += [
            make_row(f"{name}, longest minimisation", longest, "s", goal, met, DEVICE),
            make_row(f"{name}, largest gap", largest, "%", goal, met, DEVICE),
            make_row(f"{name}, f1 alone", first, "s", goal, met if met is None else max(first) <= limit, DEVICE),
        ]
    return found
