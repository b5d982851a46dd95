"""The probe's estimates against gradients that are known, and its scalars against backpropagation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.support.tiny_models import LABEL_TOKENS, VOCABULARY, tiny_network, tiny_task_model
from zorba_ray.models import Batch
from zorba_ray.zo import BlockEnergies, UpdateRule, block_energies, probe_scalars, probe_weights

CLIENTS, DIMENSION, PAIRS = 8, 40, 4000


def signs(dice: np.random.Generator, pairs: int) -> np.ndarray:
    return dice.choice([-1.0, 1.0], (pairs, DIMENSION))


def draw(seed: int, spread: float, noise: float, pairs: int = PAIRS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(gradients [n, d], scalars [n, 2, 1, pairs] with the batches' noise drawn per pair, shares): one block."""
    dice = np.random.default_rng(seed)
    gradients = dice.normal(0, 1, DIMENSION) * 0.3 + dice.normal(0, spread, (CLIENTS, DIMENSION))
    z = signs(dice, pairs)
    scalars = np.zeros((CLIENTS, 2, 1, pairs))
    for client in range(CLIENTS):
        for batch in range(2):
            seen = gradients[client] + dice.normal(0, noise, (pairs, DIMENSION))
            scalars[client, batch, 0] = (z * seen).sum(axis=1)
    return gradients, scalars, dice.uniform(1, 3, CLIENTS)


@pytest.mark.parametrize("seed", range(5))
def test_cross_products_free_the_estimates_of_batch_noise(seed: int):
    """Energies of known gradients under noise of nine times the spread: each within five standard errors, where the
    plain spread of ρ between clients is far off."""
    gradients, scalars, data = draw(seed, spread=0.22, noise=0.66)
    share = (data / data.sum())[:, None]
    mean = (share * gradients).sum(axis=0)
    spread = (share * (gradients - mean) ** 2).sum() / (1 - (share**2).sum())
    found = block_energies(scalars, data)
    assert abs(found.dissimilarity[0] - spread) < 5 * found.dissimilarity_error[0]
    assert found.dissimilarity_error[0] < 0.15 * spread
    assert found.energy[0] == pytest.approx((mean**2).sum(), rel=0.15)
    assert found.noise[0] == pytest.approx(DIMENSION * 0.66**2, rel=0.05)
    plain = scalars[:, 0, 0].var(axis=0, ddof=1).mean()
    assert plain > 5 * spread


def test_equal_clients_have_no_dissimilarity():
    _, scalars, data = draw(7, spread=0.0, noise=0.5)
    found = block_energies(scalars, data)
    assert found.dissimilarity[0] < 4 * found.dissimilarity_error[0]


def test_estimates_by_hand():
    """Two clients of equal weight, two directions, no noise: ρ = 3, 1 and 1, 1.

    Direction 1: mean 2, energy 4, Σ p ρ² = 5, spread (5 − 4) / (1 − 1/2) = 2. Direction 2: energy 1, spread 0.
    """
    scalars = np.array([[[3.0, 1.0]] * 2, [[1.0, 1.0]] * 2])[:, :, None, :]
    found = block_energies(scalars, np.array([5.0, 5.0]))
    assert found.energy.tolist() == [2.5]
    assert found.dissimilarity.tolist() == [1.0]
    assert found.noise.tolist() == [0.0]
    assert found.dissimilarity_error[0] == pytest.approx(np.std([2.0, 0.0], ddof=1) / np.sqrt(2))


def test_clients_without_room_are_left_out_of_a_block():
    """Block 1 is probed by the first client alone, block 2 by nobody."""
    scalars = np.array([[[3.0, 1.0]] * 2, [[1.0, 1.0]] * 2])[:, :, None, :].repeat(3, axis=2)
    scalars[1, :, 1] = np.nan
    scalars[:, :, 2] = np.nan
    found = block_energies(scalars, np.ones(2))
    assert found.energy.tolist() == [2.5, 5.0, 0.0]
    assert found.dissimilarity.tolist() == [1.0, 0.0, 0.0]


def energies(dissimilarity: list[float], error: list[float]) -> BlockEnergies:
    zero = np.zeros(len(error))
    return BlockEnergies(zero, np.array(dissimilarity), zero, np.array(error))


def test_weights_are_the_dissimilarities_where_they_can_be_told():
    """2 and 4 stand out; 0.1 lies below its error of 1; the weights' mean is 1."""
    found = probe_weights(energies([2.0, 4.0, 0.1], [0.5, 0.5, 1.0]))
    assert found == pytest.approx(np.array([2.0, 4.0, 1.0]) * 3 / 7)


def test_no_block_is_given_up():
    found = probe_weights(energies([8.0, 0.0], [0.1, 0.0]))
    assert found[1] > 0
    assert probe_weights(energies([0.0, 0.0], [0.0, 0.0])).tolist() == [1.0, 1.0]


RULE = UpdateRule(
    seed=3, seeds="per_client", weights="data", distribution="rademacher", scope="all", directions=1, local_steps=1,
    samples=(4, 4),
)  # fmt: skip


def batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCABULARY, (4, 6), generator=generator)
    return Batch(ids, torch.ones_like(ids), torch.tensor([0, 1, 0, 1]))


def gradient_energy(block: int) -> float:
    """‖∇_b F‖² of OPT on `batch(1)` by backpropagation through the plain network."""
    network = tiny_network("opt").requires_grad_(True)
    own = batch(1)
    logits = network(input_ids=own.ids_BT, attention_mask=own.mask_BT).logits[:, -1, list(LABEL_TOKENS)]
    functional.cross_entropy(logits, own.labels_B).backward()
    layer = network.model.decoder.layers[block]
    return sum(float(parameter.grad.double().square().sum()) for parameter in layer.parameters())


def test_scalars_are_those_of_the_gradient():
    """On OPT with random weights: the mean of ρ² over 200 directions is ‖∇_b F‖² of backpropagation, block by block.

    ρ² of ±1 directions has a relative standard deviation of at most √2: 200 give 10 %, four of them 40 %.
    """
    model = tiny_task_model("opt")
    scalars = probe_scalars(model, RULE, 1, 1e-3, range(3), 200, [batch(1)])
    assert scalars.shape == (1, 3, 200)
    assert scalars.dtype == np.float32
    for block in range(3):
        assert (scalars[0, block].astype(np.float64) ** 2).mean() == pytest.approx(gradient_energy(block), rel=0.4)


def test_the_same_directions_for_every_batch_other_ones_for_every_round():
    model = tiny_task_model("opt")
    before = model.replica.digest()
    both = probe_scalars(model, RULE, 1, 1e-3, [0, 2], 3, [batch(1), batch(1)])
    assert (both[0] == both[1]).all()
    alone = probe_scalars(model, RULE, 1, 1e-3, [2], 3, [batch(1)])
    assert (alone[0, 0] == both[0, 1]).all()
    later = probe_scalars(model, RULE, 2, 1e-3, [0, 2], 3, [batch(1)])
    assert (later[0] != both[0]).any()
    assert model.replica.digest() == before
