"""The tiny networks of `tests/support/architectures.py`: which types they cover, and that each is worth checking.

That all of them run is seen where they are used, in the matrix of architectures; here a sample of every kind is run.
"""

import inspect
from typing import Any

import pytest
import torch

from tests.support.architecture_tables import CHANGES, ENCODERS, MECHANISMS, SPREADS, UNBUILDABLE, VARIANTS
from tests.support.architectures import BUILDABLE, MIXED_BLOCKS, TYPES, VOCABULARY, is_causal, tiny, tiny_config
from tests.support.architectures import tiny_inputs as inputs

SAMPLE = [name for name in MECHANISMS if name not in ("funnel", "prophetnet")]


def _forward(network: Any, given: dict[str, Any]) -> torch.Tensor:
    """Logits or last hidden states [rows, length, *]."""
    options = {"use_cache": False} if "use_cache" in inspect.signature(network.forward).parameters else {}
    with torch.inference_mode():
        return network(**given, **options)[0]


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_runs_and_every_weight_is_drawn(name: str) -> None:
    network = tiny(name)
    given = inputs(network)
    output = _forward(network, given)
    assert output.shape[:2] == given["input_ids"].shape
    assert output.shape[2] == (VOCABULARY if is_causal(name) else network.config.hidden_size)
    real = output[given["attention_mask"].bool()]
    assert real.isfinite().all()
    assert 0.05 < real.std() < 10
    for label, weight in network.named_parameters():
        assert weight.isfinite().all(), label
        assert weight.numel() < 2 or weight.std() > 0.01, f"{label} is a constant"
    assert sum(weight.numel() for weight in network.parameters()) < 400_000


def test_all_configurations_are_small() -> None:
    """Without making the networks: that would import every architecture."""
    assert len(BUILDABLE) >= 210
    for name in (*BUILDABLE, *VARIANTS):
        config = tiny_config(name).get_text_config(decoder=True)
        assert config.vocab_size <= VOCABULARY, name
        assert getattr(config, "hidden_size", 32) <= 64, name
        if name not in ("hrm_text", "longcat_flash"):  # they count passes, and halves of blocks
            assert getattr(config, "num_hidden_layers", MIXED_BLOCKS) <= MIXED_BLOCKS, name


def test_the_tables_name_types_that_exist() -> None:
    types = set(TYPES)
    assert {*CHANGES, *ENCODERS, *UNBUILDABLE} <= types
    assert {model_type for model_type, _ in VARIANTS.values()} <= set(BUILDABLE)
    assert not types & set(VARIANTS)
    assert set(SPREADS) <= types
    assert not set(CHANGES) & set(UNBUILDABLE)
