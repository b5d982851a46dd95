"""Batches: an order that depends on (client, step) alone, whole epochs, right padding."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.data import BatchOrder, TokenTable, in_length_order
from zorba_ray.data.batches import BUCKET

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=120).map(np.array)
SIZES = st.integers(1, 16)
SEEDS = st.integers(0, 2**64 - 1)


@given(lengths=LENGTHS, size=SIZES, seed=SEEDS, client=st.integers(0, 1000), epoch=st.integers(0, 5))
def test_an_epoch_covers_all_examples_once(lengths: np.ndarray, size: int, seed: int, client: int, epoch: int) -> None:
    order = BatchOrder(seed, client, lengths, size)
    assert order.per_epoch == int(np.ceil(len(lengths) / size))
    batches = [order.rows(step) for step in range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    sizes = sorted(map(len, batches), reverse=True)
    assert sizes[:-1] == [size] * (order.per_epoch - 1), "only one batch of an epoch may be smaller"
    assert 1 <= sizes[-1] <= size


@given(lengths=LENGTHS, size=SIZES, seed=SEEDS, steps=st.lists(st.integers(0, 300), min_size=1, max_size=12))
def test_a_batch_depends_on_client_and_step_alone(lengths: np.ndarray, size: int, seed: int, steps: list[int]) -> None:
    """Whatever was asked before, in whatever order: a fresh object gives the same batch."""
    used = BatchOrder(seed, 3, lengths, size)
    for step in steps:
        assert used.rows(step).tolist() == BatchOrder(seed, 3, lengths, size).rows(step).tolist()


def test_clients_epochs_and_seeds_differ() -> None:
    lengths = np.arange(1, 65)

    def sequence(seed: int, client: int, first: int) -> tuple[int, ...]:
        order = BatchOrder(seed, client, lengths, 8)
        return tuple(int(row) for step in range(first, first + 8) for row in order.rows(step))

    variants = [(seed, client, 8 * epoch) for seed in range(3) for client in range(3) for epoch in range(3)]
    assert len({sequence(*variant) for variant in variants}) == 27


@given(size=SIZES, seed=SEEDS)
def test_batches_are_sorted_by_length_within_buckets(size: int, seed: int) -> None:
    """In one bucket (≤ 8 batches) the lengths of any two batches do not interleave."""
    lengths = np.random.default_rng(seed).integers(1, 100, BUCKET * size)
    order = BatchOrder(seed, 0, lengths, size)
    spans = sorted(
        (int(lengths[rows].min()), int(lengths[rows].max())) for rows in (order.rows(step) for step in range(BUCKET))
    )
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@given(rows=st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=9), min_size=1, max_size=20), data=st.data())
def test_tables_and_padding(rows: list[list[int]], data: st.DataObject) -> None:
    labels = np.arange(len(rows))
    table = TokenTable.from_lists(rows, labels)
    assert len(table) == len(rows)
    assert table.lengths.tolist() == [len(row) for row in rows]
    wanted = np.array(data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, max_size=6)))
    ids, mask, found = table.collate(wanted, pad=-7)[:3]
    longest = max(len(rows[row]) for row in wanted)
    assert ids.shape == mask.shape == (len(wanted), longest)
    for place, row in enumerate(wanted):
        gap = longest - len(rows[row])
        assert ids[place].tolist() == rows[row] + [-7] * gap
        assert mask[place].tolist() == [1] * len(rows[row]) + [0] * gap
    assert found.tolist() == wanted.tolist()


@given(lengths=LENGTHS, size=SIZES)
def test_evaluation_goes_through_everything_shortest_first(lengths: np.ndarray, size: int) -> None:
    batches = list(in_length_order(lengths, size))
    order = np.concatenate(batches)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert (np.diff(lengths[order]) >= 0).all()
    assert all(len(rows) == size for rows in batches[:-1])
