"""`federation.spread` against a plain twin, and several rounds with it against dense sums in float64."""

import math
import statistics

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, tiny_batch, tiny_loaded, tiny_task_model
from zorba_ray.active_sets import ActiveSets
from zorba_ray.directions import direction_backend, direction_seed
from zorba_ray.directions.reference import direction
from zorba_ray.directions.streams import tensor_stream
from zorba_ray.models import Perturbation, Replica
from zorba_ray.zo import (
    Estimator,
    PendingCommits,
    RoundUpdate,
    UpdateRule,
    apply_rounds,
    projected_gradient,
)
from zorba_ray.zo.aggregation import median_size
from zorba_ray.zo.update import clipped_scalars

NUMPY = direction_backend("numpy")
SAMPLES = (10, 30, 60)


def rule(**changes: object) -> UpdateRule:
    base = {
        "seed": 99, "seeds": "per_client", "weights": "data", "distribution": "rademacher", "scope": "all",
        "directions": 2, "local_steps": 2, "samples": SAMPLES,
    }  # fmt: skip
    return UpdateRule(**{**base, **changes})  # type: ignore[arg-type]


def history(own: UpdateRule, rounds: int = 6) -> list[RoundUpdate]:
    """Rounds with rates, reporters, holders and scalars of their own."""
    rng = np.random.default_rng(3)
    found: list[RoundUpdate] = []
    for number in range(1, rounds + 1):
        clients = np.flatnonzero(rng.random(3) < 0.8)
        active = rng.random((3, BLOCKS)) < 0.6
        active[:, 0] = True
        scalars = rng.standard_normal((len(clients), own.local_steps, own.directions)).astype(np.float32)
        found.append(RoundUpdate(number, 0.01 / number, clients, scalars, ActiveSets(active)))
    return found


def plain_clipped(values: list[float], clip_spread: float) -> list[float]:
    """The definition in the docstring, in pure Python."""
    bound = clip_spread * statistics.median(abs(v) for v in values)
    return [max(-bound, min(bound, v)) if bound else v for v in values]


def dense_sum(own: UpdateRule, replica: Replica, updates: list[RoundUpdate]) -> dict[str, np.ndarray]:
    """Σ over rounds, holders, steps and directions, one z at a time, in float64."""
    moved = {name: np.zeros(tensor.numel()) for name, tensor in replica.parameters.items()}
    for update in updates:
        if not len(update.clients):
            continue
        values = plain_clipped(update.scalars.reshape(-1).tolist(), own.clip_spread)
        clipped = np.array(values).reshape(update.scalars.shape)
        for block in range(BLOCKS):
            holders = [n for n in range(len(update.clients)) if update.active.matrix[update.clients[n], block]]
            everything = sum(SAMPLES[update.clients[n]] for n in holders)
            for n in holders:
                client = int(update.clients[n])
                for step in range(own.local_steps):
                    seed = direction_seed(own.seed, update.round, own.stream_of(client), step)
                    for number in range(own.directions):
                        factor = -update.lr * SAMPLES[client] / everything * clipped[n, step, number] / own.directions
                        for entry in replica.manifest.scoped(block, own.scope):
                            rows, rank = entry.shape[0], own.rank if len(entry.shape) >= 2 else 0
                            stream = tensor_stream(seed, block, entry.slot, number, own.distribution)
                            if rank:
                                columns = entry.numel // rows
                                drawn = direction(stream, 0, (rows + columns) * rank)
                                u, v = drawn[: rows * rank], drawn[rows * rank :]
                                z = u.reshape(rows, rank) @ v.reshape(columns, rank).T / math.sqrt(rank)
                            else:
                                z = direction(stream, 0, entry.numel)
                            moved[entry.name] += factor * z.reshape(-1)
    return moved


