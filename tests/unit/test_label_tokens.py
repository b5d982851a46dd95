"""The model is asked what is scored: rows end where the label word begins, whatever the tokenizer adds."""

import dataclasses
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import transformers
from tokenizers import Regex, models, normalizers, pre_tokenizers, processors

from zorba_ray.config import load_config
from zorba_ray.errors import ConfigError, DataError
from zorba_ray.experiment.build import Setup, prepare
from zorba_ray.models.answer_tokens import read_label_tokens

TOKENS = ("<unk>", "<s>", "</s>", "<sep>", "a", "b", "It", "was", "good", "bad", "very", ",", ".", ":")
VOCABULARY = {token: place for place, token in enumerate(TOKENS)}
WORDS = ("bad", "good")


def wrapped(inner: tokenizers.Tokenizer) -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>"
    )


def by_words(template: str = "$A", normalizer: Any = None) -> Any:
    """One token per word, and what the template puts around them."""
    inner = tokenizers.Tokenizer(models.WordLevel(VOCABULARY, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(name, VOCABULARY[name]) for name in ("<s>", "</s>", "<sep>")]
    )
    if normalizer is not None:
        inner.normalizer = normalizer
    return wrapped(inner)


def by_letters(*merges: tuple[str, str]) -> Any:
    """Letters and these merges, across spaces too."""
    vocabulary = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyzIN .:\n")}
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    inner = tokenizers.Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer = wrapped(inner)
    assert tokenizer.unk_token_id is not None
    return tokenizer


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        ("$A", []),
        ("<s> $A", []),
        ("$A </s>", [2]),
        ("<s> $A </s>", [2]),
        ("<s> $A </s> <sep>", [2, 3]),
        ("$A <s>", [1]),
    ],
)
def test_what_stands_around_a_text(template: str, ending: list[int]) -> None:
    tokenizer = by_words(template)
    found = read_label_tokens(tokenizer, "{text} It was", WORDS)
    assert found.ending == tuple(ending)
    assert found.tokens == (VOCABULARY["bad"], VOCABULARY["good"])
    texts = ["a b It was", "b It was", "</s> It was"]
    rows = found.encode(texts)
    assert rows == [ids[: len(ids) - len(ending)] for ids in tokenizer(texts)["input_ids"]]
    assert all(row[-1] == VOCABULARY["was"] for row in rows)
    found.check_rows(texts, rows, True, "row {} of train".format)


def test_an_ending_that_the_tokenizer_writes_as_text() -> None:
    """No special token: a normalizer puts a full stop behind every text."""
    tokenizer = by_words("<s> $A", normalizers.Replace(Regex(r"\s*$"), " ."))
    assert tokenizer("a")["input_ids"][-1] == VOCABULARY["."]
    found = read_label_tokens(tokenizer, "{text} It was", WORDS)
    assert found.encode(["a It was", "a . It was"]) == [[1, 4, 6, 7], [1, 4, 12, 6, 7]]
    assert found.tokens == (VOCABULARY["bad"], VOCABULARY["good"])


@pytest.mark.parametrize("prompt", ["{text} It was ", "{text} It was   "])
def test_a_space_at_the_end_belongs_to_the_word(prompt: str) -> None:
    """Where ' good' is one token, a row that ends in a space is no beginning of row and answer."""
    tokenizer = by_letters((" ", "g"), (" ", "b"))
    found = read_label_tokens(tokenizer, prompt, WORDS)
    assert [tokenizer.decode([token]) for token in found.tokens] == [" b", " g"]
    text = prompt.replace("{text}", "a")
    (row,) = found.encode([text])
    assert row == tokenizer("a It was")["input_ids"]
    found.check_rows([text], [row], True, "row {} of train".format)


def test_a_line_break_needs_no_space() -> None:
    tokenizer = by_letters((" ", "g"), (" ", "b"))
    found = read_label_tokens(tokenizer, "{text}\n", WORDS)
    assert [tokenizer.decode([token]) for token in found.tokens] == ["b", "g"]
    assert found.encode(["a \n"]) == tokenizer(["a \n"])["input_ids"]


def test_a_prompt_that_is_joined_with_the_word() -> None:
    tokenizer = by_letters(("s", " "), (" ", "g"), (" ", "b"))
    with pytest.raises(ConfigError, match=r"data\.prompt='\{text\} It was': the tokenizer joins its end with"):
        read_label_tokens(tokenizer, "{text} It was", WORDS)
    assert read_label_tokens(tokenizer, "{text} It was:", WORDS).tokens


@pytest.mark.parametrize("every", [True, False])
def test_a_row_that_is_joined_with_the_word(every: bool) -> None:
    """Only rows that end in s are: the prompt has no words of its own after the text."""
    tokenizer = by_letters(("s", " "), (" ", "g"), (" ", "b"))
    found = read_label_tokens(tokenizer, "{text}", WORDS)
    texts = ["a film"] * 2000 + ["films"] + ["a film"] * 2000
    rows = found.encode(texts)
    if not every:  # a sample of some hundred rows does not see it
        found.check_rows(texts, rows, every, "row {} of train".format)
        return
    with pytest.raises(DataError, match=r"row 2000 of train \('films'\).*writes the end of the prompt otherwise"):
        found.check_rows(texts, rows, every, "row {} of train".format)


