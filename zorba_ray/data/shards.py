"""Which rows of one tokenised table belong to which client: the table is held once however many clients there are."""

from dataclasses import dataclass

import numpy as np

from zorba_ray.data.batches import TokenTable
from zorba_ray.data.client_rows import ClientRows


@dataclass(frozen=True)
class Shards:
    """Examples of some clients: a client's example i is row rows[client][i] of the table."""

    table: TokenTable
    rows: ClientRows

    def lengths(self, client: int) -> np.ndarray:
        """Tokens of each example, int64 [|D_n|]."""
        rows = self.rows[client]
        return self.table.starts[rows + 1] - self.table.starts[rows]

    def collate(self, client: int, examples: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A batch of the client's `examples`, as `TokenTable.collate`."""
        return self.table.collate(self.rows[client][examples], pad)

    def label_shift(self, client: int, labels: int) -> np.ndarray:
        """Logarithm of each label's share of the client's examples over its share of the table, float64 [labels].

        Both of counts + 1, so that a label that the client does not have is rare there and not impossible.
        """
        own, all_ = (
            np.bincount(found, minlength=labels) + 1.0
            for found in (self.table.labels[self.rows[client]], self.table.labels)
        )
        return np.log(own / own.sum() / (all_ / all_.sum()))
