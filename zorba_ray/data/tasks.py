"""`data.path` -> train, validation and test rows with integer labels."""

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import DataConfig
from zorba_ray.data import grammar
from zorba_ray.data.files import KINDS, Kind, read_table
from zorba_ray.data.hub import hub_files
from zorba_ray.data.label_listing import LabelListing, read_listing
from zorba_ray.data.labels import label_positions
from zorba_ray.data.owners import column_owners
from zorba_ray.data.prompts import prompt_columns
from zorba_ray.data.quoting import legible, listed, quoted
from zorba_ray.data.table import Table
from zorba_ray.directions import permutation
from zorba_ray.errors import DataError

SPLITS = ("train", "validation", "test")
_OTHER_DATA = {
    ".tsv",
    ".txt",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
    ".zip",
    ".arrow",
    ".feather",
    ".xls",
    ".xlsx",
    ".ods",
    ".pkl",
}
"""Endings of data that must not be passed over: else a test split would be cut out of the training rows."""


@dataclass(frozen=True)
class Split:
    """Rows of one split: the prompt's columns, integer labels, and who owns each row (partition column or files)."""

    columns: dict[str, list[str]]
    labels: np.ndarray
    """int64 [rows]; zeros for the LM head."""
    owners: list[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> "Split":
        """The given rows, in that order."""
        owners = None if self.owners is None else [self.owners[i] for i in rows]
        return Split({k: [v[i] for i in rows] for k, v in self.columns.items()}, self.labels[rows], owners)


@dataclass(frozen=True)
class Task:
    """Three splits of one data set."""

    train: Split
    validation: Split
    test: Split


def load_task(config: DataConfig, seed: int, labelled: bool) -> Task:
    """Reads `config.path`; `labelled` is False for the LM head.

    Raises:
        DataError: nothing there, a missing column, a prompt's column that is no text, empty or unlabelled data, a
            label without a label word, or a label with a single training example.
    """
    if config.path == "builtin":
        absent = [name for name in prompt_columns(config.prompt) if name != "text"]
        if absent:
            raise DataError(
                f"data.prompt={config.prompt!r}: the builtin data has no column {absent[0]!r} (columns: text)"
            )
        splits = {name: _builtin(name) for name in SPLITS}
        classes = 1 + max(int(split.labels.max()) for split in splits.values())
        if labelled and len(config.label_words) < classes:
            raise DataError(
                f"data.label_words [{listed(config.label_words)}]: label {classes - 1} of the builtin data has no "
                f"entry; give {classes} words or sentences"
            )
    else:
        splits = _read(config, labelled)
    for name, split in splits.items():
        if not len(split):
            raise DataError(f"data.path={legible(config.path)}: the {name} split is empty")
    train = splits["train"]
    if config.train_rows is not None and config.train_rows < len(train):
        train = train.take(np.sort(permutation(seed, "rows", 0, 0, len(train))[: config.train_rows]))
    _cut_missing(splits, train, config, seed)
    if labelled:
        _check_labels(splits["train"], config)
    return Task(splits["train"], splits["validation"], splits["test"])


@functools.cache  # writing the examples takes longer than a short run
def _builtin(name: Any) -> Split:
    rows = grammar.task_split(name)
    return Split({"text": [text for text, _ in rows]}, np.array([label for _, label in rows], dtype=np.int64))


def _cut_missing(splits: dict[str, Split], train: Split, config: DataConfig, seed: int) -> None:
    """Cuts validation, then test, out of the training rows where the source has none."""
    missing = [name for name in ("validation", "test") if name not in splits]
    if missing:
        order = permutation(seed, "rows", 1, 0, len(train))
        count = int(len(train) * config.holdout)
        if count < 1 or len(train) <= count * len(missing):
            raise DataError(
                f"data.path={legible(config.path)}: {len(train)} training rows are too few to cut "
                f"{' and '.join(missing)} out of them (data.holdout={config.holdout})"
            )
        for place, name in enumerate(missing):
            splits[name] = train.take(np.sort(order[place * count : (place + 1) * count]))
        train = train.take(np.sort(order[len(missing) * count :]))
    splits["train"] = train


def _check_labels(train: Split, config: DataConfig) -> None:
    for label, count in sorted(Counter(train.labels.tolist()).items()):
        if count == 1:
            raise DataError(
                f"data.path={legible(config.path)}: label {label} ({quoted(config.label_words[label])}) has a single "
                "training example; a class needs at least two: add examples or drop the class"
            )


def _read(config: DataConfig, labelled: bool) -> dict[str, Split]:
    path = Path(config.path).expanduser()
    listing = LabelListing()
    files: dict[str, list[tuple[Path, Kind]]]
    try:
        if path.is_dir():
            files = _files_of(path, config)
            listing = read_listing(path, config.label_words)
        elif path.is_file():
            files = {"train": [(path, _kind(path))]}
            listing = read_listing(path.parent, config.label_words)
        elif config.path.startswith((".", "/", "~")) or config.path.count("/") > 1 or path.suffix.lower() in KINDS:
            raise DataError(f"data.path={legible(config.path)}: no such file or folder")
        else:
            files = {split: parts for split, parts in hub_files(config.path).items() if split in SPLITS}
    except OSError as error:
        raise DataError(f"data.path={legible(config.path)}: cannot be read ({error.strerror})") from error
    tables = {split: [_table(*file, config, labelled) for file in parts] for split, parts in files.items()}
    labels = None
    if labelled:
        labels = label_positions(tables, config.label_column, config.label_words, listing)
    return {
        split: Split(
            {name: [text for part in parts for text in part.texts(name)] for name in prompt_columns(config.prompt)},
            np.zeros(sum(map(len, parts)), dtype=np.int64) if labels is None else labels[split],
            _owners(parts, [path for path, _ in files[split]], config) if split == "train" else None,
        )
        for split, parts in tables.items()
    }


def _table(path: Path, kind: Kind, config: DataConfig, labelled: bool) -> Table:
    wanted = [*prompt_columns(config.prompt), *([config.label_column] if labelled else [])]
    return read_table(path, kind, wanted, config.partition_column if config.partition == "column" else None)


def _owners(tables: list[Table], paths: list[Path], config: DataConfig) -> list[str] | None:
    if config.partition == "files":
        return [path.stem for path, table in zip(paths, tables, strict=True) for _ in range(len(table))]
    if config.partition == "column" and config.partition_column:
        return column_owners(tables, config.partition_column)
    return None


def _kind(path: Path) -> Kind:
    try:
        return KINDS[path.suffix.lower()]
    except KeyError:
        ending = legible(path.suffix) or "no ending"
        raise DataError(f"data.path={legible(str(path))}: {ending} is not one of {', '.join(KINDS)}") from None


def _files_of(folder: Path, config: DataConfig) -> dict[str, list[tuple[Path, Kind]]]:
    """Split -> its files. With partition=files the training files are train-*.EXT, one per client."""
    found: dict[str, list[tuple[Path, Kind]]] = {}
    for split in SPLITS:
        pattern = f"{split}-*" if split == "train" and config.partition == "files" else split
        paths = sorted(p for p in folder.glob(f"{pattern}.*") if p.suffix.lower() in KINDS)
        if len(paths) > 1 and pattern == split:
            raise DataError(
                f"data.path={legible(config.path)}: {' and '.join(p.name for p in paths)} stand for the same split; "
                "keep one"
            )
        if paths:
            found[split] = [(path, _kind(path)) for path in paths]
        elif other := next((p for p in sorted(folder.glob(f"{split}.*")) if p.suffix.lower() in _OTHER_DATA), None):
            raise DataError(
                f"data.path={legible(config.path)}: {legible(other.name)} is in none of the formats that are read; "
                f"write it as one of {', '.join(KINDS)}, or move it out of the folder"
            )
    if "train" not in found:
        wanted = "train-*.parquet" if config.partition == "files" else "train.parquet"
        raise DataError(f"data.path={legible(config.path)}: no {wanted} (or .jsonl, .csv) in this folder")
    return found
