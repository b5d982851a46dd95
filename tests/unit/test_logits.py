"""Logits that are scaled, capped or transformed: as the model itself makes them, and gradients through them too."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.support.architectures import VOCABULARY, tiny, tiny_config
from tests.support.pair_checks import as_loaded, batches, checked_model
from zorba_ray.errors import ModelError
from zorba_ray.models import LoadedModel
from zorba_ray.models.heads import last_positions
from zorba_ray.models.logits import LinearLogits, Logits, OwnLogits, logits_of

OWN = ("gemma2", "granite", "cohere", "falcon_h1", "bert as decoder", "minicpm3")
LINEAR = ("llama", "gpt2", "opt", "gptj", "phi", "mamba2")
WORDS = (10, 11, 12)


def _loaded(kind: str) -> LoadedModel:
    return as_loaded(tiny(kind), True, kind)


def _plain(loaded: LoadedModel, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(last hidden state [N, H], logits [N, V]) of a few tokens; `spread` multiplies the output layer."""
    ids = torch.randint(10, VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(1))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **loaded.trace.options}
    with torch.inference_mode():
        loaded.network.get_output_embeddings().weight.mul_(spread)
        return loaded.backbone(**inputs)[0].flatten(0, 1), loaded.network(**inputs).logits.flatten(0, 1)


def _asked(loaded: LoadedModel, tokens: torch.Tensor | None) -> Logits:
    with torch.inference_mode():
        return logits_of(loaded, tokens)


@pytest.mark.parametrize("kind", [*OWN, *LINEAR])
def test_logits_of_all_and_of_some_tokens_are_the_models(kind: str) -> None:
    loaded = _loaded(kind)
    hidden, wanted = _plain(loaded)
    whole, some = _asked(loaded, None), _asked(loaded, torch.tensor(WORDS))
    kinds = OwnLogits if kind in OWN else LinearLogits
    assert type(whole) is type(some) is kinds
    with torch.inference_mode():
        assert torch.allclose(whole(hidden), wanted, 1e-5, 1e-6)
        assert torch.allclose(some(hidden), wanted[:, list(WORDS)], 1e-5, 1e-6)


@pytest.mark.parametrize("kind", ["gemma2", "granite", "cohere"])
def test_a_plain_product_would_be_another(kind: str) -> None:
    """Else the test above shows nothing."""
    loaded = _loaded(kind)
    hidden, wanted = _plain(loaded)
    assert not torch.allclose(hidden @ loaded.network.get_output_embeddings().weight.T, wanted, 1e-3, 1e-3)


def test_a_cap_is_seen_where_all_logits_are_small() -> None:
    """At the first step they may be far below the cap, and later not."""
    config = tiny_config("gemma2")
    config.final_logit_softcapping = 50.0
    network = type(tiny("gemma2"))(config).eval().requires_grad_(False)
    loaded = as_loaded(network, True, "gemma2")
    hidden, wanted = _plain(loaded, 1e-3)
    assert float(wanted.abs().max()) < 0.1
    logits = _asked(loaded, None)
    with torch.inference_mode():
        assert torch.allclose(logits(hidden), wanted, 1e-5, 1e-7)
        assert float(logits(1e7 * hidden).abs().max()) <= 50.0


def test_asking_leaves_the_network_as_it_was() -> None:
    loaded = _loaded("gemma2")
    before = {name: id(tensor) for name, tensor in loaded.network.named_parameters(remove_duplicate=False)}
    hidden, wanted = _plain(loaded)
    logits = _asked(loaded, torch.tensor(WORDS))
    with torch.inference_mode():
        logits(hidden)
    assert {name: id(tensor) for name, tensor in loaded.network.named_parameters(remove_duplicate=False)} == before
    assert "forward" not in loaded.backbone.__dict__
    assert torch.equal(_plain(loaded)[1], wanted)


@pytest.mark.parametrize("head", ["label_words", "lm"])
@pytest.mark.parametrize("kind", ["gemma2", "granite", "cohere", "llama"])
def test_losses_and_gradients_are_those_of_the_plain_network(kind: str, head: str) -> None:
    model = checked_model(_loaded(kind), head=head)
    batch = batches(model)[0]
    name = model.replica.manifest.scoped(1, "matrices")[0].name
    entry = next(tensor for tensor in model.replica.manifest.tensors if tensor.name == name)
    tensor = model.replica.parameters[name].view(entry.shape).clone().requires_grad_()
    loss = model.training_loss(batch, {name: tensor})
    (gradient,) = torch.autograd.grad(loss, tensor)

    network = tiny(kind)
    weight = network.get_parameter(name).requires_grad_()
    logits = network(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False).logits.float()
    wanted = _loss(head, logits, batch)
    (expected,) = torch.autograd.grad(wanted, weight)
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
    assert float(expected.abs().max()) > 1e-4
    assert torch.allclose(gradient, expected, 1e-3, 1e-6)


def _loss(head: str, logits: torch.Tensor, batch: Any) -> torch.Tensor:
    if head == "label_words":
        last = logits[torch.arange(len(batch)), last_positions(batch.mask_BT)]
        return functional.cross_entropy(last[:, list(WORDS)], batch.labels_B)
    real = (batch.mask_BT[:, 1:] * batch.mask_BT[:, :-1]).bool()
    return functional.cross_entropy(logits[:, :-1][real], batch.ids_BT[:, 1:][real])


def test_logits_of_more_than_the_hidden_state_are_refused() -> None:
    loaded = _loaded("llama")
    plain = loaded.network.forward

    def forward(input_ids: torch.Tensor, **inputs: Any) -> Any:
        answer = plain(input_ids=input_ids, **inputs)
        answer.logits = answer.logits + functional.one_hot(input_ids, VOCABULARY)  # a copy mechanism
        return answer

    loaded.network.forward = forward
    with pytest.raises(ModelError, match="depend on more than its last hidden state"):
        _asked(loaded, None)


def test_logits_that_are_not_finite_are_refused() -> None:
    config = tiny_config("granite")
    config.logits_scaling = 0.0
    network = type(tiny("granite"))(config).eval().requires_grad_(False)
    with pytest.raises(ModelError, match="not finite before training"):
        _asked(as_loaded(network, True, "granite"), None)
