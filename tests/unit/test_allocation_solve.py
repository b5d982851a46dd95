"""allocate() on small problems with known answers, and the parts of the solver's loop one by one."""

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from pyomo.contrib.solver.common.util import NoFeasibleSolutionError

from benchmarks.allocation.families import five_classes
from tests.support.fleets import equal_blocks, flags, fleet, unequal_blocks
from zorba_ray.active_sets import ActiveSets
from zorba_ray.allocation import allocate, check, highs, lexicographic, program, solve
from zorba_ray.allocation.classes import merge
from zorba_ray.allocation.highs import Minimisation, run_highs
from zorba_ray.allocation.objectives import (
    Cap,
    client_seconds,
    f1,
    f2_bytes,
    relative_gap,
    round_seconds,
    within_share,
    worst_share,
)
from zorba_ray.allocation.program import Program
from zorba_ray.allocation.solve import StepAnswer, minimise
from zorba_ray.allocation.start import greedy
from zorba_ray.errors import AllocationInfeasible, ConfigError

# --- known answers --------------------------------------------------------------------------------------------------

MIRRORED = ("vram", "convergence")
KNOWN = {
    # 6 places for 3 blocks: two holders each, f1 = (3 / 2) / (3 / 3).
    "ε = 0 fills the budgets": (equal_blocks([1, 2, 3], 3), {"f1": 1.5, "f2_bytes": 3_600, "holders": [2, 2, 2]}),
    "ε = 1 takes the least": (equal_blocks([1, 2, 3], 3, epsilon=1.0), {"f1": 3.0, "f2_bytes": 3_300}),
    "mirrored, ε = 0": (equal_blocks([1, 2, 3], 3, order=MIRRORED), {"f1": 3.0, "f2_bytes": 3_300}),
    "mirrored, ε = 1": (equal_blocks([1, 2, 3], 3, order=MIRRORED, epsilon=1.0), {"f1": 1.5, "f2_bytes": 3_600}),
    # Least: everybody one block, 1100 / 1150 of the smallest budget. Within that share clients 1 and 2 may use 1,195
    # and 1,291 bytes: 4 places for 3 blocks, f1 = (1 + 1 + 1/2) / 1.
    "worst share": (
        equal_blocks([1, 2, 3], 3, epsilon=1.0, vram_objective="worst_share"),
        {"worst_share": 1100 / 1150, "f1": 2.5},
    ),
    # 3 blocks on 2 equal clients: one of them holds 2, not 1.5 each.
    "the fullest of a class": (
        equal_blocks([3, 3], 3, epsilon=1.0, vram_objective="worst_share"),
        {"worst_share": 1200 / 1350, "bound of best_vram": 1200 / 1350},
    ),
    "coverage 1": (equal_blocks([1, 1, 2], 2, epsilon=1.0), {"f2_bytes": 3_300}),
    "coverage 2": (equal_blocks([1, 1, 2], 2, epsilon=1.0, coverage=2), {"f2_bytes": 3_400, "holders": [2, 2]}),
    "room for all": (equal_blocks([3, 3], 3), {"f1": 1.0, "counts": [3, 3]}),
    "max_blocks": (equal_blocks([3, 3], 3, max_blocks=2), {"f1": (1 / 2 + 1 + 1) / (3 / 2), "counts": [2, 2]}),
    # With β γ large, more holders cost more than they bring: ε = 0 no longer fills the budgets.
    "shared seeds": (equal_blocks([2, 2], 2, beta=2.0, shared_cost=np.ones(2)), {"holders": [1, 1]}),
    # min 9 / x + 1 / (4 − x) over x = 1, 2, 3: 9.33, 5, 4.
    "heavy blocks": (equal_blocks([1] * 4, 2, block_weight=np.array([9.0, 1.0])), {"holders": [3, 1]}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_answers(name: str):
    problem, expected = KNOWN[name]
    answer = allocate(problem, 30.0, 0.0)
    known = {"holders": answer.active.holders.tolist(), "counts": answer.active.counts.tolist(), **vars(answer)}
    known["bound of best_vram"] = next(step.bound for step in answer.steps if step.name == "best_vram")
    for key, value in expected.items():
        assert known[key] == pytest.approx(value), key
    assert answer.gap == pytest.approx(0.0, abs=1e-9)
    assert answer.solver.startswith("highs 1.") or answer.solver == "greedy, proven by counting"


@pytest.mark.parametrize("sizes", [[100, 100, 100, 100], [80, 100, 110, 130]])
def test_rules_and_limits_are_kept(sizes):
    must, never = flags(6, 4, (0, 3), (1, 3), (4, 0)), flags(6, 4, (2, 0), (3, 0), (5, 1))
    low, high = np.array([1, 1, 2, 2, 1, 1]), np.array([1, 2, 3, 3, 2, 2])
    problem = fleet([450] * 6, sizes, must_hold=must, must_not_hold=never, min_blocks=low, max_blocks=high, coverage=2)
    for epsilon in (0.0, 0.5, 1.0):
        active = allocate(replace(problem, epsilon=epsilon), 30.0, 1e-2).active
        assert active.matrix[must].all()
        assert not active.matrix[never].any()
        assert ((low <= active.counts) & (active.counts <= high)).all()
        assert active.holders.min() >= 2


def test_seconds_by_hand():
    seconds, stream = np.array([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]]), np.full((2, 3), 0.5)
    problem = fleet([900] * 2, [100] * 3, block_seconds=seconds, stream_seconds=stream)
    active = np.array([[False, True, False], [False, False, True]])
    # Client 0: 1 + 2·2 + 2·4 and two frozen blocks streamed; client 1: 10 + 20 + 2·40 and two.
    assert client_seconds(active, problem).tolist() == [13.0 + 1.0, 110.0 + 1.0]
    assert round_seconds(active, problem) == 111.0
    with pytest.raises(ConfigError, match="block_seconds"):
        client_seconds(active, fleet([900] * 2, [100] * 3))


def test_time_first_leaves_slow_clients_the_last_blocks():
    """Four blocks on four clients, one of them ten times slower: it gets the last block, and f3 says so."""
    seconds = np.outer([1.0, 1.0, 1.0, 10.0], np.ones(4))
    problem = fleet([150] * 4, [100] * 4, block_seconds=seconds, order=("time", "convergence", "vram"))
    answer = allocate(problem, 30.0, 1e-6)
    assert answer.active.of(3) == {3}
    assert round_seconds(answer.active.matrix, problem) == pytest.approx(10.0 * (4 + 1))
    assert " ".join(step.name for step in answer.steps) == (
        "best_time best_convergence nadir_time constrained_convergence best_vram nadir_convergence constrained_vram "
        "polished_convergence polished_time"
    )
    assert {step.status for step in answer.steps} == {"optimal"}


# --- size, time, determinism ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [100, 20_000])
def test_classes_are_merged_and_proven_whatever_their_size(clients: int):
    problem = five_classes(clients)
    merged = merge(problem)
    assert merged.active_bytes.shape == (5, 32)
    answer = allocate(problem, 60.0, 1e-3)
    assert {done.status for done in answer.steps} == {"optimal"}
    assert check(problem, answer.active) == []


def test_rules_and_times_split_classes():
    problem = five_classes(50)
    must = np.zeros((50, 32), dtype=bool)
    must[[0, 5], 3] = True  # two of the class with two places
    merged = merge(replace(problem, must_hold=must))
    assert merged.members[0].tolist() == [0, 5]
    assert len(merged.size) == 6
    timed = replace(problem, block_seconds=np.ones((50, 32)), order=("convergence", "time"))
    assert len(merge(timed).size) == 50


def test_a_deadline_in_the_past_ends_a_step():
    groups = merge(unequal_blocks(16, 8, seed=1))
    start = greedy(groups, "convergence")
    answer = minimise(groups, "convergence", (), start, 0.0, deadline=time.monotonic())
    assert answer == StepAnswer(start, float("-inf"), "limit", False)


def test_many_clients_are_solved_to_the_true_optimum():
    """20,000 clients with 3 of 6 places: f1 = L / K = 2. In units of 1/N_b this lies under the solver's tolerances."""
    problem = equal_blocks([3] * 20_000, 6)
    merged = merge(problem)
    answer = minimise(merged, "convergence", (), None, gap=1e-6, deadline=time.monotonic() + 60)
    assert answer.counts is not None
    assert f1(answer.counts, merged) == pytest.approx(2.0, rel=1e-5)
    assert answer.bound == pytest.approx(2.0, rel=1e-5)


def test_no_time_gives_the_greedy_answer_and_says_so():
    problem = unequal_blocks(12, 8, epsilon=0.5, coverage=2)
    answer = allocate(problem, 0.0, 1e-4)
    assert answer.solver == "greedy"
    assert {done.status for done in answer.steps} == {"greedy"}
    assert check(problem, answer.active) == []
    assert answer.gap > 1e-4
    solved = allocate(problem, 30.0, 1e-2)
    assert solved.solver.startswith("highs ")
    assert solved.steps[0].value <= answer.steps[0].value
    # What was claimed without a solver is true of what the solver found.
    assert all(done.bound <= better.value for done, better in zip(answer.steps[:2], solved.steps[:2], strict=True))


def test_no_time_and_no_greedy_point_is_not_called_infeasible(monkeypatch):
    monkeypatch.setattr(lexicographic, "greedy", lambda *_: None)
    with pytest.raises(AllocationInfeasible, match="does not prove"):
        allocate(unequal_blocks(4, 3), 0.0, 1e-4)


def test_steps_share_the_time():
    began = time.monotonic()
    problem = unequal_blocks(40, 24, epsilon=0.5, vram_objective="worst_share")
    answer = allocate(problem, 2.0, 0.0)
    assert time.monotonic() - began < 10
    assert "time_limit" in {done.status for done in answer.steps}
    assert answer.gap > 0
    base_share = (problem.base_bytes / problem.budget_bytes).max()
    for done in answer.steps:
        decided = done.value - (base_share if done.objective == "vram" else 0.0)
        assert done.gap == pytest.approx((done.value - done.bound) / decided)


def test_the_base_changes_neither_answer_nor_gap():
    """A base 10,000 times as large as all blocks: a gap relative to all bytes would call any allocation optimal."""
    problem = unequal_blocks(8, 6, seed=1, epsilon=0.3)
    more = 10_000 * int(problem.active_bytes[0].sum())
    heavy = replace(problem, base_bytes=problem.base_bytes + more, budget_bytes=problem.budget_bytes + more)
    light, found = (allocate(each, 60.0, 1e-3) for each in (problem, heavy))
    assert {done.status for done in found.steps} == {"optimal"}
    assert found.active == light.active
    assert [done.gap for done in found.steps] == pytest.approx([done.gap for done in light.steps], abs=1e-9)
    true = allocate(heavy, 60.0, 0.0)
    decided = true.steps[3].value - heavy.base_bytes.sum()
    assert found.steps[3].value - heavy.base_bytes.sum() <= decided * (1 + 2e-3)


def test_the_gap_of_memory_is_relative_to_what_activation_adds():
    """Bases of 1,000 in budgets of 2,000 and 4,000: 2,000 of 2,100 bytes are unavoidable, and a share of 0.5 of 0.6."""
    total = equal_blocks([1, 1], 2, base_bytes=np.full(2, 1_000), budget_bytes=np.array([2_000, 4_000]))
    share = replace(total, vram_objective="worst_share")
    assert relative_gap("vram", 2_100.0, 2_090.0, total) == pytest.approx(0.1)
    assert relative_gap("vram", 0.6, 0.58, share) == pytest.approx(0.2)
    assert relative_gap("convergence", 2.0, 1.9, total) == pytest.approx(0.05)
    assert relative_gap("vram", 2_000.0, 2_000.0, total) == 0.0
    assert relative_gap("vram", 2_100.0, float("-inf"), total) == float("inf")


@pytest.mark.parametrize("vram_objective", ["total_bytes", "worst_share"])
def test_the_same_problem_gives_the_same_matrix(vram_objective):
    problem = unequal_blocks(6, 5, epsilon=0.4, vram_objective=vram_objective)
    first, second = (allocate(problem, 60.0, 1e-3) for _ in range(2))
    assert "time_limit" not in {done.status for done in first.steps}
    assert first.active == second.active
    assert [done.value for done in first.steps] == [done.value for done in second.steps]


def test_reported_numbers_are_those_of_the_matrix():
    problem = unequal_blocks(8, 6, seed=3, epsilon=0.6)
    answer = allocate(problem, 60.0, 1e-3)
    assert answer.f1 == f1(answer.active.matrix, problem)
    assert answer.f2_bytes == f2_bytes(answer.active.matrix, problem)
    assert answer.worst_share == worst_share(answer.active.matrix, problem)
    assert answer.gap == max(done.gap for done in answer.steps)
    # Later steps never lose what earlier ones had: step 3 keeps f2 and does not worsen f1.
    assert answer.f2_bytes <= answer.steps[3].value
    assert answer.f1 <= float(answer.steps[3].constraint.split()[-1]) * (1 + 1e-8)


# --- the solver's loop ----------------------------------------------------------------------------------------------


def test_budgets_hold_to_the_byte_where_tolerances_do_not():
    """Blocks of about 1e10 bytes without a common divisor, budgets one byte short of a subset: 1e-10 of the row."""
    unit = 10_000_000_000
    cuts = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        active = rng.integers(1, 4, (3, 4)) * unit + rng.integers(0, 4, (3, 4))
        some = np.where(rng.random((3, 4)) < 0.7, active, 0).sum(axis=1) - 1
        room = np.maximum(some, active.max(axis=1))
        problem = fleet(room.tolist(), active.tolist())
        rows = [
            [
                row
                for row in itertools.product((False, True), repeat=4)
                if any(row) and active[n][list(row)].sum() <= room[n]
            ]
            for n in range(3)
        ]
        best = min(f1(np.array(matrix), problem) for matrix in itertools.product(*rows))
        if best == float("inf"):
            continue
        made: list[Program] = []

        class Recorded(Program):
            def __init__(self, *parts):
                super().__init__(*parts)
                made.append(self)  # noqa: B023

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, "Program", Recorded)
            answer = minimise(merge(problem), "convergence", (), None, 0.0, time.monotonic() + 30)
        assert answer.counts is not None
        assert check(problem, ActiveSets(answer.counts)) == []
        assert f1(answer.counts, problem) == pytest.approx(best, rel=1e-9)
        cuts += len(made[0].model.cover)
    assert cuts > 0  # else the instances above no longer reach the cuts


