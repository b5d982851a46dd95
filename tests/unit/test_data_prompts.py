"""Rows to tokens: max_length is respected and what the template puts after the text is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.data import Cut, encode_rows, prompt_tail
from zorba_ray.data.prompts import prompt_columns
from zorba_ray.errors import DataError


def words(texts: list[str]) -> list[list[int]]:
    """A tokenizer with one token per word (its number is the word's hash) between a start 1 and an end 2."""
    return [[1, *(sum(word.encode()) + 10 for word in text.split()), 2] for text in texts]


def body(text: str) -> list[int]:
    return words([text])[0][1:-1]


def test_columns_of_a_template() -> None:
    assert prompt_columns("{premise} and {hypothesis}, again {premise}") == ["premise", "hypothesis"]
    assert prompt_columns("a {{brace}} {text!r:>10}") == ["text"]


FIFTY = " ".join(f"w{i}" for i in range(50))
PAIR = {"premise": ["p1 p2 p3 p4 p5 p6 p7 p8"], "hypothesis": ["h1 h2 h3 h4"]}
BOTH = "{premise} ? {hypothesis} so"


@pytest.mark.parametrize(
    ("columns", "template", "max_length", "texts", "cut"),
    [
        ({"text": ["a b", "c"]}, "{text} It was", 6, ["a b It was", "c It was"], Cut(0, 2, 0, 0)),
        ({"text": ["{x} {"]}, "{text} It was", 9, ["{x} { It was"], Cut(0, 1, 0, 0)),
        ({"text": [FIFTY]}, "{text} It was", 10, ["w0 w1 w2 w3 w4 w5 It was"], Cut(1, 1, 54, 10)),
        ({**PAIR, "hypothesis": ["h i j"]}, BOTH, 10, ["p1 p2 p3 ? h i j so"], Cut(1, 1, 15, 10)),
        (PAIR, BOTH, 8, ["p1 p2 ? h1 h2 so"], Cut(1, 1, 16, 8)),
        ({**PAIR, "hypothesis": ["h1 h2"]}, BOTH, 9, ["p1 p2 p3 ? h1 h2 so"], Cut(1, 1, 14, 9)),
        (
            {"text": ["a", "a b c d e", "", "a b c"]}, "{text} so", 5,
            ["a so", "a b so", " so", "a b so"], Cut(2, 4, 14, 10),
        ),
        *(({"text": ["w " * 100]}, "{text} it", n, ["w " * (n - 3) + "it"], Cut(1, 1, 103, n)) for n in (4, 8, 12)),
    ],
)  # fmt: skip
def test_the_longest_columns_lose_their_ends_and_the_template_is_kept(
    columns: dict[str, list[str]], template: str, max_length: int, texts: list[str], cut: Cut
) -> None:
    """The premise shrinks to the hypothesis's length, then both; a short column stays whole."""
    found = encode_rows(columns, template, words, max_length)
    assert (found.texts, found.tokens, found.cut) == (texts, words(texts), cut)


def test_a_template_that_is_too_long_alone_is_refused() -> None:
    rule = r"data\.max_length=4: the words of data\.prompt and the special tokens alone are 8 tokens"
    with pytest.raises(DataError, match=rule):
        encode_rows({"text": ["a b c"]}, "{text} one two three four five six", words, 4)


@pytest.mark.parametrize(("template", "tail"), [("{text} It was", " It was"), ("{a} or {b}", ""), ("{a}{{", "{")])
def test_the_tail_of_a_template(template: str, tail: str) -> None:
    assert prompt_tail(template) == tail


@given(
    st.lists(st.tuples(st.text("ab cd", max_size=60), st.text("xy z", max_size=60)), min_size=1, max_size=5),
    st.integers(5, 20),
)
def test_every_row_fits_and_ends_as_the_template(rows: list[tuple[str, str]], max_length: int) -> None:
    columns = {"one": [row[0] for row in rows], "two": [row[1] for row in rows]}
    found = encode_rows(columns, "{one} : {two} It was", words, max_length).tokens
    full = words([f"{one} : {two} It was" for one, two in rows])
    for ids, whole in zip(found, full, strict=True):
        assert len(ids) <= max_length
        assert ids[-3:] == [*body("It was"), 2]
        assert ids == whole or len(whole) > max_length
