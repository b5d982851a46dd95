"""Rows of clients in one array are those of the list that they were made of."""

import pickle

import numpy as np
import pytest

from zorba_ray.data import ClientRows

PARTS = [np.array([4, 7]), np.array([0]), np.array([1, 2, 9]), np.array([3])]


def test_every_client_has_its_rows() -> None:
    rows = ClientRows.of(PARTS)
    assert [rows[client].tolist() for client in range(4)] == [part.tolist() for part in PARTS]
    assert rows.sizes.tolist() == [2, 1, 3, 1]


def test_some_clients_keep_their_ids_on_the_way_to_a_worker() -> None:
    some = pickle.loads(pickle.dumps(ClientRows.of(PARTS).take((1, 2))))
    assert (some[1].tolist(), some[2].tolist()) == ([0], [1, 2, 9])
    assert some.rows.dtype == some.clients.dtype == some.starts.dtype == np.int64
    for absent in (0, 3, -1):
        with pytest.raises(KeyError):
            some[absent]
