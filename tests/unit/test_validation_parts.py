"""Validation rows go to the clients as the training rows did."""

import json
from pathlib import Path

import numpy as np
import pytest

from zorba_ray.config import DataConfig
from zorba_ray.data import Split, clients_of, load_task, partition
from zorba_ray.errors import DataError


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


def rows(file: Path, owners: list[str | int | None]) -> None:
    """As JSONL; None leaves the owner out."""
    lines = [{"text": f"row {place}", "label": place % 2} for place in range(len(owners))]
    named = [line | ({} if owner is None else {"who": owner}) for line, owner in zip(lines, owners, strict=True)]
    file.write_text("".join(json.dumps(line) + "\n" for line in named))


def dealt(folder: Path, **settings: object) -> list[int]:
    """The client of each validation row of a folder, among three clients."""
    words = {"label_words": ("bad", "good"), "path": str(folder)}
    config = DataConfig.model_validate({**words, **settings})
    task = load_task(config, 0, True)
    parts = partition(config, 3, task.train.labels, task.train.owners, 0)
    return clients_of(config, task.train, parts, task.validation, 0).tolist()


def test_a_validation_file_may_name_the_owners_too(tmp_path: Path) -> None:
    """One that is unknown, or named nowhere, is nobody's: a validation row needs no owner."""
    rows(tmp_path / "train.jsonl", ["a", "a", "b", "b", "c", "c"])
    rows(tmp_path / "validation.jsonl", ["c", "a", "stranger", None, " ", "b"])
    rows(tmp_path / "test.jsonl", [None, None])
    column = {"partition": "column", "partition_column": "who"}
    assert dealt(tmp_path, **column) == [2, 0, -1, -1, -1, 1]
    rows(tmp_path / "validation.jsonl", [None] * 4)
    assert dealt(tmp_path, **column) == [-1] * 4
    rows(tmp_path / "train.jsonl", [1, 1, 2, 2, 3, 3])
    rows(tmp_path / "validation.jsonl", [3, 2, 1])
    assert dealt(tmp_path, **column) == [2, 1, 0]


def test_clients_with_files_may_have_validation_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        rows(tmp_path / f"train-{name}.jsonl", [None] * 4)
    for name in ("c", "d", "a"):
        rows(tmp_path / f"validation-{name}.jsonl", [None] * 2)
    rows(tmp_path / "test.jsonl", [None] * 2)
    assert dealt(tmp_path, partition="files") == [0, 0, 2, 2, -1, -1]
    rows(tmp_path / "validation.jsonl", [None] * 3)
    with pytest.raises(DataError, match=r"validation\.jsonl and validation-a\.jsonl .*are files of the same split"):
        dealt(tmp_path, partition="files")
    for name in ("c", "d", "a"):
        (tmp_path / f"validation-{name}.jsonl").unlink()
    assert dealt(tmp_path, partition="files") == [-1] * 3
