"""Which rows of one tokenised table belong to which client: the table is held once however many clients there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zorba_ray.data.batches import TokenTable


@dataclass(frozen=True)
class Shards:
    """Examples of some clients: a client's example i is row rows[client][i] of the table."""

    table: TokenTable
    rows: Mapping[int, np.ndarray]
    """Client id -> int64 [|D_n|]."""

    @classmethod
    def of(cls, table: TokenTable, parts: Sequence[np.ndarray], clients: Sequence[int]) -> "Shards":
        """The shards of `clients` out of a partition of the table."""
        return cls(table, {client: parts[client] for client in clients})

    def lengths(self, client: int) -> np.ndarray:
        """Tokens of each example, int64 [|D_n|]."""
        rows = self.rows[client]
        return self.table.starts[rows + 1] - self.table.starts[rows]

    def collate(self, client: int, examples: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A batch of the client's `examples`, as `TokenTable.collate`."""
        return self.table.collate(self.rows[client][examples], pad)
