"""Directions U Vᵀ/√r: what they are, that a commit is exact in any order, and the pair without perturbed copies."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.support.tiny_models import BLOCKS, DECODERS, KINDS, tiny_batch, tiny_network, tiny_task_model
from tests.support.tiny_run import tiny_config
from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ZOConfig
from zorba_ray.directions import Terms, apply_low_rank, direction_backend, direction_seed, factors, tensor_stream
from zorba_ray.directions.reference import direction, signs
from zorba_ray.errors import ConfigError
from zorba_ray.experiment import prepare
from zorba_ray.models import Perturbation
from zorba_ray.zo import Estimator, RoundUpdate, UpdateRule, apply_rounds, on_grid

NUMPY = direction_backend("numpy")
SEED, SCALE = 0xABCDEF, 0.02


def test_factors_are_the_start_of_the_tensors_own_stream() -> None:
    stream = tensor_stream(SEED, 3, 2, 1, "rademacher")
    u, v = factors(NUMPY, stream, (5, 7), 2, "cpu")
    drawn = signs(stream, 0, 24)
    assert np.array_equal(u.numpy(), drawn[:10].reshape(5, 2))
    assert np.array_equal(v.numpy(), drawn[10:].reshape(7, 2))


@pytest.mark.parametrize("rank", [1, 2, 3, 8])
def test_a_commit_is_exact(rank: int) -> None:
    """θ = RN(θ + S) with S the exact sum, by rationals; so the order of the terms and the library do not matter."""
    rng = np.random.default_rng(rank)
    coefficients = on_grid(rng.standard_normal(9) * 1e-3 / math.sqrt(rank), rank)
    seeds, numbers = np.full(9, SEED, np.uint64), np.arange(9, dtype=np.uint64)
    theta = torch.from_numpy(rng.standard_normal(6 * 11).astype(np.float32))
    exact = [Fraction(0)] * theta.numel()
    for number, c in enumerate(coefficients):
        u, v = factors(NUMPY, tensor_stream(SEED, 4, 1, number, "rademacher"), (6, 11), rank, "cpu")
        z = (u.double() @ v.double().T).reshape(-1)
        exact = [total + Fraction(float(c)) * int(value) for total, value in zip(exact, z, strict=True)]
    assert all(Fraction(float(np.float32(float(total)))) == total for total in exact), "a sum left the grid"
    wanted = theta.numpy() + np.array([float(total) for total in exact], dtype=np.float32)
    for order in (np.arange(9), np.arange(9)[::-1].copy(), rng.permutation(9)):
        moved = theta.clone()
        terms = Terms(seeds, numbers[order], coefficients[order], "rademacher")
        apply_low_rank(NUMPY, moved, 4, 1, (6, 11), rank, [terms])
        assert np.array_equal(moved.numpy().view(np.int32), wanted.view(np.int32))


def test_commits_round_once_each_and_none_moves_no_byte() -> None:
    theta = torch.full((12,), -0.0)
    nothing = Terms(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float32), "rademacher")
    apply_low_rank(NUMPY, theta, 0, 0, (3, 4), 1, [nothing])
    assert bool(torch.signbit(theta).all())
    one = Terms(np.ones(1, np.uint64), np.zeros(1, np.uint64), np.array([2.0**-25], np.float32), "rademacher")
    together, apart = torch.ones(12), torch.ones(12)
    apply_low_rank(NUMPY, together, 0, 0, (3, 4), 1, [one, one])
    apply_low_rank(NUMPY, apart, 0, 0, (3, 4), 1, [one])
    apply_low_rank(NUMPY, apart, 0, 0, (3, 4), 1, [one])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_pair_equals_two_full_forwards(kind: str, rank: int) -> None:
    """Of the plain network with W ± μ U Vᵀ/√r and vectors ± μ z; spread active set, padding on the right."""
    model = tiny_task_model(kind, rank=rank)
    batch, active = tiny_batch(kind, 3, 6), frozenset({1, 3})
    before = model.replica.digest()
    prepared = model.prepare(batch, active)
    for number in (0, 1):
        perturbation = Perturbation(SEED, number, SCALE, "rademacher")
        with torch.inference_mode():
            (got,) = model._backbone.perturbed([prepared], perturbation)
            wanted = []
            for sign in (SCALE, -SCALE):
                network = tiny_network(kind)
                for block in active:
                    for entry in model.replica.manifest.scoped(block, "all"):
                        stream = tensor_stream(SEED, block, entry.slot, number, "rademacher")
                        if len(entry.shape) >= 2:
                            u, v = factors(NUMPY, stream, (entry.shape[0], entry.numel // entry.shape[0]), rank, "cpu")
                            z = (u @ v.T / math.sqrt(rank)).view(entry.shape)
                        else:
                            z = torch.from_numpy(direction(stream, 0, entry.numel))
                        network.get_parameter(entry.name).add_(z * sign)
                inputs = {"input_ids": batch.ids_BT, "attention_mask": batch.mask_BT}
                if kind in DECODERS and kind != "opt":
                    inputs["position_ids"] = (batch.mask_BT.cumsum(1) - 1).clamp_min(0)
                wanted.append((network.base_model if kind in DECODERS else network)(**inputs)[0])
        real = torch.cat([batch.mask_BT, batch.mask_BT]).bool()
        assert (got - torch.cat(wanted))[real].abs().max() < 2e-5
        assert (wanted[0] - wanted[1])[real[: len(batch)]].abs().max() > 1e-3
    assert model.replica.digest() == before


@pytest.mark.parametrize("rank", [1, 3])
def test_an_update_is_the_formula(rank: int) -> None:
    """Δθ = −η Σ_n w_n (1/P) Σ_p ρ_{n,p} U Vᵀ/√r of every matrix, summed in float64 (algorithm.md §3 step 4)."""
    rule = UpdateRule(7, "per_client", "data", "rademacher", "matrices", 2, 1, (1, 3), rank=rank)
    model, rho = tiny_task_model("opt", rank=rank), np.array([[[0.5, -2.0]], [[1.5, 0.25]]], dtype=np.float32)
    update = RoundUpdate(2, 0.01, np.array([0, 1]), rho, ActiveSets.of_all(2, BLOCKS))
    before = {name: tensor.clone().double() for name, tensor in model.replica.parameters.items()}
    apply_rounds(NUMPY, rule, model.replica.manifest, model.replica.parameters, [update])
    for entry in model.replica.manifest.moved("matrices"):
        shape = (entry.shape[0], entry.numel // entry.shape[0])
        wanted = torch.zeros(shape, dtype=torch.float64)
        for client, weight in ((0, 0.25), (1, 0.75)):
            for number in range(2):
                stream = tensor_stream(direction_seed(7, 2, client, 0), entry.block, entry.slot, number, "rademacher")
                u, v = factors(NUMPY, stream, shape, rank, "cpu")
                wanted = wanted - 0.01 * weight * rho[client, 0, number] / 2 * (u @ v.T).double() / math.sqrt(rank)
        moved = (model.replica.parameters[entry.name].double() - before[entry.name]).view(shape)
        assert (moved - wanted).norm() < 1e-4 * wanted.norm(), entry.name


def test_local_steps_walk_an_overlay_by_the_same_commit() -> None:
    """After the first step the client stands where a round of its own would have led."""
    rule = UpdateRule(7, "per_client", "data", "rademacher", "all", 2, 2, (4,), rank=2)
    active = frozenset({1, 3})
    batches = [tiny_batch("opt", 4, 7, seed=step) for step in range(2)]
    model = tiny_task_model("opt", rank=2)
    holds = ActiveSets.of_sets([active], BLOCKS)
    scalars, _ = Estimator(model, NUMPY, rule, 0.02, 0.01).round(5, holds, {0: batches})[0]
    other = tiny_task_model("opt", rank=2)
    first = UpdateRule(7, "per_client", "data", "rademacher", "all", 2, 1, (4,), rank=2)
    update = RoundUpdate(5, 0.02, np.array([0]), scalars[:1][None], holds)
    apply_rounds(NUMPY, first, other.replica.manifest, other.replica.parameters, [update])
    prepared = other.prepare(batches[1], active)

    seed = direction_seed(7, 5, 0, 1)
    pairs = [other.pair(prepared, Perturbation(seed, number, 0.01, "rademacher")) for number in range(2)]
    assert scalars[1].tolist() == [float(np.float32((a - b) / 0.02)) for a, b in pairs]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "greater than or equal to 1"),
        ({"rank": 1, "distribution": "gaussian"}, "set zo.distribution=rademacher"),
        ({"rank": 1, "difference": "forward"}, "set zo.difference=central"),
        ({"rank": 1, "scope": "bias_norm"}, "no matrix is perturbed"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ZOConfig.model_validate(settings)


def test_a_rank_beyond_a_matrix_is_refused() -> None:
    """Of the built-in model; the message names the tensor, its shape and what to do."""
    config = tiny_config("zo.rank=129", "zo.scope=all")
    with pytest.raises(ConfigError, match=r"zo\.rank=129 exceeds \d+, the smaller side of .* \(\d+ × \d+\): lower it"):
        prepare(config)
