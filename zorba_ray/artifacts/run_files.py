"""The records of a run directory that are files of their own: provenance, summary, profile."""

from typing import Any

import msgspec

from zorba_ray.artifacts.metrics import Eval
from zorba_ray.artifacts.record import Count, Record, Seconds


class HubPin(Record, kw_only=True):
    """What a name on the Hugging Face hub stood for when the run began."""

    path: str
    asked: str | None = None
    """The branch, tag or commit of the settings; None: the default branch."""
    revision: str
    """The commit."""


class Provenance(Record, kw_only=True):
    """provenance.json: what a run was made with."""

    run_id: str = ""
    """Drawn once and kept by every later session; trackers know the run by it."""
    started: str | None = None
    """Local time with its zone."""
    command: tuple[str, ...] = ()
    """As it was typed."""
    python: str | None = None
    versions: dict[str, str | None] = {}
    """Package -> version; None: not installed."""
    git: dict[str, Any] | None = None
    machine: dict[str, Any] = {}
    hub: dict[str, HubPin] = {}
    """`model` and `data`, where they are on the hub."""


class PartitionRecord(Record, kw_only=True):
    """partition.json: how many training rows of which label each client has."""

    labelled: bool
    """Whether the rows have labels; if not, all count as label 0."""
    clients: tuple[dict[int, Count], ...]
    """By client: label -> rows, ascending, those without rows left out."""


class Budget(Record, kw_only=True):
    """The fullest client of one class."""

    kind: str = msgspec.field(name="class")
    clients: Count
    """Of the class."""
    client: Count
    frozen: str | None = None
    master: str | None = None
    peak_bytes: Count
    source: str
    """`measured` on a real GPU, else what the allocation counted with."""
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
    """Of the rows that were cut, all together. So `tokens_after`."""
    tokens_after: Count


class Summary(Record, kw_only=True):
    """summary.json: a run in one object; absent while it is under way.

    Bytes are per client and round: a report's frame up; a plan's and a commit's frame down, active sets left out.
    Losses and accuracies are None where there is no such evaluation. Probes are counted apart, for all clients.
    """

    status: str
    """finished, interrupted, diverged, lost_clients or failed."""
    error: str | None = None
    warnings: tuple[str, ...] = ()
    """What makes the figures mean less than they seem to."""
    method: str = ""
    rounds: Count = 0
    """Asked for."""
    rounds_done: Count
    start_loss: float | None = None
    """Of the validation split before the first round. So `start_accuracy`."""
    final_loss: float | None = None
    """Of the validation split after the round that is kept. So `final_accuracy`; those of the test split too."""
    start_accuracy: float | None = None
    final_accuracy: float | None = None
    start_test_accuracy: float | None = None
    test_accuracy: float | None = None
    start_test_loss: float | None = None
    test_loss: float | None = None
    evaluations: dict[str, Eval] = {}
    """The evaluations behind the figures above, whole: `start`, `final`, `start_test` and `test`, as far as made."""
    cut_rows: dict[str, CutRows] = {}
    """By split."""
    weights_sha256: str
    """Of θ after `kept_round`."""
    kept_round: Count | None = None
    """The best round of a finished run with eval.keep=best, else the last; None in older files: the last."""
    distance: float | None = None
    """‖θ − θ0‖."""
    bytes_up_per_client_round: float | None = None
    bytes_down_per_client_round: float | None = None
    active_set_bytes: Count | None = None
    """Of all rounds."""
    ledger_bytes: Count | None = None
    forward_pairs_per_client: Count | None = None
    forward_passes_per_client: Count | None = None
    peak_rss_bytes: Count | None = None
    """Of the largest process."""
    vram_bytes_per_client: dict[str, Any] = {}
    budgets: tuple[Budget, ...] = ()
    allocation_gap: float | None = None
    assignments: Count = 0
    probes: Count = 0
    probe_forward_pairs: Count = 0
    probe_bytes_up: Count = 0
    probe_bytes_down: Count = 0
    clients_failed: Count = 0
    """Over all rounds. So `clients_late` and `clients_rejected`."""
    clients_late: Count = 0
    clients_rejected: Count = 0
    retries: Count = 0
    workers: tuple[dict[str, Any], ...] = ()
    """Figures of each worker process."""
    resumed_after_round: Count = 0
    wall_s: Seconds
    """Of the last session. So `cpu_s`, of all its processes."""
    cpu_s: Seconds | None = None


class ProfilePart(Record, kw_only=True):
    """Seconds of one part of a session over all its rounds."""

    what: str
    seconds: float
    share: float = 0.0
    seconds_per_round: float | None = None
    cpu_s: float


class ProfiledRounds(Record, kw_only=True):
    """Which rounds were measured: those of one session."""

    first: Count
    last: Count
    count: Count = 0


class Profile(Record, kw_only=True):
    """profile.json: where the wall time of a session's rounds went."""

    rounds: ProfiledRounds
    workers: Count | None
    """Worker processes; None: clients ran in the driver's."""
    start_s: float
    check_s: float
    """Of `start_s`, to check forward pairs."""
    wall_s: float
    cpu_s: float
    """Of all processes."""
    parts: dict[str, ProfilePart]
    """They add up to `wall_s`."""
