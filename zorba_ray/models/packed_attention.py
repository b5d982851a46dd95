"""How a network's own attention runs on a packed batch (`packing`).

The attention function is called on rows, padded and masked: on the shared tokens among themselves, and on the further
tokens of each row, whose keys and values are the shared ones with its own behind them. What it answers is packed again.
Masks are made by the model's own mask function, so that a sliding window stays what it is.

The last block may answer for some tokens alone (`last_block`): only their queries attend.

This goes by transformers' registries of attention and mask functions. A network that does not use them (a recurrence, a
convolution over tokens, biases by distance) answers otherwise than with whole rows, or not at all. Numbers judge that
before a run (`experiment.row_layout`), and such a network reads whole rows.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from zorba_ray.models.packing import Packing

_KINDS = ("sdpa", "eager")
"""Attention functions that take a mask as a tensor: torch's fused one, and that written out in a model's file."""


class PackedMask:
    """What blocks are given as their attention mask; each is made when a block asks for it."""

    def __init__(self, plain: Callable[..., Any], packing: Packing, arguments: dict[str, Any]) -> None:
        """`plain`: the model's mask function. `arguments`: what the network calls it with."""
        self.packing = packing
        self._plain, self._arguments = plain, arguments

    def _made(self, rows: int, queries: int, keys: int, first: int, **changes: Any) -> Any:
        sizes = {"batch_size": rows, "q_length": queries, "kv_length": keys, "q_offset": first, "kv_offset": 0}
        return self._plain(**{**self._arguments, **sizes, "attention_mask": None, **changes})

    @cached_property
    def lead(self) -> torch.Tensor | None:
        """[1, 1, P, P] of the shared tokens; None: causal."""
        shared = self.packing.shared
        return self._made(1, shared, shared, 0)

    @cached_property
    def rows(self) -> torch.Tensor | None:
        """[B or 1, 1, t, T] of the further tokens of each row; None: causal, or all where the network is not."""
        packing = self.packing
        shared, whole = packing.shared, packing.longest
        if not shared and (packing.own.even or self._causal):
            return self._made(1, whole, whole, 0)
        return self._whole(whole - shared, shared)

    @cached_property
    def read(self) -> torch.Tensor:
        """[B, 1, r, T] of the tokens that are read."""
        packing = self.packing
        assert packing.read is not None
        positions = packing.read.grid.padded(packing.positions_N[packing.read.places_R][None])[0]
        whole = self._whole(packing.longest, 0)
        rows = torch.arange(len(whole), device=whole.device)[:, None]
        return whole[rows, 0, positions][:, None]

    def _whole(self, queries: int, first: int) -> torch.Tensor:
        """The mask of the last `queries` tokens of each row, made in full."""
        packing = self.packing
        real = torch.ones(len(packing.lengths), first, dtype=torch.bool, device=packing.own.real_BT.device)
        padding = None
        if not packing.own.even:
            lead = real.new_ones(len(packing.lengths), packing.shared)
            padding = torch.cat([lead, packing.own.real_BT], dim=1)
        skips = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
        rows = len(packing.lengths) if padding is not None else 1
        return self._made(rows, queries, packing.longest, first, **skips, attention_mask=padding)

    @cached_property
    def _causal(self) -> bool:
        """Whether no token sees a later one, so that no real token sees padding."""
        with unset_fake_temporarily():
            places = torch.arange(self.packing.longest)
            queries, keys = places[None, None, :, None], places[None, None, None, :]
            zero = torch.zeros_like(queries[:, :, :1])
            sees = self._arguments["mask_function"](zero, zero, queries, keys)
            return not bool((sees & (keys > queries)).any())


@contextlib.contextmanager
def packed_attention(packing: Packing | None) -> Iterator[None]:
    """A context in which networks take a batch packed so, and blocks any batch with the mask that they made of it then;
    None: as they are."""
    with contextlib.ExitStack() as stack:
        for kind in _KINDS:
            if packing is None:
                break
            plain = ALL_ATTENTION_FUNCTIONS.get(kind, _written_out)
            stack.enter_context(_replaced(ALL_ATTENTION_FUNCTIONS, kind, partial(_attend, plain)))
            masks = partial(_masks, ALL_MASK_ATTENTION_FUNCTIONS[kind], packing)
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


def _masks(plain: Callable[..., Any], packing: Packing, **kwargs: Any) -> PackedMask:
    return PackedMask(plain, packing, kwargs)


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
    mask = attention_mask
    if not isinstance(mask, PackedMask):
        return plain(module, query, key, value, mask, **kwargs)
    packing, signs = mask.packing, len(query)
    shared, grid = packing.shared, packing.own

    def behind(states: torch.Tensor) -> torch.Tensor:
        return grid.padded(states.transpose(1, 2)[:, shared:])  # [S, B, t, heads, width]

    def joined(states: torch.Tensor) -> torch.Tensor:
        if not shared:
            return by_row(behind(states))
        lead = states.transpose(1, 2)[:, None, :shared].expand(-1, grid.rows, -1, -1, -1)
        return by_row(torch.cat([lead, behind(states)], dim=2))

    def by_row(states: torch.Tensor) -> torch.Tensor:
        return states.flatten(0, 1).transpose(1, 2)  # in memory token by token, as models have it

    def attended(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: Any) -> torch.Tensor:
        if mask is not None and len(mask) > 1 and signs > 1:
            mask = mask.repeat(signs, 1, 1, 1)
        answer = plain(module, by_row(queries), joined(keys), joined(values), mask, **kwargs)[0]
        return answer.reshape(signs, -1, *answer.shape[2:])  # [S, B · t, heads, width]

    read = packing.read
    if read is not None and read.reading:
        read.attended = True
        queries = read.grid.padded(query.transpose(1, 2).index_select(1, read.places_R))
        answer = read.grid.packed(attended(queries, key, value, mask.read))
        return read.among_all(answer, query.shape[2]), None
    answer = grid.packed(attended(behind(query), key, value, mask.rows))
    if shared:
        parts = (states[:, :, :shared] for states in (query, key, value))
        answer = torch.cat([plain(module, *parts, mask.lead, **kwargs)[0], answer], dim=1)
    return answer, None