@pytest.mark.parametrize("relax_first", [True, False])
def test_missing_chords_are_found(relax_first, monkeypatch):
    """40 clients in 4 classes: the optimum with chords added when needed is the one with all of them.

    The relaxation asks for chords first; what it misses, or all of it without that, the whole-number answers ask for.
    """
    if not relax_first:
        monkeypatch.setattr(solve, "_add_chords_by_relaxation", lambda *_: None)
    rng = np.random.default_rng(1)
    places = [1 + n % 4 for n in range(40)]
    problem = equal_blocks(places, 5, active_bytes=np.tile([[100]], (40, 5)), block_weight=rng.uniform(0.5, 2.0, 5))
    cap = Cap("convergence", 4.0)

    def answers() -> list[float]:
        found = [
            minimise(merge(problem), "convergence", (), None, 0.0, time.monotonic() + 60),
            minimise(merge(problem), "vram", (cap,), None, 0.0, time.monotonic() + 60),
        ]
        assert [answer.status for answer in found] == ["optimal", "optimal"]
        assert all(answer.counts is not None for answer in found)
        assert found[1].counts is not None
        assert cap.over(found[1].counts, merge(problem)) == 0
        return [answer.bound for answer in found]

    lazy = answers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "ALL_CHORDS_UP_TO", 100)
        np.testing.assert_allclose(lazy, answers(), rtol=1e-6)
    # The grid alone is not enough here, or this test would prove nothing.
    model = Program(merge(problem), "convergence", ())
    assert run_highs(model.model, 60.0, 0.0).bound < lazy[0] * (1 - 1e-4)


