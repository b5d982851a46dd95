"""Validation rows go to the clients as the training rows did."""

import numpy as np
import pytest

from zorba_ray.config import DataConfig
from zorba_ray.data import Split, clients_of, partition


def split(labels: np.ndarray, owners: list[str] | None = None) -> Split:
    return Split({}, labels, owners)


@pytest.mark.parametrize("settings", [{}, {"partition": "dirichlet", "alpha": 0.3}])
def test_a_client_gets_the_same_share_of_every_label(settings: dict[str, object]) -> None:
    """To half a row at either end of its piece; and who has no training row of a label gets none."""
    config, rng = DataConfig.model_validate(settings), np.random.default_rng(1)
    train, rows = rng.integers(0, 3, 3000), rng.integers(0, 3, 700)
    parts = partition(config, 6, train, None, 4)
    found = clients_of(config, split(train), parts, split(rows), 4)
    assert set(found) <= set(range(6))
    for label in range(3):
        held = np.array([np.count_nonzero(train[part] == label) for part in parts])
        dealt = np.bincount(found[rows == label], minlength=6)
        assert abs(dealt - held / held.sum() * (rows == label).sum()).max() <= 1
        assert not dealt[held == 0].any()
    assert (found == clients_of(config, split(train), parts, split(rows), 4)).all()
    assert (found != clients_of(config, split(train), parts, split(rows), 5)).any()


def test_rows_of_a_language_model_are_dealt_by_size() -> None:
    parts = [np.arange(10), np.arange(10, 40), np.arange(40, 100)]
    found = clients_of(DataConfig(), split(np.zeros(100, np.int64)), parts, split(np.zeros(50, np.int64)), 0)
    assert np.bincount(found).tolist() == [5, 15, 30]


def test_a_label_without_training_rows_is_nobodys() -> None:
    parts = [np.arange(2), np.arange(2, 4)]
    found = clients_of(DataConfig(), split(np.zeros(4, np.int64)), parts, split(np.array([0, 1, 0, 1])), 0)
    assert found[[1, 3]].tolist() == [-1, -1]
    assert sorted(found[[0, 2]]) == [0, 1]


@pytest.mark.parametrize("kind", ["column", "files"])
def test_owners_decide_where_rows_name_them(kind: str) -> None:
    config = DataConfig.model_validate({"partition": kind, "partition_column": "who"})
    train = split(np.zeros(4, np.int64), ["a", "b", "a", "c"])
    parts = partition(config, 3, train.labels, train.owners, 0)
    rows = split(np.zeros(5, np.int64), ["c", "a", "nobody", "b", "a"])
    assert clients_of(config, train, parts, rows, 0).tolist() == [2, 0, -1, 1, 0]
    assert clients_of(config, train, parts, split(rows.labels), 0).tolist() == [-1] * 5
