"""Levers of the update: a commit's scalars shrunk and divided by their spread, momentum over the last commits, rates of
the blocks; each against a plain twin, and all together against dense sums in float64."""

import itertools
import math
import statistics

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, tiny_batch, tiny_loaded, tiny_task_model
from zorba_ray.directions import direction_backend, direction_seed
from zorba_ray.directions.reference import direction
from zorba_ray.directions.streams import tensor_stream
from zorba_ray.models import Replica
from zorba_ray.zo import (
    BlockEnergies,
    PendingCommits,
    RoundUpdate,
    Share,
    StepSizes,
    UpdateRule,
    apply_rounds,
    block_rates,
    commit_terms,
    estimate,
    round_seeds,
)
from zorba_ray.zo.momentum import shares
from zorba_ray.zo.scalars import median_size, spread, used_scalars

NUMPY = direction_backend("numpy")
SAMPLES = (10, 30, 60)


def rule(**changes: object) -> UpdateRule:
    base = {
        "seed": 99, "seeds": "per_client", "weights": "data", "distribution": "rademacher", "scope": "all",
        "directions": 2, "local_steps": 2, "samples": SAMPLES,
    }  # fmt: skip
    return UpdateRule(**{**base, **changes})  # type: ignore[arg-type]


def history(own: UpdateRule, rounds: int = 6) -> list[RoundUpdate]:
    """Rounds with rates, reporters, holders and scalars of their own, windows filled in."""
    rng = np.random.default_rng(3)
    found: list[RoundUpdate] = []
    for number in range(1, rounds + 1):
        clients = np.flatnonzero(rng.random(3) < 0.8)
        active = rng.random((3, BLOCKS)) < 0.6
        active[:, 0] = True
        scalars = rng.standard_normal((len(clients), own.local_steps, own.directions)).astype(np.float32)
        past = tuple(RoundUpdate(u.round, u.lr, u.clients, u.scalars, u.active, u.rates) for u in found[::-1])
        rates = rng.uniform(0.3, 2.0, BLOCKS)
        found.append(RoundUpdate(number, 0.01 / number, clients, scalars, active, rates, past[: own.window - 1]))
    return found


def plain_used(values: list[float], clip_spread: float, normalise: bool) -> list[float]:
    """The definition in the docstring, in pure Python."""
    if clip_spread:
        bound = clip_spread * statistics.median(abs(v) for v in values)
        values = [max(-bound, min(bound, v)) if bound else v for v in values]
    size = math.sqrt(sum(v * v for v in values) / len(values))
    return [v / size if size else 0.0 for v in values] if normalise else values


def dense_sum(own: UpdateRule, replica: Replica, updates: list[RoundUpdate]) -> dict[str, np.ndarray]:
    """Σ over rounds, windows, holders, steps and directions, one z at a time, in float64."""
    moved = {name: np.zeros(tensor.numel()) for name, tensor in replica.parameters.items()}
    powers = [own.momentum**i for i in range(own.window)]
    for place in range(len(updates)):
        for back in range(min(own.window, place + 1)):
            update = updates[place - back]
            if not len(update.clients):
                continue
            values = plain_used(update.scalars.reshape(-1).tolist(), own.clip_spread, own.normalise == "spread")
            used = np.array(values).reshape(update.scalars.shape)
            for block in range(BLOCKS):
                holders = [n for n in range(len(update.clients)) if update.active[update.clients[n], block]]
                everything = sum(SAMPLES[update.clients[n]] for n in holders)
                for n in holders:
                    client = int(update.clients[n])
                    weight = SAMPLES[client] / everything
                    for step in range(own.local_steps):
                        seed = direction_seed(own.seed, update.round, own.stream_of(client), step)
                        for number in range(own.directions):
                            rate = update.lr * (1.0 if update.rates is None else update.rates[block])
                            factor = powers[back] / sum(powers) * -rate * weight * used[n, step, number]
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
                                moved[entry.name] += factor / own.directions * z.reshape(-1)
    return moved


