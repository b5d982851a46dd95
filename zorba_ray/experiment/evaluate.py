"""Validation and test on the driver's replica."""

import time

import numpy as np
import torch

from zorba_ray.artifacts import Eval
from zorba_ray.data import TokenTable, in_length_order
from zorba_ray.errors import Diverged
from zorba_ray.models import Batch, TaskModel
from zorba_ray.models.task import Evaluation


class Evaluator:
    """Fixed batches of one split, shortest first."""

    def __init__(self, model: TaskModel, split: str, table: TokenTable, batch_size: int) -> None:
        self._model = model
        self.split = split
        self._labels = len(np.unique(table.labels))
        pad = int(model.loaded.tokenizer.pad_token_id)
        self._batches = [
            Batch(*(torch.from_numpy(array) for array in table.collate(rows, pad))).to(model.device)
            for rows in in_length_order(table.lengths, batch_size)
        ]

    def record(self, round: int) -> Eval:
        """The record of an evaluation at θ after `round`.

        Raises:
            Diverged: the loss is not finite.
        """
        start = time.perf_counter()
        found = self._model.evaluate(self._batches)
        if not found.loss < float("inf"):
            raise Diverged(
                f"round {round}: the {self.split} loss is {found.loss}; lower zo.lr, set zo.clip, or check the data"
            )
        return Eval(
            round=round,
            split=self.split,
            loss=found.loss,
            accuracy=found.accuracy,
            items=found.items,
            spread=found.spread,
            **self._predictions(found),
            eval_s=time.perf_counter() - start,
        )

    def _predictions(self, found: Evaluation) -> dict[str, int]:
        """The label that most rows are given, how many these are, and how many labels the split has."""
        if found.predicted is None:
            return {}
        label = int(np.argmax(found.predicted))
        return {"predicted_label": label, "predicted_rows": found.predicted[label], "labels": self._labels}
