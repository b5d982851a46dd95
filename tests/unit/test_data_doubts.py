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
    found = data_doubts(task, template, words, changes.get("samples", [2, 2]), changes.get("cuts", {}))
    assert all(text.isprintable() and len(text) <= 2000 for text in found)
    return found


def test_no_doubt_about_the_demo() -> None:
    config = load_config("demo", [])
    task = load_task(config.data, config.seed, labelled=True)
    assert data_doubts(task, config.data.prompt, config.data.label_words, [512] * 8, {}) == []


def test_a_single_class_is_an_error() -> None:
    with pytest.raises(DataError, match=r"all 4 training rows have label 1 \('good'\): there is nothing to learn"):
        doubts(train=split("train", labels=[1, 1, 1, 1]))


TWO = {
    name: Split(
        {"text": [name + text for text in ("a", "b", "", "c")], "more": ["", "", "d", ""]}, np.array([0, 1, 0, 1])
    )
    for name in ("", "validation", "test")
}
LACKING = "1 of 3 entries of data.label_words have no training row ('fine'): the model can only learn never to say them"
CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "nothing": ({"cuts": {"train": Cut(3, 4, 90, 60), "validation": Cut(0, 0, 0, 0)}}, []),
    "more words than classes": (
        {"words": ("bad", "good", "fine")}, [LACKING],
    ),
    "gaps": (
        {"words": ("bad", "fine", "good"), "train": split("train", labels=[0, 2, 0, 2])},
        [LACKING],
    ),
    "a single class in test": (
        {"test": split("test", labels=[1] * 4)},
        ["all 4 test rows have label 1 ('good'): accuracy says nothing about the other labels"],
    ),
    "the LM head": ({"words": (), "train": split("train", labels=[0, 0, 0, 0])}, []),
    "no text": (
        {"train": split("train", text=["", "a", " \t\u3000\n", "b"])},
        ["2 of 4 (50.0 %) training rows have no text (the first is row 1)"],
    ),
    "one empty column of two": (
        {"template": "{text} {more}", "train": TWO[""], "validation": TWO["validation"], "test": TWO["test"]},
        [],
    ),
    "duplicates between splits": (
        {"test": split("test", text=["train 0", "train 3", "new", "validation 1"])},
        [
            "2 of 4 (50.0 %) test rows have a prompt that is in the training rows too: "
            "the test figures look better than they are",
            "1 of 4 (25.0 %) test rows have a prompt that is in the validation rows too: "
            "the test figures look better than they are",
        ],
    ),
    "duplicates within a split": ({"train": split("train", text=["a", "a", "a", "a"])}, []),
    "clients of one row": (
        {"samples": [1, 5, 1]}, ["2 of 3 (66.7 %) clients have a single training row (clients 0, 2)"],
    ),
    "all rows cut": (
        {"cuts": {"train": Cut(4, 4, 4000, 120), "test": Cut(3, 4, 90, 60)}},
        ["all 4 rows of train are longer than data.max_length and lose their end: 120 of 4,000 tokens are read"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_doubts(name: str) -> None:
    changes, said = CASES[name]
    assert doubts(**changes) == said


def test_many_words_than_classes_are_shortened() -> None:
    (text,) = doubts(words=tuple(f"{'x' * 900} {place}" for place in range(500)))
    assert text.startswith("498 of 500")
