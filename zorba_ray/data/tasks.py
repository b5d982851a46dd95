"""`data.path` -> train, validation and test rows with integer labels."""

import functools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import DataConfig, TaskConfig
from zorba_ray.data import grammar
from zorba_ray.data.files import SPLITS, Files, file_kind, folder_files, hub_files
from zorba_ray.data.labels import LabelListing, label_positions, read_listing
from zorba_ray.data.list_columns import Chat, chat_text, read_chats, read_options, read_references, right_options
from zorba_ray.data.prompts import prompt_columns
from zorba_ray.data.table_file import KINDS, DataTable
from zorba_ray.data.tables import column_names, read_table
from zorba_ray.directions import permutation
from zorba_ray.errors import DataError
from zorba_ray.printable import listed, on_one_line, shown


@dataclass(frozen=True)
class Split:
    """Rows of one split: columns of text, integer labels, and the owner of each row (partition column or files)."""

    columns: dict[str, list[str]]
    labels: np.ndarray
    """int64 [rows]; zeros where a task has none."""
    owners: list[str] | None = None
    options: list[list[str]] | None = None
    """The options of each row, of a multiple choice; a label is then a position among them."""
    chats: list[Chat] | None = None
    references: list[list[str]] | None = None
    """Of each row, its right answers, where a column has them."""
    tables: Sequence[DataTable] = ()
    """The files of the rows, one after the other; none for built-in rows."""
    places: np.ndarray | None = None
    """Position of each row in the tables, int64 [rows]; None: they are all rows in their order."""

    def row(self, index: int, name: str) -> str:
        """'row 3 (line 4) of rows.csv': a row as its file has it; `name`: of the split, where there is no file."""
        position = index if self.places is None else int(self.places[index])
        for table in self.tables:
            if position < len(table):
                return table.row_of_file(position)
            position -= len(table)
        return f"row {index + 1} of {name}"

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Split":
        """The given rows, in that order."""
        owners = None if self.owners is None else [self.owners[i] for i in rows]
        options = None if self.options is None else [self.options[i] for i in rows]
        columns = {name: [values[i] for i in rows] for name, values in self.columns.items()}
        chats = None if self.chats is None else [self.chats[i] for i in rows]
        references = None if self.references is None else [self.references[i] for i in rows]
        places = rows if self.places is None else self.places[rows]
        return Split(columns, self.labels[rows], owners, options, chats, references, self.tables, places)


@dataclass(frozen=True)
class Task:
    """Three splits of one data set."""

    train: Split
    validation: Split
    test: Split


