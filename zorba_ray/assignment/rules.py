"""Turns `allocation.rules` and the memory settings into arrays of the allocation problem: rules, limits and times."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zorba_ray.config import ExperimentConfig
from zorba_ray.config.allocation import ClientRule
from zorba_ray.errors import ConfigError
from zorba_ray.memory.inventory import COMPUTE_BYTES, Inventory
from zorba_ray.models import Manifest, Placement


def rules(
    config: ExperimentConfig, kinds: Sequence[str], manifest: Manifest, placements: Sequence[Placement]
) -> dict[str, Any]:
    """Keyword arguments of AllocationProblem: min_blocks, max_blocks, must_hold, must_not_hold, times.

    Args:
        kinds: [N], class names of the clients.
        placements: [N], where the blocks of each client are kept.

    Raises:
        ConfigError: a rule names a class, client or block that does not exist.
    """
    settings, blocks = config.allocation, manifest.blocks
    speed = np.ones(len(kinds))
    restrictions: dict[str, Any] = {"max_blocks": settings.max_blocks}
    if settings.rules:
        low, high = np.ones(len(kinds), dtype=np.int64), np.full(len(kinds), settings.max_blocks or blocks)
        must_hold, must_not_hold = np.zeros((2, len(kinds), blocks), dtype=bool)
        for index, rule in enumerate(settings.rules):
            where = f"allocation.rules[{index}]"
            chosen = _clients(where, rule, kinds)
            if rule.min_blocks is not None:
                low[chosen] = rule.min_blocks
            if rule.max_blocks is not None:
                high[chosen] = rule.max_blocks
            if rule.speed is not None:
                speed[chosen] = rule.speed
            for name, entries, flags in (("require", rule.require, must_hold), ("forbid", rule.forbid, must_not_hold)):
                wrong = [block for block in entries if not 0 <= block < blocks]
                if wrong:
                    raise ConfigError(f"{where}.{name} names {wrong}; the model has blocks 0 to {blocks - 1}")
                flags[chosen[:, None], list(entries)] = True
        restrictions |= {
            "min_blocks": low,
            "max_blocks": high,
            "must_hold": must_hold if must_hold.any() else None,
            "must_not_hold": must_not_hold if must_not_hold.any() else None,
        }
    seconds, stream = _times(config, speed, manifest, placements)
    return {**restrictions, "block_seconds": seconds, "stream_seconds": stream}


def _times(
    config: ExperimentConfig, speed: np.ndarray, manifest: Manifest, placements: Sequence[Placement]
) -> tuple[np.ndarray, np.ndarray | None]:
    """(compute, stream): modelled seconds of each block on each client, [N, L] each; stream: None if nobody streams.

    compute: t_{n,b} = 2 × parameters × tokens / FLOP/s, one forward of one sign. stream: bytes of a frozen block in the
    format in which it is streamed, / bandwidth.

    Args:
        speed: [N], multiple of the speed of the modelled accelerator.
    """
    memory, tokens = config.memory, config.data.most_tokens
    flops = 2.0 * tokens * np.array(manifest.sizes(), dtype=np.float64)

    def spread(seconds: np.ndarray) -> np.ndarray:
        if (speed == 1).all():
            return np.broadcast_to(seconds, (len(speed), len(seconds)))
        return seconds / speed[:, None]

    def streaming(placement: Placement) -> np.ndarray:
        held = Inventory(manifest, placement, config.zo.fixed_scope, COMPUTE_BYTES[memory.compute_dtype])
        sizes = [float(held.whole(block)) if placement.frozen == "host" else 0.0 for block in held.blocks]
        return np.array(sizes) / memory.host_bytes_per_s

    streams = {placement: streaming(placement) for placement in set(placements)}
    stream = None
    if any(placement.frozen == "host" for placement in streams):
        each = [streams[placement] for placement in placements]
        stream = spread(each[0]) if len(streams) == 1 else np.stack(each) / speed[:, None]
    return spread(flops / memory.flops_per_s), stream


def _clients(where: str, rule: ClientRule, kinds: Sequence[str]) -> np.ndarray:
    """Ids of the clients to which a rule applies."""
    if rule.clients is not None:
        wrong = [client for client in rule.clients if client >= len(kinds)]
        if wrong:
            raise ConfigError(f"{where}.clients names {wrong}; the federation has clients 0 to {len(kinds) - 1}")
        return np.array(rule.clients)
    if rule.kind is None:
        return np.arange(len(kinds))
    chosen = np.flatnonzero(np.array(kinds) == rule.kind)
    if not len(chosen):
        raise ConfigError(
            f"{where}.kind = {rule.kind!r} is not a class of the fleet; its classes are {sorted(set(kinds))}"
        )
    return chosen
