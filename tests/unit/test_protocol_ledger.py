"""The ledger: written durably, verified byte by byte, never wrong in silence."""

import hashlib
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from zorba_ray.errors import LedgerError
from zorba_ray.experiment.recovery import check_header
from zorba_ray.protocol.ledger import FORMAT, MAGIC, LedgerWriter, first_chain, header_body, next_chain, read_ledger
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, Section, decode, encode
from zorba_ray.protocol.replay import unpack_scalars

HEADER = LedgerHeader(
    format=FORMAT, directions="zdir v1", method="zorba", weights_sha256="w" * 64, manifest_sha256="m" * 64,
    config_sha256="c" * 64, partition_sha256="p" * 64, data_sha256="d" * 64, seed=2**64 - 1, seeds="per_client",
    weights="data", distribution="rademacher", scope="all", directions_per_step=1, local_steps=1, samples=(5, 7),
    blocks=3, family="dense", rank=0, commits="scalars", pool=0, clip_spread=0.0,
)  # fmt: skip


def body(round: int, size: int = 2) -> bytes:
    clients = b"".join(struct.pack("<I", client) for client in range(size))
    return encode(
        RoundCommit(round, 0.5 / round, clients, struct.pack("<f", round) * size, b"\7\7" if round == 1 else None)
    )


def written(path: Path, rounds: int) -> list[int]:
    """Writes a ledger; returns the file's size after the header and after each round."""
    writer = LedgerWriter.create(path, HEADER)
    marks = [path.stat().st_size]
    for round in range(1, rounds + 1):
        writer.append(round, body(round))
        marks.append(path.stat().st_size)
    writer.close()
    return marks


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger.zl"


def refusal(path: Path) -> str:
    with pytest.raises(LedgerError) as caught:
        read_ledger(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_is_written_is_read(ledger: Path) -> None:
    marks = written(ledger, 5)
    found = read_ledger(ledger)
    assert found.header == HEADER
    assert [record.body for record in found.records] == [body(round) for round in range(1, 6)]
    assert [record.offset for record in found.records] == marks[:-1]
    assert (found.size, found.torn_bytes, found.last_round) == (marks[-1], 0, 5)
    assert [commit.round for commit in found.commits()] == [1, 2, 3, 4, 5]
    assert [record.round for record in found.up_to(2).records] == [1, 2]
    assert (found.up_to(2).size, found.up_to(0).last_round, found.up_to(9)) == (marks[2], 0, found)


def test_the_format_is_the_documented_one(ledger: Path) -> None:
    """length u32 | round u32 | CRC of both | body | CRC of body | SHA-256(previous ‖ body), from SHA-256(magic)."""
    written(ledger, 1)
    data = ledger.read_bytes()
    header = {name: value for name, value in msgspec.structs.asdict(HEADER).items() if name != "sections"}
    chain, offset = hashlib.sha256(b"ZORBALG1").digest(), 8
    for number, content in enumerate([msgspec.msgpack.encode(header), body(1)]):
        head = struct.pack("<II", len(content), number)
        chain = hashlib.sha256(chain + content).digest()
        record = head + struct.pack("<I", zlib.crc32(head)) + content + struct.pack("<I", zlib.crc32(content)) + chain
        assert data[offset : offset + len(record)] == record
        offset += len(record)
    assert offset == len(data)
    assert first_chain(HEADER) == read_ledger(ledger).header_chain
    assert next_chain(first_chain(HEADER), body(1)) == read_ledger(ledger).chain


def test_an_append_is_on_disk_when_it_returns(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the time of fsync all bytes are with the kernel, and append does not return before it."""
    sizes: list[int] = []
    fsync = os.fsync
    writer = LedgerWriter.create(ledger, HEADER)
    monkeypatch.setattr(os, "fsync", lambda handle: (sizes.append(os.fstat(handle).st_size), fsync(handle))[1])
    writer.append(1, body(1))
    assert sizes == [ledger.stat().st_size]
    assert read_ledger(ledger).last_round == 1  # seen by another reader while the writer is open
    writer.close()


def test_create_leaves_nothing_aside_and_refuses_what_is_there(ledger: Path) -> None:
    written(ledger, 1)
    assert [path.name for path in ledger.parent.iterdir()] == ["ledger.zl"]
    before = ledger.read_bytes()
    with pytest.raises(LedgerError, match="exists already"):
        LedgerWriter.create(ledger, HEADER)
    assert ledger.read_bytes() == before


def test_rounds_are_appended_in_order(ledger: Path) -> None:
    writer = LedgerWriter.create(ledger, HEADER)
    for wrong in (0, 2):
        with pytest.raises(AssertionError):
            writer.append(wrong, body(2))
    writer.close()
    assert read_ledger(ledger).records == ()


def test_every_flipped_bit_is_refused_with_its_offset(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 8 bits of every byte of a 2-round ledger: never accepted, never read as a torn tail, and the offset that is
    named lies at or before the damage, within the damaged record."""
    marks = [0, 8, *written(ledger, 2)]  # magic, header, rounds
    data = ledger.read_bytes()
    damaged = bytearray()
    monkeypatch.setattr(Path, "read_bytes", lambda path: bytes(damaged))
    for place in range(len(data)):
        start = max(mark for mark in marks if mark <= place)
        for bit in range(8):
            damaged[:] = data
            damaged[place] ^= 1 << bit
            message = refusal(ledger)
            offset = int(message.split("offset ")[1].split(":")[0])
            assert start <= offset <= place, (place, bit, message)


def test_every_truncation_keeps_whole_records(ledger: Path, tmp_path: Path) -> None:
    marks = written(ledger, 2)
    data = ledger.read_bytes()
    for length in range(len(data)):
        ledger.write_bytes(data[:length])
        if length < marks[0]:
            message = refusal(ledger)
            assert "offset 0" in message or "header record is incomplete" in message
            continue
        whole = sum(mark <= length for mark in marks) - 1
        found = read_ledger(ledger)
        assert found.last_round == len(found.records) == whole
        assert found.torn_bytes == length - marks[whole]
        assert found.size == marks[whole]
        assert ledger.stat().st_size == length, "reading does not change the file"
        writer, contents = LedgerWriter.resume(ledger)
        assert contents.torn_bytes == length - marks[whole]
        for round in range(whole + 1, 3):
            writer.append(round, body(round))
        writer.close()
        assert ledger.read_bytes() == data, "cut, and gone on as if nothing had been"


@pytest.mark.parametrize("garbage", [b"\0" * 12, b"\0" * 500, b"x" * 12, b"ZORBALG1" * 3, os.urandom(200)])
def test_appended_garbage_is_damage(ledger: Path, garbage: bytes) -> None:
    size = written(ledger, 2)[-1]
    with ledger.open("ab") as file:
        file.write(garbage)
    assert f"offset {size}: " in refusal(ledger)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"ZORBALG2" + b"\0" * 100, b"PAR1" * 40])
