"""Reads and writes allocation.json. The file has a digest that ties it to the ledger, and it is read only if that fits.

`digest` has the ledger's chain before the round of the last assignment, and a SHA-256 of the content with that chain.
So a flipped bit, a digit changed by hand, a file that was cut off and a file of another run are all refused. The digest
has no key: somebody who computes it again can change the file. A change of a round that is in the ledger is then still
found; a change of the next round is not.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from zorba_ray.artifacts import read_tree, record_of, write_json
from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.protocol.ledger import LedgerContents


def write_allocation(path: Path, record: AllocationRecord, chain: bytes) -> None:
    """Writes allocation.json of a run, with fsync.

    Args:
        chain: the ledger's chain before the round of the last assignment.

    Raises:
        OSError: it cannot be written.
    """
    tree, round = {"version": record.VERSION, **record.tree()}, record.assignments[-1].round
    tree.pop("digest", None)  # a record that was read from a file has the old digest as an unknown key
    digest = {"round": round, "chain": chain.hex(), "sha256": _sha256(tree, round, chain.hex())}
    write_json(path, {**tree, "digest": digest})


def read_allocation(path: Path, contents: LedgerContents) -> AllocationRecord:
    """The record in allocation.json of the run whose ledger is `contents`.

    Raises:
        RunDirError: missing, not a JSON object, or of another form.
        LedgerError: the digest is missing, does not fit the content, or belongs to another ledger.
    """
    record, number, chain = _read(path)
    if not 1 <= number <= contents.last_round + 1:
        raise LedgerError(f"{path} is of another ledger: its last assignment is of round {number}")
    if contents.chain_after(number - 1).hex() != chain:
        raise LedgerError(f"{path} is of another ledger: its chain before round {number} is another")
    return record


def allocation_until(path: Path, last: int) -> AllocationRecord:
    """allocation.json without the assignments and probes of the rounds after `last`, for a ledger that was cut. What
    else the record says is of the last assignment; a resume computes it again.

    Raises:
        RunDirError, LedgerError: the file is missing, damaged or without a digest, or `last` is 0.
    """
    record = _read(path)[0]
    if not last:
        raise LedgerError(f"{path}: the ledger has no round; a resume assigns anew")
    given = tuple(assignment for assignment in record.assignments if assignment.round <= last)
    probes = tuple(probe for probe in record.probes if probe.round <= last)
    return msgspec.structs.replace(record, assignments=given, probes=probes)


def _read(path: Path) -> tuple[AllocationRecord, int, str]:
    """(record, round of the last assignment, the ledger's chain before it), as the file has them.

    Raises:
        RunDirError, LedgerError: as `read_allocation`, but for the ledger.
    """
    tree = read_tree(path)
    digest = tree.pop("digest", None)
    if not isinstance(digest, dict):
        raise LedgerError(f"{path} has no digest")
    number, chain = digest.get("round"), digest.get("chain")
    if _sha256(tree, number, chain) != digest.get("sha256"):
        raise LedgerError(f"{path} was changed: its content does not fit its SHA-256")
    record = record_of(AllocationRecord, tree, str(path))
    if not record.assignments or record.assignments[0].round != 1 or not isinstance(number, int):
        raise RunDirError(f"{path} has no assignment of round 1")
    return record, number, str(chain)


def _sha256(tree: dict[str, Any], round: Any, chain: Any) -> str:
    """SHA-256 (hex) of the content; the layout of the file does not matter."""
    text = json.dumps([tree, round, chain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
