"""The ledger: an append-only file of commits from which any replica is rebuilt.

Layout: magic, then records. A record is

    length u32 | round u32 | CRC-32 of those 8 bytes u32 | body [length] | CRC-32 of body u32 | chain [32]

little-endian; chain = SHA-256(previous chain ‖ body), from SHA-256(magic) on. Record 0 is the header (round 0), then
one record per round, ascending, the body being the frame of a RoundCommit.

The length has a CRC of its own, so that two faults can be told apart. A record with fewer bytes than its verified
length is a torn tail: its write was cut off, and it may be removed. A complete record that fails a check is damaged: it
is refused, with its offset.
"""

import dataclasses
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from zorba_ray.errors import LedgerError, MessageError
from zorba_ray.protocol.files import cut, private, sync_folder
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, decode, require_known

MAGIC = b"ZORBALG1"
FORMAT = 3
START = hashlib.sha256(MAGIC).digest()
"""The chain before record 0."""
_HEAD = struct.Struct("<III")
_TAIL = struct.Struct("<I32s")
HEAD_BYTES, TAIL_BYTES = _HEAD.size, _TAIL.size
"""Bytes of a record before its body, and after it."""


@dataclass(frozen=True)
class LedgerRecord:
    """One verified record."""

    round: int
    body: bytes
    offset: int
    """Of its first byte in the file."""
    chain: bytes
    """Hash chain after this record."""

    @property
    def end(self) -> int:
        """Offset of the first byte after the record."""
        return self.offset + _HEAD.size + len(self.body) + _TAIL.size


@dataclass(frozen=True)
class LedgerContents:
    """A verified ledger."""

    header: LedgerHeader
    records: tuple[LedgerRecord, ...]
    """Commits, ascending by round, without gaps."""
    size: int
    """Bytes up to the end of the last whole record."""
    torn_bytes: int
    """Bytes after that: a record whose write was cut off, or all that follows a damaged record."""
    header_chain: bytes
    damage: str | None = None
    """What is wrong with the record after the last one that is here, as a sentence; None: the whole file is good."""

    @property
    def chain(self) -> bytes:
        """Chain after the last record."""
        return self.records[-1].chain if self.records else self.header_chain

    @property
    def last_round(self) -> int:
        return self.records[-1].round if self.records else 0

    def up_to(self, number: int) -> "LedgerContents":
        """The contents without the records after round `number`."""
        if number >= self.last_round:
            return self
        size = self.records[number].offset
        return dataclasses.replace(self, records=self.records[:number], size=size)

    def commits(self) -> Iterator[RoundCommit]:
        """The commits in order."""
        return (decode(record.body, RoundCommit) for record in self.records)

    def chain_after(self, number: int) -> bytes:
        """Chain after round `number`; for 0, after the header."""
        return self.records[number - 1].chain if number else self.header_chain

    def active_after(self, number: int) -> bytes:
        """Active sets in force after round `number` (`ActiveSets.packed`); empty if no commit has any."""
        named = (decode(record.body, RoundCommit).active for record in reversed(self.records[:number]))
        return next((active for active in named if active is not None), b"")

    def active_changes(self) -> dict[int, bytes]:
        """Round -> active sets from that round on; only the rounds in which they changed, ascending."""
        changes: dict[int, bytes] = {}
        active = b""
        for commit in self.commits():
            if commit.active is not None and commit.active != active:
                changes[commit.round] = active = commit.active
        return changes


def next_chain(chain: bytes, body: bytes) -> bytes:
    """Chain after a record with this body."""
    return hashlib.sha256(chain + body).digest()


def header_body(header: LedgerHeader) -> bytes:
    """Body of record 0."""
    return msgspec.msgpack.encode(header)


def first_chain(header: LedgerHeader) -> bytes:
    """Chain after record 0."""
    return next_chain(START, header_body(header))


def read_ledger(path: Path, until: int | None = None) -> LedgerContents:
    """Reads and verifies every byte.

    Args:
        until: only the records up to this round are needed. If a later one is damaged, the contents end before it, and
            `damage` says what is wrong. None: all are needed.

    Raises:
        LedgerError: no such file, not a ledger, or damaged; the message names the offset and the fault.
    """
    contents = scan_ledger(path)
    if contents.damage and (until is None or until > contents.last_round):
        raise LedgerError(
            f"{contents.damage}. The {contents.last_round} rounds before it are good: `zorba-ray repair {path.parent}` "
            "says what can be saved"
        )
    return contents


