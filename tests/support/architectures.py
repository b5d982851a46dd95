"""A tiny random network of every model type that transformers maps as a causal or masked language model.

One table of small values serves them all: a configuration is made from its class's defaults with every field that the
table knows made small. What a type needs beside is in `architecture_tables.py`, and why some cannot be made.
Every weight is drawn from a seeded generator, biases, norms and gates too, for zeros and ones hide mistakes.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from tests.support.architecture_tables import CHANGES, ENCODERS, SMALL, SPREADS, UNBUILDABLE, VARIANTS

VOCABULARY = 128
BLOCKS = 3
MIXED_BLOCKS = 4
"""Blocks where they are of several kinds."""

TYPES: tuple[str, ...] = tuple(sorted({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_MASKED_LM_MAPPING_NAMES}))
BUILDABLE: tuple[str, ...] = tuple(name for name in TYPES if name not in UNBUILDABLE)

_LAYER_KINDS = ("layer_types", "mlp_layer_types", "layers_block_type", "block_types", "indexer_types")


def is_causal(name: str) -> bool:
    """Whether `tiny` makes a causal LM of this type or variant; else a bare encoder, as its checkpoints mostly are."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    decoder = model_type not in ENCODERS or changes.get("is_decoder", False)
    return decoder and model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def tiny(name: str, seed: int = 0, attention: str | None = "eager") -> Any:
    """The network of a type or variant in eval mode, fp32, on the CPU; the same seed gives the same network.

    `attention`: transformers' name of the attention kernel; None: what from_pretrained takes.

    Raises:
        KeyError: transformers does not map the type, or it is in `UNBUILDABLE`.
    """
    if name not in BUILDABLE and name not in VARIANTS:
        raise KeyError(UNBUILDABLE.get(name, f"{name} is no causal or masked language model of transformers"))
    maker = transformers.AutoModelForCausalLM if is_causal(name) else transformers.AutoModel
    options = {} if attention is None else {"attn_implementation": attention}
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = maker.from_config(tiny_config(name), **options)
    network.eval().requires_grad_(False)
    _draw(network, SPREADS.get(name, 0.15), seed)
    return network


def tiny_config(name: str) -> Any:
    """The configuration of `tiny`, with all its parts."""
    model_type, changes = VARIANTS.get(name, (name, {}))
    return _small(transformers.CONFIG_MAPPING[model_type], CHANGES.get(model_type, {}) | changes)


def _small(settings: type[Any], changes: dict[str, Any]) -> Any:
    """A configuration of this class with small values and then `changes`, which may be nested for its parts."""
    usual, kinds, parts = _usual(settings)
    small = {name: size for name, size in SMALL.items() if usual.get(name) is not None}
    small |= {name: SMALL[name] for name in ("head_dim", "num_key_value_heads") if name in usual}
    if "kv_lora_rank" in small:
        small["num_key_value_heads"] = small["num_attention_heads"]
    blocks = MIXED_BLOCKS if any(len(set(each)) > 1 for each in kinds.values()) else BLOCKS
    blocks = changes.get("num_hidden_layers", blocks)
    small |= {name: blocks for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers") if name in small}
    small |= {name: list(islice(cycle(dict.fromkeys(each)), blocks)) for name, each in kinds.items()}
    for name, value in usual.items():
        if name.endswith("_token_id") and isinstance(value, int) and value >= VOCABULARY:
            small[name] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}.get(name, 3)
    small |= {name: _small(part, changes.get(name, {})) for name, part in parts.items()}
    with _quiet():
        return settings(**(small | {name: value for name, value in changes.items() if name not in parts}))


def tiny_inputs(network: Any, rows: int = 4, length: int = 9, padded: bool = True, seed: int = 0) -> dict[str, Any]:
    """`input_ids` [rows, length] and `attention_mask`: row i is padded on the right by i mod 4 tokens."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(10, VOCABULARY, (rows, length), generator=generator)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(rows if padded else 0):
        mask[row, length - row % 4 :] = 0
    pad = getattr(network.config.get_text_config(), "pad_token_id", None)
    ids[mask == 0] = pad or 0
    return {"input_ids": ids, "attention_mask": mask}


@cache
def _usual(settings: type[Any]) -> tuple[dict[str, Any], dict[str, list[Any]], dict[str, type[Any]]]:
    """By default, of a configuration class: its fields' values, the kinds of its blocks, the classes of its parts."""
    with _quiet():
        config = settings()
    fields = {field.name: field.default for field in dataclasses.fields(settings)}
    kinds = {name: getattr(config, name, None) for name in _LAYER_KINDS if name in fields}
    parts = {name: getattr(config, name, None) for name in settings.sub_configs or {}}
    return (
        fields,
        {name: list(each) for name, each in kinds.items() if each},
        {name: type(part) for name, part in parts.items() if part is not None},
    )


def _draw(network: nn.Module, spread: float, seed: int) -> None:
    """Draws all weights; what starts as a constant, or as a vector with a purpose (rates of decay), stays near it."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        kept = (
            name.endswith(("A_log", "time_decay"))
            or parameter.ndim < 2
            or bool((parameter == parameter.view(-1)[0]).all())
        )
        if kept and bool(parameter.isfinite().all()):
            parameter.add_(noise, alpha=0.1)
        else:
            parameter.copy_(spread * noise)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is said of token ids outside small vocabularies, or of kernels that are not installed."""
    level = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