def test_a_step_is_never_worse_than_its_start(monkeypatch):
    """A solver that answers with a poor point: the start is kept, and the bound is still reported."""
    problem = merge(unequal_blocks(6, 4))
    start = greedy(problem, "convergence")
    poor = greedy(problem, "vram")
    assert start is not None
    assert poor is not None
    assert f1(poor, problem) > f1(start, problem)
    monkeypatch.setattr(Program, "counts", lambda _: poor)
    answer = minimise(problem, "convergence", (), start, 0.0, time.monotonic() + 30)
    assert answer.counts is start


def test_starting_point_reaches_the_solver():
    problem = merge(unequal_blocks(16, 12))
    start = greedy(problem, "convergence")
    assert start is not None

    def run_without_time(suggest: bool) -> tuple[Minimisation, Program]:
        model = Program(problem, "convergence", ())
        if suggest:
            model.suggest(start)
        return run_highs(model.model, 0.0, 0.0, start=suggest), model

    assert not run_without_time(suggest=False)[0].found
    run, model = run_without_time(suggest=True)
    assert run.found
    assert (model.counts() == start).all()


def test_raising_and_returning_infeasible_are_one(monkeypatch):
    """Counting passes, the solver decides: 4 + 5 + 6 + 6 bytes do not split into two rooms of 10."""
    problem = fleet([10, 10], [4, 5, 6, 6])
    with pytest.raises(AllocationInfeasible, match="proven by the solver") as returned:
        allocate(problem, 30.0, 0.0)

    ask = highs._StartingHighs.solve

    def raising(self, model, **options):
        return ask(self, model, **{**options, "raise_exception_on_nonoptimal_result": True})

    monkeypatch.setattr(highs._StartingHighs, "solve", raising)
    with pytest.raises(AllocationInfeasible, match="proven by the solver") as raised:
        allocate(problem, 30.0, 0.0)
    assert str(raised.value) == str(returned.value)


