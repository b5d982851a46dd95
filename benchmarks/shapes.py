"""Models and data of a wanted size, made here: OPT from a config with random weights, the built-in tokenizer, and
examples of equal length. Nothing is fetched."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from zorba_ray.config import ExperimentConfig, ModelConfig, config_from_tree
from zorba_ray.models import Batch, LoadedModel, loaded_model
from zorba_ray.models.load import locate

WORDS = ("terrible", "poor", "good", "great")
PROMPT = "{text} It was"
_TAIL = 2  # tokens of the prompt behind the text


@dataclass(frozen=True)
class Shape:
    """Sizes of an OPT: L layers of width H (feed-forward 4H), V words."""

    layers: int
    hidden: int
    vocabulary: int = 192
    positions: int = 128

    @property
    def block_parameters(self) -> int:
        """Elements of all blocks: 12H² of matrices, 9H of biases and 4H of norms each."""
        return self.layers * (12 * self.hidden**2 + 13 * self.hidden)


OPT_125M = Shape(12, 768, 50272, 2048)
SMALL = Shape(6, 256, 5000)
"""The model that DeComFL's rounds were measured with (d = 6.15M, blocks 4.74M)."""
TEN_MILLION = Shape(8, 320)
"""Blocks of 9.86M."""
THOUSANDS = Shape(2, 12, positions=32)
"""Blocks of 3,768, 6,504 with embeddings and final norm."""


def tokenizer() -> Any:
    """The built-in model's: one token per word."""
    return transformers.AutoTokenizer.from_pretrained(locate("builtin")[0], local_files_only=True)


def network(shape: Shape) -> Any:
    """OPTForCausalLM in fp32 and eval mode, its weights drawn under a fixed seed."""
    heads = max(1, shape.hidden // 64)
    words = tokenizer()
    torch.manual_seed(0)
    config = transformers.OPTConfig(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden, word_embed_proj_dim=shape.hidden,
        ffn_dim=4 * shape.hidden, num_hidden_layers=shape.layers, num_attention_heads=heads,
        max_position_embeddings=shape.positions, dropout=0.0, pad_token_id=words.pad_token_id,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    return transformers.OPTForCausalLM(config).eval().requires_grad_(False)


def loaded(made: Any) -> LoadedModel:
    """A network as `load_model` would return it."""
    return loaded_model(made, tokenizer(), True, "benchmark")


def batch(rows: int, length: int) -> Batch:
    """Random tokens without padding, [rows, length], four labels."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 170, (rows, length), generator=generator)
    labels = torch.randint(0, len(WORDS), (rows,), generator=generator)
    return Batch(ids, torch.ones_like(ids), labels)


def model_folder(folder: Path, shape: Shape) -> Path:
    """A model of that shape with the tokenizer, as `model.path` takes it."""
    transformers.logging.disable_progress_bar()
    network(shape).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def data_folder(folder: Path, rows: int, length: int) -> Path:
    """Three splits (train `rows`, the others 8) of examples that all come to `length` tokens under the prompt."""
    folder.mkdir(parents=True)
    vocabulary = [word for word, token in tokenizer().get_vocab().items() if token > 3 and word.isalpha()]
    dice = np.random.Generator(np.random.Philox(7))
    for split, count in (("train", rows), ("validation", 8), ("test", 8)):
        picks = dice.integers(len(vocabulary), size=(count, length - _TAIL))
        lines = [
            json.dumps({"text": " ".join(vocabulary[word] for word in row), "label": place % len(WORDS)})
            for place, row in enumerate(picks)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def settings(model: Path, data: Path, rounds: int, length: int, batch_size: int, **more: Any) -> ExperimentConfig:
    """A run that only computes rounds: evaluated at its start and end, on eight examples; no trackers, no budgets.

    Args:
        more: sections with what is to be set in them.
    """
    tree: dict[str, Any] = {
        "name": "benchmark",
        "rounds": rounds,
        "model": ModelConfig(path=str(model)).model_dump(),
        "data": {
            "path": str(data), "prompt": PROMPT, "label_words": list(WORDS),
            "max_length": length, "batch_size": batch_size,
        },
        "zo": {"lr": 1e-6, "schedule": "constant"},
        "federation": {"backend": "sequential"},
        "eval": {"every": rounds},
        "tracking": {"wandb": "disabled"},
    }  # fmt: skip
    for section, values in more.items():
        tree[section] = {**tree.get(section, {}), **values}
    return config_from_tree(tree, "benchmark")
