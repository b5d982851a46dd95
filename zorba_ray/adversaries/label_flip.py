"""Label flip: the client trains honestly on wrong labels, c → C − 1 − c (data poisoning).

Tolpegin, Truex, Gursoy, Liu: Data Poisoning Attacks Against Federated Learning Systems, ESORICS 2020.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zorba_ray.adversaries import Attack
from zorba_ray.config import ExperimentConfig

if TYPE_CHECKING:
    from zorba_ray.models import Batch


class LabelFlip(Attack):
    """`scale` has no effect. C is the number of `data.label_words`."""

    def batches(self, batches: Sequence["Batch"]) -> Sequence["Batch"]:
        last = len(self.config.data.label_words) - 1
        return [dataclasses.replace(batch, labels_B=last - batch.labels_B) for batch in batches]

    @classmethod
    def refuse(cls, config: ExperimentConfig) -> None:
        if config.task_kind != "classification":
            raise ValueError(
                f"adversaries: kind label_flip with task.kind={config.task_kind}: its rows have no labels; take "
                "another kind, such as sign_flip"
            )
