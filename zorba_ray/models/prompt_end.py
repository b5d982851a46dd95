"""Where a prompt ends and the answer begins, in the tokens of a tokenizer."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


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
