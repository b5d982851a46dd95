"""Tokenised examples, which of them each client holds, and the order in which its batches come."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zorba_ray.data.options import OptionArrays, OptionTable, expand, starts_of
from zorba_ray.directions import permutation

LENGTH_STEP = 8
"""Rows of about one length are mixed where batches are cut by tokens: lengths are rounded up to multiples of it."""
BUCKET = 8
"""Batches that are sorted by length together: the padding of a batch falls, its mix of labels stays random."""


class BatchArrays(NamedTuple):
    """Some examples, padded on the right to the longest. Where options are scored, S sequences stand for B examples."""

    ids: np.ndarray
    """int64 [B, T] or [S, T]."""
    mask: np.ndarray
    """int64, as `ids`; 1: a real token."""
    labels: np.ndarray
    """int64 [B]."""
    scored: np.ndarray | None = None
    """bool [B, T]: the tokens that the loss counts; None: as the task says."""
    options: OptionArrays | None = None
    """Where options are scored."""
    references: tuple[Sequence[str], ...] | None = None
    """The right answers of each example, where answers are judged as texts."""
    choices: tuple[Sequence[str], ...] | None = None
    """Of a reward: the texts that each example's answer is one of."""
    shared: int = 0
    """First tokens that all rows have in common, and that are computed once."""


@dataclass(frozen=True)
class TokenTable:
    """Examples as one flat token array: example i is tokens[starts[i] : starts[i + 1]]."""

    tokens: np.ndarray
    """int32 [total]."""
    starts: np.ndarray
    """int64 [examples + 1]."""
    labels: np.ndarray
    """int64 [examples]."""
    scored: np.ndarray | None = None
    """bool [total]: tokens of answers, which alone the loss counts; None: there is no such difference."""
    options: OptionTable | None = None
    """What may follow the examples, if that is scored."""
    references: Sequence[Sequence[str]] | None = None
    """The right answers of each example, where answers are judged as texts."""
    choices: Sequence[Sequence[str]] | None = None
    """Of a reward: the texts that each example's answer is one of."""
    shared: int = 0
    """First tokens that all examples have in common, and that are computed once per batch (`shared_prefix`)."""

    @classmethod
    def from_lists(
        cls,
        rows: Sequence[Sequence[int] | np.ndarray],
        labels: np.ndarray,
        scored: Sequence[Sequence[bool]] | None = None,
    ) -> "TokenTable":
        """Token ids and label of each example, and which of its tokens the loss counts."""
        starts = starts_of(rows)
        flat = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(starts[-1]))
        if scored is None:
            return cls(flat, starts, labels)
        marks = np.fromiter((mark for row in scored for mark in row), dtype=bool, count=int(starts[-1]))
        return cls(flat, starts, labels, marks)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, int64 [examples]; with options, of its longest sequence."""
        lengths = np.diff(self.starts)
        return lengths if self.options is None else lengths + self.options.longest_of(len(lengths)) - 1

    @property
    def prompt_lengths(self) -> np.ndarray:
        """Tokens of each example before its last marked answer, int64 [examples]; all where none is marked."""
        lengths = np.diff(self.starts)
        if self.scored is None:
            return lengths
        begins = self.scored & ~np.concatenate(([False], self.scored[:-1]))
        begins[self.starts[:-1]] = self.scored[self.starts[:-1]]
        places = np.flatnonzero(begins)
        last = np.searchsorted(places, self.starts[1:]) - 1
        within = places[last] - self.starts[:-1] if len(places) else np.full(len(lengths), -1)
        return np.where((last >= 0) & (within >= 0), within, lengths)

    @property
    def own_lengths(self) -> np.ndarray:
        """Of `lengths`, the tokens that each example computes for itself, int64 [examples]."""
        return self.lengths - self.shared

    def collate(self, rows: np.ndarray, pad: int) -> BatchArrays:
        """A batch of these examples."""
        parts = [slice(self.starts[row], self.starts[row + 1]) for row in rows]
        texts = [self.tokens[part] for part in parts]
        sequences: Sequence[np.ndarray | list[int]] = texts
        options, scored = None, None
        if self.options is not None:
            sequences, options = expand(texts, [self.options.of(row) for row in rows], self.options.most)
        lengths = np.array([len(sequence) for sequence in sequences])
        ids = np.full((len(sequences), int(lengths.max())), pad, dtype=np.int64)
        for index, sequence in enumerate(sequences):
            ids[index, : len(sequence)] = sequence
        if self.scored is not None:
            scored = np.zeros(ids.shape, dtype=bool)
            for index, part in enumerate(parts):
                scored[index, : lengths[index]] = self.scored[part]
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        references = None if self.references is None else tuple(self.references[int(row)] for row in rows)
        choices = None if self.choices is None else tuple(self.choices[int(row)] for row in rows)
        return BatchArrays(ids, mask, self.labels[rows], scored, options, references, choices, self.shared)


@dataclass(frozen=True)
class ClientRows:
    """Row numbers of clients[i]: rows[starts[i] : starts[i + 1]]. Many small arrays would take kilobytes each."""

    clients: np.ndarray
    """int64 [n]: ids, ascending."""
    rows: np.ndarray
    """int64 [Σ|D_n|]."""
    starts: np.ndarray
    """int64 [n + 1]."""

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> "ClientRows":
        """Clients 0 … n − 1 with their rows."""
        return cls(np.arange(len(parts)), np.concatenate(parts), starts_of(parts))

    def take(self, clients: Sequence[int]) -> "ClientRows":
        """Some of the clients, ids ascending; a copy.

        Raises:
            KeyError: one of them is not here.
        """
        parts = [self[client] for client in clients]
        return ClientRows(np.array(clients), np.concatenate(parts), starts_of(parts))

    @property
    def sizes(self) -> np.ndarray:
        """|D_n|, int64 [n]."""
        return np.diff(self.starts)

    def __getitem__(self, client: int) -> np.ndarray:
        """Rows of one client, int64 [|D_n|], as a view.

        Raises:
            KeyError: it is not here.
        """
        index = int(np.searchsorted(self.clients, client))
        if index == len(self.clients) or self.clients[index] != client:
            raise KeyError(client)
        return self.rows[self.starts[index] : self.starts[index + 1]]


@dataclass(frozen=True)
class Shards:
    """Examples of some clients: a client's example i is row rows[client][i] of the table, which is held once."""

    table: TokenTable
    rows: ClientRows

    def own_lengths(self, client: int) -> np.ndarray:
        """Tokens of each example that it computes for itself, int64 [|D_n|]."""
        return self.table.own_lengths[self.rows[client]]

    def own_tokens(self, batch_tokens: int | None) -> int | None:
        """What is left of `batch_tokens` where the shared ones are computed; None: no limit."""
        return None if batch_tokens is None else batch_tokens - self.table.shared

    def collate(self, client: int, examples: np.ndarray, pad: int) -> BatchArrays:
        """A batch of the client's `examples`, as `TokenTable.collate`."""
        return self.table.collate(self.rows[client][examples], pad)

    def label_counts(self, labels: int) -> np.ndarray:
        """Examples of each label in the whole table, int64 [labels]."""
        return np.bincount(self.table.labels, minlength=labels)

    def label_shift(self, client: int, counts: np.ndarray) -> np.ndarray:
        """Logarithm of each label's share of the client's examples over its share in all, float64 [labels].

        Both of counts + 1, so that a label that the client does not have is rare there and not impossible.

        Args:
            counts: of `label_counts`.
        """
        here = np.bincount(self.table.labels[self.rows[client]], minlength=len(counts)) + 1.0
        among = counts + 1.0
        return np.log(here / here.sum() / (among / among.sum()))


