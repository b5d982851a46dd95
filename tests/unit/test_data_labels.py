"""Labels and owners: each has one reading, or is refused with its row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zorba_ray.config import DataConfig
from zorba_ray.data import Task, load_task
from zorba_ray.errors import DataError

WORDS = ("bad", "good")
ALL, TYPED = (".csv", ".jsonl", ".parquet"), (".jsonl", ".parquet")


def written(folder: Path, labels: list[Any], ending: str, listing: Any = None, **more: list[Any]) -> Path:
    """One set of rows as train, validation and test; each label twice, so that none is alone."""
    labels = [*labels, *labels]
    columns = {"text": [f"text {place}" for place in range(len(labels))], "label": labels}
    columns |= {name: [*values, *values] for name, values in more.items()}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for split in ("train", "validation", "test"):
        path = folder / f"{split}{ending}"
        if ending == ".parquet":
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        elif ending == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            lines = [",".join(columns), *(",".join(str(value) for value in row.values()) for row in rows)]
            path.write_text("\n".join(lines), encoding="utf-8")
    if listing is not None:
        (folder / "labels.json").write_text(
            listing if isinstance(listing, str) else json.dumps(listing), encoding="utf-8"
        )
    return folder


def load(folder: Path, words: tuple[str, ...] = WORDS, **settings: Any) -> Task:
    return load_task(DataConfig.model_validate({"path": str(folder), "label_words": words, **settings}), 0, True)


def positions(folder: Path, words: tuple[str, ...] = WORDS) -> list[int]:
    found = load(folder, words).train.labels
    assert found.dtype == np.int64
    return found.tolist()[: len(found) // 2]


def refusal(folder: Path, words: tuple[str, ...] = WORDS, **settings: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(folder, words, **settings)
    message = str(caught.value)
    assert len(message) <= 2000
    assert message.isprintable()
    return message


@pytest.mark.parametrize(
    ("endings", "labels", "words", "expected"),
    [
        (ALL, ["True", "False"], ("True", "False"), [0, 1]),
        (ALL, ["good", "bad"], WORDS, [1, 0]),
        (ALL, [1, 0], WORDS, [1, 0]),
        (ALL, [0, 2], ("a", "b", "c"), [0, 2]),
        (ALL, [0, 1, 2], ("0", "1", "2"), [0, 1, 2]),
        (ALL, [1, 2, 3, 4, 5], ("1", "2", "3", "4", "5"), [0, 1, 2, 3, 4]),
        (ALL, [1, -1], ("-1", "1"), [1, 0]),
        (ALL, [1, -1], ("1", "-1"), [0, 1]),
        (ALL, ["NA", "null"], ("null", "NA"), [1, 0]),
        (ALL, ["007", "7"], ("7", "007"), [1, 0]),
        (ALL, [10, 20], ("20", "10"), [1, 0]),
        (ALL, ["1.0", "2.0"], ("2.0", "1.0"), [1, 0]),
        (TYPED, [2.0, 0.0], ("a", "b", "c"), [2, 0]),
        (TYPED, [0.5, 1.5], ("1.5", "0.5"), [1, 0]),
        (TYPED, [True, False], ("true", "false"), [0, 1]),
        (TYPED, [True, False], ("False", "True"), [1, 0]),
        (TYPED, ["1", "0"], ("1", "0"), [0, 1]),
    ],
)
def test_one_reading(
    tmp_path: Path, endings: tuple[str, ...], labels: list[Any], words: tuple[str, ...], expected: list[int]
) -> None:
    """Floats that are whole, truth values that words spell, and text that is text whatever it looks like, too."""
    for ending in endings:
        (tmp_path / ending).mkdir()
        assert positions(written(tmp_path / ending, labels, ending), words) == expected


@pytest.mark.parametrize("kind", ["int8", "uint64", "float16", "float64", "int64"])
def test_any_number_type_of_parquet(tmp_path: Path, kind: str) -> None:
    folder = written(tmp_path, [0, 1], ".parquet")
    for split in ("train", "validation", "test"):
        values = pyarrow.array(np.array([1, 0, 1, 0], dtype=kind))
        pyarrow.parquet.write_table(pyarrow.table({"text": list("abcd"), "label": values}), folder / f"{split}.parquet")
    assert positions(folder) == [1, 0]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "words", "readings"),
    [
        ([1, 0], ("1", "0"), ("label 0 ('1') by its name, and label 1 ('0') by its number", '{"1": 0, "0": 1}')),
        (
            [0, 1, 2],
            ("1", "2", "3"),
            ("label 0 ('1') by its name, and label 1 ('2') by its number", '{"1": 0, "2": 1, "3": 2}'),
        ),
        ([2, 1], ("1", "2", "3"), ("label 1 ('2') by its name, and label 2 ('3') by its number", '{"1": 0')),
    ],
)
def test_two_readings(
    tmp_path: Path, ending: str, labels: list[int], words: tuple[str, ...], readings: tuple[str, str]
) -> None:
    message = refusal(written(tmp_path, labels, ending), words)
    assert "row " in message
    assert "two readings" in message
    for reading in readings:
        assert reading in message
    listing = {word: place for place, word in enumerate(words)}
    assert positions(written(tmp_path, [label for label in labels if str(label) in words], ending, listing), words) == [
        listing[str(label)] for label in labels if str(label) in words
    ], "the remedy helps"


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        ([True, False], "row 1 (line 1), column 'label': label true is a truth value"),
        ([[0, 1], [1, 0]], "of a one-hot list write the position of the 1"),
        ([{"a": 1}], "label {'a': 1} is not a whole number or text"),
        ([0, 1.5], "row 2 (line 2), column 'label': label 1.5 is not a whole number"),
        (
            [0, 2],
            "row 2 (line 2), column 'label': label 2 of the train split has no entry in data.label_words (2 entries, "
            "labels 0 … 1)",
        ),
        ([0, 10**25], "has no entry in data.label_words"),
        ([0, 10**400], "has no entry in data.label_words"),
        ([0, float("inf")], "label inf is not a whole number"),
        ([0, "9" * 5000], "5,000 characters"),
        ([0, None], "row 2 (line 2), column 'label': 2 row(s) of train have no label"),
        ([0, ""], "row 2 (line 2), column 'label': 2 row(s) of train have no label"),
        ([0, -1], "row 2 (line 2), column 'label': 2 row(s) of train have no label"),
        ([0, "-1"], "row 2 (line 2), column 'label': 2 row(s) of train have no label"),
        ([0, float("nan")], "row 2 (line 2), column 'label': 2 row(s) of train have no label"),
        ([0, "01"], "row 2 (line 2), column 'label': label '01' is neither"),
        ([0, " 1"], "row 2 (line 2), column 'label': label ' 1' is neither"),
        (
            [0, "Good"],
            "row 2 (line 2), column 'label': label 'Good' is neither in data.label_words ['bad', 'good'] nor in "
            "labels.json",
        ),
        *[
            ([0, text], f"row 2 (line 2), column 'label': label {text!r} is neither")
            for text in ("²", "--1", "1.5", "+1", "007")
        ],
        ([0, -2], "label -2 of the train split has no entry"),
        ([0, "١"], "row 2 (line 2), column 'label': label '١' is neither"),
        ([0, "\x1b[31m"], r"label '\x1b[31m' is neither"),
        ([0, "x" * 100_000], "100,000 characters"),
    ],
)
def test_no_reading(tmp_path: Path, labels: list[Any], rule: str) -> None:
    assert rule in refusal(written(tmp_path, labels, ".jsonl"))


def test_words_that_spell_a_truth_value_twice(tmp_path: Path) -> None:
    assert "is a truth value" in refusal(written(tmp_path, [True, False], ".jsonl"), ("True", "true", "False"))


def test_many_label_words_are_shortened(tmp_path: Path) -> None:
    words = tuple(f"word {place} {'x' * 500}" for place in range(151))
    assert "(151 in all)" in refusal(written(tmp_path, ["?"], ".jsonl"), words)


# labels.json --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    "listing",
    [
        ["negative", "positive"],
        {"negative": 0, "positive": 1},
        {"positive": 1, "negative": 0},
        {"0": "negative", "1": "positive"},
        {"1": "positive", "0": "negative"},
        '\ufeff["negative", "positive"]',
        {"negative": 0, "positive": 1, "bad": 0, "very good": 1},
    ],
)
def test_every_form(tmp_path: Path, ending: str, listing: Any) -> None:
    assert positions(written(tmp_path, ["positive", "negative"], ending, listing)) == [1, 0]


def test_words_and_names_together(tmp_path: Path) -> None:
    folder = written(tmp_path, ["positive", "bad", 1, "0"], ".jsonl", {"negative": 0, "positive": 1})
    assert positions(folder) == [1, 0, 1, 0]


def test_a_list_of_numbers_names_labels(tmp_path: Path) -> None:
    folder = written(tmp_path, [1, 2, 3], ".csv", [1, 2, 3])
    assert positions(folder, ("poor", "fair", "good")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("listing", "rule"),
    [
        ("[", "labels.json is not JSON"),
        ("", "labels.json is not JSON"),
        ("[" * 100_000, "labels.json is not JSON"),
        ('{"negative": 0, "negative": 1}', "labels.json is not JSON (a key stands twice)"),
        ("5", "write a list of names"),
        ('"negative"', "write a list of names"),
        ("null", "write a list of names"),
        (["negative", None], "write a list of names"),
        (["negative", ["positive"]], "write a list of names"),
        (["negative", True], "write a list of names"),
        ({"negative": 0.5}, "write a list of names"),
        ({"negative": -1}, "write a list of names"),
        ({"negative": True}, "write a list of names"),
        ({"negative": "positive"}, "write a list of names"),
        ({"negative": 0, "1": "positive"}, "write a list of names"),
        ({"negative": 10**30}, "write a list of names"),
        (["negative", "negative"], "'negative' stands twice"),
        ({"0": "negative", "1": "negative"}, "two labels have one name"),
        (["good", "bad"], "says that 'good' is label 0, and data.label_words that it is label 1"),
        (["Good", "BAD"], "says that 'Good' is label 0, and data.label_words that it is label 1"),
        ({"good": 0}, "says that 'good' is label 0"),
        ({"0": "good"}, "says that 'good' is label 0"),
        (["x", "y", "good"], "says that 'good' is label 2"),
    ],
)
def test_a_listing_that_is_refused(tmp_path: Path, listing: Any, rule: str) -> None:
    assert rule in refusal(written(tmp_path, [0, 1], ".jsonl", listing))


def test_a_listing_that_is_not_utf8(tmp_path: Path) -> None:
    folder = written(tmp_path, [0, 1], ".jsonl")
    (folder / "labels.json").write_bytes('["é"]'.encode("latin-1"))
    assert "labels.json is not JSON" in refusal(folder)


def test_a_name_beyond_the_label_words(tmp_path: Path) -> None:
    folder = written(tmp_path, ["negative", "neutral"], ".jsonl", ["negative", "positive", "neutral"])
    assert "label 'neutral' of the train split has no entry in data.label_words" in refusal(folder)


# Owners -------------------------------------------------------------------------------------------------------------


def owners(folder: Path) -> list[str]:
    found = load(folder, partition="column", partition_column="owner").train.owners
    assert found is not None
    return found[: len(found) // 2]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("names", [["01", "1"], ["NA", "None"], ["1.0", "1"], [" a", "a"], ["2020-01-01", "true"]])
def test_owners_as_they_stand(tmp_path: Path, ending: str, names: list[str]) -> None:
    assert owners(written(tmp_path, [0, 1], ending, owner=names)) == names


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_numbers_as_owners(tmp_path: Path, ending: str) -> None:
    assert owners(written(tmp_path, [0, 1], ending, owner=[7, 10])) == ["7", "10"]


@pytest.mark.parametrize("name", [None, "", "  ", float("nan")])
def test_a_missing_owner(tmp_path: Path, name: Any) -> None:
    folder = written(tmp_path, [0, 1], ".jsonl", owner=["a", name])
    message = refusal(folder, partition="column", partition_column="owner")
    assert "row 2 (line 2) has no owner in column 'owner'" in message


@pytest.mark.parametrize("names", [["1", 1], [1, 1.0], [1, True], ["a", ["b"]]])
def test_owners_of_two_types(tmp_path: Path, names: list[Any]) -> None:
    folder = written(tmp_path, [0, 1], ".jsonl", owner=names)
    assert "row 2 (line 2): owner" in refusal(folder, partition="column", partition_column="owner")


def test_only_training_rows_need_an_owner(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    without = written(tmp_path / "without", [0, 1], ".jsonl", owner=["a", ""])
    folder = written(tmp_path, [0, 1], ".jsonl", owner=["a", "b"])
    (folder / "test.jsonl").write_bytes((without / "test.jsonl").read_bytes())
    assert owners(folder) == ["a", "b"]