def load_task(config: DataConfig, seed: int, labelled: bool, task: TaskConfig | None = None) -> Task:
    """Reads `config.path`; `labelled` is True for a classification.

    Raises:
        DataError: no such data, a missing column, a template's column that is not text, empty or unlabelled data, a
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
    for setting in ("options_column", "messages_column", "references_column"):
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


def _read(config: DataConfig, origin: str, labelled: bool, task: TaskConfig) -> dict[str, Split]:
    path = Path(config.path).expanduser()
    listing = LabelListing()
    try:
        if path.is_dir():
            files = folder_files(path, origin, config)
            listing = read_listing(path, config.label_words)
        elif path.is_file():
            files: Files = {"train": [(path, file_kind(path))]}
            listing = read_listing(path.parent, config.label_words)
        elif config.path.startswith((".", "/", "~")) or config.path.count("/") > 1 or path.suffix.lower() in KINDS:
            raise DataError(f"{origin}: no such file or folder")
        else:
            files = {
                split: parts for split, parts in hub_files(config.path, config.revision).items() if split in SPLITS
            }
    except OSError as error:
        raise DataError(f"{origin}: cannot be read ({error.strerror})") from error
    return _splits_of(files, listing, config, labelled, task)


def read_rows(file: Path, config: DataConfig, labelled: bool, task: TaskConfig, gold: bool = True) -> Split:
    """The rows of another file, read with the settings of the run's own data.

    Args:
        gold: labels and right options are read too; False: the rows need none, all have label 0, and a chat may wait
            for its answer.

    Raises:
        DataError: no such file, an ending that cannot be read, a missing column, or rows that `load_task` refuses.
    """
    if not file.is_file():
        raise DataError(f"data.path={on_one_line(str(file))}: no such file")
    kind, base = file_kind(file), Path(config.path).expanduser()
    names, wanted = column_names(file, kind), _wanted_columns(config, labelled and gold, task, gold)
    if names and (absent := [name for name in wanted if name not in names]):
        raise DataError(
            f"data.path={on_one_line(str(file))} has no column {shown(absent[0])} (columns: {listed(names)}), which "
            "data.prompt, data.label_column or task asks for; rename or add it"
        )
    listing = read_listing(file.parent, config.label_words) if gold else LabelListing()
    if gold and not listing.positions and os.path.exists(base):  # else the names of labels beside the run's data
        listing = read_listing(base if base.is_dir() else base.parent, config.label_words)
    undivided = config.model_copy(update={"partition": "iid"})
    (split,) = _splits_of({file.name: [(file, kind)]}, listing, undivided, labelled and gold, task, gold).values()
    return split


def _wanted_columns(config: DataConfig, labelled: bool, task: TaskConfig, gold: bool = True) -> list[str]:
    """Columns that a file must have."""
    lists = [task.options_column, task.messages_column, task.references_column]
    labels = [config.label_column] if labelled or (gold and task.options_column is not None) else []
    return [*_text_columns(config, task), *labels, *(column for column in lists if column is not None)]


def _splits_of(
    files: Files, listing: LabelListing, config: DataConfig, labelled: bool, task: TaskConfig, gold: bool = True
) -> dict[str, Split]:
    """The rows of each split's files; `gold`: with the position of the right option."""
    names, choices = _text_columns(config, task), task.options_column
    wanted = _wanted_columns(config, labelled, task, gold)
    optional = config.partition_column if config.partition == "column" else None
    tables = {split: [read_table(*file, wanted, optional) for file in parts] for split, parts in files.items()}
    labels = {split: np.zeros(sum(map(len, parts)), dtype=np.int64) for split, parts in tables.items()}
    if labelled:
        labels = label_positions(tables, config.label_column, config.label_words, listing)
    splits = {}
    for split, parts in tables.items():
        owners, options, chats, references = None, None, None, None
        if choices is not None:
            option_lists = [read_options(table, choices) for table in parts]
            options = [row for table in option_lists for row in table]
            if gold:
                right = [
                    right_options(table, config.label_column, row_options)
                    for table, row_options in zip(parts, option_lists, strict=True)
                ]
                labels[split] = np.concatenate([np.array(part, dtype=np.int64) for part in right])
        if config.partition == "files":
            names_of_files = [_file_owner(path, split) for path, _ in files[split]]
            owners = [owner for owner, table in zip(names_of_files, parts, strict=True) for _ in range(len(table))]
        elif optional:
            owners = _column_owners(parts, optional, split == "train")
        columns = {name: [text for part in parts for text in part.texts(name)] for name in names}
        if task.messages_column is not None:
            chats = [chat for table in parts for chat in read_chats(table, task.messages_column, gold)]
            columns = {"messages": [chat_text(chat) for chat in chats]}
        if task.references_column is not None:
            references = [row for table in parts for row in read_references(table, task.references_column)]
        splits[split] = Split(columns, labels[split], owners, options, chats, references, parts)
    return splits


def _file_owner(path: Path, split: str) -> str:
    """train-A.jsonl and validation-A.jsonl have the same owner; validation.jsonl has none, ""."""
    if split == "train":
        return path.stem
    return f"train-{path.stem.removeprefix(f'{split}-')}" if path.stem.startswith(f"{split}-") else ""


def _column_owners(tables: Sequence[DataTable], column: str, required: bool) -> list[str] | None:
    """The owner of each row as the column says it: `01` and `1` are two. None: the first table has no such column.

    Args:
        required: every row needs an owner; else a row without one has the owner "".

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
            missing = value is None or value != value or (isinstance(value, str) and not value.strip())
            if missing and not required:
                owners.append("")
                continue
            if missing:
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
