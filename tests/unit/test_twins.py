"""The benchmarks' twins compute what the published algorithms say; nothing is timed here."""

import copy

import pytest
import torch

from benchmarks.twins import DecomflTwin, MezoTwin, mezo_pass, plain_loss
from tests.support.tiny_models import tiny_batch, tiny_loaded
from zorba_ray.models import Batch, LoadedModel
from zorba_ray.models.heads import LabelWordsHead
from zorba_ray.models.logits import LinearLogits

MU, LR = 1e-2, 1e-3


def _head(loaded: LoadedModel) -> LabelWordsHead:
    return LabelWordsHead(LinearLogits(loaded.network.get_output_embeddings().weight[10:13].clone(), None))


def _tensors(loaded: LoadedModel) -> list[torch.Tensor]:
    return [parameter.data for parameter in loaded.blocks.parameters()]


def _batch(seed: int) -> Batch:
    return tiny_batch("opt", 4, 7, seed=seed)


def _loss_at(origin: LoadedModel, scale: float, directions: list[torch.Tensor], batch: Batch) -> float:
    """F(θ + scale · z) on a copy of the model, by another path: all logits of the vocabulary, then the label words."""
    network = copy.deepcopy(origin.network)
    for parameter, z in zip(network.base_model.decoder.layers.parameters(), directions, strict=True):
        parameter.data = parameter.data + scale * z
    logits = network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT).logits
    last = batch.mask_BT.sum(dim=1) - 1
    words = logits[torch.arange(len(batch)), last][:, 10:13]
    return float(torch.nn.functional.cross_entropy(words, batch.labels_B))


def test_mezo_scalar_and_step():
    """ρ is the central difference along z, and θ moves by −ηρz; passes under one seed draw one z."""
    loaded = tiny_loaded("opt")
    batch, tensors = _batch(1), _tensors(loaded)
    before = [tensor.clone() for tensor in tensors]
    origin = tiny_loaded("opt")
    z = [torch.zeros_like(tensor) for tensor in tensors]
    mezo_pass(z, 5, 1.0)
    expected = (_loss_at(origin, MU, z, batch) - _loss_at(origin, -MU, z, batch)) / (2 * MU)
    rho = MezoTwin(tensors, MU, LR).step(plain_loss(loaded, _head(loaded), batch), 5)
    assert rho == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert abs(rho) > 0.01
    for tensor, start, direction in zip(tensors, before, z, strict=True):
        torch.testing.assert_close(tensor, start - LR * rho * direction, rtol=0, atol=1e-6)


def test_mezo_pass_draws_standard_normals_anew_per_seed():
    first, again, other = ([torch.zeros(200, 50)] for _ in range(3))
    mezo_pass(first, 1, 1.0)
    mezo_pass(again, 1, 1.0)
    mezo_pass(other, 2, 1.0)
    assert torch.equal(first[0], again[0])
    assert abs(float((first[0] * other[0]).mean())) < 0.05
    assert float(first[0].mean()) == pytest.approx(0.0, abs=0.05)
    assert float(first[0].std()) == pytest.approx(1.0, abs=0.02)


def test_decomfl_clients_agree_with_the_server():
    """A client that replays what it missed holds the server's model bit for bit, whatever local steps were taken."""
    loaded = tiny_loaded("opt")
    head, twin = _head(loaded), DecomflTwin(_tensors(loaded), MU, LR)
    start = [tensor.clone() for tensor in twin.server]
    for round in range(3):
        losses = [plain_loss(loaded, head, _batch(10 * round + client)) for client in range(3)]
        twin.pull()
        assert all(torch.equal(own, server) for own, server in zip(twin.model, twin.server, strict=True))
        scalars = twin.round(losses, seed=100 + round)
        assert len(set(scalars)) == 3
        assert not all(torch.equal(own, server) for own, server in zip(twin.model, twin.server, strict=True))
    assert not any(torch.equal(old, new) for old, new in zip(start, twin.server, strict=True))


def test_decomfl_scalars_and_server_step():
    """Every client's scalar is the central difference at the server's model on its own batch; the server steps by
    their mean along the one direction of the round."""
    loaded, origin = tiny_loaded("opt"), tiny_loaded("opt")
    head, twin = _head(loaded), DecomflTwin(_tensors(loaded), MU, LR)
    generator = torch.Generator().manual_seed(9)
    z = [torch.randn(tensor.shape, generator=generator) for tensor in twin.model]
    before = [tensor.clone() for tensor in twin.server]
    scalars = twin.round([plain_loss(loaded, head, _batch(client)) for client in range(2)], seed=9)
    for client, rho in enumerate(scalars):
        expected = _loss_at(origin, MU, z, _batch(client)) - _loss_at(origin, -MU, z, _batch(client))
        assert rho == pytest.approx(expected / (2 * MU), rel=1e-3, abs=1e-4)
    mean = sum(scalars) / 2
    for server, start, direction in zip(twin.server, before, z, strict=True):
        torch.testing.assert_close(server, start - LR * mean * direction, rtol=0, atol=1e-6)