@pytest.mark.parametrize("clip_spread", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_clipped_scalars_are_the_definition(clip_spread: float, count: int) -> None:
    values = (np.random.default_rng(count).standard_normal(count) * [1, 9, 1, 0.1, 1, 30, 1][:count]).astype("f4")
    found = clipped_scalars(rule(clip_spread=clip_spread), values)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(plain_clipped(values.tolist(), clip_spread), rel=1e-14)


def test_scalars_of_zero_stay_zero_and_a_median_of_zero_shrinks_nothing() -> None:
    nothing = np.zeros((3, 1, 2), dtype=np.float32)
    assert not clipped_scalars(rule(clip_spread=2.0), nothing).any()
    assert clipped_scalars(rule(clip_spread=2.0), nothing[:0]).shape == (0, 1, 2)
    assert median_size(np.zeros(0)) == 0.0
    assert clipped_scalars(rule(clip_spread=2.0), np.array([0, 0, 0, 8], dtype="f4")).tolist() == [0, 0, 0, 8]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_spread": 1.5},
        {"clip_spread": 1.5, "seeds": "shared"},
        {"clip_spread": 2.0, "rank": 2},
        {"distribution": "gaussian", "seeds": "shared"},
    ],
    ids=str,
)
def test_rounds_are_the_dense_sums(changes: dict[str, object]) -> None:
    own = rule(**changes)
    replica = Replica(tiny_loaded("opt"))
    replica.theta.zero_()
    updates = history(own)
    apply_rounds(NUMPY, own, replica.manifest, replica.parameters, updates)
    wanted = dense_sum(own, replica, updates)
    for name, tensor in replica.parameters.items():
        assert tensor.numpy() == pytest.approx(wanted[name], abs=5e-8), name


@pytest.mark.parametrize("rank", [0, 2])
def test_any_grouping_and_any_kernel_give_the_same_bytes(rank: int) -> None:
    own = rule(clip_spread=1.5, rank=rank)
    updates = history(own)

    def digest(name: str, groups: list[list[RoundUpdate]]) -> str:
        replica = Replica(tiny_loaded("opt"))
        for group in groups:
            apply_rounds(direction_backend(name), own, replica.manifest, replica.parameters, group)
        return replica.digest()

    one_by_one = digest("numpy", [[update] for update in updates])
    assert digest("numpy", [updates]) == one_by_one
    assert digest("numba", [updates[:2], updates[2:]]) == one_by_one
    lazy = Replica(tiny_loaded("opt"))
    lazy.commits = pending = PendingCommits(own, lazy.manifest, NUMPY, NUMPY)
    pending.add(updates[:4])
    lazy.sync(1)
    pending.add(updates[4:])
    assert lazy.digest() == one_by_one


def test_how_far_out_an_outlier_lies_makes_no_difference() -> None:
    own = rule(clip_spread=2.0)
    scalars = np.array([1.0, -1.5, 0.5, 40.0, 1.0], dtype="f4")
    further = np.array([1.0, -1.5, 0.5, 4e30, 1.0], dtype="f4")
    assert np.array_equal(clipped_scalars(own, scalars), clipped_scalars(own, further))


def test_a_local_step_is_clipped_by_its_own_clients_median() -> None:
    """The second step's scalars are those at θ − η (1/P) Σ clipped(ρ_p) z_p of the first."""
    own = rule(clip_spread=1.0)
    model = tiny_task_model("opt")
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(2)]
    active = frozenset({1, 3})
    holds = ActiveSets.of_sets([(), (), active], BLOCKS)
    scalars, _ = Estimator(model, NUMPY, own, 0.002, 0.01).round(5, holds, {2: batches})[2]
    assert not np.array_equal(clipped_scalars(own, scalars[0]), scalars[0])
    alone = rule(clip_spread=1.0, local_steps=1)
    update = RoundUpdate(5, 0.002, np.array([2]), scalars[:1][None], holds)
    apply_rounds(NUMPY, alone, model.replica.manifest, model.replica.parameters, [update])
    second = direction_seed(99, 5, 2, 1)
    prepared = model.prepare(batches[1], active)
    pairs = [model.pair(prepared, Perturbation(second, place, 0.01, "rademacher")) for place in range(own.directions)]
    assert scalars[1].tolist() == [float(projected_gradient(*pair, 0.01)) for pair in pairs]
    assert torch.isfinite(model.replica.theta).all()