def test_a_row_after_which_the_word_is_another_token() -> None:
    tokenizer = by_letters((" ", "g"), (" ", "b"))
    found = read_label_tokens(tokenizer, "{text}", WORDS)
    rows = [tokenizer("a film")["input_ids"], tokenizer("a fi")["input_ids"]]
    with pytest.raises(
        DataError,
        match=r"row 1 of test \('a fil'\).*writes the word as tokens 11, 33, 0, and not as tokens 33, 0, 3, which",
    ):
        found.check_rows(["a film", "a fil"], rows, True, "row {} of test".format)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"data\.label_words is empty: head label_words"),
        (("good", "nonsense"), r"data\.label_words: 'nonsense' has no token of its own"),
        (("good", " "), r"data\.label_words: ' ' has no token of its own"),
        (("good", "very nonsense"), r"'very nonsense' has a token that this tokenizer does not know"),
        (("very good", "very  good"), r"\['very good', 'very  good'\]: the tokenizer writes both as tokens 10, 8"),
    ],
)
def test_words_that_cannot_serve(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_label_tokens(by_words(), "{text}", words)


def test_words_of_several_tokens() -> None:
    tokenizer = by_words("<s> $A </s>")
    words = ("very bad", "good")
    found = read_label_tokens(tokenizer, "{text} It was", words)
    assert found.options == ((10, 9), (8,))
    assert found.tokens == (10, 8)
    assert found.whole
    rows = found.encode(["a It was"])
    found.check_rows(["a It was"], rows, True, "row {} of train".format)


def test_a_row_after_which_a_later_token_is_another() -> None:
    """Every token of a word is compared, not the first alone."""
    tokenizer = by_letters((" ", "g"), ("d", "d"))
    found = read_label_tokens(tokenizer, "{text}", ("god", "gab"))
    other = dataclasses.replace(found, options=(found.options[0], (*found.options[1][:-1], 0)))
    with pytest.raises(DataError, match=r"row 0 of test .* writes the word as tokens .*, and not as tokens .*, 0, wh"):
        other.check_rows(["a"], found.encode(["a"]), True, "row {} of test".format)


# A whole set-up -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_eos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model with a tokenizer that ends every text with EOS."""
    folder = tmp_path_factory.mktemp("model") / "eos"
    shutil.copytree(str(resources.files("zorba_ray") / "models" / "builtin"), folder)
    tree = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    eos = transformers.AutoTokenizer.from_pretrained(folder).eos_token or "</s>"
    ids = {entry["content"]: entry["id"] for entry in tree["added_tokens"]}
    special = {"id": eos, "ids": [ids[eos]], "tokens": [eos]}
    tree["post_processor"]["single"].append({"SpecialToken": {"id": eos, "type_id": 0}})
    tree["post_processor"]["special_tokens"][eos] = special
    (folder / "tokenizer.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder


def set_up(*overrides: str) -> Setup:
    return prepare(load_config("tune_configs/runs/tiny.yaml", ["tracking.wandb=disabled", *overrides]))


def test_a_tokenizer_that_ends_every_text(with_eos: Path) -> None:
    plain, ended = set_up(), set_up(f"model.path={with_eos}")
    assert ended.model.loaded.tokenizer("good")["input_ids"] != plain.model.loaded.tokenizer("good")["input_ids"]
    assert ended.header.data_sha256 == plain.header.data_sha256
    np.testing.assert_array_equal(ended.test.tokens, plain.test.tokens)


def test_the_lm_head_keeps_the_ending(with_eos: Path) -> None:
    """It is a token like others to a language model."""
    head = ["model.head=lm", "data.label_words=[]"]
    plain, ended = set_up(*head), set_up(*head, f"model.path={with_eos}")
    assert len(ended.test.tokens) == len(plain.test.tokens) + len(plain.test)


def test_rows_that_were_cut_are_counted() -> None:
    setup = set_up("data.max_length=8")
    assert set(setup.cuts) == {"train", "validation", "test"}
    cut = setup.cuts["train"]
    whole = set_up().shards.table.lengths
    assert cut.total == len(whole)
    assert cut.rows == int((whole > 8).sum()) > 0
    assert cut.tokens_before == int(whole[whole > 8].sum())
    assert cut.tokens_after == int(setup.shards.table.lengths[whole > 8].sum())
    assert set_up().cuts["train"].rows == 0


def test_a_prompt_that_leaves_no_room() -> None:
    with pytest.raises(DataError, match=r"data\.max_length=4: the words of data\.prompt"):
        set_up("data.max_length=4", "data.prompt='{text} and all of it was very'")
