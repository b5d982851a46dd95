"""A batch as one sequence of its real tokens, so that no padding is computed; what its rows share is in it once.

Shapes: B rows, P tokens with which all begin, t_b further ones of row b, N = P + Σ t_b, T tokens of the longest row,
R tokens that the head reads, S signs.

Hidden states of a packed batch are [S, N, H]: first the shared tokens, then the others of row after row, in order.
Norms and linear layers do not look beyond a token, so they run as they are; `packed_attention` says how attention runs.

Where the head reads few tokens, the last block answers for these alone (`last_block`): its modules with a matrix are
given [S, R, H] from the attention on.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch


class Grid:
    """Rows of unequal lengths behind each other, and side by side with padding."""

    def __init__(self, lengths: Sequence[int], device: torch.device | str) -> None:
        self.rows, self.longest = len(lengths), max(lengths)
        self.even = min(lengths) == self.longest
        """All rows are equally long: both forms are views of the same memory."""
        counts = np.asarray(lengths, dtype=np.int64)
        starts = np.cumsum(counts) - counts
        columns = np.arange(self.longest)
        # Behind its end a row has copies of a token, which nobody reads or attends to.
        places = starts[:, None] + np.minimum(columns, np.maximum(counts, 1)[:, None] - 1)
        places = np.minimum(places, max(int(counts.sum()) - 1, 0))
        real = columns < counts[:, None]
        self.real_BT = torch.tensor(real, device=device)
        """bool [rows, longest]: false for padding."""
        self._places, self._back = (
            torch.tensor(index, device=device) for index in (places.ravel(), np.flatnonzero(real.ravel()))
        )

    def padded(self, states: torch.Tensor) -> torch.Tensor:
        """[S, Σ lengths, …] -> [S, rows, longest, …]."""
        whole = states if self.even else states.index_select(1, self._places)
        return whole.unflatten(1, (self.rows, self.longest))

    def packed(self, states: torch.Tensor) -> torch.Tensor:
        """[S, rows · longest, …] -> [S, Σ lengths, …]."""
        return states if self.even else states.index_select(1, self._back)


class Packing:
    """Which tokens of a batch are computed, and where."""

    def __init__(
        self,
        lengths: Sequence[int],
        shared: int = 0,
        read: tuple[torch.Tensor, torch.Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
            lengths: real tokens of each row, the shared ones too; rows are padded on the right, if at all.
            shared: P.
            read: row and position of the tokens that the head reads, int64 each; None: all.
        """
        self.lengths, self.shared = tuple(lengths), shared
        further = [length - shared for length in lengths]
        self.own = Grid(further, device)
        rows = np.repeat(np.arange(len(further)), further)
        columns = np.concatenate([np.arange(count) for count in further])
        lead = np.arange(shared)
        self.rows_N = torch.tensor(np.concatenate([np.full(shared, -1), rows]), device=device)
        """int64 [N]: the row that each token belongs to; −1: all of them."""
        self.positions_N = torch.tensor(np.concatenate([lead, columns + shared]), device=device)
        """int64 [N]: the place of each token in its row."""
        self._starts_B = torch.tensor(np.cumsum(further) - np.asarray(further), device=device)
        """int64 [B]: the place that a row's position 0 would have if nothing were shared before it."""
        self.read = None if read is None else ReadTokens(*read, self)

    @property
    def longest(self) -> int:
        """T."""
        return self.shared + self.own.longest

    def rows_of(self, tokens: int) -> torch.Tensor:
        """int64: the row of each token, of hidden states of so many: of all N, or of the R in the last block."""
        return self.rows_N if self.read is None or tokens == len(self.rows_N) else self.read.rows_R

    def places(self, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """int64: where tokens are among the N, given by row and position."""
        return torch.where(positions < self.shared, positions, positions + self._starts_B[rows])

    @cached_property
    def mean_BN(self) -> torch.Tensor:
        """fp32 [B, N]: what makes hidden states [N, H] to the mean of each row."""
        count = torch.tensor(self.lengths, device=self.rows_N.device)
        rows = torch.arange(len(self.lengths), device=self.rows_N.device)
        mine = (self.rows_N == rows[:, None]) | (self.rows_N < 0)
        return mine / count[:, None]


class ReadTokens:
    """The tokens of a packed batch for which the last block answers: each once, in their order among the N."""

    def __init__(self, rows: torch.Tensor, positions: torch.Tensor, packing: Packing) -> None:
        self.places_R = packing.places(rows, positions).unique()
        """int64 [R]: where they are among the N."""
        self.rows_R = packing.rows_N[self.places_R]
        """int64 [R]: as `Packing.rows_N`."""
        # Shared tokens stand before all rows: they attend as tokens of the first.
        in_row = self.rows_R.clamp_min(0)
        self.grid = Grid(torch.bincount(in_row, minlength=len(packing.lengths)).tolist(), rows.device)
        self.reading = False
        """Whether the last block runs now."""
        self.attended = False
        """Whether its attention has run."""

    def among_all(self, answers: torch.Tensor, tokens: int) -> torch.Tensor:
        """[S, R, …] among zeros, as [S, `tokens`, …]."""
        zeros = answers.new_zeros(len(answers), tokens, *answers.shape[2:])
        return zeros.index_copy_(1, self.places_R, answers)
