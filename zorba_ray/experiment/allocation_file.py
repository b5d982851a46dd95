"""allocation.json on disk: written with a digest that ties it to the ledger, and read back only where that holds.

`digest` names the ledger's chain before the round of the last deal, and a SHA-256 of the content with that chain. A
flipped bit, a digit changed by hand, a file cut off and one of another run do not pass. It has no key: whoever computes
it anew can write what he likes; the ledger contradicts him for every round that it holds (`Deals.resume`), not for the
next one.
"""

import hashlib
import json
from typing import Any

from zorba_ray.artifacts import RunDir, read_tree, write_json
from zorba_ray.errors import LedgerError
from zorba_ray.protocol.ledger import LedgerContents

_KEY = "digest"


def write_allocation(run: RunDir, record: dict[str, Any], round: int, chain: bytes) -> None:
    """Writes allocation.json, durably.

    Args:
        record: JSON-ready.
        round: that the last deal begins with.
        chain: of the ledger before that round.

    Raises:
        OSError: it cannot be written.
    """
    as_read = json.loads(json.dumps(record))  # keys are text, as in the file
    digest = {"round": round, "chain": chain.hex(), "sha256": _sha256(as_read, round, chain.hex())}
    write_json(run.allocation, {**record, _KEY: digest}, durably=True)


def read_allocation(run: RunDir, contents: LedgerContents) -> dict[str, Any]:
    """The record of allocation.json, without its digest.

    Raises:
        RunDirError: missing or no JSON object.
        LedgerError: its digest is missing, is not that of its content, or names another ledger.
    """
    record = read_tree(run.allocation)
    digest = record.pop(_KEY, None)
    if not isinstance(digest, dict):
        raise LedgerError(f"{run.allocation} has no digest")
    number, chain = digest.get("round"), digest.get("chain")
    if _sha256(record, number, chain) != digest.get("sha256"):
        raise LedgerError(f"{run.allocation} was changed: its content is not that of its SHA-256")
    if not isinstance(number, int) or not 1 <= number <= contents.last_round + 1:
        raise LedgerError(f"{run.allocation} is of another ledger: it goes up to round {number}")
    if contents.chain_after(number - 1).hex() != chain:
        raise LedgerError(f"{run.allocation} is of another ledger: another chain comes before round {number}")
    return record


def _sha256(record: dict[str, Any], round: Any, chain: Any) -> str:
    """Of what the file says, however it is laid out; hex."""
    text = json.dumps([record, round, chain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
