"""What a model can take: tokens within its table, and texts within its positions. Measured before a run begins."""

from collections.abc import Mapping
from typing import Any

import torch

from zorba_ray.errors import ConfigError, ModelError
from zorba_ray.models.loaded import LoadedModel, sample_ids
from zorba_ray.printable import first_line

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")


def require_positions(loaded: LoadedModel, max_length: int) -> None:
    """Whether `data.max_length` is within what the model's settings say.

    Raises:
        ConfigError: it is not.
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
    """Whether the model's table has all tokens.

    Args:
        highest: what is asked about -> its highest token id, as in {"the training texts": 49151}.

    Raises:
        ModelError: names the token, the table and the remedy.
    """
    rows = int(loaded.network.get_input_embeddings().weight.shape[0])
    pad = int(loaded.tokenizer.pad_token_id)
    for what, token in {"padding": pad, **highest}.items():
        if not 0 <= token < rows:
            text = str(loaded.tokenizer.convert_ids_to_tokens(token))
            raise ModelError(
                f"model.path={loaded.label}: token {token} ({text!r:.60}) of {what} is beyond the model's table of "
                f"{rows} tokens (0 … {rows - 1}): the tokenizer is not this model's; take the one that belongs to it, "
                "or save the model again after resize_token_embeddings"
            )


@torch.inference_mode()
def require_length(loaded: LoadedModel, longest: int, setting: str) -> None:
    """Whether the model can be run on `longest` tokens: some count positions from an offset, so that their table ends
    before their settings say.

    Args:
        loaded: on the CPU, nothing in it wrapped.
        setting: what the length comes from and how it is changed, as in "data.max_length=66".

    Raises:
        ConfigError: names the largest length that it takes.
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
    """What the model says of a text of `length` tokens; None: it takes it."""
    tokens = sample_ids(loaded.network, loaded.label).flatten()
    ids: Any = tokens.repeat(-(-length // len(tokens)))[:length].unsqueeze(0)
    try:
        loaded.backbone(input_ids=ids, attention_mask=torch.ones_like(ids), **loaded.trace.options)
    except MemoryError:
        raise
    except Exception as error:  # of the model's own code
        return first_line(error, 120)
    return None
