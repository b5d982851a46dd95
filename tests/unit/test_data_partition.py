"""Partitions with a known answer, and their faults."""

import numpy as np
import pytest

from zorba_ray.config import DataConfig
from zorba_ray.data import partition, partition_digest
from zorba_ray.errors import DataError

COLUMN, FILES = {"partition": "column", "partition_column": "who"}, {"partition": "files"}


def config(**settings: object) -> DataConfig:
    return DataConfig.model_validate(settings)


def test_iid_sizes_differ_by_at_most_one() -> None:
    parts = partition(config(), 4, np.zeros(10, np.int64), None, 0)
    assert sorted(map(len, parts)) == [2, 2, 3, 3]


def test_small_alpha_is_uneven_and_large_alpha_is_even() -> None:
    """Share of the largest client, averaged over 4 classes × 250 examples and 8 clients; even would be 1/8."""
    labels = np.repeat(np.arange(4), 250)

    def largest(alpha: float) -> float:
        shares = []
        for seed in range(10):
            parts = partition(config(partition="dirichlet", alpha=alpha), 8, labels, None, seed)
            shares += [max((labels[part] == label).sum() for part in parts) / 250 for label in range(4)]
        return float(np.mean(shares))

    assert largest(0.05) > 0.6
    assert largest(1000.0) < 0.16
    # E max of Dirichlet(1, …, 1) over 8 = (1 + 1/2 + … + 1/8)/8 = 0.3397; 40 draws, each with a deviation near 0.1.
    assert largest(1.0) == pytest.approx(0.3397, abs=0.06)


def test_the_mean_share_is_one_over_n() -> None:
    """E share = 1/4 for every client: the draw must not favour a place."""
    labels = np.zeros(1000, np.int64)
    sizes = np.mean(
        [
            [len(part) for part in partition(config(partition="dirichlet", alpha=1.0), 4, labels, None, seed)]
            for seed in range(200)
        ],
        axis=0,
    )
    # One share has deviation sqrt(3/80) = 0.194; the mean of 200, 0.0137: five deviations are 0.07.
    np.testing.assert_allclose(sizes / 1000, 0.25, atol=0.07)


@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-9, 1e9, 1e308])
def test_extreme_alpha(alpha: float) -> None:
    labels = np.repeat(np.arange(3), 40)
    parts = partition(config(partition="dirichlet", alpha=alpha), 5, labels, None, 1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(120))
    assert min(map(len, parts)) >= 1
    if alpha >= 1e9:
        assert {len(part) for part in parts} <= {23, 24, 25}


def test_column_values_are_dealt_out_whole() -> None:
    owners = ["x", "y", "z", "x", "y", "w"]
    parts = partition(config(partition="column", partition_column="who"), 2, np.zeros(6, np.int64), owners, 0)
    # Sorted names w x y z go to clients 0 1 0 1.
    assert [part.tolist() for part in parts] == [[1, 4, 5], [0, 2, 3]]


def test_files_are_clients_in_the_order_of_their_names() -> None:
    owners = ["train-b", "train-a", "train-b", "train-c"]
    parts = partition(config(partition="files"), 3, np.zeros(4, np.int64), owners, 0)
    assert [part.tolist() for part in parts] == [[1], [0, 2], [3]]


@pytest.mark.parametrize("kind", ["iid", "dirichlet"])
def test_fewer_examples_than_clients(kind: str) -> None:
    with pytest.raises(DataError, match=r"3 training examples for federation\.clients=4; every client needs"):
        partition(config(partition=kind), 4, np.zeros(3, np.int64), None, 0)


@pytest.mark.parametrize(
    ("settings", "owners", "said"),
    [
        (FILES, ["a", "b"] * 2, r"data\.partition=files: 2 training files for 3 clients; exactly"),
        (
            {"partition": "files"},
            ["a", "b", "c", "d"],
            r"data\.partition=files: 4 training files for 3 clients; exactly",
        ),
        (COLUMN, ["a", "b"] * 2, r"data\.partition=column: 2 values in column 'who' for 3 clients; at least"),
        (COLUMN, None, r"data\.partition=column: the training data has no column 'who'"),
    ],
)
def test_owners_that_cannot_fill_the_clients(settings: dict[str, str], owners: list[str] | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        partition(config(**settings), 3, np.zeros(4, np.int64), owners, 0)


def test_the_digest_sees_who_holds_what() -> None:
    base = [np.array([0, 1]), np.array([2, 3])]
    others = [
        [np.array([2, 3]), np.array([0, 1])],
        [np.array([0, 2]), np.array([1, 3])],
        [np.array([0]), np.array([1, 2, 3])],
        [np.array([0, 1]), np.array([2, 3]), np.array([], np.int64)],
    ]
    digests = {partition_digest(parts) for parts in [base, *others]}
    assert len(digests) == 5
    assert partition_digest([part.astype(np.int32) for part in base]) == partition_digest(base)
