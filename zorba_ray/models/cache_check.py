"""Whether a model's cache of keys and values gives the logits of the model that reads the whole text.

Some models keep no keys (state-space models), keep them in the module, or count positions in a way that does not go
with padding on the left. Such a model decodes without a cache.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from zorba_ray.models.decode import Decoder, Ending
from zorba_ray.models.loaded import LoadedModel, sample_ids
from zorba_ray.models.logits import CLOSE, Logits

_SHORT, _STEPS = 3, 4
_AT_A_LENGTH = ("window", "chunk", "original_max_position")
"""Parts of the names of settings from which on a model attends or rotates otherwise."""


@torch.inference_mode()
def cache_is_right(loaded: LoadedModel, logits: Logits, longest: int) -> bool:
    """Reads two texts of different length with a cache and without, and compares all logits of four next tokens.

    Args:
        logits: of the vocabulary, [N, H] -> [N, V].
        longest: tokens of the longest text that will be decoded. A window that it reaches beyond is reached here.
    """
    if not {"past_key_values", "use_cache"} <= inspect.signature(loaded.backbone.forward).parameters.keys():
        return False
    changes = [length for length in _changing_lengths(loaded.network.config.get_text_config()) if length < longest]
    length = max([2 * _SHORT, *(length + 1 for length in changes)])
    ids = sample_ids(loaded.network, loaded.label).flatten().tolist()
    text = (ids * (1 + (length + _STEPS) // len(ids)))[: length + _STEPS]
    prompts, following = (text[:length], text[1 : 1 + _SHORT]), text[length:]
    before = _read(loaded, logits, prompts, following, cached=False)
    try:
        cached = _read(loaded, logits, prompts, following, cached=True)
    except MemoryError:
        raise
    except Exception:  # of the model's own code
        return False
    after = _read(loaded, logits, prompts, following, cached=False)  # nothing is left in the modules
    allowed = CLOSE[loaded.network.get_output_embeddings().weight.dtype] * max(1.0, float(before.abs().max()))
    return bool((cached - before).abs().max() <= allowed) and torch.equal(before, after)


def _read(
    loaded: LoadedModel, logits: Logits, prompts: Sequence[Sequence[int]], following: Sequence[int], cached: bool
) -> torch.Tensor:
    """Logits of the tokens after each prompt where `following` follows all of them: fp32 [_STEPS, B, V]."""
    seen: list[torch.Tensor] = []

    def choose(logits_BV: torch.Tensor) -> torch.Tensor:
        seen.append(logits_BV)
        return torch.full((len(prompts),), following[len(seen) - 1], device=logits_BV.device)

    decoder = Decoder(loaded, logits, Ending(_STEPS, frozenset()), cached)
    decoder.follow(prompts, choose, lambda: len(seen) == _STEPS)
    return torch.stack(seen)


def _changing_lengths(settings: Any) -> list[int]:
    """The numbers of tokens from which on a model does something else, as its settings say."""
    lengths: list[int] = []

    def look(tree: Any) -> None:
        for name, value in tree.items() if isinstance(tree, dict) else ():
            if isinstance(value, dict):
                look(value)
            elif type(value) is int and value > 0 and any(part in name for part in _AT_A_LENGTH):
                lengths.append(value)

    look(settings.to_dict())
    return lengths
