"""Doubts about data: each with its numbers, and none about data that are well."""

from typing import Any

import numpy as np
import pytest

from zorba_ray.config import load_config
from zorba_ray.data import Cut, Split, Task, load_task
from zorba_ray.data.doubts import data_doubts
from zorba_ray.errors import DataError

WORDS = ("bad", "good")


def split(name: str, rows: int = 4, labels: list[int] | None = None, **columns: list[str]) -> Split:
    texts = {"text": [f"{name} {row}" for row in range(rows)], **columns}
    marks = labels if labels is not None else [row % 2 for row in range(rows)]
    return Split(texts, np.array(marks, dtype=np.int64))


def doubts(words: tuple[str, ...] = WORDS, template: str = "{text} It was", **changes: Any) -> list[str]:
    task = Task(*(changes.get(name, split(name)) for name in ("train", "validation", "test")))
    found = data_doubts(
        task, template, words, changes.get("samples", [2, 2]), changes.get("cuts", {}), changes.get("first_tokens", {})
    )
    assert all(text.isprintable() and len(text) <= 2000 for text in found)
    return found


def test_no_doubt() -> None:
    cuts = {"train": Cut(3, 4, 90, 60), "validation": Cut(0, 0, 0, 0)}
    assert doubts(cuts=cuts) == []


def test_no_doubt_about_the_demo() -> None:
    config = load_config("demo", [])
    task = load_task(config.data, config.seed, labelled=True)
    assert data_doubts(task, config.data.prompt, config.data.label_words, [512] * 8, {}, {}) == []


def test_more_words_than_classes() -> None:
    (text,) = doubts(words=("bad", "good", "fine"))
    assert text.startswith("1 of 3 entries of data.label_words have no training row ('fine')")


def test_gaps() -> None:
    (text,) = doubts(words=("bad", "fine", "good"), train=split("train", labels=[0, 2, 0, 2]))
    assert "('fine')" in text


def test_many_words_than_classes_are_shortened() -> None:
    (text,) = doubts(words=tuple(f"{'x' * 900} {place}" for place in range(500)))
    assert text.startswith("498 of 500")


def test_a_single_class_is_an_error() -> None:
    with pytest.raises(DataError, match=r"all 4 training rows have label 1 \('good'\): there is nothing to learn"):
        doubts(train=split("train", labels=[1, 1, 1, 1]))


def test_a_single_class_where_nothing_is_learnt() -> None:
    assert doubts(test=split("test", labels=[1] * 4)) == [
        "all 4 test rows have label 1 ('good'): accuracy says nothing about the others"
    ]


def test_the_lm_head_has_no_classes() -> None:
    assert doubts(words=(), train=split("train", labels=[0, 0, 0, 0])) == []


def test_rows_without_text() -> None:
    train = split("train", text=["", "a", " \t\u3000\n", "b"])
    assert doubts(train=train) == ["2 of 4 (50.0 %) training rows have no text (the first is row 1)"]


def test_one_empty_column_of_two_is_no_doubt() -> None:
    columns = {"text": ["a", "b", "", "c"], "more": ["", "", "d", ""]}
    splits = {name: split(name, text=[name + text for text in columns["text"]]) for name in ("validation", "test")}
    both = {name: Split({**part.columns, "more": columns["more"]}, part.labels) for name, part in splits.items()}
    train = Split(columns, np.array([0, 1, 0, 1]))
    assert doubts(WORDS, "{text} {more}", train=train, **both) == []


def test_duplicates_between_splits() -> None:
    found = doubts(test=split("test", text=["train 0", "train 3", "new", "validation 1"]))
    assert found == [
        "2 of 4 (50.0 %) test rows have a prompt that is in the training rows too: test figures flatter",
        "1 of 4 (25.0 %) test rows have a prompt that is in the validation rows too: test figures flatter",
    ]


def test_duplicates_within_a_split_are_no_doubt() -> None:
    assert doubts(train=split("train", text=["a", "a", "a", "a"])) == []


def test_clients_of_one_row() -> None:
    assert doubts(samples=[1, 5, 1]) == ["2 of 3 (66.7 %) clients have a single training row (clients 0, 2)"]


def test_all_rows_cut() -> None:
    cuts = {"train": Cut(4, 4, 4000, 120), "test": Cut(3, 4, 90, 60)}
    assert doubts(cuts=cuts) == [
        "all 4 rows of train are longer than data.max_length and lose their end: 120 of 4,000 tokens are read"
    ]


def test_words_that_are_scored_by_their_first_token() -> None:
    (text,) = doubts(first_tokens={"terrible": "t", "great\x1b": "g"})
    assert "'terrible' by 't', 'great\\x1b' by 'g'; choose words of one token each" in text
