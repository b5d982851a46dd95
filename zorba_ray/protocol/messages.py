"""What crosses the wire: seeds are implied by (round, client, step) and scalars are sent; tensors only by the methods
that train them by name, in the place of scalars.

Integers are as in the manifest and the plan; fp32 values travel as little-endian bytes.
"""

import msgspec


class RoundPlan(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Driver to clients, once per round."""

    round: int
    """1 … rounds."""
    lr: float
    """η of this round."""
    perturbation_scale: float
    """μ."""
    parent: bytes
    """First 8 bytes of the ledger's hash chain before this round: a client on another θ must not answer."""
    active: bytes | None = None
    """Active sets of all clients (`pack_active`); None: as before."""


class ClientReport(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to driver. Nothing else of a client's data leaves it."""

    round: int
    client: int
    plan: bytes
    """First 8 bytes of SHA-256 of the plan's frame."""
    loss: bytes
    """fp32: mean training loss over the pairs."""
    samples: int
    """Examples behind the report."""
    scalars: bytes
    """fp32 [K · P]: ρ, step by step, direction by direction."""


class RoundCommit(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Driver to all replicas, and the ledger's record."""

    round: int
    lr: float
    """η."""
    clients: bytes
    """uint32 [n]: R_t, ascending; empty where a commit of all clients' scalars says that every client of the federation
    reported."""
    scalars: bytes
    """fp32 [n · K · P]: the raw ρ in the same order."""
    active: bytes | None = None
    """Active sets of all clients when they changed; None: as before."""


class ProbePlan(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Driver to clients, before a round that the blocks are dealt for: forward pairs on one block at a time."""

    round: int
    """The round that comes next."""
    pairs: int
    """Forward pairs per block and batch; two batches."""
    perturbation_scale: float
    """μ."""
    parent: bytes
    """As in a round's plan."""
    blocks: bytes | None = None
    """Blocks that each client has room to probe (`pack_active`); None: all."""


class ProbeReport(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Client to driver: the scalars of a probe."""

    round: int
    client: int
    plan: bytes
    """First 8 bytes of SHA-256 of the plan's frame."""
    scalars: bytes
    """fp32 [2 batches · probed blocks, ascending · pairs]: ρ."""


class LedgerHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First record of a ledger: what a replay needs beside θ0, and digests of all it rests on."""

    format: int
    directions: str
    """Version of the streams ("zdir v1")."""
    method: str
    weights_sha256: str
    """θ0."""
    manifest_sha256: str
    config_sha256: str
    """Settings that change results."""
    partition_sha256: str
    data_sha256: str
    """Tokens and labels of the training split."""
    seed: int
    seeds: str
    weights: str
    distribution: str
    scope: str
    directions_per_step: int
    """P."""
    local_steps: int
    """K."""
    samples: tuple[int, ...]
    """|D_n|."""
    blocks: int
    """L."""
    family: str = "dense"
    """Directions of matrices."""
    rank: int = 0
    """r of low-rank directions."""
    commits: str = "scalars"
    """What a commit says: every client's `scalars`, their `mean`, what a `pool` of seeds gets added, or
    the trained `tensors`."""
    pool: int = 0
    """Candidate seeds of `commits: pool`."""
    clip_spread: float = 0.0
    """Scalars beyond this multiple of the commit's median size are shrunk to it; 0: none are."""


def pack_active(active: list[frozenset[int]], blocks: int) -> bytes:
    """⌈L/8⌉ bytes per client, bit b of the little-endian integer = block b is active."""
    width = -(-blocks // 8)
    return b"".join(sum(1 << block for block in own).to_bytes(width, "little") for own in active)


def unpack_active(packed: bytes, clients: int, blocks: int) -> list[frozenset[int]]:
    """Inverse of `pack_active`; equal sets are one object, of which thousands of clients share a few.

    Raises:
        ValueError: wrong length, or a bit beyond the last block.
    """
    width = -(-blocks // 8)
    if len(packed) != width * clients:
        raise ValueError(f"active sets of {len(packed)} bytes, {width * clients} expected for {clients} clients")
    known: dict[bytes, frozenset[int]] = {}
    sets = []
    for client in range(clients):
        own = packed[client * width : (client + 1) * width]
        if own not in known:
            bits = int.from_bytes(own, "little")
            if bits >> blocks:
                raise ValueError(f"client {client} activates a block beyond {blocks - 1}")
            known[own] = frozenset(block for block in range(blocks) if bits >> block & 1)
        sets.append(known[own])
    return sets
