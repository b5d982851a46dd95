"""Checks before a run that the model has all tokens in its table, and enough positions for the longest text."""

from collections.abc import Mapping
from typing import Any

import torch

from zorba_ray.errors import ConfigError, ModelError
from zorba_ray.models.loaded import LoadedModel, sample_ids
from zorba_ray.printable import first_line

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")


def require_positions(loaded: LoadedModel, max_length: int) -> None:
    """Checks that `data.max_length` is not above the positions in the model's settings.

    Raises:
        ConfigError: it is.
    """
    stated = _stated(loaded)
    if stated and max_length > stated:
        raise ConfigError(
            f"data.max_length={max_length} exceeds the {stated} positions of {loaded.label}: set "
            f"data.max_length={stated} or less"
        )


def _stated(loaded: LoadedModel) -> int:
    """Positions that the model's settings name; 0: none."""
    settings = loaded.network.config.get_text_config()
    stated = [value for name in _POSITIONS if isinstance(value := getattr(settings, name, None), int) and value > 0]
    return min(stated, default=0)


@torch.inference_mode()
def require_room(loaded: LoadedModel, longest: int, new: int) -> None:
    """Whether the model has positions for the longest prompt and `new` tokens behind it.

    Raises:
        ConfigError: it has not.
    """
    total, stated = longest + new, _stated(loaded)
    begun = f"task.max_new_tokens={new} behind the longest prompt, which has {longest} tokens, makes {total}, and "
    if stated and total > stated:
        room = f"set task.max_new_tokens={stated - longest} or less" if stated > longest else "shorten data.prompt"
        raise ConfigError(f"{begun}{loaded.label} has {stated} positions: {room}, or lower data.max_length")
    if (error := _failure(loaded, total)) is not None:
        raise ConfigError(
            f"{begun}{loaded.label} does not take so many ({error}): lower task.max_new_tokens, or data.max_length"
        )


def require_tokens(loaded: LoadedModel, highest: Mapping[str, int]) -> None:
    """Checks that the model's table has all tokens.

    Args:
        highest: description of texts -> their highest token id, as in {"the training texts": 49151}.

    Raises:
        ModelError: it has not; names the token, the table and the remedy.
    """
    rows = int(loaded.network.get_input_embeddings().weight.shape[0])
    pad = int(loaded.tokenizer.pad_token_id)
    for what, token in {"padding": pad, **highest}.items():
        if not 0 <= token < rows:
            text = str(loaded.tokenizer.convert_ids_to_tokens(token))
            raise ModelError(
                f"model.path={loaded.label}: token {token} ({text!r:.60}) of {what} is beyond the model's table of "
                f"{rows} tokens (0 … {rows - 1}): the tokenizer does not belong to this model; use its own tokenizer, "
                "or save the model again after resize_token_embeddings"
            )


@torch.inference_mode()
def require_length(loaded: LoadedModel, longest: int, setting: str) -> None:
    """Checks by a forward pass that the model works with `longest` tokens. Some models count positions from an offset,
    so that they have fewer than their settings say.

    Args:
        loaded: on the CPU, without wrapped modules.
        setting: the setting that decides the length, as in "data.max_length=66".

    Raises:
        ConfigError: it does not; names the largest length that works.
    """
    error = _failure(loaded, longest)
    if error is None:
        return
    fits, too_long = 0, longest
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _failure(loaded, middle) is None:
            fits = middle
        else:
            too_long = middle
    raise ConfigError(
        f"{setting}: the longest text has {longest} tokens, and {loaded.label} takes at most {fits} ({error}): "
        + (f"set data.max_length={fits} or less" if setting.startswith("data.max_length") else "shorten it")
    )


def _failure(loaded: LoadedModel, length: int) -> str | None:
    """The error of the model for a text of `length` tokens; None: it works."""
    tokens = sample_ids(loaded.network, loaded.label).flatten()
    ids: Any = tokens.repeat(-(-length // len(tokens)))[:length].unsqueeze(0)
    try:
        loaded.backbone(input_ids=ids, attention_mask=torch.ones_like(ids), **loaded.trace.options)
    except MemoryError:
        raise
    except Exception as error:  # the model's code may raise anything
        return first_line(error, 120)
    return None
