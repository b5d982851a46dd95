"""Who holds which blocks: the one type for the 0/1 matrix a_{n,b} of the paper, from the solver to the update."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np


class ActiveSets:
    """The blocks that each client activates. Cannot be changed; equal where the matrices are equal.

    Attributes:
        matrix: bool [N, L], read-only: a_{n,b}, whether client n activates block b.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        """Takes a copy of `matrix`, anything of shape [N, L] that numpy reads as true and false.

        Raises:
            ValueError: not two dimensions.
        """
        own = np.array(matrix, dtype=bool)
        if own.ndim != 2:
            raise ValueError(f"active sets of shape {own.shape}: one row per client and one column per block expected")
        own.flags.writeable = False
        self.matrix = own

    @classmethod
    def of_all(cls, clients: int, blocks: int) -> "ActiveSets":
        """Every client activates every block."""
        return cls(np.ones((clients, blocks), dtype=bool))

    @classmethod
    def of_sets(cls, sets: Sequence[Iterable[int]], blocks: int) -> "ActiveSets":
        """One collection of block numbers per client.

        Raises:
            ValueError: a number outside 0 … blocks − 1.
        """
        matrix = np.zeros((len(sets), blocks), dtype=bool)
        for client, numbers in enumerate(sets):
            chosen = list(numbers)
            if any(not 0 <= number < blocks for number in chosen):
                raise ValueError(f"client {client} activates blocks {sorted(chosen)}: there are 0 to {blocks - 1}")
            matrix[client, chosen] = True
        return cls(matrix)

    @classmethod
    def unpacked(cls, packed: bytes, clients: int, blocks: int) -> "ActiveSets":
        """The inverse of `packed`.

        Raises:
            ValueError: another length than ⌈L/8⌉ bytes per client, or a bit beyond the last block.
        """
        width = -(-blocks // 8)
        if len(packed) != width * clients:
            raise ValueError(f"active sets of {len(packed)} bytes, {width * clients} expected for {clients} clients")
        rows = np.frombuffer(packed, dtype=np.uint8).reshape(clients, width)
        bits = np.unpackbits(rows, axis=1, bitorder="little")
        if beyond := np.flatnonzero(bits[:, blocks:].any(axis=1)).tolist():
            raise ValueError(f"client {beyond[0]} activates a block beyond {blocks - 1}")
        return cls(bits[:, :blocks])

    @classmethod
    def of_marks(cls, rows: Sequence[str]) -> "ActiveSets":
        """The inverse of `marks`.

        Raises:
            ValueError: rows of different lengths, or another sign than 0 and 1.
        """
        if any(len(row) != len(rows[0]) or set(row) - {"0", "1"} for row in rows):
            raise ValueError("active sets as text: rows of one length, of 0 and 1 alone, expected")
        return cls(np.array([[mark == "1" for mark in row] for row in rows], dtype=bool).reshape(len(rows), -1))

    @property
    def marks(self) -> list[str]:
        """As they stand in JSON: one text per client, one 0 or 1 per block."""
        return ["".join(row) for row in np.where(self.matrix, "1", "0").tolist()]

    @property
    def clients(self) -> int:
        """N."""
        return self.matrix.shape[0]

    @property
    def blocks(self) -> int:
        """L."""
        return self.matrix.shape[1]

    @functools.cached_property
    def packed(self) -> bytes:
        """As they travel: ⌈L/8⌉ bytes per client; bit b of the little-endian integer says that block b is active."""
        return np.packbits(self.matrix, axis=1, bitorder="little").tobytes()

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """|A_n|, int64 [N]: how many blocks each client activates."""
        return self.matrix.sum(axis=1)

    @functools.cached_property
    def holders(self) -> np.ndarray:
        """|H_b|, int64 [L]: how many clients activate each block."""
        return self.matrix.sum(axis=0)

    def of(self, client: int) -> frozenset[int]:
        """A_n: the block numbers that one client activates."""
        return _numbers(self.matrix[client].tobytes())

    def changed(self, before: "ActiveSets") -> np.ndarray:
        """bool [N]: the clients whose set is another than `before`."""
        return (self.matrix != before.matrix).any(axis=1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActiveSets):
            return NotImplemented
        return np.array_equal(self.matrix, other.matrix)

    def __hash__(self) -> int:
        return hash((self.matrix.shape, self.packed))

    def __repr__(self) -> str:
        return f"ActiveSets({self.clients} clients, {self.blocks} blocks, {int(self.matrix.sum())} active)"


@functools.lru_cache(maxsize=4096)
def _numbers(row: bytes) -> frozenset[int]:
    """Positions of the true bytes; thousands of clients share few different sets, each of which is one object."""
    return frozenset(np.flatnonzero(np.frombuffer(row, dtype=bool)).tolist())
