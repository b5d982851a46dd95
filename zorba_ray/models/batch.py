"""What a loss is taken of: tokens with their mask and labels, and where options are scored, which logits are read.

Shapes: B rows, T tokens, C labels or options.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from zorba_ray.models.packing import Packing


@dataclass(frozen=True)
class Options:
    """Which logits say how likely the options of B examples are: C of them, of L tokens at most."""

    positions_N: torch.Tensor
    """int64: places (sequence · T + position) whose next token is read."""
    read_BCL: torch.Tensor
    """int64: for each token of an option, which of the N says how likely it is."""
    tokens_BCL: torch.Tensor
    """int64."""
    real_BCL: torch.Tensor
    """bool: false behind an option's end, and where an example has fewer options."""

    def to(self, device: str) -> "Options":
        """The same on `device`."""
        return Options(*(getattr(self, field.name).to(device) for field in dataclasses.fields(self)))

    def twice(self, places: int) -> "Options":
        """Every example two times; `places`: S · T."""
        positions, read = self.positions_N, self.read_BCL
        both = (torch.cat([part, part]) for part in (self.tokens_BCL, self.real_BCL))
        return Options(torch.cat([positions, positions + places]), torch.cat([read, read + len(positions)]), *both)


@dataclass(frozen=True)
class Batch:
    """Tokens [B, T] with their mask (1 = real) and labels [B] (unused where the loss has none).

    Where options are scored, S sequences stand for B examples: tokens and mask are [S, T].
    """

    ids_BT: torch.Tensor
    mask_BT: torch.Tensor
    labels_B: torch.Tensor
    scored_BT: torch.Tensor | None = None
    """bool [B, T]: the tokens that a next-token loss counts; None: all real ones that follow a real one."""
    options: Options | None = None
    """Where options are scored."""
    references: tuple[Sequence[str], ...] | None = None
    """[B]: the right answers of each row, where answers are judged as texts."""
    choices: tuple[Sequence[str], ...] | None = None
    """Of a reward, [B]: the texts that the answer is one of."""
    shared: int = 0
    """First tokens that are the same in all rows, are real, and are computed once for all of them."""
    shift_C: torch.Tensor | None = None
    """fp32 [C], added to the logits of the labels; None: nothing."""
    packing: Packing | None = None
    """Which tokens a model computes, and where (`TaskModel.packed`); None: all of [B, T], padding too."""

    @classmethod
    def of(
        cls,
        ids: np.ndarray,
        mask: np.ndarray,
        labels: np.ndarray,
        scored: np.ndarray | None = None,
        options: Sequence[np.ndarray] | None = None,
        *more: Any,
    ) -> "Batch":
        """Of the arrays of a collated batch (`data.batches.BatchArrays`), on the CPU; `more`: its last ones."""
        marks = None if scored is None else torch.from_numpy(scored)
        chosen = None if options is None else Options(*map(torch.from_numpy, options))
        tensors = torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(labels)
        return cls(*tensors, marks, chosen, *more)

    def __len__(self) -> int:
        return self.labels_B.shape[0]

    def to(self, device: str) -> "Batch":
        """The same batch on `device`."""
        return self._each(lambda tensor: tensor.to(device))

    def twice(self) -> "Batch":
        """Every example two times, for its loss."""
        options = None if self.options is None else self.options.twice(self.ids_BT.numel())
        bare = dataclasses.replace(self, shift_C=None, options=None, references=None, choices=None)
        doubled = bare._each(lambda tensor: torch.cat([tensor, tensor]))
        return dataclasses.replace(doubled, shift_C=self.shift_C, options=options)

    def _each(self, change: Callable[[Any], Any]) -> "Batch":
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed: dict[str, Any] = {
            name: change(part) if isinstance(part, (torch.Tensor, Options)) else part for name, part in parts.items()
        }
        return Batch(**changed)
