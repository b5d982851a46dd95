"""Scores of written answers, against values by hand and against a plain reading of SQuAD's rules."""

import string
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.config import SCORES
from zorba_ray.errors import DataError
from zorba_ray.metrics import require_scorable, text_scores
from zorba_ray.metrics.text import exact_match, last_number, number_match, rouge_l, token_f1

WORDS = st.lists(
    st.sampled_from(["the", "a", "An", "cat", "cat.", "Dog", "dog-house", "42", "…", "", "\n"]), max_size=6
)


def squad_words(text: str) -> list[str]:
    """Lower case, no punctuation, no articles."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


@given(WORDS, WORDS)
def test_exact_match_and_f1_are_those_of_squad(text: list[str], right: list[str]) -> None:
    written, wanted = squad_words(" ".join(text)), squad_words(" ".join(right))
    assert exact_match(" ".join(text), " ".join(right)) == (written == wanted)
    shared = sum(min(written.count(word), wanted.count(word)) for word in {*written, *wanted})
    precision, recall = shared / max(len(written), 1), shared / max(len(wanted), 1)
    f1 = 2 * precision * recall / (precision + recall) if shared else float(written == wanted == [])
    assert token_f1(" ".join(text), " ".join(right)) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("text", "right", "exact", "f1", "rouge"),
    [
        ("The cat.", "cat", 1.0, 1.0, 2 / 3),
        ("a black cat sat", "cat black", 0.0, 2 * 2 / (3 + 2), 2 * 1 / (4 + 2)),
        ("", "cat", 0.0, 0.0, 0.0),
        ("the", "a", 1.0, 1.0, 0.0),
        ("cat cat", "cat", 0.0, 2 / 3, 2 / 3),
    ],
)
def test_values_by_hand(text: str, right: str, exact: float, f1: float, rouge: float) -> None:
    """ROUGE-L knows no articles and minds the order; F1 does not."""
    assert (exact_match(text, right), token_f1(text, right), rouge_l(text, right)) == pytest.approx((exact, f1, rouge))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("So he has 3 + 4 = 7 apples.", "7"),
        ("It is $1,234.50.", "1234.50"),
        ("18.", "18"),
        ("from 5-3", "3"),
        ("it falls to -3 or −4", "-4"),
        ("7\n#### 12\nthen 99", "12"),
        ("#### 1\n#### 2", "2"),
        ("a .5 chance", ".5"),
        ("none", None),
        ("12 ####", None),
        ("3,4", "4"),
        ("12,345,678", "12345678"),
    ],
)
def test_the_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


def test_numbers_are_compared_as_numbers() -> None:
    assert number_match("it makes 1,234.0", "#### 1234") == 1
    assert number_match("nothing", "#### 1234") == 0
    assert number_match("1235", "1234") == 0


def test_of_several_right_answers_the_nearest_counts() -> None:
    found = text_scores(["in Paris", "5"], [["London", "Paris"], ["4", "five"]], SCORES)
    assert {name: values.tolist() for name, values in found.items()} == {
        "exact_match": [0, 0], "token_f1": [pytest.approx(2 / 3), 0], "rouge_l": [pytest.approx(2 / 3), 0],
        "number_match": [0, 0],
    }  # fmt: skip
    assert all(values.dtype == np.float64 for values in found.values())


def test_answers_that_a_score_cannot_see_are_refused() -> None:
    require_scorable([["four", "4"], ["5"]], ["number_match"], "row {} of test".format)
    require_scorable([["四"]], ["exact_match", "token_f1"], "row {} of test".format)
    with pytest.raises(DataError, match=r"number_match: row 1 of test has the right answer 'four', .*it has no number"):
        require_scorable([["4"], ["four"]], ["number_match"], "row {} of test".format)
    with pytest.raises(DataError, match=r"rouge_l: row 0 of test .*letters a–z.*take rouge_l out of task\.scores"):
        require_scorable([["四"]], SCORES[:3], "row {} of test".format)
