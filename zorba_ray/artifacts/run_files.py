"""The records of provenance.json, partition.json, summary.json and profile.json."""

from typing import Any

import msgspec

from zorba_ray.artifacts.metrics import Eval
from zorba_ray.artifacts.record import Count, Record, Seconds


class HubPin(Record, kw_only=True):
    """The commit of a repository of the Hugging Face hub when the run began."""

    path: str
    asked: str | None = None
    """The branch, tag or commit of the settings; None: the default branch."""
    revision: str
    """The commit."""


class Provenance(Record, kw_only=True):
    """provenance.json: versions, machine, command and sources of a run."""

    run_id: str = ""
    """A random id, the same in all sessions of the run. Trackers use it."""
    started: str | None = None
    """Local time with its zone."""
    command: tuple[str, ...] = ()
    """The command line as typed."""
    python: str | None = None
    versions: dict[str, str | None] = {}
    """Package -> version; None: not installed."""
    git: dict[str, Any] | None = None
    machine: dict[str, Any] = {}
    hub: dict[str, HubPin] = {}
    """`model` and `data`, if they are on the hub."""


class PartitionRecord(Record, kw_only=True):
    """partition.json: the number of training rows of each client and label."""

    labelled: bool
    """Whether the rows have labels; if not, all count as label 0."""
    clients: tuple[dict[int, Count], ...]
    """For each client: label -> rows, ascending, without labels that have no rows."""


class Budget(Record, kw_only=True):
    """The client of a class that uses the largest share of its budget."""

    kind: str = msgspec.field(name="class")
    clients: Count
    """Number of clients of the class."""
    client: Count
    """Id of the client."""
    frozen: str | None = None
    master: str | None = None
    format: str = "compute"
    """Of frozen matrices: compute, int8 or nf4."""
    peak_bytes: Count
    source: str
    """`measured` on a real GPU, else the source of the allocation's bytes."""
    budget_bytes: Count | None = None
    share: float | None = None
    """peak_bytes / budget_bytes; None without a budget."""
    largest_part: str | None = None
    largest_part_bytes: Count | None = None


class CutRows(Record, kw_only=True):
    """Rows of one split that were longer than data.max_length."""

    rows: Count
    total: Count
    tokens_before: Count
    """Tokens of all cut rows together before the cut; `tokens_after`: after it."""
    tokens_after: Count


class PrivacyRecord(Record, kw_only=True):
    """What the clients of a run with `privacy` have spent. It is of this run alone: runs on the same data add up."""

    epsilon: float
    """ε of the client that was asked most often, whatever other data it might have had."""
    delta: float
    clip: float
    noise_multiplier: float
    """The standard deviation of the noise on a scalar, over the clip."""
    reports: Count
    """Times that this client was asked."""
    spent: bool = False
    """Whether the run ended because another round would have exceeded `privacy.target_epsilon`."""


class Summary(Record, kw_only=True):
    """summary.json: the result of a run. It is missing while the run goes on.

    Bytes are per client and round: up is a report's frame, down are a plan's and a commit's frame without active sets.
    Losses and accuracies are None if there is no such evaluation. Probes are counted separately, for all clients.
    """

    status: str
    """finished, interrupted, diverged, lost_clients or failed."""
    error: str | None = None
    warnings: tuple[str, ...] = ()
    """Reasons to doubt the figures, each in a sentence."""
    adversaries: tuple[str, ...] = ()
    """Clients that attacked, and how, an entry of the settings each."""
    method: str = ""
    rounds: Count = 0
    """Rounds by the settings."""
    rounds_done: Count
    start_loss: float | None = None
    """Loss on the validation split before the first round. `start_accuracy`: the same for the accuracy."""
    final_loss: float | None = None
    """Loss on the validation split after `kept_round`. `final_accuracy` and the figures of the test split likewise."""
    start_accuracy: float | None = None
    final_accuracy: float | None = None
    start_test_accuracy: float | None = None
    test_accuracy: float | None = None
    start_test_loss: float | None = None
    test_loss: float | None = None
    evaluations: dict[str, Eval] = {}
    """The complete evaluations with the figures above: `start`, `final`, `start_test` and `test`, if they were made."""
    cut_rows: dict[str, CutRows] = {}
    """By split."""
    weights_sha256: str
    """SHA-256 of θ after `kept_round`."""
    kept_round: Count | None = None
    """The round whose θ is the result: with eval.keep=best the best round of a finished run, else the last. None in
    older files: the last."""
    distance: float | None = None
    """‖θ − θ0‖."""
    bytes_up_per_client_round: float | None = None
    bytes_down_per_client_round: float | None = None
    active_set_bytes: Count | None = None
    """Bytes of active sets in all rounds."""
    ledger_bytes: Count | None = None
    forward_pairs_per_client: Count | None = None
    forward_passes_per_client: Count | None = None
    peak_rss_bytes: Count | None = None
    """Of the process with the largest peak."""
    vram_bytes_per_client: dict[str, Any] = {}
    budgets: tuple[Budget, ...] = ()
    allocation_gap: float | None = None
    assignments: Count = 0
    probes: Count = 0
    probe_forward_pairs: Count = 0
    probe_bytes_up: Count = 0
    probe_bytes_down: Count = 0
    privacy: PrivacyRecord | None = None
    """None of a run without noise on what clients report."""
    clients_failed: Count = 0
    """Sum over all rounds; `clients_late` and `clients_rejected` likewise."""
    clients_late: Count = 0
    clients_rejected: Count = 0
    retries: Count = 0
    workers: tuple[dict[str, Any], ...] = ()
    """Figures of each worker process."""
    resumed_after_round: Count = 0
    wall_s: Seconds
    """Wall seconds of the last session; `cpu_s`: CPU seconds of all its processes."""
    cpu_s: Seconds | None = None


class ProfilePart(Record, kw_only=True):
    """Seconds of one part of a session over all its rounds."""

    what: str
    seconds: float
    share: float = 0.0
    seconds_per_round: float | None = None
    cpu_s: float


class ProfiledRounds(Record, kw_only=True):
    """The measured rounds, which are those of one session."""

    first: Count
    last: Count
    count: Count = 0


class Profile(Record, kw_only=True):
    """profile.json: where the wall time of a session's rounds went."""

    rounds: ProfiledRounds
    workers: Count | None
    """Number of worker processes; None: clients ran in the driver's process."""
    start_s: float
    check_s: float
    """The part of `start_s` that the check of forward pairs took."""
    wall_s: float
    cpu_s: float
    """Of all processes."""
    parts: dict[str, ProfilePart]
    """They add up to `wall_s`."""
