"""Some rows of the test split, drawn by the run's seed, and what the model answers to them before and after training.

They come from the evaluations that are made anyway, and stand in answers.json before these count.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from zorba_ray.artifacts import read_record, write_record
from zorba_ray.artifacts.answers import AnsweredRow, SampledAnswers
from zorba_ray.config import DECODED, ExperimentConfig
from zorba_ray.data import Split, TokenTable
from zorba_ray.directions import permutation
from zorba_ray.errors import RunDirError
from zorba_ray.experiment.row_texts import RowTexts
from zorba_ray.models import Evaluation
from zorba_ray.printable import shortened

LETTERS = 4_000
"""Characters of a text that are kept; the middle of a longer one is left out."""


@dataclass(frozen=True)
class SampledRows:
    """The rows, as numbers in their split and as text."""

    of: int
    """Rows of the split that are evaluated."""
    rows: np.ndarray
    """int64, ascending."""
    texts: RowTexts

    @classmethod
    def drawn(cls, split: Split, table: TokenTable, config: ExperimentConfig) -> "SampledRows":
        """`eval.examples` of the rows of a split that are evaluated, all where there are no more.

        Args:
            table: the rows that are evaluated, the first ones of the split.
        """
        of = len(table)
        rows = np.sort(permutation(config.seed, "rows", 2, 0, of)[: config.eval.examples])
        right = table.references if config.row_kind in DECODED else None
        answers = None if right is None else [right[int(row)] for row in rows]
        return cls(of, rows, RowTexts.of(split.take(rows), config, answers))

    def record(self) -> SampledAnswers:
        """The rows without answers."""
        return SampledAnswers(
            of=self.of,
            rows=tuple(
                AnsweredRow(row=int(row) + 1, prompt=shortened(prompt, LETTERS), gold=gold and shortened(gold, LETTERS))
                for row, prompt, gold in zip(self.rows, self.texts.prompts, self.texts.gold, strict=True)
            ),
        )


class AnswersFile:
    """answers.json of a run."""

    def __init__(self, file: Path, sampled: SampledRows, order: np.ndarray) -> None:
        """`order`: of evaluation, as of `evaluation_order` of the split."""
        self._file, self._sampled = file, sampled
        self._places = np.argsort(order)[sampled.rows].tolist()

    def at(self, round: int) -> Callable[[Evaluation], None] | None:
        """Takes the answers after `round`, with scores; None: no rows are asked for."""
        if self._places:
            return lambda answers: self._keep(round, answers)
        self._file.unlink(missing_ok=True)  # of a session that kept some
        return None

    def _keep(self, round: int, answers: Evaluation) -> None:
        texts, record = self._sampled.texts, self._sampled.record()
        said = [texts.answer(row, answers, place) for row, place in enumerate(self._places)]
        said = [
            msgspec.structs.replace(answer, text=answer.text and shortened(answer.text, LETTERS)) for answer in said
        ]
        if round == 0:
            rows = [msgspec.structs.replace(row, before=answer) for row, answer in zip(record.rows, said, strict=True)]
            write_record(self._file, msgspec.structs.replace(record, rows=tuple(rows)))
            return
        before = self._known(record)
        rows = [
            msgspec.structs.replace(row, before=old.before, after=answer)
            for row, old, answer in zip(record.rows, before.rows, said, strict=True)
        ]
        write_record(self._file, msgspec.structs.replace(record, round=round, rows=tuple(rows)))

    def _known(self, record: SampledAnswers) -> SampledAnswers:
        """What the file has of these rows; `record`, without answers, where it has other rows, or cannot be read."""
        with suppress(RunDirError):
            known = read_record(self._file, SampledAnswers)
            if [(row.row, row.prompt) for row in known.rows] == [(row.row, row.prompt) for row in record.rows]:
                return known
        return record
