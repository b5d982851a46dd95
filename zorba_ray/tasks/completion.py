"""`completion` and `generation`: the answer is learnt, and the prompt before it is only read."""

import dataclasses

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Split, TokenTable, encode_rows, render_prompts
from zorba_ray.errors import DataError
from zorba_ray.models import LoadedModel
from zorba_ray.models.prompt_end import end_of, read_prompt_end, short_prompt
from zorba_ray.tasks.base import TaskRows, TokenSplit


class CompletionRows(TaskRows):
    """`data.prompt`, then `task.answer`, then the tokenizer's end of text where it has one."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        self._end = read_prompt_end(self.tokenizer, self.data.prompt)
        stop = self.tokenizer.eos_token_id
        self._stop: list[int] = [] if stop is None else [int(stop)]

    def encode(self, split: Split, name: str) -> TokenSplit:
        learnt = self._learnt(split)
        # One space, which the answer brings, is enough.
        answers = [answer.lstrip(" ") for answer in learnt]
        following = self._lengths(answers, split, name)
        encoded = encode_rows(split.columns, self.data.prompt, self._end.encode, self.data.max_length, following)
        self.require_tokens_of(encoded.tokens, split, name)
        rows: list[list[int]] = []
        for place, (prompt, whole) in enumerate(
            zip(encoded.tokens, self._end.answered(encoded.texts, answers), strict=True)
        ):
            if whole[: len(prompt)] != prompt:
                raise DataError(
                    f"data.prompt: {split.row(place, name)} ({end_of(encoded.texts[place])}) with its answer after "
                    "it: the tokenizer writes the end of the prompt otherwise than in the prompt alone, so that it "
                    "cannot be said where the answer begins. End data.prompt with words of its own, as in '{text}\\n"
                    "Answer:', or leave the row out"
                )
            rows.append(whole + self._stop)
            if len(rows[-1]) > self.data.max_length:
                raise self._too_long(split.row(place, name), len(rows[-1]) - len(prompt), len(prompt))
        scored = [
            [place >= len(prompt) for place in range(len(row))]
            for prompt, row in zip(encoded.tokens, rows, strict=True)
        ]
        table = TokenTable.from_lists(rows, split.labels, scored)
        if self.decoded:
            table = dataclasses.replace(table, references=split.references or [[answer] for answer in learnt])
        return TokenSplit(table, encoded.cut)

    def prompts(self, split: Split, name: str) -> TokenSplit:
        """As `encode`, of rows without answers: what is read before one is written."""
        encoded = encode_rows(split.columns, self.data.prompt, self._end.encode, self.data.max_length)
        self.require_tokens_of(encoded.tokens, split, name)
        return TokenSplit(TokenTable.from_lists(encoded.tokens, split.labels), encoded.cut)

    def _learnt(self, split: Split) -> list[str]:
        """The answer of each row: of the template, else its first right one."""
        if self.task.answer is not None:
            return render_prompts(split.columns, self.task.answer)
        assert split.references is not None
        return [answers[0] for answers in split.references]

    def _lengths(self, answers: list[str], split: Split, name: str) -> list[int]:
        """Tokens of each answer after a short prompt.

        Raises:
            DataError: an answer without tokens, or longer than a row may be.
        """
        empty = next((place for place, answer in enumerate(answers) if not answer.strip()), None)
        if empty is not None:
            raise DataError(
                f"task.answer: {split.row(empty, name)} has no answer: there is nothing to learn from it; write one, "
                "or leave the row out"
            )
        before = short_prompt(self.data.prompt)
        (prompt,) = self._end.encode([before])
        (least,) = self._end.encode([short_prompt(self.data.prompt, "")])
        whole = self._end.answered([before] * len(answers), answers)
        counts = [len(row) - len(prompt) + len(self._stop) for row in whole]
        for place, count in enumerate(counts):
            if len(least) + count > self.data.max_length:
                raise self._too_long(split.row(place, name), count, len(least))
        return counts

    def _too_long(self, row: str, answer: int, prompt: int) -> DataError:
        return DataError(
            f"data.max_length={self.data.max_length}: the answer of {row} has {answer} tokens, and "
            f"the prompt {prompt} even without its columns. Answers are never cut: set data.max_length to "
            f"{answer + prompt} or more, or leave the row out"
        )
