"""Every example exactly once, nobody empty, the same from the same seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.config import DataConfig
from zorba_ray.data import partition, partition_digest
from zorba_ray.errors import DataError

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=80)


def assert_exact(parts: list[np.ndarray], rows: int, clients: int) -> None:
    assert len(parts) == clients
    assert all(len(part) > 0 for part in parts), "nobody is empty"
    assert all((np.diff(part) > 0).all() for part in parts), "ascending, none twice"
    assert all(part.dtype == np.int64 for part in parts)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows)), "every example exactly once"


@given(
    labels=LABELS,
    data=st.data(),
    kind=st.sampled_from(["iid", "dirichlet"]),
    alpha=st.floats(1e-6, 1e6),
    seed=st.integers(0, 2**64 - 1),
)
def test_iid_and_dirichlet(labels: list[int], data: st.DataObject, kind: str, alpha: float, seed: int) -> None:
    clients = data.draw(st.integers(1, len(labels)))
    config = DataConfig(partition=kind, alpha=alpha)  # type: ignore[arg-type]
    parts = partition(config, clients, np.array(labels), None, seed)
    assert_exact(parts, len(labels), clients)
    again = partition(config, clients, np.array(labels), None, seed)
    assert partition_digest(again) == partition_digest(parts)


@given(labels=LABELS, data=st.data(), alpha=st.floats(1e-6, 1e6), seed=st.integers(0, 2**64 - 1))
def test_quantity_skew(labels: list[int], data: st.DataObject, alpha: float, seed: int) -> None:
    clients = data.draw(st.integers(1, len(labels)))
    config = DataConfig(partition="quantity_skew", alpha=alpha)
    parts = partition(config, clients, np.array(labels), None, seed)
    assert_exact(parts, len(labels), clients)
    assert partition_digest(partition(config, clients, np.array(labels), None, seed)) == partition_digest(parts)


@given(labels=LABELS, clients=st.integers(2, 12), each=st.integers(1, 6), seed=st.integers(0, 2**64 - 1))
def test_label_shards(labels: list[int], clients: int, each: int, seed: int) -> None:
    """Refused exactly where there is no such partition; else `each` labels per client, in shards of about one size."""
    array, counts = np.array(labels), np.unique(labels, return_counts=True)[1]
    config = DataConfig(partition="label_shards", labels_per_client=each)
    possible = each <= len(counts) <= clients * each <= np.minimum(counts, clients).sum() and clients <= len(labels)
    if not possible:
        with pytest.raises(DataError):
            partition(config, clients, array, None, seed)
        return
    parts = partition(config, clients, array, None, seed)
    assert_exact(parts, len(labels), clients)
    assert {len(np.unique(array[part])) for part in parts} == {each}
    for label in set(labels):
        shards = [held for part in parts if (held := int((array[part] == label).sum()))]
        assert max(shards) - min(shards) <= 1, "shards of a label differ by a row at most"
    assert partition_digest(partition(config, clients, array, None, seed)) == partition_digest(parts)


@given(owners=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60), data=st.data())
def test_by_owner(owners: list[str], data: st.DataObject) -> None:
    clients = data.draw(st.integers(1, len(set(owners))))
    config = DataConfig(partition="column", partition_column="who")
    parts = partition(config, clients, np.zeros(len(owners), np.int64), owners, 0)
    assert_exact(parts, len(owners), clients)
    homes = [{owners[row] for row in part} for part in parts]
    assert sum(map(len, homes)) == len(set(owners)), "nobody's examples are split"


def test_seeds_give_different_partitions() -> None:
    labels = np.repeat(np.arange(4), 20)
    for kind in ("iid", "dirichlet", "quantity_skew", "label_shards"):
        config = DataConfig(partition=kind)  # type: ignore[arg-type]
        assert len({partition_digest(partition(config, 4, labels, None, seed)) for seed in range(20)}) == 20
