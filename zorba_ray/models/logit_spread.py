"""How much logits differ from item to item, over batches of any size."""

import torch

_PIECE = 1 << 22
"""Most logits that are processed at once; a language model has many."""


class LogitSpread:
    """Mean over classes of the standard deviation over items. First each item's mean logit is subtracted.

    Means and sums of squares are merged batch by batch (Chan, Golub and LeVeque, 1979), in float64.
    """

    def __init__(self) -> None:
        self._items = 0
        self._mean_C = torch.zeros(())
        self._squares_C = torch.zeros(())

    def add(self, logits: torch.Tensor) -> None:
        """Logits [items, C] of a batch."""
        for part in logits.split(max(1, _PIECE // logits.shape[1])):
            logits_IC = part.double()
            if bool((absent := logits_IC == -torch.inf).any()):  # an item with fewer options: use its mean logit
                logits_IC = logits_IC.masked_fill(absent, torch.nan)
                logits_IC = torch.where(absent, logits_IC.nanmean(dim=1, keepdim=True), logits_IC)
            logits_IC -= logits_IC.mean(dim=1, keepdim=True)
            count, mean_C = len(logits_IC), logits_IC.mean(dim=0)
            squares_C = ((logits_IC - mean_C) ** 2).sum(dim=0)
            if not self._items:
                self._items, self._mean_C, self._squares_C = count, mean_C, squares_C
                continue
            step_C, both = mean_C - self._mean_C, self._items + count
            self._squares_C += squares_C + step_C**2 * (self._items * count / both)
            self._mean_C += step_C * (count / both)
            self._items = both

    def value(self) -> float:
        """The spread of all logits that were added."""
        return float((self._squares_C / self._items).sqrt().mean())