@pytest.mark.parametrize("clip_spread", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("normalise", ["none", "spread"])
@pytest.mark.parametrize("count", [1, 4, 7])
def test_used_scalars_are_the_definition(clip_spread: float, normalise: str, count: int) -> None:
    values = (np.random.default_rng(count).standard_normal(count) * [1, 9, 1, 0.1, 1, 30, 1][:count]).astype("f4")
    found = used_scalars(rule(clip_spread=clip_spread, normalise=normalise), values)
    assert found.dtype == np.float64
    assert found.tolist() == pytest.approx(plain_used(values.tolist(), clip_spread, normalise == "spread"), rel=1e-14)


def test_scalars_of_zero_stay_zero() -> None:
    nothing = np.zeros((3, 1, 2), dtype=np.float32)
    assert not used_scalars(rule(normalise="spread", clip_spread=2.0), nothing).any()
    assert used_scalars(rule(normalise="spread", clip_spread=2.0), nothing[:0]).shape == (0, 1, 2)
    assert spread(np.zeros(0)) == median_size(np.zeros(0)) == 0.0


def test_a_median_of_zero_shrinks_nothing() -> None:
    assert used_scalars(rule(clip_spread=2.0), np.array([0, 0, 0, 8], dtype="f4")).tolist() == [0, 0, 0, 8]


def test_one_scalar_normalised_is_its_sign() -> None:
    assert used_scalars(rule(normalise="spread"), np.array([-3e-7], dtype="f4")).tolist() == [-1.0]


def test_shares_add_up_to_one_and_fall_by_beta() -> None:
    found = shares(0.9, 8)
    assert len(found) == 8
    assert sum(found) == pytest.approx(1.0, abs=1e-15)
    assert [late / early for early, late in itertools.pairwise(found)] == pytest.approx([0.9] * 7)
    assert found[0] == pytest.approx((1 - 0.9) / (1 - 0.9**8))
    assert shares(0.0, 8) == (1.0,)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalise": "spread"},
        {"clip_spread": 1.5},
        {"momentum": 0.7, "window": 3},
        {"momentum": 0.7, "window": 3, "normalise": "spread", "clip_spread": 1.5},
        {"momentum": 0.7, "window": 3, "normalise": "spread", "seeds": "shared"},
        {"momentum": 0.5, "window": 9, "rank": 2, "clip_spread": 2.0},
        {"momentum": 0.5, "window": 2, "distribution": "gaussian", "seeds": "shared"},
    ],
    ids=str,
)
def test_rounds_are_the_dense_sums(changes: dict[str, object]) -> None:
    """Rates of the blocks are in all of them."""
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
    own = rule(momentum=0.7, window=3, normalise="spread", clip_spread=1.5, rank=rank)
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
    lazy.bring(1)
    pending.add(updates[4:])
    assert lazy.digest() == one_by_one


def test_a_normalised_step_does_not_hang_on_the_losses_scale() -> None:
    """ρ times a power of two: the same terms to the last bit."""
    own = rule(normalise="spread", clip_spread=2.0)
    (update,) = history(own, 1)
    louder = RoundUpdate(1, update.lr, update.clients, update.scalars * np.float32(64), update.active, update.rates)
    seeds = round_seeds(own, update)
    for block in range(BLOCKS):
        assert np.array_equal(
            commit_terms(own, update, seeds, block).coefficients, commit_terms(own, louder, seeds, block).coefficients
        )


def test_how_far_out_an_outlier_lies_makes_no_difference() -> None:
    own = rule(clip_spread=2.0, normalise="spread")
    scalars = np.array([1.0, -1.5, 0.5, 40.0, 1.0], dtype="f4")
    further = np.array([1.0, -1.5, 0.5, 4e30, 1.0], dtype="f4")
    assert np.array_equal(used_scalars(own, scalars), used_scalars(own, further))


@pytest.mark.parametrize("rates", [None, np.array([1.0, 0.5, 1.0, 3.0, 1.0])])
def test_a_local_step_uses_its_own_clients_spread_and_the_blocks_rates(rates: np.ndarray | None) -> None:
    """The second step's scalars are those at θ − η r_b (1/P) Σ ρ_p / rms(ρ) z_p of the first."""
    own = rule(normalise="spread", clip_spread=1.5)
    model = tiny_task_model("opt")
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(2)]
    active = frozenset({1, 3})
    (found,) = estimate(model, NUMPY, own, 5, StepSizes(0.002, 0.01, None, rates=rates), [Share(2, active, batches)])
    alone = rule(normalise="spread", clip_spread=1.5, local_steps=1)
    holds = np.zeros((3, BLOCKS), dtype=bool)
    holds[2, list(active)] = True
    update = RoundUpdate(5, 0.002, np.array([2]), found.scalars[:1][None], holds, rates)
    apply_rounds(NUMPY, alone, model.replica.manifest, model.replica.parameters, [update])
    again = rule(local_steps=1)
    second = direction_seed(99, 5, 2, 1)
    prepared = model.prepare(batches[1], active)
    from zorba_ray.models import Perturbation
    from zorba_ray.zo import projected_gradient

    pairs = [model.pair(prepared, Perturbation(second, place, 0.01, "rademacher")) for place in range(again.directions)]
    assert found.scalars[1].tolist() == [float(projected_gradient(*pair, 0.01)) for pair in pairs]
    assert torch.isfinite(model.replica.theta).all()


def test_rates_go_with_the_gradient_per_parameter_within_bounds() -> None:
    def found(energy: list[float], sizes: list[int]) -> list[float]:
        nothing = np.zeros(len(energy))
        return block_rates(BlockEnergies(np.array(energy), nothing, nothing, nothing), sizes).tolist()

    assert found([4.0, 1.0], [1, 1]) == pytest.approx([4 / 3, 2 / 3])
    assert found([4.0, 4.0], [1, 4]) == pytest.approx([4 / 3, 2 / 3])
    assert found([0.0, 0.0], [1, 4]) == [1.0, 1.0]
    for energy in ([1e12, 1e-12, 0.0], [1e12, *[0.0] * 23], [*[1.0] * 23, 0.0], [256.0, *[1.0] * 11]):
        wide = found(energy, [1] * len(energy))
        assert sum(wide) == pytest.approx(len(wide), rel=1e-6)
        assert max(wide) <= 4.0
        assert min(wide) >= 0.25
        assert sorted(wide, reverse=True) == wide  # more gradient, more rate
        assert wide[0] > wide[-1]
