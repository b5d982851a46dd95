"""The random fleets that the allocation's rows are measured on. Seeded: the same numbers on every machine."""

import numpy as np

from zorba_ray.allocation import AllocationProblem

MEGABYTE = 1_000_000


def unequal(clients: int, blocks: int, seed: int) -> AllocationProblem:
    """Sizes and weights of blocks uniform in 0.5 to 1.5, budgets all distinct, 0.15 to 0.8 of all blocks; ε = 0.1."""
    rng = np.random.default_rng(seed)
    size = (MEGABYTE * rng.uniform(0.5, 1.5, blocks)).astype(np.int64)
    budget = MEGABYTE + (size.sum() * rng.uniform(0.15, 0.8, clients)).astype(np.int64)
    assert len(np.unique(budget)) == clients, f"seed {seed} draws a budget twice"
    return AllocationProblem(
        np.full(clients, MEGABYTE),
        np.tile(size, (clients, 1)),
        budget,
        block_weight=rng.uniform(0.5, 1.5, blocks),
        epsilon=0.1,
    )


def five_classes(clients: int, blocks: int = 32) -> AllocationProblem:
    """Equal blocks and five classes of clients with room for 2, 5, 9, 17 and 26 of 32 blocks; ε = 0.1."""
    size, places = 40 * MEGABYTE, np.array([2, 5, 9, 17, 26])
    kind = np.arange(clients) % len(places)
    rng = np.random.default_rng(0)
    return AllocationProblem(
        np.full(clients, 500 * MEGABYTE),
        np.broadcast_to(np.int64(size), (clients, blocks)),
        500 * MEGABYTE + size * places[kind] + size // 2,
        block_weight=rng.uniform(0.5, 1.5, blocks),
        epsilon=0.1,
    )
