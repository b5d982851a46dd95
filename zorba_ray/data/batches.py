"""Tokenised examples and the order in which a client's batches come: a function of (client, step) only."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.directions import permutation

BUCKET = 8
"""Batches that are sorted by length together: the padding of a batch falls, its mix of labels stays random."""


@dataclass(frozen=True)
class TokenTable:
    """Examples as one flat token array: example i is tokens[starts[i] : starts[i + 1]]."""

    tokens: np.ndarray
    """int32 [total]."""
    starts: np.ndarray
    """int64 [examples + 1]."""
    labels: np.ndarray
    """int64 [examples]."""

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int] | np.ndarray], labels: np.ndarray) -> "TokenTable":
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=starts[1:])
        flat = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(starts[-1]))
        return cls(flat, starts, labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [examples]."""
        return np.diff(self.starts)

    def collate(self, rows: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ids, mask, labels) of a batch: int64 [B, T], [B, T], [B], padded on the right to the longest example."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        ids = np.full((len(rows), int(lengths.max())), pad, dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : lengths[place]] = self.tokens[self.starts[row] : self.starts[row + 1]]
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        return ids, mask, self.labels[rows]


class BatchOrder:
    """Which examples of one client make the batch of a step.

    Every epoch is a fresh permutation of the client's examples, sorted by length within buckets of 8 batches, cut into
    batches (the last may be smaller), and the batches shuffled.
    """

    def __init__(self, seed: int, client: int, lengths: np.ndarray, batch_size: int) -> None:
        self._seed, self._client, self._lengths, self._size = seed, client, lengths, batch_size
        self.per_epoch = -(-len(lengths) // batch_size)
        self._epoch = functools.lru_cache(maxsize=2)(self._make_epoch)

    def rows(self, step: int) -> np.ndarray:
        """Row numbers (int64) of the batch of `step` = 0, 1, …"""
        epoch, place = divmod(step, self.per_epoch)
        return self._epoch(epoch)[place]

    def _make_epoch(self, epoch: int) -> list[np.ndarray]:
        order = permutation(self._seed, "batches", self._client, 2 * epoch, len(self._lengths))
        batches = []
        for start in range(0, len(order), BUCKET * self._size):
            bucket = order[start : start + BUCKET * self._size]
            bucket = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches += [bucket[cut : cut + self._size] for cut in range(0, len(bucket), self._size)]
        shuffle = permutation(self._seed, "batches", self._client, 2 * epoch + 1, len(batches))
        return [batches[place] for place in shuffle]


def in_length_order(lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers batch by batch, shortest first: for evaluation."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
