"""Label sentences of an encoder: whether it can read them."""

from collections.abc import Sequence
from typing import Any

from zorba_ray.errors import ConfigError


def check_label_prompts(tokenizer: Any, sentences: Sequence[str], positions: int, model: str) -> None:
    """Whether each label sentence fits into the positions of an encoder.

    Raises:
        ConfigError: names the longest one.
    """
    lengths = [len(ids) for ids in tokenizer(list(sentences))["input_ids"]]
    longest = max(range(len(lengths)), key=lengths.__getitem__, default=None)
    if longest is not None and lengths[longest] > positions:
        raise ConfigError(
            f"data.label_words: entry {longest} ({sentences[longest][:60]!r}…) is {lengths[longest]} tokens, and "
            f"model.path={model} has {positions} positions; shorten it"
        )
