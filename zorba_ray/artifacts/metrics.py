"""The records of metrics.jsonl, from which reports are made. Each line is a JSON object, appended and flushed.

A kill can cut off only the last line: it has no line feed. The last key of a line, `crc`, is the CRC-32 of the line
without it. A line that is not JSON or does not fit its CRC is damaged. Lines of older programs have no CRC.
"""

import json
import os
import re
import zlib
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from zorba_ray.artifacts.files import replace_text
from zorba_ray.artifacts.record import Count, Record, Seconds, parse_json, record_of
from zorba_ray.errors import RunDirError
from zorba_ray.protocol.files import private


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
    """Appends one line and flushes it to the operating system. An evaluation is synced, with all lines before it.

    Raises:
        OSError: the file cannot be written.
    """
    with open(path, "a", encoding="utf-8", opener=private) as file:
        file.write(_line(record.tree()))
        if isinstance(record, Eval):
            file.flush()
            os.fsync(file.fileno())


def read_metrics(path: Path, printable: bool = False) -> list[Round | Eval]:
    """Rounds and evaluations in file order, without a torn last line and records of unknown kinds.

    Args:
        printable: as in `read_tree`.

    Raises:
        RunDirError: a line before the last is not a record, or a value breaks a rule; names file, line and key.
        OSError: the file cannot be read.
    """
    records = (_typed(tree, f"{path}, line {number}") for number, tree in _trees(path, printable))
    return [record for record in records if record is not None]


def records_of(path: Path, kind: type[Line]) -> list[Line]:
    """The rounds, or the evaluations, of `read_metrics`, by round; empty if there is no file yet. What was made anew
    after damage stands at the end of the file."""
    records = read_metrics(path) if path.exists() else []
    return sorted((record for record in records if isinstance(record, kind)), key=lambda record: record.round)


def keep_rounds(path: Path, last_round: int) -> list[int]:
    """Rewrites the file with every round up to `last_round` once, and every evaluation of a round and split once.

    Of duplicates the first is kept. Records keep their order and their unknown keys. The file is replaced in one step,
    so that a kill leaves the old file or the new one. A torn line is removed, and so are damaged ones.

    Returns the numbers of the damaged lines.

    Raises:
        RunDirError: a record of a newer version; names the line.
        OSError: the file cannot be read or replaced.
    """
    first: dict[tuple[Any, ...], dict[str, Any]] = {}
    damaged = damaged_lines(path)
    for number, tree in _trees(path, damaged=[]):
        if tree["round"] <= last_round and number not in damaged:
            first.setdefault((tree["kind"], tree["round"], tree.get("split")), tree)
    replace_text(path, "".join(_line(tree) for tree in first.values()))
    return damaged


def damaged_lines(path: Path) -> list[int]:
    """The numbers of the lines, counted from 1, that are no records, or whose values break a rule. A torn last line
    does not count.

    Raises:
        RunDirError: a record of a newer version.
        OSError: the file cannot be read.
    """
    damaged: list[int] = []
    for number, tree in _trees(path, damaged=damaged):
        try:
            _typed(tree, f"{path}, line {number}")
        except RunDirError:
            if tree.get("version", 1) != 1:
                raise
            damaged.append(number)
    return sorted(damaged)


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


_CRC = re.compile(rb', "crc": "([0-9a-f]{8})"\}\r?$')


def _line(tree: dict[str, Any]) -> str:
    """The record as a line, with its CRC. It has no version, because there is only version 1 yet."""
    text = json.dumps(tree, ensure_ascii=False)
    return f'{text[:-1]}, "crc": "{zlib.crc32(text.encode()):08x}"}}\n'


def _typed(tree: dict[str, Any], where: str) -> Round | Eval | None:
    """A record; None: of an unknown kind."""
    kinds: dict[str, type[Round] | type[Eval]] = {"round": Round, "eval": Eval}
    return record_of(kinds[tree["kind"]], tree, where) if tree["kind"] in kinds else None


def _trees(path: Path, printable: bool = False, damaged: list[int] | None = None) -> list[tuple[int, dict[str, Any]]]:
    """(line number, record) in file order, of all kinds.

    Args:
        damaged: gets the numbers of damaged lines, which are passed over. None: they are an error.
    """
    lines = path.read_bytes().split(b"\n")
    trees = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        tree = _parse(line, printable)
        if tree is not None:
            trees.append((number, tree))
        elif damaged is not None and number < len(lines):
            damaged.append(number)
        elif number < len(lines):  # the last piece has no line feed: it is torn
            raise RunDirError(
                f"{path}, line {number}: damaged, or not a record: `zorba-ray repair {path.parent}` makes the file anew"
            )
    return trees


def _parse(line: bytes, printable: bool = False) -> dict[str, Any] | None:
    """The record in a line; None: the line is not an object with a kind and a round, or does not fit its CRC."""
    if check := _CRC.search(line):
        line = line[: check.start()] + b"}"
        if zlib.crc32(line) != int(check[1], 16):
            return None
    try:
        tree = parse_json(line.decode("utf-8"), printable)
    except (ValueError, RecursionError):
        return None
    is_record = isinstance(tree, dict) and isinstance(tree.get("kind"), str) and isinstance(tree.get("round"), int)
    return tree if is_record and "crc" not in tree else None
