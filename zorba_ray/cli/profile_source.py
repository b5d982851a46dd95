"""What `zorba-ray profile` was asked about -> the model's memory profile."""

import difflib
from pathlib import Path

from zorba_ray.config import ExperimentConfig, load_config, presets
from zorba_ray.config.base import apply_override, parse_override
from zorba_ray.config.experiment import config_from_tree
from zorba_ray.errors import ConfigError
from zorba_ray.memory.table import ModelProfile, model_profile
from zorba_ray.models.shapes import SHAPES

LABELS = 2
"""Label words where the settings name none."""


def profiled(source: str, overrides: list[str] | None, batch: int | None, length: int | None) -> ModelProfile:
    """The profile of a preset's or file's model, or of a model that is named itself.

    Raises:
        ConfigError, ModelError: nothing of that name, a refused setting, a batch or length below 1, or a length that
            exceeds the model's positions.
    """
    config = _settings(source, overrides or [])
    rows = batch if batch is not None else config.data.batch_size
    tokens = length if length is not None else config.data.max_length
    for option, value, least in (("--batch", rows, 1), ("--length", tokens, 2)):
        if value < least:
            raise ConfigError(f"{option}={value}: at least {least}")
    if config.zo.rank:
        raise ConfigError("zo.rank: profile knows dense directions only; set zo.rank=null")
    found = model_profile(
        config.model, config.memory.compute_dtype, config.zo.fixed_scope, rows, tokens,
        len(config.data.label_words) or LABELS,
    )  # fmt: skip
    if found.positions is not None and tokens > found.positions:
        raise ConfigError(f"--length={tokens} exceeds the {found.positions} positions of {config.model.path}")
    return found


def _settings(source: str, overrides: list[str]) -> ExperimentConfig:
    named = source in presets() or Path(source).is_file() or source.endswith((".yaml", ".yml"))
    if named:
        return load_config(source, overrides)
    hub = source.count("/") == 1 and not source.startswith((".", "/", "~"))
    if source not in SHAPES and not hub and not Path(source).expanduser().is_dir() and ":" not in source:
        near = difflib.get_close_matches(source.lower(), [*SHAPES, *presets()], n=1, cutoff=0.5)
        raise ConfigError(
            f"profile {source!r}: neither a named shape ({', '.join(SHAPES)}), a preset ({', '.join(presets())}), a "
            "YAML file, a model's folder nor a hub id (owner/name)" + (f"; did you mean {near[0]}?" if near else "")
        )
    tree = {"model": {"path": source}}
    for text in overrides:
        apply_override(tree, *parse_override(text))
    return config_from_tree(tree, source)
