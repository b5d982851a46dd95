"""`data.path` -> train, validation and test rows with integer labels."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import DataConfig, TaskConfig
from zorba_ray.data import grammar
from zorba_ray.data.chats import Chat, chat_text, read_chats
from zorba_ray.data.labels import LabelListing, label_positions, read_listing
from zorba_ray.data.options import read_options, right_options
from zorba_ray.data.prompts import prompt_columns
from zorba_ray.data.table_file import KINDS, DataTable, Kind
from zorba_ray.data.tables import read_table
from zorba_ray.directions import permutation
from zorba_ray.errors import DataError
from zorba_ray.hub import gate, hub_answers
from zorba_ray.printable import first_line, listed, on_one_line, shown

SPLITS = ("train", "validation", "test")
_OTHER_DATA = (
    ".tsv", ".txt", ".gz", ".bz2", ".xz", ".zst", ".zip", ".arrow", ".feather", ".xls", ".xlsx", ".ods", ".pkl",
)  # fmt: skip
"""Endings of data that must not be passed over: else a test split would be cut out of the training rows."""

_Files = dict[str, list[tuple[Path, Kind]]]
"""Split -> its files."""


@dataclass(frozen=True)
class Split:
    """Rows of one split: columns of text, integer labels, and who owns each row (partition column or files)."""

    columns: dict[str, list[str]]
    labels: np.ndarray
    """int64 [rows]; zeros where a task has none."""
    owners: list[str] | None = None
    options: list[list[str]] | None = None
    """Of each row, where it brings its own; a label is then a position among them."""
    chats: list[Chat] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Split":
        """The given rows, in that order."""
        owners = None if self.owners is None else [self.owners[i] for i in rows]
        options = None if self.options is None else [self.options[i] for i in rows]
        columns = {name: [values[i] for i in rows] for name, values in self.columns.items()}
        chats = None if self.chats is None else [self.chats[i] for i in rows]
        return Split(columns, self.labels[rows], owners, options, chats)


@dataclass(frozen=True)
class Task:
    """Three splits of one data set."""

    train: Split
    validation: Split
    test: Split


def load_task(config: DataConfig, seed: int, labelled: bool, task: TaskConfig | None = None) -> Task:
    """Reads `config.path`; `labelled` is True for a classification.

    Raises:
        DataError: nothing there, a missing column, a template's column that is no text, empty or unlabelled data, a
            label without a label word, or a label with a single training example.
    """
    origin = f"data.path={on_one_line(config.path)}"
    task = task or TaskConfig()
    splits = (
        _builtin_splits(config, labelled, task) if config.path == "builtin" else _read(config, origin, labelled, task)
    )
    for name, split in splits.items():
        if not len(split):
            raise DataError(f"{origin}: the {name} split is empty")
    train = splits["train"]
    if config.train_rows is not None and config.train_rows < len(train):
        train = train.take(np.sort(permutation(seed, "rows", 0, 0, len(train))[: config.train_rows]))
    missing = [name for name in ("validation", "test") if name not in splits]
    if missing:  # cut out of the training rows
        order = permutation(seed, "rows", 1, 0, len(train))
        count = int(len(train) * config.holdout)
        if count < 1 or len(train) <= count * len(missing):
            raise DataError(
                f"{origin}: {len(train)} training rows are too few to cut {' and '.join(missing)} out of them "
                f"(data.holdout={config.holdout})"
            )
        for number, name in enumerate(missing):
            splits[name] = train.take(np.sort(order[number * count : (number + 1) * count]))
        train = train.take(np.sort(order[len(missing) * count :]))
    if labelled:
        single = [label for label, count in Counter(train.labels.tolist()).items() if count == 1]
        if single:
            label = min(single)
            raise DataError(
                f"{origin}: label {label} ({shown(config.label_words[label])}) has a single training example; a class "
                "needs at least two: add examples or drop the class"
            )
    return Task(train, splits["validation"], splits["test"])


def _text_columns(config: DataConfig, task: TaskConfig) -> list[str]:
    """Columns of the prompt and of the answer, each once; a chat has neither."""
    if task.messages_column is not None:
        return []
    return list(dict.fromkeys(prompt_columns(config.prompt) + prompt_columns(task.answer or "")))


def _builtin_splits(config: DataConfig, labelled: bool, task: TaskConfig) -> dict[str, Split]:
    for setting in ("options_column", "messages_column"):
        if (column := getattr(task, setting)) is not None:
            raise DataError(f"task.{setting}={shown(column)}: the builtin data has no such column (columns: text)")
    for setting, template in (("data.prompt", config.prompt), ("task.answer", task.answer or "")):
        absent = [name for name in prompt_columns(template) if name != "text"]
        if absent:
            raise DataError(f"{setting}={template!r}: the builtin data has no column {absent[0]!r} (columns: text)")
    classes = len(grammar.TASK_LABEL_WORDS)
    if labelled and len(config.label_words) < classes:
        raise DataError(
            f"data.label_words [{listed(config.label_words)}]: label {classes - 1} of the builtin data has no "
            f"entry; give {classes} words or sentences"
        )
    return {name: _builtin(name) for name in SPLITS}


@functools.cache  # writing the examples takes longer than a short run
def _builtin(name: Any) -> Split:
    rows = grammar.task_split(name)
    return Split({"text": [text for text, _ in rows]}, np.array([label for _, label in rows], dtype=np.int64))


def training_file(path: Path) -> tuple[Path, Kind]:
    """The file of training rows that `data.path` stands for.

    Raises:
        DataError: there is none.
    """
    origin = f"data.path={on_one_line(str(path))}"
    if path.is_dir():
        return _files_of(path, origin, DataConfig())["train"][0]
    if not path.is_file():
        raise DataError(f"{origin}: no such file or folder")
    return path, _kind(path)


def _read(config: DataConfig, origin: str, labelled: bool, task: TaskConfig) -> dict[str, Split]:
    path = Path(config.path).expanduser()
    listing = LabelListing()
    try:
        if path.is_dir():
            files = _files_of(path, origin, config)
            listing = read_listing(path, config.label_words)
        elif path.is_file():
            files: _Files = {"train": [(path, _kind(path))]}
            listing = read_listing(path.parent, config.label_words)
        elif config.path.startswith((".", "/", "~")) or config.path.count("/") > 1 or path.suffix.lower() in KINDS:
            raise DataError(f"{origin}: no such file or folder")
        else:
            files = {
                split: parts for split, parts in hub_files(config.path, config.revision).items() if split in SPLITS
            }
    except OSError as error:
        raise DataError(f"{origin}: cannot be read ({error.strerror})") from error
    names = _text_columns(config, task)
    choices = task.options_column
    lists = [column for column in (choices, task.messages_column) if column is not None]
    wanted = [*names, *([config.label_column] if labelled or choices else []), *lists]
    optional = config.partition_column if config.partition == "column" else None
    tables = {split: [read_table(*file, wanted, optional) for file in parts] for split, parts in files.items()}
    labels = {split: np.zeros(sum(map(len, parts)), dtype=np.int64) for split, parts in tables.items()}
    if labelled:
        labels = label_positions(tables, config.label_column, config.label_words, listing)
    splits = {}
    for split, parts in tables.items():
        owners, options, chats = None, None, None
        if choices is not None:
            each = [read_options(table, choices) for table in parts]
            options = [row for table in each for row in table]
            right = [right_options(table, config.label_column, own) for table, own in zip(parts, each, strict=True)]
            labels[split] = np.concatenate([np.array(part, dtype=np.int64) for part in right])
        if split == "train" and config.partition == "files":
            owners = [
                path.stem for (path, _), table in zip(files[split], parts, strict=True) for _ in range(len(table))
            ]
        elif split == "train" and optional:
            owners = _column_owners(parts, optional)
        columns = {name: [text for part in parts for text in part.texts(name)] for name in names}
        if task.messages_column is not None:
            chats = [chat for table in parts for chat in read_chats(table, task.messages_column)]
            columns = {"messages": [chat_text(chat) for chat in chats]}
        splits[split] = Split(columns, labels[split], owners, options, chats)
    return splits


def _column_owners(tables: Sequence[DataTable], column: str) -> list[str] | None:
    """The owner of each row as the column says it: `01` and `1` are two. None: the first table has no such column.

    Raises:
        DataError: an owner that is missing, empty, or of another type than the first.
    """
    if column not in tables[0].columns:
        return None
    name = shown(column)
    first: type[Any] | None = None
    owners = []
    for table in tables:
        if column not in table.columns:
            raise DataError(f"data.path={table.origin} has no column {name} (data.partition_column)")
        for row, value in enumerate(table.columns[column]):
            if value is None or value != value or (isinstance(value, str) and not value.strip()):
                raise DataError(
                    f"{table.row(row)} has no owner in column {name} (data.partition_column); name one, or leave the "
                    "row out"
                )
            first = first or type(value)
            if type(value) is not first or not isinstance(value, (str, int, float)):
                raise DataError(
                    f"{table.row(row)}: owner {shown(value)} in column {name} is of the type {type(value).__name__}; "
                    "write all owners as text, or all as whole numbers"
                )
            owners.append(str(value))
    return owners


def _kind(path: Path) -> Kind:
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        ending = on_one_line(path.suffix) or "no ending"
        raise DataError(f"data.path={on_one_line(str(path))}: {ending} is not one of {', '.join(KINDS)}")
    return kind


def _files_of(folder: Path, origin: str, config: DataConfig) -> _Files:
    """With partition=files the training files are train-*.EXT, one per client."""
    files: _Files = {}
    for split in SPLITS:
        pattern = f"{split}-*" if split == "train" and config.partition == "files" else split
        paths = sorted(p for p in folder.glob(f"{pattern}.*") if p.suffix.lower() in KINDS)
        if len(paths) > 1 and pattern == split:
            raise DataError(f"{origin}: {' and '.join(p.name for p in paths)} stand for the same split; keep one")
        if paths:
            files[split] = [(path, _kind(path)) for path in paths]
        elif other := next((p for p in sorted(folder.glob(f"{split}.*")) if p.suffix.lower() in _OTHER_DATA), None):
            raise DataError(
                f"{origin}: {on_one_line(other.name)} is in none of the formats that are read; write it as one of "
                f"{', '.join(KINDS)}, or move it out of the folder"
            )
    if "train" not in files:
        wanted = "train-*.parquet" if config.partition == "files" else "train.parquet"
        raise DataError(f"{origin}: no {wanted} (or .jsonl, .csv) in this folder")
    return files


def hub_files(path: str, revision: str | None = None) -> _Files:
    """The files of a data set of the Hugging Face hub, downloaded or from the cache.

    The files themselves are read, not the tables that `datasets` makes of them: those take `NA` for nothing.

    Raises:
        DataError: not there, no network, or kept in another form than parquet, JSON or CSV.
    """
    import datasets
    from datasets import config as datasets_config

    origin = f"data.path={on_one_line(path)}"
    datasets.disable_progress_bars()
    if not hub_answers():  # what was fetched before is taken from the cache, at once
        datasets_config.HF_HUB_OFFLINE = True
    try:
        builder = datasets.load_dataset_builder(path, revision=revision)
        kind: Kind | None = next((kind for kind in KINDS.values() if kind == builder.name), None)
        files = dict(builder.config.data_files or {})
        wanted = {str(split): list(urls) for split, urls in files.items()} if kind is not None else {}
        fetched = datasets.DownloadManager().download_and_extract(wanted)
    except Exception as error:  # `datasets` raises many kinds
        if (closed := gate(error)) is not None:
            raise DataError(f"{origin}: {closed}") from error
        reason = on_one_line(first_line(error, 400)) if hub_answers() else "the hub does not answer"
        raise DataError(
            f"{origin}: not a local file or folder, and could not be fetched from the hub ({reason}); without a "
            "network, point data.path to a folder with train/validation/test.parquet"
        ) from error
    if kind is None:
        raise DataError(
            f"{origin}: kept on the hub as {builder.name}; download it, and point data.path to a folder with "
            "train/validation/test in parquet, JSONL or CSV"
        )
    if "train" not in files:
        raise DataError(f"{origin}: the data set has no train split, only {listed(sorted(files))}")
    return {split: [(Path(file), kind) for file in paths] for split, paths in dict(fetched).items()}
