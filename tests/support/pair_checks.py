"""The pair check on networks that are made in a test: tiny ones of any architecture, with a head over three words."""

from typing import Any

import torch

from tests.support.tiny_models import LABEL_TOKENS, LABEL_WORDS, TinyTokenizer
from zorba_ray.config import ModelConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.models import Batch, HostStore, LoadedModel, Scope, TaskModel, loaded_model
from zorba_ray.models.pair_check import PairPath, Verdict, check_pairs
from zorba_ray.models.plain_loss import PlainLoss

PAIRS = PairPath(2, False, "rademacher")
LENGTHS = ((9, 5, 7), (6, 6))


def as_loaded(network: Any, causal: bool, label: str) -> LoadedModel:
    """As `load_model` would return it, with a tokenizer of a few words."""
    pad = getattr(network.config.get_text_config(), "pad_token_id", None)
    return loaded_model(network, TinyTokenizer(0 if pad is None else pad), causal, label)


def checked_model(
    loaded: LoadedModel, scope: Scope = "all", rank: int = 0, sixteen_bits: bool = False, head: Any = "auto"
) -> TaskModel:
    """A task model; in 16 bits as a real accelerator computes, emulated."""
    store = HostStore(torch.bfloat16, True) if sixteen_bits else None
    config = ModelConfig.model_validate({"head": head, "temperature": 5.0})
    return TaskModel(loaded, config, "{text}", LABEL_WORDS, scope, cpu_directions("auto"), rank=rank, store=store)


def check(model: TaskModel, path: PairPath | None = PAIRS, head: Any = "auto", seed: int = 3) -> Verdict:
    """`check_pairs` on random rows, padded and not."""
    config = ModelConfig.model_validate({"head": head, "temperature": 5.0})
    plain = PlainLoss(model, config, "{text}", LABEL_WORDS, cpu_directions("auto"))
    return check_pairs(model, plain, batches(model, seed), path)


def batches(model: TaskModel, seed: int = 3) -> list[Batch]:
    """[3, 9] with rows of 9, 5 and 7 tokens, and [2, 6] without padding."""
    generator = torch.Generator().manual_seed(seed)
    pad = int(model.loaded.tokenizer.pad_token_id)
    vocabulary = model.loaded.network.get_input_embeddings().weight.shape[0]
    made = []
    for lengths in LENGTHS:
        ids = torch.randint(max(LABEL_TOKENS) + 1, vocabulary, (len(lengths), max(lengths)), generator=generator)
        mask = torch.zeros_like(ids)
        for row, length in enumerate(lengths):
            mask[row, :length] = 1
        made.append(Batch(torch.where(mask.bool(), ids, pad), mask, torch.arange(len(lengths)) % len(LABEL_WORDS)))
    return made
