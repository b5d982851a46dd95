"""The tokens of label words after a prompt, for causal LMs, and checks that rows are tokenised accordingly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zorba_ray.errors import ConfigError, DataError
from zorba_ray.models.prompt_end import PromptEnd, end_of, read_prompt_end, short_prompt
from zorba_ray.printable import shown

SAMPLE = 512
"""Texts, row and label word, of a split that are compared at least, if there are as many."""

_ASKED = "the model would be asked another question than the one that is scored"


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

    def check_rows(self, texts: Sequence[str], rows: Sequence[Sequence[int]], every: bool, split: str) -> None:
        """Whether what follows each row's tokens is what is scored, in the tokens of row and answer.

        Args:
            texts: prompts; their tokens are `rows`, as `encode` gives them.
            every: compares all rows, each with one of the words in turn; else a sample only. The sample, evenly spaced,
                is compared with every word.

        Raises:
            DataError: names the first such row, what stands there, and what helps.
        """
        labels = range(len(self.words))
        step = max(1, len(texts) * len(labels) // SAMPLE)
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
                f"data.prompt: row {row + 1} of {split} ({end_of(texts[row])}) with label word "
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
