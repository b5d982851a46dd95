"""Models whose pair would be silently wrong: refused, or made right."""

from typing import Any

import pytest
import torch
import transformers

from tests.support.tiny_models import LABEL_WORDS, TinyTokenizer, tiny_batch, tiny_loaded
from zorba_ray.config import ModelConfig
from zorba_ray.directions import direction_backend
from zorba_ray.errors import LedgerError, ModelError
from zorba_ray.models import LoadedModel, Perturbation, Replica, TaskModel
from zorba_ray.models.blocks import find_blocks
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.replay import ReplicaState

SIZES: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "num_hidden_layers": 3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 32,
}  # fmt: skip


def loaded(network: Any, causal: bool) -> LoadedModel:
    name, blocks = find_blocks(network, "tiny")
    backbone = network.base_model if causal else network
    return LoadedModel(network.eval(), backbone, blocks, name, TinyTokenizer(0), causal, "tiny")


def task(model: LoadedModel, head: Any) -> TaskModel:
    config = ModelConfig.model_validate({"head": head})
    return TaskModel(model, config, "{text}", LABEL_WORDS, "all", direction_backend("numpy"))


def test_one_block_that_runs_several_times_is_refused():
    """ALBERT runs its one group of layers three times: each visit would restart from the kept prefix."""
    network = transformers.AlbertModel(transformers.AlbertConfig(**SIZES, embedding_size=16, num_hidden_groups=1))
    with pytest.raises(ModelError, match=r"its blocks run in the order \[0, 0, 0\]"):
        task(loaded(network, causal=False), "label_prompts")


def test_capped_logits_are_refused():
    """Gemma 2 caps its logits, so a slice of a linear map is another loss than the model's own."""
    config = transformers.Gemma2Config(**SIZES, head_dim=8, num_key_value_heads=2, final_logit_softcapping=0.01)
    torch.manual_seed(0)
    with pytest.raises(ModelError, match="scaled or capped"):
        task(loaded(transformers.Gemma2ForCausalLM(config), causal=True), "label_words")


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
        "rademacher", "all", 1, 1, (1,), replica.manifest.blocks,
    )  # fmt: skip
    with pytest.raises(LedgerError, match=r"the files behind model\.path changed"):
        ReplicaState(replica, direction_backend("numpy"), header)
