"""allocation.json: who activates which blocks, what that costs, and what was proven.

The file is written before the first plan that uses it, with a digest that ties it to the ledger, and read back only
where that digest holds. `digest` names the ledger's chain before the round of the last assignment, and a SHA-256 of the
content with that chain. A flipped bit, a digit changed by hand, a file cut off and one of another run do not pass. It
has no key: whoever computes it anew can write what he likes. The ledger contradicts him for every round that it holds.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from zorba_ray.active_sets import ActiveSets
from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.protocol.ledger import LedgerContents


class AssignedClient(msgspec.Struct, frozen=True):
    """One client under the last assignment."""

    client: int
    kind: str = msgspec.field(name="class")
    """Its class in federation.fleet."""
    examples: int
    """|D_n|."""
    budget_bytes: int | None
    """VRAM budget; None: no budget."""
    bytes: int
    """VRAM of its active set; 0 while it is absent."""
    blocks: tuple[int, ...]
    present: bool
    frozen: str
    """Where frozen blocks live: device or host. `master`: so for the fp32 weights of active ones."""
    master: str


class PlacementBytes(msgspec.Struct, frozen=True):
    """Bytes of the clients whose blocks live in one way."""

    frozen: str
    master: str
    parts: dict[str, int]
    """Of a client with nothing active, by part."""
    active_extra_bytes: tuple[int, ...]
    """By block: what it costs more when it is active."""


class SolverStep(msgspec.Struct, frozen=True):
    """One minimisation of the lexicographic program (`zorba_ray.allocation.StepResult`); None: no finite number."""

    name: str
    objective: str
    constraint: str
    value: float | None
    bound: float | None
    gap: float | None
    seconds: float
    status: str


class ProvenObjective(msgspec.Struct, frozen=True):
    """What is known of one objective at the allocation; None: no finite number."""

    objective: str
    value: float | None
    bound: float | None
    gap: float | None
    best: float | None


class HeuristicAnswer(msgspec.Struct, frozen=True):
    """The greedy heuristic's answer to the same question."""

    objectives: dict[str, float]
    blocks_mean: float
    exact_variance: dict[str, float]


class ExactVariance(msgspec.Struct, frozen=True):
    """The exact variance of one round's update that f1 stands for, under each weighting of the clients."""

    data: float
    inverse_noise: float
    all_active: dict[str, float]
    energies: str
    """Of the gradient in each block: `uniform`, or `measured` by a probe."""


class BlockProbe(msgspec.Struct, frozen=True):
    """What the clients said of the blocks before a round, and what asking cost. Lists are by block (`zo.probe`)."""

    round: int
    energy: tuple[float, ...]
    dissimilarity: tuple[float, ...]
    dissimilarity_error: tuple[float, ...]
    noise: tuple[float, ...]
    weights: tuple[float, ...]
    """ω that follows from them."""
    pairs: int
    """Forward pairs per client, block and batch."""
    forward_pairs: int
    """Forward pairs of all clients together. Frozen prefixes are shared, so each costs less than two forwards."""
    clients: int
    """Whose answers were used."""
    bytes_up: int
    """All reports' frames."""
    bytes_down: int
    """The plan's frame, to each client asked."""


class Assignment(msgspec.Struct, frozen=True):
    """Who holds which blocks from a round on, until the next assignment."""

    round: int
    reason: str
    """start, provisional (until a probe replaces it), probe, rotation, fleet changed, or ledger."""
    f1: float | None
    f2_bytes: int
    gap: float | None
    solver: str
    clients_changed: int
    """Clients that hold other blocks than before."""
    active: ActiveSets
    """In JSON one text of 0 and 1 per client."""


class AllocationRecord(msgspec.Struct, frozen=True, kw_only=True):
    """allocation.json. What is not in `assignments` and `probes` describes the last assignment."""

    clients: tuple[AssignedClient, ...]
    blocks: int
    block_parameters: tuple[int, ...]
    block_parameters_in_scope: tuple[int, ...]
    placements: tuple[PlacementBytes, ...]
    memory_parts: dict[str, int]
    """Bytes of a client without a budget and with nothing active, by part."""
    active_extra_bytes: tuple[int, ...]
    epsilon: float
    f1: float | None
    """None where some block is active nowhere."""
    f2_bytes: int
    worst_share: float
    gap: float | None
    """None where nothing is proven."""
    solver: str
    steps: tuple[SolverStep, ...]
    vram_objective: str
    weights: str
    objectives: tuple[ProvenObjective, ...]
    greedy: HeuristicAnswer | None
    exact_variance: ExactVariance
    bytes_all_active: int
    bytes_source: str
    """Where the bytes come from: modelled, counted or measured."""
    accelerator: str
    partition_sha256: str
    probe: BlockProbe | None
    """What ω rests on, if a probe was made."""
    probes: tuple[BlockProbe, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    """By round; none in a file that no run wrote."""

    def tree(self) -> dict[str, Any]:
        """The record as JSON has it."""
        return msgspec.to_builtins(self, enc_hook=lambda active: active.marks)

    @classmethod
    def of_tree(cls, tree: dict[str, Any]) -> "AllocationRecord":
        """The inverse of `tree`; unknown keys are passed over.

        Raises:
            msgspec.ValidationError: a key is missing, or has a value of another type.
        """
        return msgspec.convert(tree, cls, dec_hook=lambda kind, rows: kind.of_marks(rows))


def write_allocation(path: Path, record: AllocationRecord, chain: bytes) -> None:
    """Writes allocation.json of a run, durably.

    Args:
        chain: of the ledger before the round of the last assignment.

    Raises:
        OSError: it cannot be written.
    """
    from zorba_ray.experiment.rundir import write_json

    tree, round = record.tree(), record.assignments[-1].round
    digest = {"round": round, "chain": chain.hex(), "sha256": _sha256(tree, round, chain.hex())}
    write_json(path, {**tree, "digest": digest}, durably=True)


def read_allocation(path: Path, contents: LedgerContents) -> AllocationRecord:
    """The record of allocation.json of the run whose ledger has `contents`.

    Raises:
        RunDirError: missing, no JSON object, or of another form.
        LedgerError: its digest is missing, is not that of its content, or names another ledger.
    """
    from zorba_ray.experiment.rundir import RunDir

    tree = RunDir(path.parent).read_json(path)
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
    try:
        record = AllocationRecord.of_tree(tree)
    except ValueError as error:  # of msgspec too
        raise RunDirError(f"{path} has another form: {error}") from error
    if not record.assignments or record.assignments[0].round != 1:
        raise RunDirError(f"{path} has no assignment of round 1")
    return record


def _sha256(tree: dict[str, Any], round: Any, chain: Any) -> str:
    """Of what the file says, however it is laid out; hex."""
    text = json.dumps([tree, round, chain], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
