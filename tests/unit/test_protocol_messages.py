"""Frames: what goes in comes out, what is damaged is refused, and how many bytes there are."""

import struct
import zlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zorba_ray.active_sets import ActiveSets
from zorba_ray.errors import MessageError
from zorba_ray.protocol import messages
from zorba_ray.protocol.messages import (
    VERSION,
    ClientReport,
    RoundCommit,
    RoundPlan,
    Section,
    count_round,
    decode,
    encode,
    frame_digest,
)

ROUND = st.integers(0, 2**32 - 1)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
ACTIVE = st.none() | st.binary(max_size=40)

PLANS = st.builds(RoundPlan, ROUND, FLOAT, FLOAT, st.binary(min_size=8, max_size=8), ACTIVE)
REPORTS = st.builds(
    ClientReport,
    ROUND,
    ROUND,
    st.binary(max_size=8),
    st.binary(max_size=4),
    st.integers(0, 2**63),
    st.binary(max_size=80),
)
COMMITS = st.builds(RoundCommit, ROUND, FLOAT, st.binary(max_size=80), st.binary(max_size=80), ACTIVE)

PLAN = RoundPlan(7, 0.01, 1e-3, b"01234567")
REPORT = ClientReport(7, 3, b"76543210", b"\0\0\x80?", 100, b"\0\0\0\0")
COMMIT = RoundCommit(7, 0.01, b"\3\0\0\0", b"\0\0\0\0")
MESSAGES = [PLAN, REPORT, COMMIT]


def decode_as(frame: bytes, example: RoundPlan | ClientReport | RoundCommit) -> Any:
    """`decode` to the kind of an example."""
    kind: Any = type(example)
    return decode(frame, kind)


def framed(version: int, kind: int, body: bytes) -> bytes:
    """A frame with a right CRC around anything."""
    content = bytes((version, kind)) + body
    return content + struct.pack("<I", zlib.crc32(content))


@given(st.one_of(PLANS, REPORTS, COMMITS))
def test_round_trip(message: RoundPlan | ClientReport | RoundCommit) -> None:
    frame = encode(message)
    assert decode_as(frame, message) == message
    assert encode(decode_as(frame, message)) == frame, "one encoding only: digests rest on it"


def test_fp32_scalars_survive_bit_for_bit() -> None:
    values = np.array([0.1, -0.0, 1e-45, np.inf, np.nan], dtype="<f4")
    report = msgspec.structs.replace(REPORT, scalars=values.tobytes())
    assert decode(encode(report), ClientReport).scalars == values.tobytes()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_flipped_bit_is_refused(message: RoundPlan | ClientReport | RoundCommit) -> None:
    frame = encode(message)
    for place in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[place] ^= 1 << bit
            with pytest.raises(MessageError, match=type(message).__name__):
                decode_as(bytes(damaged), message)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_truncation_and_extension_is_refused(message: RoundPlan | ClientReport | RoundCommit) -> None:
    frame = encode(message)
    for length in range(len(frame)):
        with pytest.raises(MessageError):
            decode_as(frame[:length], message)
    with pytest.raises(MessageError):
        decode_as(frame + b"\0", message)


@given(st.binary(max_size=60))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(MessageError):
        decode(noise, RoundPlan)


@given(st.binary(max_size=60))
def test_noise_in_a_valid_frame_is_refused(noise: bytes) -> None:
    """A right CRC does not make a message: whatever does not decode is a MessageError and nothing else."""
    try:
        found = decode(framed(VERSION, 2, noise), ClientReport)
    except MessageError:
        return
    assert isinstance(found, ClientReport)


def test_another_version_is_named() -> None:
    body = encode(PLAN)[2:-4]
    with pytest.raises(MessageError, match=f"version {VERSION + 1}, this program speaks {VERSION}"):
        decode(framed(VERSION + 1, 1, body), RoundPlan)


def test_another_kind_is_named() -> None:
    with pytest.raises(MessageError, match="ClientReport expected, got message kind 1"):
        decode(encode(PLAN), ClientReport)
    with pytest.raises(MessageError, match="message kind 9"):
        decode(framed(VERSION, 9, b""), RoundPlan)


@pytest.mark.parametrize(
    "fields", [[7, 0.01, 1e-3], [7, 0.01, 1e-3, b"01234567", None, 5], ["7", 0.01, 1e-3, b"x", None], {"round": 7}, 3]
)
def test_other_fields_are_refused(fields: object) -> None:
    with pytest.raises(MessageError, match="RoundPlan: "):
        decode(framed(VERSION, 1, msgspec.msgpack.encode(fields)), RoundPlan)


