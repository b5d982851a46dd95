"""What crosses the wire, and how it becomes bytes.

Seeds are implied by (round, client, step), and scalars are sent; tensors only by the methods that train them, in the
place of scalars. fp32 values travel as little-endian bytes.

A frame is: version and kind, a byte each; the fields as a msgpack array; CRC-32. `len(frame)` is what traffic counts.

The fields of a message are fixed. What a later feature adds travels in `sections`, by name: a frame without any has no
byte for them. A reader keeps sections that it does not know, and encodes them again as they were, unless the writer
marked one as required: then it refuses the message. The header of a ledger and its records do the same.
"""

import hashlib
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from zorba_ray.errors import MessageError

VERSION = 1
KNOWN_SECTIONS: dict[str, int] = {"options": 1, "shared_prefix": 1, "reward": 1}
"""Name -> newest version that this program reads. A feature that adds a section adds its line."""


class Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What one feature adds to a message or to a ledger's header."""

    version: int
    """Of the feature's own format."""
    content: bytes
    required: bool = False
    """Whether who does not know it must not use the message."""


class _Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    sections: dict[str, Section] = {}


class RoundPlan(_Message, frozen=True):
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
    """Active sets of all clients (`ActiveSets.packed`); None: as before."""


class ClientReport(_Message, frozen=True):
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


class RoundCommit(_Message, frozen=True):
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


class ProbePlan(_Message, frozen=True):
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
    """Blocks that each client has room to probe (`ActiveSets.packed`); None: all."""


class ProbeReport(_Message, frozen=True):
    """Client to driver: the scalars of a probe."""

    round: int
    client: int
    plan: bytes
    """First 8 bytes of SHA-256 of the plan's frame."""
    scalars: bytes
    """fp32 [2 batches · probed blocks, ascending · pairs]: ρ."""


class LedgerHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
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
    family: str
    """Directions of matrices."""
    rank: int
    """r of low-rank directions."""
    commits: str
    """What a commit says: every client's `scalars`, their `mean`, what a `pool` of seeds gets added, or
    the trained `tensors`."""
    pool: int
    """Candidate seeds of `commits: pool`."""
    clip_spread: float
    """Scalars beyond this multiple of the commit's median size are shrunk to it; 0: none are."""
    sections: dict[str, Section] = {}


_KINDS: dict[type, int] = {RoundPlan: 1, ClientReport: 2, RoundCommit: 3, ProbePlan: 4, ProbeReport: 5}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {kind: msgspec.msgpack.Decoder(kind) for kind in _KINDS}

Message = TypeVar("Message", RoundPlan, ClientReport, RoundCommit, ProbePlan, ProbeReport)


def encode(message: RoundPlan | ClientReport | RoundCommit | ProbePlan | ProbeReport) -> bytes:
    """The frame of a message."""
    fields = msgspec.structs.astuple(message)  # the sections come last
    body = bytes((VERSION, _KINDS[type(message)])) + _ENCODER.encode(fields if message.sections else fields[:-1])
    return body + struct.pack("<I", zlib.crc32(body))


def decode(frame: bytes, kind: type[Message]) -> Message:
    """The message of a frame.

    Raises:
        MessageError: too short, damaged, of another version or kind, with other fields, or with a section that must be
            known and is not.
    """
    if len(frame) < 6 or zlib.crc32(frame[:-4]) != struct.unpack("<I", frame[-4:])[0]:
        raise MessageError(f"{kind.__name__}: a frame of {len(frame)} bytes is damaged (CRC)")
    if frame[0] != VERSION:
        raise MessageError(
            f"{kind.__name__}: version {frame[0]}, this program speaks {VERSION}; use equal versions everywhere"
        )
    if frame[1] != _KINDS[kind]:
        raise MessageError(f"{kind.__name__} expected, got message kind {frame[1]}")
    try:
        message = _DECODERS[kind].decode(frame[2:-4])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessageError(f"{kind.__name__}: {error}") from error
    require_known(message.sections, kind.__name__)
    return message


def require_known(sections: Mapping[str, Section], where: str) -> None:
    """Whether all sections that must be known are.

    Raises:
        MessageError: names the first that is not, and its version.
    """
    for name, section in sections.items():
        if section.required and section.version > KNOWN_SECTIONS.get(name, 0):
            raise MessageError(
                f"{where}: section {name!r}, version {section.version}, must be known to whoever reads this, and this "
                f"program reads {KNOWN_SECTIONS.get(name) or 'none of that name'}: use the version of zorba-ray that "
                "wrote it"
            )


def decode_question(frame: bytes) -> RoundPlan | ProbePlan:
    """What the driver asks of clients.

    Raises:
        MessageError: as `decode`.
    """
    if frame[1:2] == bytes((_KINDS[ProbePlan],)):
        return decode(frame, ProbePlan)
    return decode(frame, RoundPlan)


def frame_digest(frame: bytes) -> bytes:
    """First 8 bytes of SHA-256: what a report quotes of its plan."""
    return hashlib.sha256(frame).digest()[:8]


@dataclass(frozen=True)
class RoundTraffic:
    """One round's frames. Active sets ride in the plan and the commit of the rounds in which they change."""

    plan: int
    """Bytes of the plan's frame, to each asked client; active sets left out."""
    commit: int
    """Bytes of the commit's frame, to every client that is to keep up; active sets left out."""
    active_sets: int
    """Bytes of active sets in both frames."""
    reports: int
    """Bytes of all reports' frames together."""


def count_round(
    plan: RoundPlan, frame: bytes, commit: RoundCommit, body: bytes, reports: Sequence[bytes]
) -> RoundTraffic:
    """Traffic of a round from its messages and their frames."""
    plan_alone = len(encode(msgspec.structs.replace(plan, active=None)))
    commit_alone = len(encode(msgspec.structs.replace(commit, active=None)))
    return RoundTraffic(
        plan=plan_alone,
        commit=commit_alone,
        active_sets=len(frame) - plan_alone + len(body) - commit_alone,
        reports=sum(len(report) for report in reports),
    )
