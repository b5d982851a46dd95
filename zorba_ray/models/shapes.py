"""Named model shapes, and networks built only from a configuration, without weights, tokenizer or download."""

import json
from importlib import resources
from typing import Any

import torch
import transformers

from zorba_ray.config import ModelConfig
from zorba_ray.config.suggestions import meant
from zorba_ray.errors import ModelError
from zorba_ray.models.extent import within
from zorba_ray.models.load import is_causal, load_settings
from zorba_ray.models.loaded import LoadedModel, loaded_model

SHAPES: dict[str, dict[str, Any]] = json.loads(
    resources.files("zorba_ray.models").joinpath("shapes.json").read_text(encoding="utf-8")
)
"""Name -> architecture and sizes, from the config.json of its publisher."""


def shape_settings(model: ModelConfig) -> Any:
    """The transformers configuration of a named shape, a folder or a hub id (its config.json only).

    Raises:
        ModelError: neither a named shape nor a model that can be found or downloaded.
    """
    if model.path in SHAPES:
        return transformers.AutoConfig.for_model(**SHAPES[model.path])
    try:
        return load_settings(model)
    except ModelError as error:
        hint = meant(model.path.rpartition("/")[2], SHAPES)
        raise ModelError(f"{error}. Named shapes: {', '.join(SHAPES)}{hint}") from error


def skeleton(model: ModelConfig, dtype: torch.dtype) -> LoadedModel:
    """A network in eval mode from a configuration, with arbitrary weights of `dtype` and without a tokenizer.

    Under `FakeTensorMode` nothing is allocated.

    Raises:
        ModelError: as `shape_settings`; no list of transformer blocks; a head that the architecture cannot have.
    """
    settings = shape_settings(model)
    causal = is_causal(settings, model)
    kind = transformers.AutoModelForCausalLM if causal else transformers.AutoModel
    with within(None, model.path):
        network: Any = kind.from_config(settings, dtype=dtype)
    return loaded_model(network, None, causal, model.path)
