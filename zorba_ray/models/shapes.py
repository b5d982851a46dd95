"""Named model shapes, and networks built from a configuration alone: no weights, no tokenizer, no download."""

import difflib
from typing import Any

import torch
import transformers

from zorba_ray.config import ModelConfig
from zorba_ray.errors import ModelError
from zorba_ray.models.extent import within
from zorba_ray.models.load import is_causal, load_settings
from zorba_ray.models.loaded import LoadedModel, loaded_model

SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "opt-125m": ("opt", {"hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}),
    "opt-1.3b": ("opt", {"hidden_size": 2048, "ffn_dim": 8192, "num_hidden_layers": 24, "num_attention_heads": 32}),
    "opt-6.7b": ("opt", {"hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32, "num_attention_heads": 32}),
    "llama-3-8b": (
        "llama",
        {
            "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
            "tie_word_embeddings": False, "bos_token_id": 128000, "eos_token_id": 128001,
        },
    ),
    "qwen2.5-7b": (
        "qwen2",
        {
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064, "max_position_embeddings": 32768,
            "tie_word_embeddings": False, "bos_token_id": 151643, "eos_token_id": 151643,
        },
    ),
}  # fmt: skip
"""Name -> architecture and sizes, as their publishers' config.json states them."""

_CLASSES = {"opt": "OPTForCausalLM", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}
_OPT = {"vocab_size": 50272, "max_position_embeddings": 2048}


def settings_of(model: ModelConfig) -> Any:
    """The transformers configuration of a named shape, a folder or a hub id (its config.json only).

    Raises:
        ModelError: neither a shape nor a model that can be found or fetched.
    """
    if model.path in SHAPES:
        family, sizes = SHAPES[model.path]
        if family == "opt":
            sizes = {**_OPT, **sizes, "word_embed_proj_dim": sizes["hidden_size"]}
        return transformers.AutoConfig.for_model(family, architectures=[_CLASSES[family]], **sizes)
    try:
        return load_settings(model)
    except ModelError as error:
        near = difflib.get_close_matches(model.path.lower(), SHAPES, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ModelError(f"{error}. Named shapes: {', '.join(SHAPES)}{hint}") from error


def skeleton(model: ModelConfig, dtype: torch.dtype) -> LoadedModel:
    """A network in eval mode with weights of `dtype` that hold nothing in particular, made from its configuration.

    Under `FakeTensorMode` nothing is allocated. It has no tokenizer.

    Raises:
        ModelError: as `settings_of`; no list of transformer blocks; a head that the architecture cannot serve.
    """
    settings = settings_of(model)
    causal = is_causal(settings, model)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    with within(None, model.path):
        network: Any = kind.from_config(settings, dtype=dtype)
    return loaded_model(network, None, causal, model.path)
