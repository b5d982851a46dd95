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


def test_short_rows_are_whole() -> None:
    found = encode_rows({"text": ["a b", "c"]}, "{text} It was", words, 6).tokens
    assert found == words(["a b It was", "c It was"])


def test_the_end_of_the_text_is_cut_and_the_template_kept() -> None:
    """10 tokens = start, 6 words, "It was", end: exactly 6 of the 50 words stay."""
    text = " ".join(f"w{i}" for i in range(50))
    (found,) = encode_rows({"text": [text]}, "{text} It was", words, 10).tokens
    assert found == words([" ".join(f"w{i}" for i in range(6)) + " It was"])[0]


def test_the_longest_column_is_cut() -> None:
    premise = " ".join(f"p{i}" for i in range(50))
    (found,) = encode_rows(
        {"premise": [premise], "hypothesis": ["h i j"]}, "{premise} ? {hypothesis} so", words, 10
    ).tokens
    assert found[:4] == [1, *body("p0 p1 p2")]
    assert found[-6:] == [*body("? h i j so"), 2]
    assert len(found) == 10


def test_columns_shrink_in_turn() -> None:
    """The premise shrinks to the hypothesis's length, then both: here to two of their words."""
    columns = {"premise": ["p1 p2 p3 p4 p5 p6 p7 p8"], "hypothesis": ["h1 h2 h3 h4"]}
    found = encode_rows(columns, "{premise} ? {hypothesis} so", words, 8)
    assert found.texts == ["p1 p2 ? h1 h2 so"]
    assert found.tokens == words(found.texts)
    assert found.cut == Cut(rows=1, total=1, tokens_before=16, tokens_after=8)


def test_a_short_column_stays_whole() -> None:
    columns = {"premise": ["p1 p2 p3 p4 p5 p6 p7 p8"], "hypothesis": ["h1 h2"]}
    found = encode_rows(columns, "{premise} ? {hypothesis} so", words, 9)
    assert found.texts == ["p1 p2 p3 ? h1 h2 so"]


def test_only_rows_that_were_cut_are_counted() -> None:
    found = encode_rows({"text": ["a", "a b c d e", "", "a b c"]}, "{text} so", words, 5)
    assert found.texts == ["a so", "a b so", " so", "a b so"]
    assert found.cut == Cut(rows=2, total=4, tokens_before=8 + 6, tokens_after=5 + 5)


def test_a_template_that_is_too_long_alone_is_refused() -> None:
    rule = r"data\.max_length=4: the words of data\.prompt and the special tokens alone are 8 tokens"
    with pytest.raises(DataError, match=rule):
        encode_rows({"text": ["a b c"]}, "{text} one two three four five six", words, 4)


@pytest.mark.parametrize(("template", "tail"), [("{text} It was", " It was"), ("{a} or {b}", ""), ("{a}{{", "{")])
def test_the_tail_of_a_template(template: str, tail: str) -> None:
    assert prompt_tail(template) == tail


def test_braces_in_the_text_are_text() -> None:
    assert encode_rows({"text": ["{x} {"]}, "{text} It was", words, 9).tokens == words(["{x} { It was"])


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


@pytest.mark.parametrize("max_length", [4, 8, 12])
def test_as_much_text_as_fits_is_kept(max_length: int) -> None:
    (found,) = encode_rows({"text": ["w " * 100]}, "{text} it", words, max_length).tokens
    assert len(found) == max_length