def scan_ledger(path: Path, data: bytes | None = None) -> LedgerContents:
    """Reads and verifies the records up to the first damaged one, which `damage` then describes.

    Args:
        data: the content of the file; None: it is read.

    Raises:
        LedgerError: no such file, not a ledger, or a damaged header.
    """
    data = ledger_bytes(path) if data is None else data
    if data[: len(MAGIC)] != MAGIC:
        raise LedgerError(f"{path}: not a ledger of this version (offset 0: {data[:8]!r}, expected {MAGIC!r})")
    chain, damage = START, None
    records: list[LedgerRecord] = []
    offset = len(MAGIC)
    try:
        while (record := parse_record(data, offset, chain, len(records))) is not None:
            records.append(record)
            chain, offset = record.chain, record.end
    except LedgerError as error:
        damage = f"{path}: {error}"
        if not records:
            raise LedgerError(f"{damage}: without its header no round can be read. Put back a copy") from error
    if not records:
        raise LedgerError(f"{path}: the header record is incomplete, so the file holds no round: start the run anew")
    first = records[0]
    try:
        fields = msgspec.msgpack.decode(first.body)
        if isinstance(fields, dict) and fields.get("format") != FORMAT:
            raise LedgerError(f"{path}: ledger format {fields.get('format')}, this program writes and reads {FORMAT}")
        header = msgspec.convert(fields, LedgerHeader)
        require_known(header.sections, "the header")
    except (msgspec.MsgspecError, UnicodeDecodeError, MessageError) as error:
        raise LedgerError(f"{path}: offset {first.offset}: the header cannot be read ({error})") from error
    return LedgerContents(header, tuple(records[1:]), offset, len(data) - offset, first.chain, damage)


def ledger_bytes(path: Path) -> bytes:
    """The content of a ledger's file, as it is.

    Raises:
        LedgerError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise LedgerError(f"{path}: no such ledger") from error
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror})") from error


def body_bytes(data: bytes | bytearray, offset: int) -> int | None:
    """The length of the body of the record at `offset`; None: the length is damaged (CRC)."""
    length, _, check = _HEAD.unpack_from(data, offset)
    return length if zlib.crc32(data[offset : offset + 8]) == check else None


def parse_record(data: bytes | bytearray, offset: int, chain: bytes, expected: int) -> LedgerRecord | None:
    """The record at `offset`, verified; None: it is torn, or there is none.

    Args:
        chain: before the record.
        expected: its round.

    Raises:
        LedgerError: damaged; the message names offset and fault, but not the file.
    """
    start = offset + _HEAD.size
    if len(data) < start:
        return None
    length, number = body_bytes(data, offset), _HEAD.unpack_from(data, offset)[1]
    if length is None:
        raise LedgerError(f"offset {offset}: the record's length and round are damaged (CRC)")
    if len(data) < start + length + _TAIL.size:
        return None
    body = bytes(data[start : start + length])
    stored_check, stored_chain = _TAIL.unpack_from(data, start + length)
    if zlib.crc32(body) != stored_check:
        raise LedgerError(f"offset {start}: the record of round {number} is damaged (CRC)")
    chain = next_chain(chain, body)
    if chain != stored_chain:
        raise LedgerError(f"offset {start + length + 4}: the hash chain breaks at round {number}")
    if number != expected:
        raise LedgerError(f"offset {offset}: the record is of round {number}, round {expected} is expected")
    try:
        commit_round = decode(body, RoundCommit).round if number else 0
    except MessageError as error:
        raise LedgerError(f"offset {start}: round {number}: {error}") from error
    if commit_round != number:
        raise LedgerError(f"offset {start}: the record of round {number} has the commit of round {commit_round}")
    return LedgerRecord(number, body, offset, chain)


class LedgerWriter:
    """Appends commits; each is on disk (fsync) when `append` returns."""

    def __init__(self, path: Path, chain: bytes, last_round: int) -> None:
        self.path = path
        self.chain = chain
        self.last_round = last_round
        # Unbuffered: bytes that a full disk refused must not be written later, when the file is closed.
        self._file = path.open("r+b", buffering=0)
        self._file.seek(0, os.SEEK_END)

    @classmethod
    def create(cls, path: Path, header: LedgerHeader) -> "LedgerWriter":
        """A new ledger. It is written to another name and then renamed, so that a kill leaves a whole header or none.

        Raises:
            LedgerError: the file exists.
        """
        if path.exists():
            raise LedgerError(f"{path}: exists already; resume the run or choose another directory")
        body = header_body(header)
        chain = first_chain(header)
        aside = path.with_suffix(".tmp")
        with open(aside, "wb", opener=private) as file:
            file.write(MAGIC + _record(0, body, chain))
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
        sync_folder(path.parent)
        return cls(path, chain, 0)

    @classmethod
    def resume(cls, path: Path, until: int | None = None) -> tuple["LedgerWriter", LedgerContents]:
        """Opens an existing ledger for appending. A torn tail is cut off, and so are the records after round `until`.

        Raises:
            LedgerError: as `read_ledger`.
        """
        contents = read_ledger(path)
        if until is not None:
            contents = contents.up_to(until)
        cut(path, contents.size)
        return cls(path, contents.chain, contents.last_round), contents

    def append(self, round: int, body: bytes) -> bytes:
        """Writes and syncs the record of `round`; returns the chain after it.

        Raises:
            OSError: the record could not be written whole, as on a full disk. The written part is a torn tail, which
                `resume` cuts off.
        """
        assert round == self.last_round + 1, (round, self.last_round)
        chain = next_chain(self.chain, body)
        unwritten = memoryview(_record(round, body, chain))
        while unwritten:
            unwritten = unwritten[self._file.write(unwritten) :]
        os.fsync(self._file.fileno())
        self.chain, self.last_round = chain, round
        return chain

    def close(self) -> None:
        self._file.close()


def _record(round: int, body: bytes, chain: bytes) -> bytes:
    head = struct.pack("<II", len(body), round)
    return head + struct.pack("<I", zlib.crc32(head)) + body + _TAIL.pack(zlib.crc32(body), chain)
