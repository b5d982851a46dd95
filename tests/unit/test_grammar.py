"""The built-in language: the same text from the same seed everywhere, and splits that share nothing."""

import hashlib
import itertools
from collections import Counter

import pytest

from tools.builtin_text import pretraining_text, vocabulary
from zorba_ray.data.grammar import (
    TASK_LABEL_WORDS,
    TASK_PROMPT,
    TASK_SEED,
    TASK_SIZES,
    task_split,
)


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_the_text_is_pinned() -> None:
    """The digests are this repository's own first output: a change means another language, and another checkpoint."""
    assert _digest(list(pretraining_text(0, 500))) == "7494a20e9d6594f5"
    assert _digest([f"{label} {text}" for text, label in task_split("train", 200)]) == "e032398fb9a56896"
    assert _digest([f"{label} {text}" for text, label in task_split("test", 200)]) == "d5367cabcc3ad5c3"


def test_splits_have_their_sizes_and_no_text_twice() -> None:
    for split, size in TASK_SIZES.items():
        texts = [text for text, _ in task_split(split)]
        assert len(texts) == len(set(texts)) == size


@pytest.mark.parametrize("seed", [TASK_SEED, 7])
def test_splits_are_disjoint(seed: int) -> None:
    texts = {split: {text for text, _ in task_split(split, seed=seed)} for split in TASK_SIZES}
    for one, other in itertools.combinations(texts, 2):
        assert not texts[one] & texts[other]


def test_no_task_text_was_in_the_pretraining_text() -> None:
    reviews = {text for split in TASK_SIZES for text, _ in task_split(split)}
    heads = Counter(len(text.split()) for text in reviews)
    for document in pretraining_text(0, 3000):
        words = document.removeprefix("expert : ").split()
        assert not any(" ".join(words[:length]) in reviews for length in heads)


def test_labels_are_balanced_exactly() -> None:
    for split, size in TASK_SIZES.items():
        assert Counter(label for _, label in task_split(split)) == dict.fromkeys(
            range(len(TASK_LABEL_WORDS)), size // 4
        )


def test_no_label_word_stands_in_a_review() -> None:
    used = {word for text, _ in task_split("train") for word in text.split()}
    assert not used & set(TASK_LABEL_WORDS)


def test_the_vocabulary_covers_prompt_labels_and_text() -> None:
    known = set(vocabulary())
    assert set(TASK_LABEL_WORDS) <= known
    assert set(TASK_PROMPT.format(text="").lower().split()) <= known
    assert all(word in known for document in pretraining_text(1, 500) for word in document.split())


def test_grades_follow_the_rules() -> None:
    """Single-clause reviews, by hand: the phrase decides."""
    rows = {text.split(" . ")[1].split(" ", 3)[3].removesuffix(" ."): label for text, label in task_split("train")}
    assert rows["very nice"] == 3
    assert rows["slightly dreadful"] == 1
    assert rows["not superb"] == 1
    assert rows["not awful"] == 2
    assert rows["really dull"] == 0
