"""Merging equal clients into groups, and dealing the counts of a group back out to its clients.

Without this, N equal clients give N! equal answers and no gap closes. Source: algorithm.md section 7 (ours).
"""

from dataclasses import dataclass

import numpy as np

from zorba_ray.allocation.problem import AllocationProblem


@dataclass(frozen=True)
class Group:
    """Clients the model need not tell apart. With one member it is simply that client."""

    members: tuple[int, ...]
    """Client indices, ascending."""
    block_bytes: int | None
    """Bytes of any one active block where all blocks cost the same; None where they differ (then one member)."""
    capacity: int
    """K: the most blocks a member can hold by its budget and `max_blocks`; exact where `block_bytes` is set, otherwise
    an upper bound (smallest blocks first)."""

    @property
    def size(self) -> int:
        """How many clients are merged here."""
        return len(self.members)


def capacities(problem: AllocationProblem) -> np.ndarray:
    """[N] int64: how many blocks each client can hold at most, taking its smallest blocks first.

    Exact where a client's blocks cost the same, otherwise an upper bound for allocations that need larger blocks.
    """
    cheapest_first = np.sort(problem.active_bytes, axis=1).cumsum(axis=1)
    fits = (cheapest_first <= problem.room_bytes[:, None]).sum(axis=1)
    return np.minimum(fits, problem.block_limit)


def merge(problem: AllocationProblem) -> tuple[Group, ...]:
    """Groups of equal clients, ordered by their first member.

    Clients are equal when all blocks cost the same bytes on them, they have the same cost per block and the same
    capacity in blocks. Base bytes then only add a constant to the total; for the worst share they matter, so there
    base and budget must be equal too. A client whose blocks differ in bytes keeps a group and a budget row of its own.
    """
    equal_blocks = (problem.active_bytes == problem.active_bytes[:, :1]).all(axis=1)
    capacity = capacities(problem)
    found: dict[tuple[int, ...], list[int]] = {}
    for client in range(problem.clients):
        if not equal_blocks[client]:
            key: tuple[int, ...] = (-1, client)
        elif problem.vram_objective == "worst_share":
            key = (
                int(problem.active_bytes[client, 0]),
                int(problem.base_bytes[client]),
                int(problem.budget_bytes[client]),
            )
        else:
            key = (int(problem.active_bytes[client, 0]), int(capacity[client]))
        found.setdefault(key, []).append(client)
    return tuple(
        Group(
            members=tuple(members),
            block_bytes=int(problem.active_bytes[members[0], 0]) if equal_blocks[members[0]] else None,
            capacity=int(capacity[members[0]]),
        )
        for members in found.values()
    )


def counts_of(active: np.ndarray, groups: tuple[Group, ...]) -> np.ndarray:
    """[G, L] int64: on how many members of each group a block is active."""
    return np.stack([active[list(group.members)].sum(axis=0, dtype=np.int64) for group in groups])


def deal(counts: np.ndarray, groups: tuple[Group, ...], clients: int) -> np.ndarray:
    """[N, L] bool with these counts: blocks in order, dealt round robin to the members of each group.

    A block goes to `counts[g, b]` members in a row of the circle, so nobody gets it twice while counts <= size, and
    the numbers of blocks per member differ by at most 1: with size <= Σ_b counts <= size·K every member holds 1 to K.
    """
    active = np.zeros((clients, counts.shape[1]), dtype=bool)
    for group, row in zip(groups, counts, strict=True):
        members = np.asarray(group.members)
        turn = 0
        for block, count in enumerate(row.tolist()):
            assert 0 <= count <= group.size, f"block {block} counted {count} times in a group of {group.size}"
            active[members[(turn + np.arange(count)) % group.size], block] = True
            turn = (turn + count) % group.size
    return active