def test_another_kind_of_file(ledger: Path, content: bytes) -> None:
    ledger.write_bytes(content)
    message = refusal(ledger)
    assert "not a ledger of this version" in message
    assert "offset 0" in message


def test_no_file_and_a_folder(ledger: Path) -> None:
    assert "no such ledger" in refusal(ledger)
    ledger.mkdir()
    assert "cannot be read" in refusal(ledger)


def record(number: int, content: bytes, chain: bytes) -> bytes:
    head = struct.pack("<II", len(content), number)
    return head + struct.pack("<I", zlib.crc32(head)) + content + struct.pack("<I", zlib.crc32(content)) + chain


def forge(path: Path, entries: list[tuple[int, bytes]]) -> None:
    """A ledger with right checks around any content."""
    chain, data = hashlib.sha256(MAGIC).digest(), MAGIC
    for number, content in entries:
        chain = next_chain(chain, content)
        data += record(number, content, chain)
    path.write_bytes(data)


START = (0, msgspec.msgpack.encode(HEADER))


@pytest.mark.parametrize(
    ("entries", "fragment"),
    [
        ([START, (1, body(1)), (3, body(3))], "the record is of round 3, round 2 is expected"),
        ([START, (1, body(1)), (1, body(1))], "of round 1, round 2 is expected"),
        ([START, (2, body(2))], "of round 2, round 1 is expected"),
        ([(1, body(1))], "of round 1, round 0 is expected"),
        ([START, (1, body(2))], "the record of round 1 has the commit of round 2"),
        ([START, (1, b"no commit")], "RoundCommit"),
        ([(0, b"no header")], "the header cannot be read"),
        ([(0, msgspec.msgpack.encode(msgspec.structs.replace(HEADER, format=FORMAT + 1)))], f"format {FORMAT + 1}"),
        ([(0, msgspec.msgpack.encode({"format": 1, "momentum": 0.5}))], "ledger format 1, this program"),
        ([(0, msgspec.msgpack.encode({**msgspec.structs.asdict(HEADER), "extra": 1}))], "the header cannot be read"),
        (
            [(0, msgspec.msgpack.encode(msgspec.structs.asdict(HEADER)).replace(b"zorba", b"zor\xff\xfe"))],
            "cannot be read",
        ),
    ],
)
def test_well_formed_nonsense(ledger: Path, entries: list[tuple[int, bytes]], fragment: str) -> None:
    forge(ledger, entries)
    assert fragment in refusal(ledger)


