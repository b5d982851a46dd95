"""How much logits depend on the item that they are of, over batches of any size."""

import torch

_PIECE = 1 << 22
"""Logits that are looked at together: those of a language model are many."""


class LogitSpread:
    """Mean over classes of the standard deviation over items; what shifts all logits of an item is taken out.

    Means and sums of squares are merged batch by batch (Chan, Golub and LeVeque, 1979), in float64.
    """

    def __init__(self) -> None:
        self._items = 0
        self._mean_C = torch.zeros(())
        self._squares_C = torch.zeros(())

    def add(self, logits: torch.Tensor) -> None:
        """Logits [items, C] of a batch."""
        for part in logits.split(max(1, _PIECE // logits.shape[1])):
            own = part.double()
            if bool((absent := own == -torch.inf).any()):  # of an item with fewer options: as its average one
                own = own.masked_fill(absent, torch.nan)
                own = torch.where(absent, own.nanmean(dim=1, keepdim=True), own)
            own -= own.mean(dim=1, keepdim=True)
            count, mean_C = len(own), own.mean(dim=0)
            squares_C = ((own - mean_C) ** 2).sum(dim=0)
            if not self._items:
                self._items, self._mean_C, self._squares_C = count, mean_C, squares_C
                continue
            step_C, both = mean_C - self._mean_C, self._items + count
            self._squares_C += squares_C + step_C**2 * (self._items * count / both)
            self._mean_C += step_C * (count / both)
            self._items = both

    def value(self) -> float:
        """Over all that was added."""
        return float((self._squares_C / self._items).sqrt().mean())