class BatchOrder:
    """Which examples of one client make the batch of a step.

    Every epoch is a fresh permutation of the client's examples, sorted by length within buckets of 8 batches, cut into
    batches (the last may be smaller), and the batches shuffled.

    With `batch_tokens` the permutation is sorted by length as a whole, in steps of LENGTH_STEP tokens, and a batch has
    as many rows as fit. All epochs have the same number of batches then: a step needs no other epoch than its own.
    """

    def __init__(
        self, seed: int, client: int, lengths: np.ndarray, batch_size: int, batch_tokens: int | None = None
    ) -> None:
        """
        Args:
            lengths: tokens of each example, int64 [|D_n|].
            batch_size: most rows of a batch.
            batch_tokens: most tokens of a batch with its padding, at least the longest row's; None: no limit.
        """
        self._seed, self._client, self._lengths, self._size = seed, client, lengths, batch_size
        self._cuts: list[int] | None = None
        self.per_epoch = -(-len(lengths) // batch_size)
        if batch_tokens is not None:
            self._lengths = np.minimum(-(-lengths // LENGTH_STEP) * LENGTH_STEP, batch_tokens)
            self._cuts = _token_cuts(np.sort(self._lengths).tolist(), batch_size, batch_tokens)
            self.per_epoch = len(self._cuts) + 1
        self._epoch = functools.lru_cache(maxsize=2)(self._make_epoch)

    def rows(self, step: int) -> np.ndarray:
        """Row numbers (int64) of the batch of `step` = 0, 1, …"""
        epoch, number = divmod(step, self.per_epoch)
        return self._epoch(epoch)[number]

    def _make_epoch(self, epoch: int) -> list[np.ndarray]:
        order = permutation(self._seed, "batches", self._client, 2 * epoch, len(self._lengths))
        if self._cuts is not None:
            batches = np.split(order[np.argsort(self._lengths[order], kind="stable")], self._cuts)
        else:
            batches = self._buckets(order)
        shuffle = permutation(self._seed, "batches", self._client, 2 * epoch + 1, len(batches))
        return [batches[number] for number in shuffle]

    def _buckets(self, order: np.ndarray) -> list[np.ndarray]:
        batches = []
        for start in range(0, len(order), BUCKET * self._size):
            bucket = order[start : start + BUCKET * self._size]
            bucket = bucket[np.argsort(self._lengths[bucket], kind="stable")]
            batches += [bucket[cut : cut + self._size] for cut in range(0, len(bucket), self._size)]
        return batches


def _token_cuts(lengths: Sequence[int], batch_size: int, batch_tokens: int) -> list[int]:
    """Where the batches after the first begin, in rows of ascending length."""
    cuts, start = [], 0
    for row, length in enumerate(lengths):
        if row > start and (row - start == batch_size or (row - start + 1) * length > batch_tokens):
            cuts.append(row)
            start = row
    return cuts


def fitting_rows(lengths: np.ndarray, batch_tokens: int | None) -> int:
    """How many of the first rows make a batch of at most `batch_tokens` with its padding; None: all of them."""
    if batch_tokens is None:
        return len(lengths)
    tokens = np.maximum.accumulate(lengths) * np.arange(1, len(lengths) + 1)
    return max(1, int((tokens <= batch_tokens).sum()))


def in_length_order(lengths: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Row numbers batch by batch, shortest first: for evaluation."""
    order = np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
