"""Puts back single flipped bits of a ledger.

A damaged record is tried with each of its bits turned over. The CRCs find the few candidates, and the hash chain, a
SHA-256, confirms one of them or none. So what is put back is certain.
"""

from pathlib import Path

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.ledger import HEAD_BYTES, MAGIC, START, TAIL_BYTES, body_bytes, ledger_bytes, parse_record

_LONGEST = 65_536
"""Bytes of a body up to which its bits are tried: the time grows with the square of the length."""


def healed(path: Path) -> tuple[bytes, list[int]]:
    """(a ledger's content with flipped bits put back, the numbers of these bits from the start of the file). The file
    is not changed. Beyond the first damage that cannot be undone nothing is tried.

    Raises:
        LedgerError: the file cannot be read.
    """
    data = bytearray(ledger_bytes(path))
    bits = _put_back(data)
    return bytes(data), bits


def _put_back(data: bytearray) -> list[int]:
    """Puts flipped bits back, and returns their numbers."""
    differing = int.from_bytes(data[: len(MAGIC)], "little") ^ int.from_bytes(MAGIC, "little")
    bits = [differing.bit_length() - 1] if differing.bit_count() == 1 and len(data) > len(MAGIC) else []
    if differing and not bits:
        return []
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    chain, offset, number = START, len(MAGIC), 0
    while True:
        try:
            record = parse_record(data, offset, chain, number)
        except LedgerError:
            bit = _flipped(data, offset, chain, number)
            if bit is None:
                return bits
            bits.append(bit)
            continue
        if record is None:
            return bits
        chain, offset, number = record.chain, record.end, number + 1


def _flipped(data: bytearray, offset: int, chain: bytes, number: int) -> int | None:
    """Flips the bit back that makes the record right, and returns its number; None: there is none."""
    length = body_bytes(data, offset)
    if length is None:
        size = HEAD_BYTES  # the damage is in the first bytes, which have a CRC of their own
    elif length <= _LONGEST:
        size = HEAD_BYTES + length + TAIL_BYTES
    else:
        return None
    for bit in range(8 * offset, 8 * (offset + size)):
        data[bit // 8] ^= 1 << bit % 8
        try:
            if parse_record(data, offset, chain, number) is not None:
                return bit
        except LedgerError:
            pass
        data[bit // 8] ^= 1 << bit % 8
    return None
