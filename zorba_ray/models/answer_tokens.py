"""Where a prompt ends and the answer begins, in the tokens of a tokenizer; the tokens of label words as answers, for
causal LMs, and checks that rows are tokenised accordingly."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.errors import ConfigError, DataError
from zorba_ray.printable import shown

SAMPLED_TEXTS = 512
"""Texts, row and label word, of a split that are compared at least, if there are as many."""

_ASKED = "the model would be asked another question than the one that is scored"


@dataclass(frozen=True)
class PromptEnd:
    """The end of prompts of one template."""

    tokenizer: Any
    spacer: str
    """The text between prompt and answer: a space, or nothing after a line break."""
    ending: tuple[int, ...]
    """Tokens that the tokenizer appends to every text (EOS, SEP). They are removed from prompts."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts up to where the answer begins."""
        return self._without_ending([self.bare(text) for text in texts])

    def bare(self, text: str) -> str:
        """A prompt without spaces at its end; the space belongs to the answer."""
        return text.rstrip(" ") if self.spacer else text

    def answered(self, texts: Sequence[str], answers: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts with their answers."""
        whole = [
            self.bare(text) + ("" if answer.startswith("\n") else self.spacer) + answer
            for text, answer in zip(texts, answers, strict=True)
        ]
        return self._without_ending(whole)

    def _without_ending(self, texts: list[str]) -> list[list[int]]:
        length = len(self.ending)
        rows = self.tokenizer(texts)["input_ids"]
        return [row[:-length] if length and tuple(row[-length:]) == self.ending else row for row in rows]


def read_prompt_end(tokenizer: Any, prompt: str, answers: Sequence[str] = ("a", "b")) -> PromptEnd:
    """The end of a template's prompts with this tokenizer.

    Args:
        answers: different texts; the tokens that all of them end with are the tokenizer's ending.
    """
    before = short_prompt(prompt)
    spacer = "" if before.endswith("\n") else " "
    before = before.rstrip(" ") if spacer else before
    whole = tokenizer(before)["input_ids"]
    endings = [_ending(whole, tokenizer(before + spacer + answer)["input_ids"]) for answer in answers]
    return PromptEnd(tokenizer, spacer, tuple(min(endings, key=len)))


def short_prompt(prompt: str, text: str = "a") -> str:
    """A template with `text` in each column's place."""
    return prompt.format(**{name: text for _, name, _, _ in string.Formatter().parse(prompt) if name})


def _ending(whole: Sequence[int], answer: Sequence[int]) -> list[int]:
    """The tokens that both texts end with, without those that both begin with."""
    shared = 0
    while shared < min(len(whole), len(answer)) and whole[shared] == answer[shared]:
        shared += 1
    length = 0
    while length < min(len(whole), len(answer)) - shared and whole[-1 - length] == answer[-1 - length]:
        length += 1
    return list(whole[len(whole) - length :])


def end_of(text: str) -> str:
    """The last letters of a text, quoted, for messages."""
    return repr(text if len(text) <= 40 else f"…{text[-40:]}")


@dataclass(frozen=True)
class LabelTokens(PromptEnd):
    """How a tokenizer writes label words after a prompt."""

    words: Sequence[str]
    options: tuple[tuple[int, ...], ...]
    """The tokens of each word."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """The first token of each word."""
        return tuple(option[0] for option in self.options)

    @property
    def whole(self) -> bool:
        """Whether a word has several tokens, so that all of them are scored."""
        return any(len(option) > 1 for option in self.options)

    def check_rows(
        self, texts: Sequence[str], rows: Sequence[Sequence[int]], every: bool, row_name: Callable[[int], str]
    ) -> None:
        """Whether what follows each row's tokens is what is scored, in the tokens of row and answer.

        Args:
            texts: prompts; their tokens are `rows`, as `encode` gives them.
            every: compares all rows, each with one of the words in turn; else a sample only. The sample, evenly spaced,
                is compared with every word.
            row_name: names a row in messages.

        Raises:
            DataError: names the first such row, what stands there, and what helps.
        """
        labels = range(len(self.words))
        step = max(1, len(texts) * len(labels) // SAMPLED_TEXTS)
        pairs = [(row, label) for row in range(0, len(texts), step) for label in labels]
        if every:
            pairs += [(row, row % len(labels)) for row in range(len(texts))]
        asked = self.answered([texts[row] for row, _ in pairs], [self.words[label] for _, label in pairs])
        for (row, label), ids in zip(pairs, asked, strict=True):
            length, option = len(rows[row]), self.options[label]
            written = tuple(ids[length : length + len(option)])
            if ids[:length] != list(rows[row]):
                what = "writes the end of the prompt otherwise than in the prompt alone"
            elif written != option:
                what = f"writes the word as {_named(written)}, and not as {_named(option)}, which is scored"
            else:
                continue
            raise DataError(
                f"data.prompt: {row_name(row)} ({end_of(texts[row])}) with label word "
                f"{shown(self.words[label])} after it: the tokenizer {what}; {_ASKED}. End data.prompt with words of "
                "its own, as in '{text} It was', or leave the row out"
            )


def read_label_tokens(tokenizer: Any, prompt: str, words: Sequence[str]) -> LabelTokens:
    """The tokens of each label word as the tokenizer writes it after the prompt.

    Raises:
        ConfigError: no words, a word without tokens of its own, with an unknown one, or joined with the prompt's, or
            two words of the same tokens.
    """
    if not words:
        raise ConfigError(
            "data.label_words is empty: head label_words needs one word per label, as in [terrible, great]"
        )
    end = read_prompt_end(tokenizer, prompt, words)
    before = end.bare(short_prompt(prompt))
    (lead,) = end.encode([before])
    answers = end.answered([before] * len(words), words)
    options: list[tuple[int, ...]] = []
    for word, answer in zip(words, answers, strict=True):
        if answer[: len(lead)] != lead:
            raise ConfigError(
                f"data.prompt={shown(prompt)}: the tokenizer joins its end with label word {shown(word)}; {_ASKED}. "
                "End data.prompt otherwise, as with a colon or a line break"
            )
        option = tuple(answer[len(lead) :])
        if not option or tokenizer.unk_token_id in option:
            what = "no token of its own" if len(option) < 2 else "a token that this tokenizer does not know"
            raise ConfigError(
                f"data.label_words: {shown(word)} has {what} after the prompt {shown(prompt)}: choose a word that this "
                "model's tokenizer knows, or another model"
            )
        if option in options:
            raise ConfigError(
                f"data.label_words [{shown(words[options.index(option)])}, {shown(word)}]: the tokenizer writes both "
                f"as {_named(option)}; choose words that differ for it"
            )
        options.append(option)
    return LabelTokens(tokenizer, end.spacer, end.ending, words, tuple(options))


def _named(tokens: Sequence[int]) -> str:
    return f"token{'s' * (len(tokens) != 1)} {', '.join(map(str, tokens)) or 'none'}"
