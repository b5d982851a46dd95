"""`ActiveSets`: which client activates which blocks, the 0/1 matrix a_{n,b} of the paper. Used everywhere."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np


class ActiveSets:
    """The blocks that each client activates. It cannot be changed. Two are equal if their matrices are equal.

    Attributes:
        matrix: bool [N, L], read-only: a_{n,b}, whether client n activates block b.
    """

    def __init__(self, matrix: np.ndarray) -> None:
        """Copies `matrix`, which is anything of shape [N, L] that numpy can convert to bool.

        Raises:
            ValueError: not two dimensions.
        """
        copy = np.array(matrix, dtype=bool)
        if copy.ndim != 2:
            raise ValueError(f"active sets of shape {copy.shape}: one row per client and one column per block expected")
        copy.flags.writeable = False
        self.matrix = copy

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
            ValueError: not ⌈L/8⌉ bytes per client, or a bit beyond the last block.
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
            ValueError: rows of different lengths, or a character other than 0 and 1.
        """
        if any(len(row) != len(rows[0]) or set(row) - {"0", "1"} for row in rows):
            raise ValueError("active sets as text: rows of the same length, with only 0 and 1, expected")
        return cls(np.array([[mark == "1" for mark in row] for row in rows], dtype=bool).reshape(len(rows), -1))

    @property
    def marks(self) -> list[str]:
        """The form in JSON: one text per client, with a 0 or 1 per block."""
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
        """The form in messages: ⌈L/8⌉ bytes per client. Bit b of this little-endian integer is 1 if block b is
        active."""
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
        """bool [N]: the clients whose set differs from that in `before`."""
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
    """Positions of the true bytes. Cached, because thousands of clients have only a few different sets."""
    return frozenset(np.flatnonzero(np.frombuffer(row, dtype=bool)).tolist())
