"""Row numbers of clients, one after another in one array: ten thousand small arrays cost kilobytes each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClientRows:
    """Rows of clients[i]: rows[starts[i] : starts[i + 1]]."""

    clients: np.ndarray
    """int64 [n]: ids, ascending."""
    rows: np.ndarray
    """int64 [Σ|D_n|]."""
    starts: np.ndarray
    """int64 [n + 1]."""

    @classmethod
    def of(cls, parts: Sequence[np.ndarray]) -> "ClientRows":
        """Clients 0 … n − 1 with their rows."""
        return cls(np.arange(len(parts)), np.concatenate(parts), _starts([len(part) for part in parts]))

    def take(self, clients: Sequence[int]) -> "ClientRows":
        """Some of the clients, ids ascending; a copy.

        Raises:
            KeyError: one of them is not here.
        """
        parts = [self[client] for client in clients]
        return ClientRows(np.array(clients), np.concatenate(parts), _starts([len(part) for part in parts]))

    @property
    def sizes(self) -> np.ndarray:
        """|D_n|, int64 [n]."""
        return np.diff(self.starts)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return self.clients.nbytes + self.rows.nbytes + self.starts.nbytes

    def __getitem__(self, client: int) -> np.ndarray:
        """Rows of one client, int64 [|D_n|], as a view.

        Raises:
            KeyError: it is not here.
        """
        place = int(np.searchsorted(self.clients, client))
        if place == len(self.clients) or self.clients[place] != client:
            raise KeyError(client)
        return self.rows[self.starts[place] : self.starts[place + 1]]


def _starts(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
