"""The messages between driver and clients, and how they become bytes.

Scalars are sent; seeds are not, because they follow from (round, client, step). Methods that train tensors send tensors
in the place of scalars. fp32 values are sent as little-endian bytes.

A frame is the bytes of one message: version and kind, a byte each; the fields as a msgpack array; CRC-32. Traffic
counts `len(frame)`.

The fields of a message are fixed. A later feature adds a named section to `sections`; a frame without sections has no
byte for them. A reader that does not know a section keeps it and encodes it again as it was. If the writer marked it as
required, the reader refuses the message. The header of a ledger and its records follow the same rule.
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
KNOWN_SECTIONS: dict[str, int] = {
    "options": 1,
    "shared_prefix": 1,
    "row_layout": 1,
    "reward": 1,
    "example_groups": 1,
    "aggregate": 1,
    "refused": 1,
    "privacy": 1,
    "tag": 1,
}
"""Name of a section -> the newest version that this program reads. A feature that adds a section adds a line here."""


class Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The data that one feature adds to a message or to a ledger's header."""

    version: int
    """Of the feature's own format."""
    content: bytes
    required: bool = False
    """Whether a reader that does not know the section must refuse the message."""


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
    """First 8 bytes of the ledger's hash chain before this round. A client at another chain must not answer."""
    active: bytes | None = None
    """Active sets of all clients (`ActiveSets.packed`); None: unchanged."""


class ClientReport(_Message, frozen=True):
    """Client to driver. It is all that a client sends about its data in a round."""

    round: int
    client: int
    plan: bytes
    """First 8 bytes of SHA-256 of the plan's frame."""
    loss: bytes
    """fp32: mean training loss over the pairs. Empty with `privacy`: it is not told."""
    samples: int
    """Examples behind the report."""
    scalars: bytes
    """fp32 [K · P]: ρ, step by step, direction by direction; with `privacy`, with noise."""


class RoundCommit(_Message, frozen=True):
    """Driver to all replicas, and the ledger's record."""

    round: int
    lr: float
    """η."""
    clients: bytes
    """uint32 [n]: R_t, ascending. Empty: every client of the federation reported its scalars."""
    scalars: bytes
    """fp32 [n · K · P]: the raw ρ in the same order."""
    active: bytes | None = None
    """Active sets of all clients, if they changed; None: unchanged."""


class ProbePlan(_Message, frozen=True):
    """Driver to clients, before blocks are assigned by a probe: asks for forward pairs on one block at a time."""

    round: int
    """The round that comes next."""
    pairs: int
    """Forward pairs per block and batch; two batches."""
    perturbation_scale: float
    """μ."""
    parent: bytes
    """As in a round's plan."""
    blocks: bytes | None = None
    """Blocks that each client has memory to probe (`ActiveSets.packed`); None: all."""


class ProbeReport(_Message, frozen=True):
    """Client to driver: the scalars of a probe."""

    round: int
    client: int
    plan: bytes
    """First 8 bytes of SHA-256 of the plan's frame."""
    scalars: bytes
    """fp32 [2 batches · probed blocks · pairs], blocks ascending: ρ."""


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
        MessageError: too short, damaged, of another version or kind, with other fields, or with a required section that
            this program does not know.
    """
    if len(frame) < 6 or zlib.crc32(frame[:-4]) != struct.unpack("<I", frame[-4:])[0]:
        raise MessageError(f"{kind.__name__}: a frame of {len(frame)} bytes is damaged (CRC)")
    if frame[0] != VERSION:
        raise MessageError(
            f"{kind.__name__}: version {frame[0]}, this program speaks {VERSION}; install the same version of "
            "zorba-ray on all machines"
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
    """Checks that this program knows all required sections.

    Raises:
        MessageError: it does not; names the first such section and its version.
    """
    for name, section in sections.items():
        if section.required and section.version > KNOWN_SECTIONS.get(name, -1):
            raise MessageError(
                f"{where}: section {name!r} has version {section.version} and is required, and this program reads "
                f"{_up_to(KNOWN_SECTIONS.get(name))}: use the version of zorba-ray that wrote it"
            )


def _up_to(version: int | None) -> str:
    return "no section of this name" if version is None else f"versions up to {version}"


def decode_question(frame: bytes) -> RoundPlan | ProbePlan:
    """The message that the driver sent to clients: a plan of a round or of a probe.

    Raises:
        MessageError: as `decode`.
    """
    if frame[1:2] == bytes((_KINDS[ProbePlan],)):
        return decode(frame, ProbePlan)
    return decode(frame, RoundPlan)


def frame_digest(frame: bytes) -> bytes:
    """First 8 bytes of the frame's SHA-256; a report quotes them of its plan."""
    return hashlib.sha256(frame).digest()[:8]


@dataclass(frozen=True)
class RoundTraffic:
    """The bytes of one round. Plan and commit carry active sets only in rounds in which these change."""

    plan: int
    """Bytes of the plan's frame without active sets; it is sent to each asked client."""
    commit: int
    """Bytes of the commit's frame without active sets; it is sent to every client that follows the run."""
    active_sets: int
    """Bytes of the active sets in both frames."""
    reports: int
    """Bytes of the frames of all reports together."""


def count_round(
    plan: RoundPlan, frame: bytes, commit: RoundCommit, body: bytes, reports: Sequence[bytes]
) -> RoundTraffic:
    """The traffic of a round, from its messages and their frames."""
    plan_alone = len(encode(msgspec.structs.replace(plan, active=None)))
    commit_alone = len(encode(msgspec.structs.replace(commit, active=None)))
    return RoundTraffic(
        plan=plan_alone,
        commit=commit_alone,
        active_sets=len(frame) - plan_alone + len(body) - commit_alone,
        reports=sum(len(report) for report in reports),
    )
