"""Small allocation problems: a base of 1,000 bytes on every client, and so many bytes more."""

from typing import Any

import numpy as np

from zorba_ray.allocation import AllocationProblem

BASE = 1_000


def fleet(slack: list[int], sizes: list[int] | list[list[int]], **changes: Any) -> AllocationProblem:
    """Clients with `slack[n]` bytes beside the base; block b takes `sizes[b]` on each, or `sizes[n][b]`."""
    clients, blocks = len(slack), np.shape(sizes)[-1]
    settings = {
        "base_bytes": BASE,
        "active_bytes": np.broadcast_to(sizes, (clients, blocks)).copy(),
        "budget_bytes": BASE + np.array(slack),
        "client_names": tuple(f"client {n} (class {'small' if n == 0 else 'large'})" for n in range(clients)),
    }
    return AllocationProblem(**{**settings, **changes})


def equal_blocks(places: list[int], blocks: int, **changes: Any) -> AllocationProblem:
    """Clients with room for `places[n]` blocks of 100 bytes each (and 50 bytes over)."""
    return fleet([100 * k + 50 for k in places], [100] * blocks, **changes)


def unequal_blocks(clients: int, blocks: int, seed: int = 0, **changes: Any) -> AllocationProblem:
    """Every client its own budget, every block its own size and weight."""
    rng = np.random.default_rng(seed)
    size = rng.integers(50, 150, blocks)
    slack = np.maximum(size.max(), (size.sum() * rng.uniform(0.25, 0.9, clients)).astype(int))
    weights = rng.uniform(0.5, 2.0, blocks)
    return fleet(slack.tolist(), size.tolist(), **{"block_weight": weights, **changes})


def flags(clients: int, blocks: int, *entries: tuple[int, int]) -> np.ndarray:
    """[N, L] bool, true at the entries."""
    found = np.zeros((clients, blocks), dtype=bool)
    for entry in entries:
        found[entry] = True
    return found
