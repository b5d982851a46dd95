"""Partitions with a known answer, and their faults."""

import numpy as np
import pytest

from zorba_ray.config import DataConfig, config_from_tree
from zorba_ray.data import partition, partition_digest
from zorba_ray.errors import ConfigError, DataError

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


def test_quantity_skew_is_uneven_in_rows_and_even_in_labels() -> None:
    labels = np.tile(np.arange(4), 1000)
    parts = partition(config(partition="quantity_skew", alpha=0.3), 8, labels, None, 2)
    assert max(map(len, parts)) > 4 * 500, "one client has many times the mean"
    for part in parts:
        if len(part) > 400:  # four deviations of a share near 1/4
            np.testing.assert_allclose(np.bincount(labels[part]) / len(part), 0.25, atol=0.09)


def test_label_shards_pair_all_labels() -> None:
    """6 pairs of 4 labels, 8 clients, 300 seeds: each pair is held 400 times, with a deviation below 20."""
    labels = np.repeat(np.arange(4), 50)
    pairs: dict[tuple[int, ...], int] = {}
    for seed in range(300):
        for part in partition(config(partition="label_shards"), 8, labels, None, seed):
            assert 24 <= len(part) <= 26, "shards of 12 or 13 rows"
            pair = tuple(np.unique(labels[part]).tolist())
            pairs[pair] = pairs.get(pair, 0) + 1
    assert len(pairs) == 6
    assert all(320 < count < 480 for count in pairs.values())


def test_a_single_client_has_all_rows() -> None:
    """As a central method beside federated ones."""
    parts = partition(config(partition="label_shards"), 1, np.array([0, 1, 2, 3] * 5), None, 0)
    assert [part.tolist() for part in parts] == [list(range(20))]


def test_label_shards_go_by_the_rows_of_a_label() -> None:
    """60 rows of label 0 and 20 of label 1 make three shards and one."""
    labels = np.repeat([0, 1], [60, 20])
    parts = partition(config(partition="label_shards", labels_per_client=1), 4, labels, None, 0)
    assert [len(part) for part in parts] == [20] * 4
    assert sorted(int(labels[part][0]) for part in parts) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("labels", "clients", "each", "said"),
    [
        ([0, 1] * 9, 4, 3, r"=3: the training rows have 2 label\(s\); set it to 2 or less"),
        ([0, 1, 2, 3, 4] * 9, 2, 2, r"=2: 2 clients take 4 labels, and the training rows have 5, .* set it to 3"),
        ([0] * 9 + [1] * 2, 4, 2, r"=2: 4 clients need 8 shards of one row at least, and the labels give 6"),
    ],
)
def test_label_shards_that_cannot_be_dealt(labels: list[int], clients: int, each: int, said: str) -> None:
    with pytest.raises(DataError, match=r"data\.labels_per_client" + said):
        partition(config(partition="label_shards", labels_per_client=each), clients, np.array(labels), None, 0)


def test_a_language_model_has_no_label_shards() -> None:
    tree = {"model": {"head": "lm"}, "data": {"partition": "label_shards"}}
    with pytest.raises(
        ConfigError, match=r"data\.partition=label_shards with task\.kind=language_model.*quantity_skew"
    ):
        config_from_tree(tree, "test")


def test_column_values_are_dealt_out_whole() -> None:
    owners = ["x", "y", "z", "x", "y", "w"]
    parts = partition(config(partition="column", partition_column="who"), 2, np.zeros(6, np.int64), owners, 0)
    # Sorted names w x y z go to clients 0 1 0 1.
    assert [part.tolist() for part in parts] == [[1, 4, 5], [0, 2, 3]]


def test_files_are_clients_in_the_order_of_their_names() -> None:
    owners = ["train-b", "train-a", "train-b", "train-c"]
    parts = partition(config(partition="files"), 3, np.zeros(4, np.int64), owners, 0)
    assert [part.tolist() for part in parts] == [[1], [0, 2], [3]]


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "quantity_skew", "label_shards"])
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
