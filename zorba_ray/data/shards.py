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

    def label_counts(self, labels: int) -> np.ndarray:
        """Examples of each label in the whole table, int64 [labels]."""
        return np.bincount(self.table.labels, minlength=labels)

    def label_shift(self, client: int, counts: np.ndarray) -> np.ndarray:
        """Logarithm of each label's share of the client's examples over its share in all, float64 [labels].

        Both of counts + 1, so that a label that the client does not have is rare there and not impossible.

        Args:
            counts: of `label_counts`.
        """
        own = np.bincount(self.table.labels[self.rows[client]], minlength=len(counts)) + 1.0
        among = counts + 1.0
        return np.log(own / own.sum() / (among / among.sum()))
