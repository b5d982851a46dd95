"""metrics.jsonl: one JSON object per line, appended and flushed; the truth for reports.

A kill can tear the last line and nothing else. A torn line is one that does not end in a line feed or is not JSON.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from zorba_ray.artifacts.files import replace_text
from zorba_ray.artifacts.record import Count, Record, Seconds, parse_json, record_of
from zorba_ray.errors import RunDirError


class AssignmentChange(Record, kw_only=True):
    """What changed in a round that began with another assignment."""

    reason: str
    f1: float | None = None
    f2_bytes: Count | None = None
    clients_changed: Count = 0


class Round(Record, tag_field="kind", tag="round", kw_only=True):
    """One round. Of a round recovered after a kill little more than the number is known."""

    round: Count
    loss: float | None = None
    """Training loss, the mean over the reports."""
    client_loss: dict[int, float] = {}
    """Training loss by client; empty in a large federation."""
    lr: float | None = None
    scalar_rms: float | None = None
    """Of the scalars of all reports; None where a commit has none. So `scalar_mean`."""
    scalar_mean: float | None = None
    clients_asked: Count | None = None
    clients_ok: Count | None = None
    clients_failed: Count | None = None
    clients_late: Count | None = None
    rejected: dict[int, str] = {}
    """Client -> why its report was left out."""
    failures: dict[int, str] = {}
    """Client -> why it did not answer, or not in time."""
    report_bytes: Count | None = None
    """Frames of all reports."""
    plan_bytes: Count | None = None
    """Of the frame, to each client asked; active sets left out. So `commit_bytes`."""
    commit_bytes: Count | None = None
    active_set_bytes: Count = 0
    bytes_up: Count | None = None
    """All clients together."""
    bytes_down: Count | None = None
    """All clients together, active sets included; commits of scalars also to those that were not asked."""
    distance: float | None = None
    """‖θ − θ0‖."""
    assignment: AssignmentChange | None = None
    time: dict[str, float] = {}
    """Seconds by part; `round_s` is the whole."""
    peak_rss_bytes: Count | None = None
    """Of the driver's process."""
    recovered: bool = False


class Interval(Record, kw_only=True):
    """95 % interval of a figure, over the rows of its split."""

    low: float
    high: float


class ClientRange(Record, kw_only=True):
    """A figure over the clients, each on its own rows."""

    min: float
    median: float
    max: float


class Eval(Record, tag_field="kind", tag="eval", kw_only=True):
    """One evaluation of a split at θ after a round."""

    FIGURES: ClassVar[tuple[str, ...]] = (
        "loss", "perplexity", "accuracy", "balanced_accuracy", "macro_f1", "mcc",
        "exact_match", "token_f1", "rouge_l", "number_match", "reward",
    )  # fmt: skip
    """Fields that say how good the answers are."""

    round: Count
    split: str
    loss: float
    accuracy: float | None = None
    """None of a language model."""
    items: Count | None = None
    """What loss and accuracy are means over: rows, or tokens of a language model."""
    rows: Count | None = None
    balanced_accuracy: float | None = None
    """Mean recall of the labels. So `macro_f1`, the mean F1, and `mcc`, Matthews' correlation; None of a language model
    and in older files."""
    macro_f1: float | None = None
    mcc: float | None = None
    perplexity: float | None = None
    """exp(loss) per token of a language model."""
    reward: float | None = None
    """Mean over the rows; None where the task is no reward."""
    exact_match: float | None = None
    """Mean score of the answers that a generation writes. So the next three; None of other tasks, and of scores that
    `task.scores` does not name."""
    token_f1: float | None = None
    rouge_l: float | None = None
    number_match: float | None = None
    intervals: dict[str, Interval] = {}
    """By figure, as in `macro_f1`; without those that the rows cannot tell."""
    majority: dict[str, float] = {}
    """The same figures if every row got the label that most training rows have."""
    confusion: tuple[tuple[Count, ...], ...] = ()
    """confusion[i][j]: rows of label i that are given label j. Empty beyond 100 labels."""
    clients: Count | None = None
    """Clients that rows of the split are dealt to, as the training rows are."""
    by_client: dict[str, ClientRange] = {}
    """Figure -> what these clients have of it, and `rows`: how many."""
    spread: float | None = None
    """How much the logits depend on the row."""
    predicted_label: Count | None = None
    """The label that most rows are given. So `predicted_rows`, and the `labels` that the split has."""
    predicted_rows: Count | None = None
    labels: Count | None = None
    eval_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion: not as many columns as rows")


Line = TypeVar("Line", Round, Eval)


def append_record(path: Path, record: Round | Eval) -> None:
    """Writes one line and hands it to the operating system.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(record.tree()))


def read_metrics(path: Path, printable: bool = False) -> list[Round | Eval]:
    """Rounds and evaluations in file order; a torn last line and records of unknown kinds are left out.

    Args:
        printable: as of `read_tree`.

    Raises:
        RunDirError: a line other than the last is no record, or a value breaks a rule; names file, line and key.
        OSError: the file cannot be read.
    """
    kinds: dict[str, type[Round] | type[Eval]] = {"round": Round, "eval": Eval}
    return [
        record_of(kinds[tree["kind"]], tree, f"{path}, line {number}")
        for number, tree in _trees(path, printable)
        if tree["kind"] in kinds
    ]


def records_of(path: Path, kind: type[Line]) -> list[Line]:
    """The rounds, or the evaluations, of `read_metrics`; none where there is no file yet."""
    return [record for record in read_metrics(path) if isinstance(record, kind)] if path.exists() else []


def keep_rounds(path: Path, last_round: int) -> None:
    """Rewrites the file so that every round, and every evaluation of a round and split, up to `last_round` stands once.

    Of duplicates the first is kept; records keep their order and their unknown keys. The file is replaced at once: a
    kill leaves the old or the new one. After this nothing in it is torn.

    Raises:
        RunDirError: as `read_metrics`.
        OSError: the file cannot be read or replaced.
    """
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    for _, tree in _trees(path):
        if tree["round"] <= last_round:
            first.setdefault((tree["kind"], tree["round"], tree.get("split")), tree)
    replace_text(path, "".join(_line(tree) for tree in first.values()), durably=True)


def cut_torn_tail(path: Path) -> None:
    """Before the first record of a session is appended: what a kill left of a last line is cut off."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return
        whole, _, tail = content.rpartition(b"\n")
        if _parse(tail) is not None:
            file.write(b"\n")  # a whole record that lacks its line feed only
        else:
            file.truncate(len(whole) + 1 if whole else 0)


def _line(tree: dict[str, Any]) -> str:
    """A line names a version from the second on only."""
    return json.dumps(tree, ensure_ascii=False) + "\n"


def _trees(path: Path, printable: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """(Line number, record) in file order, of all kinds."""
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        tree = _parse(line, printable)
        if tree is not None:
            found.append((number, tree))
        elif any(later.strip() for later in lines[number:]):
            raise RunDirError(f"{path}, line {number}: not a record; only the last line may be torn by a kill")
    return found


def _parse(line: bytes, printable: bool = False) -> dict[str, Any] | None:
    """None where it is no record: an object of a kind and a round."""
    try:
        tree = parse_json(line.decode("utf-8"), printable)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(tree, dict) and isinstance(tree.get("kind"), str) and isinstance(tree.get("round"), int)
    return tree if whole else None