def test_sections_travel_and_cost_nothing_where_there_are_none() -> None:
    """A reader that knows none keeps them, and encodes them again as they were."""
    for message in MESSAGES:
        plain, section = encode(message), Section(3, b"noise", required=False)
        frame = encode(msgspec.structs.replace(message, sections={"privacy": section, "masks": Section(1, b"")}))
        # Map 1, names 8 and 6, two sections of array 1, version 1, content 2 + n, required 1.
        assert len(frame) == len(plain) + 1 + 8 + 6 + 2 * 5 + 5
        found = decode_as(frame, message)
        assert found.sections["privacy"] == section
        assert encode(found) == frame
        assert encode(msgspec.structs.replace(found, sections={})) == plain


def test_a_section_that_must_be_known_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = encode(msgspec.structs.replace(PLAN, sections={"masks": Section(2, b"", required=True)}))
    with pytest.raises(MessageError, match=r"RoundPlan: section 'masks' has version 2 .* no section of this name: use"):
        decode(frame, RoundPlan)
    monkeypatch.setitem(messages.KNOWN_SECTIONS, "masks", 1)
    with pytest.raises(MessageError, match="program reads versions up to 1: use the version"):
        decode(frame, RoundPlan)
    monkeypatch.setitem(messages.KNOWN_SECTIONS, "masks", 2)
    assert decode(frame, RoundPlan).sections["masks"].version == 2
    frame = encode(msgspec.structs.replace(PLAN, sections={"veils": Section(0, b"", required=True)}))
    with pytest.raises(MessageError, match="section 'veils' has version 0"):
        decode(frame, RoundPlan)


def test_the_digest_of_a_frame() -> None:
    """SHA-256 of "abc" begins ba7816bf 8f01cfea (FIPS 180-2, appendix B.1)."""
    assert frame_digest(b"abc").hex() == "ba7816bf8f01cfea"


# Bytes --------------------------------------------------------------------------------------------------------------


def sizes(participants: int, round: int = 150, pairs: int = 1) -> tuple[int, int, int]:
    """(report, plan, commit) bytes of a round; ids and counts as large as the participants make them."""
    plan = RoundPlan(round, 0.0123, 1e-3, b"01234567")
    scalars = np.full(pairs, 0.1, "<f4").tobytes()
    report = ClientReport(round, participants - 1, b"76543210", scalars[:4], 100_000, scalars)
    clients = np.arange(participants, dtype="<u4").tobytes()
    return (
        len(encode(report)),
        len(encode(plan)),
        len(encode(RoundCommit(round, 0.0123, clients, scalars * participants))),
    )


def test_bytes_exactly() -> None:
    """By hand, in round 150 (msgpack: positive fixint 1 byte up to 127, uint8 2, uint16 3, uint32 5; float64 9; nil 1;
    bin8 2 + n up to 255, bin16 3 + n beyond; array 1). Envelope: version, kind, CRC = 6.

    plan: 6 + 1 + 2 (round) + 9 + 9 + 10 (parent) + 1 (no active sets) = 38
    report of client 0 … 127: 6 + 1 + 2 + 1 (client) + 10 (plan) + 6 (loss) + 5 (100,000 samples) + 6 (one scalar) = 37
    commit: 6 + 1 + 2 + 9 + 1 + 2·(2 + 4n), with bin16 from n = 64 on two bytes more: 23 + 8n, and 537 at n = 64
    """
    for participants in range(1, 64):
        assert sizes(participants) == (37, 38, 23 + 8 * participants)
    assert sizes(64) == (37, 38, 25 + 8 * 64)
    assert sizes(8, pairs=4) == (49, 38, 23 + 8 * (4 + 4 * 4))
    report, plan, commit = sizes(64, 2**32 - 1)
    assert report <= 64, "the goal, with the largest numbers of rounds and clients"
    assert plan + commit <= 64 + 12 * 64


def test_traffic_leaves_active_sets_out_and_counts_them_apart() -> None:
    for clients in (3, 300):  # a byte string of more than 255 bytes has a longer prefix
        active = ActiveSets.of_sets([{0}] * clients, 6).packed
        plan, commit = msgspec.structs.replace(PLAN, active=active), msgspec.structs.replace(COMMIT, active=active)
        with_sets = count_round(plan, encode(plan), commit, encode(commit), [b"x" * 37, b"y" * 38])
        without = count_round(PLAN, encode(PLAN), COMMIT, encode(COMMIT), [])
        assert (with_sets.plan, with_sets.commit) == (without.plan, without.commit)
        assert (without.plan, without.commit) == (len(encode(PLAN)), len(encode(COMMIT)))
        assert with_sets.plan + with_sets.commit + with_sets.active_sets == len(encode(plan)) + len(encode(commit))
        assert with_sets.active_sets >= 2 * clients
        assert without.active_sets == 0
        assert with_sets.reports == 75
