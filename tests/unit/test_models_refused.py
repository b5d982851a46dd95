"""Models whose pair would be silently wrong: refused, or made right."""

from typing import Any

import pytest
import torch
import transformers

from tests.support.tiny_models import LABEL_WORDS, TinyTokenizer, tiny_batch, tiny_loaded
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend
from zorba_ray.errors import LedgerError
from zorba_ray.models import LoadedModel, Perturbation, Replica, TaskModel, loaded_model
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.replay import ReplicaState

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 32,
}  # fmt: skip


def loaded(network: Any, causal: bool) -> LoadedModel:
    return loaded_model(network, TinyTokenizer(0), causal, "tiny")


def task(model: LoadedModel, head: Any) -> TaskModel:
    config = ModelConfig.model_validate({"head": head})
    return TaskModel(model, config, "{text}", LABEL_WORDS, "all", direction_backend("numpy"))


def test_decoder_with_label_prompts_keeps_no_cache():
    """A cache of keys would let the minus sign attend to the plus sign: at μ = 0 both signs must be the plain loss."""
    config = transformers.LlamaConfig(**SIZES, num_key_value_heads=2)
    torch.manual_seed(0)
    model = task(loaded(transformers.LlamaModel(config), causal=False), "label_prompts")
    batch = tiny_batch("llama", 3, 8)
    prepared = model.prepare(batch, frozenset({1, 2}))
    plain = model.evaluate([batch]).loss
    for direction in (0, 1):
        plus, minus = model.pair(prepared, Perturbation(7, direction, 0.0, "rademacher"))
        assert plus == pytest.approx(plain, abs=1e-6)
        assert minus == pytest.approx(plain, abs=1e-6)


def test_other_weights_of_the_same_shape_are_refused():
    """A worker that finds other weights behind model.path must not answer: its scalars would be of another θ."""
    replica = Replica(tiny_loaded("opt", seed=1))
    other = Replica(tiny_loaded("opt", seed=2))
    header = LedgerHeader(
        1, "zdir v1", "zorba", other.digest(), replica.manifest.digest, "", "", "", 0, "per_client", "data",
        "rademacher", "all", 1, 1, (1,), replica.manifest.blocks, "dense", 0, "scalars", 0, 0.0,
    )  # fmt: skip
    with pytest.raises(LedgerError, match=r"the files behind model\.path changed"):
        ReplicaState(replica, direction_backend("numpy"), header)
