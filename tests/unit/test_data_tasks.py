"""Sources: every layout that is offered, and every fault said with setting, value and rule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zorba_ray.config import DataConfig, load_config
from zorba_ray.data import Task, load_task
from zorba_ray.data.files import hub_files
from zorba_ray.data.tables import read_table
from zorba_ray.errors import ConfigError, DataError

WORDS = ("bad", "good")
ROWS = [{"text": f"example {i}", "label": i % 2} for i in range(20)]
EVAL = {"validation": ROWS[:4], "test": ROWS[4:10]}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as the format of the file's ending."""
    import csv

    import pyarrow
    import pyarrow.parquet

    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


Folder = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """`folder(train=rows, …)` writes train.jsonl and so on; validation and test are given unless replaced by None."""

    def make(ending: str = ".jsonl", **splits: list[dict[str, Any]] | None) -> Path:
        for name, rows in {**EVAL, **splits}.items():
            if rows is not None:
                write(tmp_path / f"{name.replace('_', '-')}{ending}", rows)
        return tmp_path

    return make


def load(path: Path | str, labelled: bool = True, seed: int = 0, **settings: Any) -> Task:
    return load_task(DataConfig.model_validate({"label_words": WORDS, **settings, "path": str(path)}), seed, labelled)


def refusal(path: Path | str, labelled: bool = True, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(path, labelled, **settings)
    assert str(path) in str(caught.value), "the message names the path"
    return str(caught.value)


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv", ".json"])
def test_a_folder_of_any_format(folder: Folder, ending: str) -> None:
    task = load(folder(ending, train=ROWS))
    assert task.train.columns == {"text": [row["text"] for row in ROWS]}
    assert task.train.labels.tolist() == [row["label"] for row in ROWS]
    assert task.train.labels.dtype == "int64"
    assert (len(task.validation), len(task.test)) == (4, 6)
    assert task.validation.columns["text"] == [f"example {i}" for i in range(4)]
    assert task.train.owners is None


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".csv"])
def test_a_single_file_is_cut_into_three(folder: Folder, ending: str) -> None:
    path = folder(ending, train=ROWS, validation=None, test=None) / f"train{ending}"
    task = load(path, holdout=0.2)
    assert [len(split) for split in (task.train, task.validation, task.test)] == [12, 4, 4]
    texts = [text for split in (task.train, task.validation, task.test) for text in split.columns["text"]]
    assert sorted(texts) == sorted(row["text"] for row in ROWS), "every row in exactly one split"
    again = load(path, holdout=0.2)
    assert again.train.columns == task.train.columns
    assert load(path, holdout=0.2, seed=1).train.columns != task.train.columns


def test_only_the_test_split_is_missing(folder: Folder) -> None:
    task = load(folder(train=ROWS, test=None))
    assert (len(task.train), len(task.validation), len(task.test)) == (18, 4, 2)
    assert not set(task.train.columns["text"]) & set(task.test.columns["text"])


def test_premise_and_hypothesis(folder: Folder) -> None:
    rows = [{"premise": f"p{i}", "hypothesis": f"h{i}", "label": i % 2, "unused": 1} for i in range(8)]
    task = load(
        folder(train=rows, validation=rows, test=rows), prompt="{premise} Question: {hypothesis} True or False? Answer:"
    )
    assert task.train.columns == {"premise": [f"p{i}" for i in range(8)], "hypothesis": [f"h{i}" for i in range(8)]}


def test_another_label_column(folder: Folder) -> None:
    rows = [{"text": "x", "stars": i % 2, "label": 9} for i in range(6)]
    task = load(folder(train=rows, validation=rows, test=rows), label_column="stars")
    assert task.train.labels.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_lm_head_needs_no_labels(folder: Folder) -> None:
    rows = [{"text": f"t{i}"} for i in range(6)]
    task = load(folder(train=rows, validation=rows, test=rows), labelled=False, label_words=())
    assert task.train.labels.tolist() == [0] * 6


def test_train_rows_is_a_seeded_sample_in_file_order(folder: Folder) -> None:
    path = folder(train=ROWS)
    texts = load(path, train_rows=7).train.columns["text"]
    assert len(set(texts)) == 7
    places = [int(text.split()[1]) for text in texts]
    assert places == sorted(places)
    assert load(path, train_rows=7).train.columns["text"] == texts
    assert load(path, train_rows=7, seed=1).train.columns["text"] != texts
    assert len(load(path, train_rows=1000).train) == 20


def test_one_file_per_client(folder: Folder) -> None:
    path = folder(train_b=ROWS[:6], train_a=ROWS[6:])
    task = load(path, partition="files")
    assert task.train.owners == ["train-a"] * 14 + ["train-b"] * 6
    assert task.train.columns["text"][0] == "example 6"


def test_an_owner_column(folder: Folder) -> None:
    rows = [{**row, "who": i % 3} for i, row in enumerate(ROWS)]
    task = load(folder(train=rows), partition="column", partition_column="who")
    assert task.train.owners == [str(i % 3) for i in range(20)]
    assert task.validation.owners is None, "only the training rows need an owner"


def test_the_built_in_task() -> None:
    task = load("builtin", label_words=("terrible", "poor", "good", "great"))
    assert set(task.train.labels.tolist()) == {0, 1, 2, 3}
    assert not set(task.train.columns["text"]) & set(task.test.columns["text"])


def test_endings_in_capitals(folder: Folder) -> None:
    path = folder(".csv", train=ROWS)
    for split in ("train", "validation", "test"):
        (path / f"{split}.csv").rename(path / f"{split}.CSV")
    assert len(load(path).test) == 6


