"""Small sizes of all model types, what single ones need beside, and why some cannot be made: the tables of the YAML."""

from pathlib import Path
from typing import Any

import yaml

_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

ENCODERS = frozenset({
    "bert", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl", "xmod",
})  # fmt: skip
"""Mapped as causal LM too, but their checkpoints are encoders."""

SMALL: dict[str, float] = {name: group["value"] for group in _TABLES["small"] for name in group["fields"]}
"""Field of a configuration -> its value, wherever a type has that field and sets it."""

CHANGES: dict[str, dict[str, Any]] = _TABLES["changes"]
"""Type -> fields of its configuration."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name} as decoder": (name, {"is_decoder": True}) for name in sorted(ENCODERS)},
    **{name: (model_type, changes) for name, (model_type, changes) in _TABLES["variants"].items()},
}
"""Name -> a type and fields that change how its blocks compute."""

SPREADS: dict[str, float] = {"mobilebert": 0.1}
"""Type -> standard deviation of its weights, where the usual 0.15 makes activations in the thousands."""

UNBUILDABLE: dict[str, str] = _TABLES["unbuildable"]
"""Type -> why there is no tiny network of it, in a sentence."""

MECHANISMS: dict[str, str] = _TABLES["mechanisms"]
"""Type or variant -> what about it could be wrong."""