def test_an_exception_without_a_proof_is_a_limit(monkeypatch):
    def raising(self, model, **options):
        raise NoFeasibleSolutionError

    monkeypatch.setattr(highs._StartingHighs, "solve", raising)
    problem = unequal_blocks(4, 3)
    model = Program(merge(problem), "vram", ())
    assert run_highs(model.model, 1.0, 0.0) == Minimisation("limit", False, float("-inf"))
    answer = allocate(problem, 30.0, 0.0)
    assert answer.solver == "greedy"


def test_a_share_keeps_the_point_it_was_taken_from():
    """Budgets cut to a share hold exactly the bytes that have that share: not one fewer, not one more."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        budget = int(rng.integers(2, 10**12))
        used = int(rng.integers(1, budget))
        problem = equal_blocks([1], 1, base_bytes=np.array([1]), budget_bytes=np.array([budget]))
        totals, caps = merge(problem), (Cap("vram", used / budget),)
        assert within_share(totals, caps) is totals  # total bytes: not this cap's business
        shares = merge(replace(problem, vram_objective="worst_share"))
        assert within_share(shares, caps).budget_bytes.tolist() == [used]


def test_a_broken_answer_never_leaves(monkeypatch):
    monkeypatch.setattr(lexicographic.Lexicographic, "run", lambda self: np.ones((3, 3), dtype=int))
    monkeypatch.setattr(lexicographic, "require_feasible", lambda _: None)
    with pytest.raises(AssertionError, match="over its budget"):
        allocate(equal_blocks([1, 2, 3], 3), 1.0, 0.0)


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "gap", "word"), [(-1.0, 0.0, "time_limit_s"), (1.0, 1.0, "gap"), (1.0, -0.1, "gap")])
def test_bad_limits_are_refused(limit, gap, word):
    with pytest.raises(ConfigError, match=word):
        allocate(equal_blocks([1, 1], 2), limit, gap)


def test_free_activation_is_refused():
    with pytest.raises(ConfigError, match="budgets cannot decide"):
        allocate(equal_blocks([1, 1], 2, active_bytes=np.zeros((2, 2))), 1.0, 0.0)
