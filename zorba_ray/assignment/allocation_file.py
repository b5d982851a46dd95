"""allocation.json on disk: written with a digest that ties it to the ledger, and read back only where that holds.

`digest` names the ledger's chain before the round of the last assignment, and a SHA-256 of the content with that chain.
A flipped bit, a digit changed by hand, a file cut off and one of another run do not pass. It has no key: whoever
computes it anew can write what he likes. The ledger contradicts him for every round that it holds, not for the next.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from zorba_ray.artifacts import read_tree, record_of, write_json
from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.protocol.ledger import LedgerContents


def write_allocation(path: Path, record: AllocationRecord, chain: bytes) -> None:
    """Writes allocation.json of a run, durably.

    Args:
        chain: of the ledger before the round of the last assignment.

    Raises:
        OSError: it cannot be written.
    """
    tree, round = {"version": record.VERSION, **record.tree()}, record.assignments[-1].round
    tree.pop("digest", None)  # of a file that was read: a key that the record does not know
    digest = {"round": round, "chain": chain.hex(), "sha256": _sha256(tree, round, chain.hex())}
    write_json(path, {**tree, "digest": digest}, durably=True)


def read_allocation(path: Path, contents: LedgerContents) -> AllocationRecord:
    """The record of allocation.json of the run whose ledger has `contents`.

    Raises:
        RunDirError: missing, no JSON object, or of another form.
        LedgerError: its digest is missing, is not that of its content, or names another ledger.
    """
    tree = read_tree(path)
    digest = tree.pop("digest", None)
    if not isinstance(digest, dict):
        raise LedgerError(f"{path} has no digest")
    number, chain = digest.get("round"), digest.get("chain")
    if _sha256(tree, number, chain) != digest.get("sha256"):
        raise LedgerError(f"{path} was changed: its content is not that of its SHA-256")
    if not isinstance(number, int) or not 1 <= number <= contents.last_round + 1:
        raise LedgerError(f"{path} is of another ledger: it goes up to round {number}")
    if contents.chain_after(number - 1).hex() != chain:
        raise LedgerError(f"{path} is of another ledger: another chain comes before round {number}")
    record = record_of(AllocationRecord, tree, str(path))
    if not record.assignments or record.assignments[0].round != 1:
        raise RunDirError(f"{path} has no assignment of round 1")
    return record


def _sha256(tree: dict[str, Any], round: Any, chain: Any) -> str:
    """Of what the file says, however it is laid out; hex."""
    text = json.dumps([tree, round, chain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