def test_records_of_another_ledger_do_not_fit(ledger: Path, tmp_path: Path) -> None:
    """A record that is right in itself, moved behind another history: the chain breaks."""
    marks = written(ledger, 2)
    other = msgspec.structs.replace(HEADER, seed=1)
    writer = LedgerWriter.create(tmp_path / "other.zl", other)
    start = (tmp_path / "other.zl").stat().st_size
    writer.append(1, body(1))
    writer.close()
    ledger.write_bytes(ledger.read_bytes()[: marks[0]] + (tmp_path / "other.zl").read_bytes()[start:])
    assert "the hash chain breaks at round 1" in refusal(ledger)


def altered(value: Any) -> Any:
    if isinstance(value, int | float):
        return value - 1
    if isinstance(value, dict):
        return {"fairness": Section(1, b"")}
    return (*value, 9) if isinstance(value, tuple) else "other" + value


@pytest.mark.parametrize("field", LedgerHeader.__struct_fields__)
def test_a_ledger_of_another_run_names_the_field(field: str) -> None:
    other = msgspec.structs.replace(HEADER, **{field: altered(getattr(HEADER, field))})
    with pytest.raises(LedgerError) as caught:
        check_header(HEADER, other, "runs/x/ledger.zl")
    lines = str(caught.value).splitlines()
    assert "runs/x/ledger.zl belongs to another run" in lines[0]
    assert [line.strip().split(":")[0] for line in lines[1:-1]] == [field]


def test_a_ledger_of_the_same_run_passes() -> None:
    check_header(HEADER, msgspec.structs.replace(HEADER), "x")


def test_it_says_which_active_sets_hold_when(ledger: Path) -> None:
    """Sets that are named again as they were are no change."""
    writer = LedgerWriter.create(ledger, HEADER)
    told = {1: b"\7\7", 3: b"\1\7", 5: b"\1\7"}
    for number in range(1, 6):
        writer.append(number, encode(RoundCommit(number, 0.5, b"", b"\0" * 8, told.get(number))))
    writer.close()
    found = read_ledger(ledger)
    assert found.active_changes() == {1: b"\7\7", 3: b"\1\7"}
    assert [found.active_after(number) for number in range(6)] == [b"", b"\7\7", b"\7\7", *[b"\1\7"] * 3]
    assert [found.chain_after(number) for number in (0, 5)] == [found.header_chain, found.chain]


@pytest.mark.parametrize("clients", [b"\0\0\0", b"\1\0\0\0\0\0\0\0", b"\2\0\0\0"])
def test_client_ids_that_are_none_are_refused(clients: bytes) -> None:
    with pytest.raises(LedgerError, match="round 1: "):
        unpack_scalars(RoundCommit(1, 0.5, clients, b"\0" * len(clients)), HEADER)


def test_sections_of_the_header_are_kept_or_refused_by_name(ledger: Path) -> None:
    """As those of messages: a commit's section is under the chain like the rest of it."""
    header = msgspec.structs.replace(HEADER, sections={"fairness": Section(1, b"budget")})
    commit = msgspec.structs.replace(decode(body(1), RoundCommit), sections={"masks": Section(1, b"seed")})
    writer = LedgerWriter.create(ledger, header)
    writer.append(1, encode(commit))
    writer.close()
    found = read_ledger(ledger)
    assert (found.header, list(found.commits())) == (header, [commit])
    assert len(header_body(header)) > len(header_body(HEADER))
    ledger.unlink()
    needed = msgspec.structs.replace(HEADER, sections={"fairness": Section(1, b"", required=True)})
    LedgerWriter.create(ledger, needed).close()
    assert "section 'fairness' has version 1 and is required" in refusal(ledger)