def test_a_hub_repository_is_read_from_its_files(folder: Folder) -> None:
    """As `datasets` finds them in a folder: text stays text, which its own tables would not keep."""
    rows = [{"text": text, "label": place % 2} for place, text in enumerate(["NA", "null", "007", "2020-01-01"])]
    path = folder(".csv", train=rows, validation=rows, test=rows)
    files = hub_files(str(path))
    assert {split: [(file.name, kind) for file, kind in parts] for split, parts in files.items()} == {
        split: [(f"{split}.csv", "csv")] for split in ("train", "validation", "test")
    }
    assert read_table(*files["train"][0], ["text"]).texts("text") == ["NA", "null", "007", "2020-01-01"]


# Bad input ----------------------------------------------------------------------------------------------------------

ALL = ("terrible", "poor", "good", "great")


@pytest.mark.parametrize(
    ("path", "settings", "said"),
    [
        ("builtin", {"label_words": ()}, r"data\.label_words \[.*\]: label 3 of the builtin data has no entry"),
        ("builtin", {"label_words": ALL[:2]}, r"data\.label_words \[.*\]: label 3 of the builtin data has no entry"),
        ("builtin", {"label_words": ALL[:3]}, r"data\.label_words \[.*\]: label 3 of the builtin data has no entry"),
        (
            "builtin",
            {"prompt": "{question}", "label_words": ALL},
            r"data\.prompt='\{question\}': the builtin data has no column 'question'",
        ),
        ("rows.csv", {}, r"data\.path=rows\.csv: no such file or folder"),
        ("./nothing", {}, r"data\.path=\./nothing: no such file or folder"),
        ("/nothing.parquet", {}, r"data\.path=/nothing\.parquet: no such file or folder"),
        (
            "owner/no-such-data",
            {},
            r"data\.path=owner/no-such-data: .*could not be downloaded from the hub.*point data\.path to a folder",
        ),
    ],
)
def test_what_is_not_there(path: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(path, **settings)


NO_LABEL = [{"text": "x", "label": None}, {"text": "y", "label": -1}]


@pytest.mark.parametrize(
    ("splits", "settings", "said"),
    [
        ({}, {}, "no train.parquet (or .jsonl, .csv)"),
        ({"train": ROWS}, {"partition": "files"}, "no train-*.parquet (or .jsonl, .csv)"),
        ({"train": [*ROWS, *NO_LABEL]}, {}, "2 row(s) of train have no label"),
        ({"train": ROWS, "validation": [*ROWS, *NO_LABEL]}, {}, "2 row(s) of validation have no label"),
        ({"train": ROWS, "test": [*ROWS, *NO_LABEL]}, {}, "2 row(s) of test have no label"),
        (
            {"train": [{"text": "x", "label": 0}] * 9 + [{"text": "x", "label": 1}]},
            {},
            "label 1 ('good') has a single training example; a class needs at least two",
        ),
        (
            {"train": ROWS[:6], "validation": None, "test": None},
            {},
            "6 training rows are too few to cut validation and test out of them (data.holdout=0.1)",
        ),
    ],
)
def test_rows_that_are_refused(folder: Folder, splits: dict[str, Any], settings: dict[str, Any], said: str) -> None:
    assert said in refusal(folder(**splits), **settings)


def test_no_label_words_at_all(folder: Folder) -> None:
    with pytest.raises(DataError, match=r"data\.label_words is empty"):
        load(folder(train=ROWS), label_words=())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("train.csv", "train.csv and train.jsonl are files of the same split"),
        ("test.tsv", "test.tsv has a format that cannot be read"),
        ("test.csv.gz", "test.csv.gz has a format that cannot be read"),
        ("validation.xlsx", "validation.xlsx has a format that cannot be read"),
    ],
)
def test_a_file_that_is_not_passed_over(folder: Folder, name: str, said: str) -> None:
    path = folder(train=ROWS, test=None, validation=None)
    (path / name).write_bytes(b"text,label\na,1\n")
    assert said in refusal(path)


def test_files_that_cannot_be_read(folder: Folder) -> None:
    path = folder()
    (path / "notes.txt").write_text("text", encoding="utf-8")
    assert ".txt is not one of .parquet, .jsonl, .json, .csv" in refusal(path / "notes.txt")
    (path / "train.jsonl").symlink_to("/nowhere/at/all")
    assert "train.jsonl: cannot be read" in refusal(path)


@pytest.mark.parametrize("path", ["/" + "a" * 5000, "./a\x00b", "/a\x1b[2Jb", "./" + "a/" * 3000])
def test_a_path_that_cannot_be(path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("demo", [f"data.path={json.dumps(path)}"])
    assert len(str(caught.value)) <= 2000
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.real
def test_trec_as_downloaded(shared_folder: Path) -> None:
    task = load(shared_folder / "data" / "trec", label_words=tuple("abcdef"))
    assert set(task.train.labels.tolist()) == set(range(6))
    assert len(task.test) == 399  # as its README says


def test_a_row_is_named_as_its_file_has_it(tmp_path: Path) -> None:
    """Whatever split it is in, and however often that was drawn from."""
    write(tmp_path / "rows.csv", ROWS)
    task = load_task(
        DataConfig(path=str(tmp_path / "rows.csv"), label_words=WORDS, train_rows=17, holdout=0.2), 3, True
    )
    for name, split in (("train", task.train), ("validation", task.validation), ("test", task.test)):
        for index, text in enumerate(split.columns["text"]):
            number = int(text.removeprefix("example ")) + 1
            assert split.row(index, name) == f"row {number} (line {number + 1}) of rows.csv"
