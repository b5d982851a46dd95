"""The one type for who holds which blocks."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zorba_ray.active_sets import ActiveSets


@given(hnp.arrays(bool, st.tuples(st.integers(0, 5), st.integers(1, 20))))
def test_every_form_says_the_same(matrix: np.ndarray) -> None:
    sets = ActiveSets(matrix)
    again = ActiveSets.unpacked(sets.packed, sets.clients, sets.blocks)
    assert again == sets
    assert hash(again) == hash(sets)
    assert ActiveSets.of_sets([sets.of(client) for client in range(sets.clients)], sets.blocks) == sets
    assert pickle.loads(pickle.dumps(sets)) == sets
    assert sets.counts.sum() == sets.holders.sum() == matrix.sum()


def test_bits_are_little_endian() -> None:
    sets = ActiveSets.of_sets([{0, 9}, {8}], 10)
    assert sets.packed == bytes([0b00000001, 0b10, 0b00000000, 0b01])


def test_a_copy_is_held_and_cannot_be_changed() -> None:
    matrix = np.ones((2, 3), dtype=bool)
    sets = ActiveSets(matrix)
    matrix[0, 0] = False
    assert sets.of(0) == {0, 1, 2}
    with pytest.raises(ValueError, match="read-only"):
        sets.matrix[0, 0] = False


def test_changed_names_the_clients() -> None:
    before = ActiveSets.of_all(3, 2)
    after = ActiveSets.of_sets([{0, 1}, {1}, {0, 1}], 2)
    assert after.changed(before).tolist() == [False, True, False]
    assert after != before


@pytest.mark.parametrize(
    ("packed", "message"),
    [(b"\x01", "2 expected"), (b"\x01\x08", "client 1 activates a block beyond 2")],
)
def test_foreign_bytes_are_refused(packed: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ActiveSets.unpacked(packed, 2, 3)


def test_a_block_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="client 1"):
        ActiveSets.of_sets([{0}, {3}], 3)
