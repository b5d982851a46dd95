"""Message <-> frame: kind and version in two bytes, msgpack body, CRC-32. `len(frame)` is what traffic counts."""

import hashlib
import struct
import zlib
from typing import TypeVar

import msgspec

from zorba_ray.errors import MessageError
from zorba_ray.protocol.messages import ClientReport, ProbePlan, ProbeReport, RoundCommit, RoundPlan

VERSION = 1
_KINDS: dict[type, int] = {RoundPlan: 1, ClientReport: 2, RoundCommit: 3, ProbePlan: 4, ProbeReport: 5}
_ENCODER = msgspec.msgpack.Encoder()
_DECODERS = {kind: msgspec.msgpack.Decoder(kind) for kind in _KINDS}

Message = TypeVar("Message", RoundPlan, ClientReport, RoundCommit, ProbePlan, ProbeReport)


def encode(message: RoundPlan | ClientReport | RoundCommit | ProbePlan | ProbeReport) -> bytes:
    """The frame of a message."""
    body = bytes((VERSION, _KINDS[type(message)])) + _ENCODER.encode(message)
    return body + struct.pack("<I", zlib.crc32(body))


def decode(frame: bytes, kind: type[Message]) -> Message:
    """The message of a frame.

    Raises:
        MessageError: too short, damaged, of another version or kind, or with other fields.
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
        return _DECODERS[kind].decode(frame[2:-4])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise MessageError(f"{kind.__name__}: {error}") from error


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
