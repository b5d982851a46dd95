"""Rows that begin with the same tokens: what they share is computed once per batch and sign, not once per row.

Shapes: B rows, T tokens of the longest, P of them shared, t = T − P of its own in each, S signs.

A batch is packed into one sequence of N = P + B·t tokens: the shared tokens, then the own ones of row after row, each
with the position that it has in its row. Norms and linear layers do not look beyond a token, so they run as they are.
Only attention does. The model's own attention function is called twice: on the shared tokens among themselves, and on
the rows, whose keys and values are the shared ones with their own behind them. Masks are made by the model's own mask
function, so that a sliding window stays what it is.

This goes by transformers' registries of attention and mask functions. A network that does not use them (a recurrence, a
convolution over tokens, biases by distance) answers otherwise than with whole rows, or not at all. Numbers judge that
before a run (`experiment.shared_prefix`), and such a network reads whole rows.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from zorba_ray.models.heads import Batch

_KINDS = ("sdpa", "eager")
"""Attention functions that take a mask as a tensor: torch's fused one, and that written out in a model's file."""


@dataclass(frozen=True)
class PackedMask:
    """What blocks are given as their attention mask."""

    lead: torch.Tensor | None
    """[1, 1, P, P]; None: causal."""
    rows: torch.Tensor
    """[B, 1, t, T]."""

    @property
    def shared(self) -> int:
        """P."""
        return self.rows.shape[3] - self.rows.shape[2]


def packed_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """Arguments of the backbone, int64 [1, N] each; rows are padded on the right, if at all."""
    shared, ids = batch.shared, batch.ids_BT
    positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    packed = {
        name: torch.cat([values[0, :shared], values[:, shared:].flatten()])[None]
        for name, values in (("input_ids", ids), ("position_ids", positions))
    }
    return {**packed, "attention_mask": torch.ones_like(packed["input_ids"])}


@contextlib.contextmanager
def packed_attention(batch: Batch) -> Iterator[None]:
    """A context in which networks take `batch` packed; with nothing shared, as they are."""
    with contextlib.ExitStack() as stack:
        for kind in _KINDS if batch.shared else ():
            plain = ALL_ATTENTION_FUNCTIONS.get(kind, _written_out)
            stack.enter_context(_replaced(ALL_ATTENTION_FUNCTIONS, kind, partial(_attend, plain)))
            masks = partial(_masks, ALL_MASK_ATTENTION_FUNCTIONS[kind], batch)
            stack.enter_context(_replaced(ALL_MASK_ATTENTION_FUNCTIONS, kind, masks))
        yield


@contextlib.contextmanager
def _replaced(registry: MutableMapping[str, Any], kind: str, function: Callable[..., Any]) -> Iterator[None]:
    before = registry.get(kind)
    registry[kind] = function
    try:
        yield
    finally:
        del registry[kind]  # what all of transformers knows by this name shows again
        if before is not None and registry.get(kind) is not before:
            registry[kind] = before


def _written_out(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The attention that stands in the model's own file."""
    return sys.modules[type(module).__module__].eager_attention_forward(module, *args, **kwargs)


def _masks(plain: Callable[..., Any], batch: Batch, **kwargs: Any) -> PackedMask:
    """The masks of a batch, whatever the number of signs that it is packed for."""
    (rows, length), shared = batch.ids_BT.shape, batch.shared
    sizes = {"batch_size": 1, "q_length": shared, "kv_length": shared, "q_offset": 0, "kv_offset": 0}
    lead = plain(**{**kwargs, **sizes, "attention_mask": None})
    sizes |= {"batch_size": rows, "q_length": length - shared, "kv_length": length, "q_offset": shared}
    skips = {"attention_mask": batch.mask_BT.bool(), "allow_is_causal_skip": False}
    return PackedMask(lead, plain(**{**kwargs, **sizes, **skips}))


def _attend(
    plain: Callable[..., Any],
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention [S, N, heads, width] of queries, keys and values [S, heads, N, width]."""
    if not isinstance(attention_mask, PackedMask):
        return plain(module, query, key, value, attention_mask, **kwargs)
    shared, rows = attention_mask.shared, len(attention_mask.rows)

    def own(states: torch.Tensor) -> torch.Tensor:
        return states.transpose(1, 2)[:, shared:].unflatten(1, (rows, -1))  # [S, B, t, heads, width]

    def joined(states: torch.Tensor) -> torch.Tensor:
        lead = states.transpose(1, 2)[:, None, :shared].expand(-1, rows, -1, -1, -1)
        return by_row(torch.cat([lead, own(states)], dim=2))

    def by_row(states: torch.Tensor) -> torch.Tensor:
        return states.flatten(0, 1).transpose(1, 2)  # in memory token by token, as models have it

    parts = (states[:, :, :shared] for states in (query, key, value))
    lead = plain(module, *parts, attention_mask.lead, **kwargs)[0]
    mask = attention_mask.rows if len(query) == 1 else attention_mask.rows.repeat(len(query), 1, 1, 1)
    answer = plain(module, by_row(own(query)), joined(key), joined(value), mask, **kwargs)[0]
    return torch.cat([lead, answer.reshape(len(query), -1, *answer.shape[2:])], dim=1), None
