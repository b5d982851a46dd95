"""What single model types need beside the common small sizes, and why some cannot be made."""

from typing import Any

ENCODERS = frozenset(
    "bert big_bird camembert data2vec-text electra ernie megatron-bert rembert roberta roberta-prelayernorm roc_bert"
    " roformer xlm-roberta xlm-roberta-xl xmod".split()
)
"""Mapped as causal LM too, but their checkpoints are encoders."""

CHANGES: dict[str, dict[str, Any]] = {}
"""Type -> fields of its configuration."""

UNBUILDABLE: dict[str, str] = {}
"""Type -> why there is no tiny network of it, in a sentence."""
