"""Label words as a causal LM reads them: the token that follows the prompt, and rows that end where it begins."""

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
    tokens: tuple[int, ...]
    """The token of each word that is scored: its first."""
    pieces: tuple[int, ...]
    """Tokens of each whole word."""

    def first_tokens(self) -> dict[str, str]:
        """Of the words that are more than one token, the text of the one that is scored."""
        scored = zip(self.words, self.tokens, self.pieces, strict=True)
        return {word: str(self.tokenizer.decode([token])).strip() for word, token, pieces in scored if pieces > 1}

    def check_rows(self, texts: Sequence[str], rows: Sequence[Sequence[int]], every: bool, split: str) -> None:
        """Whether what follows each row's tokens is the token that is scored, in the tokens of row and answer.

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
            length, written = len(rows[row]), ids[len(rows[row]) :][:1] or ["none"]
            if ids[:length] != list(rows[row]):
                what = "writes the end of the prompt otherwise than in the prompt alone"
            elif written[0] != self.tokens[label]:
                what = f"writes the word as token {written[0]}, and not as {self.tokens[label]}, which is scored"
            else:
                continue
            raise DataError(
                f"data.prompt: row {row + 1} of {split} ({end_of(texts[row])}) with label word "
                f"{shown(self.words[label])} after it: the tokenizer {what}; {_ASKED}. End data.prompt with words of "
                "its own, as in '{text} It was', or leave the row out"
            )


def read_label_tokens(tokenizer: Any, prompt: str, words: Sequence[str]) -> LabelTokens:
    """The first token of each label word as the tokenizer writes it after the prompt, and what belongs to it.

    Raises:
        ConfigError: no words, a word without tokens of its own or joined with the prompt's, or two words with the same
            first token.
    """
    if not words:
        raise ConfigError(
            "data.label_words is empty: head label_words needs one word per label, as in [terrible, great]"
        )
    end = read_prompt_end(tokenizer, prompt, words)
    before = end.bare(short_prompt(prompt))
    (lead,) = end.encode([before])
    answers = end.answered([before] * len(words), words)
    tokens, pieces = [], []
    for word, answer in zip(words, answers, strict=True):
        if answer[: len(lead)] != lead:
            raise ConfigError(
                f"data.prompt={shown(prompt)}: the tokenizer joins its end with label word {shown(word)}; {_ASKED}. "
                "End data.prompt otherwise, as with a colon or a line break"
            )
        if len(answer) == len(lead) or answer[len(lead)] == tokenizer.unk_token_id:
            raise ConfigError(
                f"data.label_words: {shown(word)} has no token of its own after the prompt {shown(prompt)}: "
                "take a word that this model's tokenizer knows, or another model"
            )
        tokens.append(answer[len(lead)])
        pieces.append(len(answer) - len(lead))
    for place, token in enumerate(tokens):
        if (other := tokens.index(token)) != place:
            raise ConfigError(
                f"data.label_words [{shown(words[other])}, {shown(words[place])}]: first tokens {[token, token]} "
                "coincide; choose words that differ in the first token"
            )
    return LabelTokens(tokenizer, end.spacer, end.ending, words, tuple(tokens), tuple(pieces))
