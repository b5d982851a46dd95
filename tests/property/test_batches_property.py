"""Batches: an order that depends on (client, step) alone, whole epochs, right padding."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.data import BatchOrder, TokenTable, fitting_rows, in_length_order
from zorba_ray.data.batches import BUCKET, LENGTH_STEP

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


TOKENS = st.integers(30, 200)


@given(lengths=LENGTHS, size=SIZES, tokens=TOKENS, seed=SEEDS, epoch=st.integers(0, 5))
def test_batches_by_tokens(lengths: np.ndarray, size: int, tokens: int, seed: int, epoch: int) -> None:
    """Whole epochs of the same number of batches; none has more tokens, or rows, than it may."""
    order = BatchOrder(seed, 3, lengths, size, tokens)
    steps = range(epoch * order.per_epoch, (epoch + 1) * order.per_epoch)
    batches = [order.rows(step) for step in steps]
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        assert 1 <= len(rows) <= size
        assert len(rows) * int(lengths[rows].max()) <= tokens
    again = BatchOrder(seed, 3, lengths, size, tokens)
    assert [again.rows(step).tolist() for step in reversed(steps)] == [rows.tolist() for rows in reversed(batches)]


@given(lengths=LENGTHS, tokens=TOKENS, seed=SEEDS)
def test_token_batches_are_filled(lengths: np.ndarray, tokens: int, seed: int) -> None:
    """Rows of the next lengths, rounded up, would not have fitted."""
    order = BatchOrder(seed, 0, lengths, 10**6, tokens)
    rounded = np.minimum(-(-lengths // LENGTH_STEP) * LENGTH_STEP, tokens)

    def place(rows: np.ndarray) -> tuple[int, int, int]:
        return int(rounded[rows].min()), int(rounded[rows].max()), -len(rows)

    batches = sorted((order.rows(step) for step in range(order.per_epoch)), key=place)
    for before, after in itertools.pairwise(batches):
        assert (len(before) + 1) * int(rounded[after].min()) > tokens


def test_token_batches_mix_rows_of_about_one_length() -> None:
    """Rows of 17 to 24 tokens meet in any batch, and others in each epoch."""
    order = BatchOrder(0, 0, np.arange(17, 25).repeat(8), 16, 24 * 4)
    epochs = [
        {tuple(sorted(order.rows(step).tolist())) for step in range(epoch * 16, epoch * 16 + 16)} for epoch in range(2)
    ]
    assert order.per_epoch == 16
    assert not epochs[0] & epochs[1]


@given(lengths=LENGTHS, tokens=TOKENS)
def test_the_first_rows_that_fit(lengths: np.ndarray, tokens: int) -> None:
    fit = fitting_rows(lengths, tokens)
    assert fit * int(lengths[:fit].max()) <= tokens
    assert fit == len(lengths) or (fit + 1) * int(lengths[: fit + 1].max()) > tokens
    assert fitting_rows(lengths, None) == len(lengths)


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
