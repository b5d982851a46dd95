"""The tokens with which all rows begin: an instruction, examples, a system turn.

How many they are is a fact of a run and stands in the ledger's header, as losses depend on it by their rounding. It
follows from the training rows alone, so that no other split and no worker can change it.
"""

import dataclasses

import numpy as np

from zorba_ray.data.batches import TokenTable

LEAST_SHARED = 16
"""Shared tokens from which on a batch computes them once. Measured: from here on no batch is slower for it."""
_PIECE = 64
"""Tokens of all rows that are compared at once."""


def shared_length(table: TokenTable, beginning: np.ndarray | None = None) -> int:
    """How many of its first tokens all rows of a table have in common; 0 where they are fewer than LEAST_SHARED.

    At least one token of each row is left to it.

    Args:
        beginning: with which tokens (int32) they may begin; None: with those of the first row.
    """
    starts = table.starts[:-1]
    if not len(starts):
        return 0
    if beginning is None:
        beginning = table.tokens[: table.starts[1]]
    most = min(len(beginning), int(np.diff(table.starts).min()) - 1)
    for first in range(0, most, _PIECE):
        places = np.arange(first, min(first + _PIECE, most))
        same = (table.tokens[starts[:, None] + places] == beginning[places]).all(axis=0)
        if not same.all():
            most = first + int(same.argmin())
            break
    return most if most >= LEAST_SHARED else 0


def with_shared(table: TokenTable, beginning: np.ndarray) -> TokenTable:
    """The table, whose batches compute once what all of its rows have of `beginning` (int32)."""
    return dataclasses.replace(table, shared=shared_length(table, beginning))
