"""`completion` and `generation`: the answer is learnt, and the prompt before it is only read."""

import dataclasses

from zorba_ray.config import ExperimentConfig
from zorba_ray.data import Split, TokenTable, render_prompts
from zorba_ray.errors import DataError
from zorba_ray.models import LoadedModel
from zorba_ray.models.answer_tokens import end_of
from zorba_ray.tasks.base import AnswerRows, TokenSplit


class CompletionRows(AnswerRows):
    """`data.prompt`, then `task.answer`, then the tokenizer's end of text where it has one."""

    def __init__(self, config: ExperimentConfig, loaded: LoadedModel) -> None:
        super().__init__(config, loaded)
        stop = self.tokenizer.eos_token_id
        self._stop: list[int] = [] if stop is None else [int(stop)]

    def encode(self, split: Split, name: str) -> TokenSplit:
        learnt = self._learnt(split)
        # One space, which the answer brings, is enough.
        answers = [answer.lstrip(" ") for answer in learnt]
        following = self._lengths(answers, split, name)
        encoded = self.encoded_prompts(split, name, self.end.encode, following)
        rows: list[list[int]] = []
        for number, (prompt, whole) in enumerate(
            zip(encoded.tokens, self.end.answered(encoded.texts, answers), strict=True)
        ):
            if whole[: len(prompt)] != prompt:
                raise DataError(
                    f"data.prompt: {split.row(number, name)} ({end_of(encoded.texts[number])}) with its answer after "
                    "it: the tokenizer writes the end of the prompt otherwise than in the prompt alone, so that it "
                    "cannot be said where the answer begins. End data.prompt with words of its own, as in '{text}\\n"
                    "Answer:', or leave the row out"
                )
            rows.append(whole + self._stop)
            if len(rows[-1]) > self.data.max_length:
                raise self.too_long("the answer", split.row(number, name), len(rows[-1]) - len(prompt), len(prompt))
        scored = [
            [number >= len(prompt) for number in range(len(row))]
            for prompt, row in zip(encoded.tokens, rows, strict=True)
        ]
        table = TokenTable.from_lists(rows, split.labels, scored)
        if self.decoded:
            table = dataclasses.replace(table, references=split.references or [[answer] for answer in learnt])
        return TokenSplit(table, encoded.cut)

    def prompts(self, split: Split, name: str) -> TokenSplit:
        """As `encode`, of rows without answers: what is read before one is written."""
        return self.prompts_alone(split, name, self.end.encode)

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
        empty = next((row for row, answer in enumerate(answers) if not answer.strip()), None)
        if empty is not None:
            raise DataError(
                f"task.answer: {split.row(empty, name)} has no answer: there is nothing to learn from it; write one, "
                "or leave the row out"
            )
        lengths, prompt = self.answer_lengths(answers)
        counts = [length + len(self._stop) for length in lengths]
        for row, count in enumerate(counts):
            if prompt + count > self.data.max_length:
                raise self.too_long("the answer", split.row(row, name), count, prompt)
        return counts
