"""What the settings say about single clients, as the arrays of the allocation problem: rules, limits, and times."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.config.allocation import ClientsOf, HeldBlocks
from zorba_ray.errors import ConfigError
from zorba_ray.memory.inventory import COMPUTE_BYTES
from zorba_ray.models import Manifest


def rules(config: ExperimentConfig, kinds: Sequence[str], manifest: Manifest, streamed: np.ndarray) -> dict[str, Any]:
    """Keyword arguments of AllocationProblem: min_blocks, max_blocks, must_hold, must_not_hold, times.

    Args:
        kinds: [N], class names of the clients.
        streamed: [N] bool, whose frozen blocks are streamed from the host.

    Raises:
        ConfigError: a rule names a class, client or block that does not exist.
    """
    settings = config.allocation
    clients, blocks = len(kinds), manifest.blocks
    low, high = np.full(clients, settings.min_blocks), np.full(clients, settings.max_blocks or blocks)
    for place, entry in enumerate(settings.limits):
        chosen = _clients(f"allocation.limits[{place}]", entry, kinds)
        if entry.min_blocks is not None:
            low[chosen] = entry.min_blocks
        if entry.max_blocks is not None:
            high[chosen] = entry.max_blocks
    seconds, stream = _times(config, kinds, manifest, streamed)
    return {
        "min_blocks": low if settings.limits else settings.min_blocks,
        "max_blocks": high if settings.limits else settings.max_blocks,
        "must_hold": _flags("allocation.require", settings.require, kinds, blocks),
        "must_not_hold": _flags("allocation.forbid", settings.forbid, kinds, blocks),
        "block_seconds": seconds,
        "stream_seconds": stream,
        "time_objective": settings.time,
    }


def _times(
    config: ExperimentConfig, kinds: Sequence[str], manifest: Manifest, streamed: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """t_{n,b} = 2 × parameters × tokens / FLOP/s of one forward of one sign, and bytes / bandwidth of a streamed block.

    [N, L] seconds each; the latter None where nobody streams. Modelled, not measured.
    """
    settings, memory = config.allocation, config.memory
    tokens = (memory.batch_size or config.data.batch_size) * (memory.length or config.data.max_length)
    size = COMPUTE_BYTES[memory.compute_dtype]
    tensors = [manifest.by_block[block] for block in range(manifest.blocks)]
    flops = np.array([2.0 * tokens * sum(t.numel for t in block) for block in tensors])
    held = np.array([float(sum(t.numel * (size if len(t.shape) >= 2 else 4) for t in block)) for block in tensors])
    speed = np.ones(len(kinds))
    for place, entry in enumerate(settings.speeds):
        speed[_clients(f"allocation.speeds[{place}]", entry, kinds)] = entry.times

    def spread(seconds: np.ndarray) -> np.ndarray:
        if not settings.speeds:
            return np.broadcast_to(seconds, (len(kinds), len(seconds)))
        return seconds / speed[:, None]

    stream = None
    if streamed.any():
        stream = spread(held / settings.host_bytes_per_s)
        stream = stream if streamed.all() else stream * streamed[:, None]
    return spread(flops / settings.flops_per_s), stream


def _flags(name: str, entries: Iterable[HeldBlocks], kinds: Sequence[str], blocks: int) -> np.ndarray | None:
    """[N, L] bool; None where there is no entry."""
    flags = np.zeros((len(kinds), blocks), dtype=bool)
    entries = tuple(entries)
    for place, entry in enumerate(entries):
        where = f"{name}[{place}]"
        wrong = [block for block in entry.blocks if not 0 <= block < blocks]
        if wrong:
            raise ConfigError(f"{where}.blocks names {wrong}; the model has blocks 0 to {blocks - 1}")
        flags[_clients(where, entry, kinds)[:, None], list(entry.blocks)] = True
    return flags if entries else None


def _clients(where: str, entry: ClientsOf, kinds: Sequence[str]) -> np.ndarray:
    """Ids of the clients that an entry is about."""
    if entry.clients is not None:
        wrong = [client for client in entry.clients if client >= len(kinds)]
        if wrong:
            raise ConfigError(f"{where}.clients names {wrong}; there are clients 0 to {len(kinds) - 1}")
        return np.array(entry.clients)
    chosen = np.flatnonzero(np.array(kinds) == entry.kind)
    if not len(chosen):
        raise ConfigError(f"{where}.kind = {entry.kind!r} is no class of the fleet; there are {sorted(set(kinds))}")
    return chosen
