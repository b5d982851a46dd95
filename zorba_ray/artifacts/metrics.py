"""The records of metrics.jsonl, from which reports are made. Each line is a JSON object, appended and flushed.

A kill can cut off only the last line. A line that does not end in a line feed, or is not JSON, was cut off.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from zorba_ray.artifacts.files import replace_text
from zorba_ray.artifacts.record import Count, Record, Seconds, parse_json, record_of
from zorba_ray.errors import RunDirError


class AssignmentChange(Record, kw_only=True):
    """What changed in a round that began with a new assignment."""

    reason: str
    f1: float | None = None
    f2_bytes: Count | None = None
    clients_changed: Count = 0


class Round(Record, tag_field="kind", tag="round", kw_only=True):
    """One round. A round that was recovered after a kill has little more than its number."""

    round: Count
    loss: float | None = None
    """Training loss, the mean over the reports."""
    client_loss: dict[int, float] = {}
    """Training loss by client; empty in a large federation."""
    lr: float | None = None
    scalar_rms: float | None = None
    """Root mean square of the scalars of all reports, and `scalar_mean`, their mean; None if a commit has no
    scalars."""
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
    """Bytes of the frames of all reports."""
    plan_bytes: Count | None = None
    """Bytes of the plan's frame, and `commit_bytes` of the commit's, for each client; both without active sets."""
    commit_bytes: Count | None = None
    active_set_bytes: Count = 0
    bytes_up: Count | None = None
    """Of all clients together."""
    bytes_down: Count | None = None
    """Of all clients together, with active sets. Commits of scalars also go to clients that were not asked."""
    distance: float | None = None
    """‖θ − θ0‖."""
    assignment: AssignmentChange | None = None
    time: dict[str, float] = {}
    """Seconds by part; `round_s` is the whole round."""
    peak_rss_bytes: Count | None = None
    """Of the driver's process."""
    recovered: bool = False


class Interval(Record, kw_only=True):
    """95 % interval of a figure, over the rows of its split."""

    low: float
    high: float


class ClientRange(Record, kw_only=True):
    """A figure over the clients, each with its own rows of the split."""

    min: float
    median: float
    max: float


class Eval(Record, tag_field="kind", tag="eval", kw_only=True):
    """One evaluation of a split at θ after a round."""

    FIGURES: ClassVar[tuple[str, ...]] = (
        "loss", "perplexity", "accuracy", "balanced_accuracy", "macro_f1", "mcc",
        "token_f1", "exact_match", "rouge_l", "number_match", "reward",
    )  # fmt: skip
    """Fields that measure the quality of the answers."""

    round: Count
    split: str
    loss: float
    accuracy: float | None = None
    """None for a language model."""
    items: Count | None = None
    """Number of items in the means: rows, or tokens of a language model."""
    rows: Count | None = None
    balanced_accuracy: float | None = None
    """Mean recall of the labels; `macro_f1` is their mean F1, `mcc` Matthews' correlation. None for a language model
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
    """Name of a figure, such as `macro_f1` -> its interval; without figures whose interval cannot be computed."""
    majority: dict[str, float] = {}
    """The same figures, if every row were given the most frequent label of the training rows."""
    confusion: tuple[tuple[Count, ...], ...] = ()
    """confusion[i][j]: number of rows with label i that were given label j. Empty for more than 100 labels."""
    clients: Count | None = None
    """Number of clients among which the rows of the split are divided, like the training rows."""
    by_client: dict[str, ClientRange] = {}
    """Figure -> its range over these clients; also `rows`, the number of rows of a client."""
    spread: float | None = None
    """How much the logits differ between rows."""
    predicted_label: Count | None = None
    """The label that most rows were given; `predicted_rows` is their number, `labels` the number of labels in the
    split."""
    predicted_rows: Count | None = None
    labels: Count | None = None
    eval_s: Seconds = 0.0

    def __post_init__(self) -> None:
        if any(len(row) != len(self.confusion) for row in self.confusion):
            raise ValueError("confusion: a row has not as many columns as there are rows")


Line = TypeVar("Line", Round, Eval)


def append_record(path: Path, record: Round | Eval) -> None:
    """Appends one line and flushes it to the operating system.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(record.tree()))


def read_metrics(path: Path, printable: bool = False) -> list[Round | Eval]:
    """Rounds and evaluations in file order, without a torn last line and records of unknown kinds.

    Args:
        printable: as in `read_tree`.

    Raises:
        RunDirError: a line before the last is not a record, or a value breaks a rule; names file, line and key.
        OSError: the file cannot be read.
    """
    kinds: dict[str, type[Round] | type[Eval]] = {"round": Round, "eval": Eval}
    return [
        record_of(kinds[tree["kind"]], tree, f"{path}, line {number}")
        for number, tree in _trees(path, printable)
        if tree["kind"] in kinds
    ]


def records_of(path: Path, kind: type[Line]) -> list[Line]:
    """The rounds, or the evaluations, of `read_metrics`; empty if there is no file yet."""
    return [record for record in read_metrics(path) if isinstance(record, kind)] if path.exists() else []


def keep_rounds(path: Path, last_round: int) -> None:
    """Rewrites the file with every round up to `last_round` once, and every evaluation of a round and split once.

    Of duplicates the first is kept. Records keep their order and their unknown keys. The file is replaced in one step,
    so that a kill leaves the old file or the new one. A torn line is removed.

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
    """Removes a last line that a kill cut off. To be called before a session appends its first record."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        if not content or content.endswith(b"\n"):
            return
        complete_lines, _, tail = content.rpartition(b"\n")
        if _parse(tail) is not None:
            file.write(b"\n")  # a whole record; only its line feed is missing
        else:
            file.truncate(len(complete_lines) + 1 if complete_lines else 0)


def _line(tree: dict[str, Any]) -> str:
    """The record as a line. It has no version, because there is only version 1 yet."""
    return json.dumps(tree, ensure_ascii=False) + "\n"


def _trees(path: Path, printable: bool = False) -> list[tuple[int, dict[str, Any]]]:
    """(line number, record) in file order, of all kinds."""
    lines = path.read_bytes().split(b"\n")
    trees = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        tree = _parse(line, printable)
        if tree is not None:
            trees.append((number, tree))
        elif any(later.strip() for later in lines[number:]):
            raise RunDirError(f"{path}, line {number}: not a record; a kill can cut off only the last line")
    return trees


def _parse(line: bytes, printable: bool = False) -> dict[str, Any] | None:
    """The record in a line; None: the line is not an object with a kind and a round."""
    try:
        tree = parse_json(line.decode("utf-8"), printable)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(tree, dict) and isinstance(tree.get("kind"), str) and isinstance(tree.get("round"), int)
    return tree if is_record else None
