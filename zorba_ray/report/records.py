"""What the files of a run directory hold, typed. Unknown keys are passed over: a newer run still reads."""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zorba_ray.errors import RunDirError


class Record(BaseModel):
    """Part of a file: frozen, unknown keys passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Client(Record):
    """One client of allocation.json."""

    client: int
    kind: str = Field(alias="class")
    examples: int
    budget_bytes: int | None
    """VRAM budget; None is no budget."""
    bytes: int
    """VRAM of its active set, of the allocation's `bytes_source`."""
    blocks: tuple[int, ...]

    @property
    def share(self) -> float | None:
        """bytes / budget_bytes; None without a budget."""
        return self.bytes / self.budget_bytes if self.budget_bytes else None

    @property
    def spare_bytes(self) -> int | None:
        """What the budget leaves; negative where it is exceeded, None without a budget."""
        return None if self.budget_bytes is None else self.budget_bytes - self.bytes


class Step(Record):
    """One solve of the ε-constraint program."""

    name: str
    objective: str
    constraint: str = ""
    value: float | None
    bound: float | None
    gap: float | None
    seconds: float
    status: str


class Deal(Record):
    """Who held which blocks from a round on."""

    round: int
    reason: str
    f1: float | None
    f2_bytes: int
    gap: float | None
    clients_changed: int
    active: tuple[str, ...]
    """Per client one mark per block, 1 for active."""


class Probe(Record):
    """What a probe of the clients' gradients found, by block."""

    round: int
    energy: tuple[float, ...]
    dissimilarity: tuple[float, ...]
    dissimilarity_error: tuple[float, ...]
    noise: tuple[float, ...]
    weights: tuple[float, ...]
    pairs: int
    forward_pairs: int
    bytes_up: int
    bytes_down: int


class Allocation(Record):
    """allocation.json."""

    clients: tuple[Client, ...]
    blocks: int = Field(ge=1)
    epsilon: float
    f1: float | None
    """None where some block is active nowhere."""
    f2_bytes: int
    bytes_all_active: int | None = None
    """VRAM of one client with every block active; None where the file does not say."""
    worst_share: float | None
    gap: float | None
    solver: str
    steps: tuple[Step, ...]
    bytes_source: str
    accelerator: str
    deals: tuple[Deal, ...] = Field(default=(), alias="assignments")
    """In order of their rounds; none in files that were not written by a run."""
    probe: Probe | None = None
    """The last one."""


class Round(Record):
    """A round of metrics.jsonl; a round recovered after a kill knows little more than its number."""

    round: int
    loss: float | None = None
    client_loss: dict[int, float] = {}
    """Training loss by client; empty where the run did not record it."""
    lr: float | None = None
    scalar_rms: float | None = None
    scalar_mean: float | None = None
    clients_asked: int | None = None
    clients_ok: int | None = None
    clients_failed: int = 0
    clients_late: int = 0
    rejected: dict[str, str] = {}
    failures: dict[str, str] = {}
    bytes_up: float | None = None
    """All clients together."""
    bytes_down: float | None = None
    """All clients together, active sets included; commits of scalars also to those that were not asked."""
    plan_bytes: float | None = None
    """Of the frame, to each client asked; active sets left out. So `commit_bytes`."""
    commit_bytes: float | None = None
    distance: float | None = None
    time: dict[str, float] = {}
    """Seconds by part; `round_s` is the whole."""
    recovered: bool = False


class Eval(Record):
    """An evaluation of metrics.jsonl."""

    round: int
    split: str
    loss: float
    accuracy: float | None = None
    eval_s: float = 0.0


class Budget(Record):
    """The fullest client of one class in summary.json."""

    kind: str = Field(alias="class")
    clients: int
    client: int
    frozen: str | None = None
    master: str | None = None
    peak_bytes: int
    source: str
    """`measured` on a real GPU, else what the allocation counted with."""
    budget_bytes: int | None
    share: float | None
    largest_part: str | None = None
    largest_part_bytes: int | None = None


class CutRows(Record):
    """Rows of one split that were longer than data.max_length."""

    rows: int
    total: int
    tokens_before: int
    """Of the rows that were cut, all together. So `tokens_after`."""
    tokens_after: int


class Summary(Record):
    """summary.json; absent while a run is under way."""

    status: str
    error: str | None = None
    warnings: tuple[str, ...] = ()
    rounds_done: int
    cut_rows: dict[str, CutRows] = {}
    """By split; empty in files of runs that did not count them."""
    weights_sha256: str
    bytes_up_per_client_round: float | None = None
    bytes_down_per_client_round: float | None = None
    active_set_bytes: int | None = None
    ledger_bytes: int | None = None
    forward_pairs_per_client: int | None = None
    forward_passes_per_client: int | None = None
    probe_forward_pairs: int = 0
    """Of all clients, before the first round and between."""
    probe_bytes_up: int = 0
    """Of all clients. So `probe_bytes_down`."""
    probe_bytes_down: int = 0
    peak_rss_bytes: int | None = None
    wall_s: float
    cpu_s: float | None = None
    retries: int = 0
    resumed_after_round: int = 0
    budgets: tuple[Budget, ...] = ()


T = TypeVar("T", bound=BaseModel)


def parse(kind: type[T], tree: dict[str, Any], where: str) -> T:
    """`tree` as a typed record; RunDirError names file and key."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise RunDirError(f"{where}: {key}: {fault['msg']}") from error
