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
