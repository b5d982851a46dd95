"""`data.path` -> train, validation and test rows with integer labels."""

import functools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zorba_ray.config import DataConfig
from zorba_ray.data import grammar
from zorba_ray.data.prompts import prompt_columns
from zorba_ray.directions import permutation
from zorba_ray.errors import DataError

SPLITS = ("train", "validation", "test")
_FORMATS = {".parquet": "parquet", ".jsonl": "json", ".json": "json", ".csv": "csv"}


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
        DataError: nothing there, a missing column, empty or unlabelled data, a label without a label word, or a label
            with a single training example.
    """
    if config.path == "builtin":
        absent = [name for name in prompt_columns(config.prompt) if name != "text"]
        if absent:
            raise DataError(
                f"data.prompt={config.prompt!r}: the builtin data has no column {absent[0]!r} (columns: text)"
            )
        splits = {name: _builtin(name) for name in SPLITS}
    else:
        splits = _read(config, labelled)
    for name, split in splits.items():
        if not len(split):
            raise DataError(f"data.path={config.path}: the {name} split is empty")
    train = splits["train"]
    if config.train_rows is not None and config.train_rows < len(train):
        train = train.take(np.sort(permutation(seed, "rows", 0, 0, len(train))[: config.train_rows]))
    _cut_missing(splits, train, config, seed)
    if labelled:
        _check_labels(splits, config)
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
                f"data.path={config.path}: {len(train)} training rows are too few to cut {' and '.join(missing)} out "
                f"of them (data.holdout={config.holdout})"
            )
        for place, name in enumerate(missing):
            splits[name] = train.take(np.sort(order[place * count : (place + 1) * count]))
        train = train.take(np.sort(order[len(missing) * count :]))
    splits["train"] = train


def _check_labels(splits: dict[str, Split], config: DataConfig) -> None:
    classes = len(config.label_words)
    if not classes:
        raise DataError("data.label_words is empty: give one word or sentence per label, in label order")
    for name, split in splits.items():
        outside = split.labels[(split.labels < 0) | (split.labels >= classes)]
        if len(outside):
            value = int(outside[0])
            if value == -1:
                raise DataError(f"data.path={config.path}: {len(outside)} row(s) of {name} have no label (-1 or empty)")
            raise DataError(
                f"data.path={config.path}: label {value} of the {name} split has no entry in data.label_words "
                f"({classes} entries, labels 0 … {classes - 1})"
            )
    counts = Counter(splits["train"].labels.tolist())
    for label, count in sorted(counts.items()):
        if count == 1:
            raise DataError(
                f"data.path={config.path}: label {label} ({config.label_words[label]!r}) has a single training "
                "example; a class needs at least two: add examples or drop the class"
            )


def _read(config: DataConfig, labelled: bool) -> dict[str, Split]:
    path = Path(config.path).expanduser()
    if path.is_dir():
        files = _files_of(path, config)
    elif path.is_file():
        files = {"train": [path]}
    elif config.path.startswith((".", "/", "~")) or config.path.count("/") > 1 or path.suffix in _FORMATS:
        raise DataError(f"data.path={config.path}: no such file or folder")
    else:
        return _from_hub(config, labelled)
    names = _label_names(path if path.is_dir() else path.parent, config)
    return {split: _from_files(paths, config, labelled, names) for split, paths in files.items()}


def _files_of(folder: Path, config: DataConfig) -> dict[str, list[Path]]:
    """Split -> its files. With partition=files the training files are train-*.EXT, one per client."""
    found: dict[str, list[Path]] = {}
    for split in SPLITS:
        pattern = f"{split}-*" if split == "train" and config.partition == "files" else split
        paths = sorted(p for p in folder.glob(f"{pattern}.*") if p.suffix in _FORMATS)
        if len(paths) > 1 and pattern == split:
            raise DataError(
                f"data.path={config.path}: {' and '.join(p.name for p in paths)} stand for the same split; keep one"
            )
        if paths:
            found[split] = paths
    if "train" not in found:
        wanted = "train-*.parquet" if config.partition == "files" else "train.parquet"
        raise DataError(f"data.path={config.path}: no {wanted} (or .jsonl, .csv) in this folder")
    return found


def _label_names(folder: Path, config: DataConfig) -> list[str]:
    """Names that text labels may have, beside data.label_words."""
    listing = folder / "labels.json"
    if not listing.is_file():
        return []
    try:
        names = json.loads(listing.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"data.path={config.path}: labels.json is not JSON ({error})") from error
    return [str(name) for name in names] if isinstance(names, list) else []


def _from_files(paths: Sequence[Path], config: DataConfig, labelled: bool, names: list[str]) -> Split:
    import datasets

    datasets.disable_progress_bars()
    parts = []
    for path in paths:
        if path.suffix not in _FORMATS:
            raise DataError(f"data.path={path}: {path.suffix or 'no ending'} is not one of {', '.join(_FORMATS)}")
        try:
            empty = path.stat().st_size == 0
        except OSError as error:
            raise DataError(f"data.path={path}: cannot be read ({error.strerror})") from error
        if empty:
            raise DataError(f"data.path={path}: the file is empty")
        try:
            table = datasets.load_dataset(_FORMATS[path.suffix], data_files={"rows": str(path)}, split="rows")
        except Exception as error:  # `datasets` raises many kinds; the cause is kept
            cause = error.__cause__ or error
            # How `datasets` fails on CSV and on parquet without rows.
            if "corresponds to no data" in str(error) or "BatchSize must be greater than 0" in str(cause):
                raise DataError(f"data.path={path}: the file is empty: it has no rows") from error
            raise DataError(f"data.path={path}: could not be read as {_FORMATS[path.suffix]} ({cause})") from error
        owner = path.stem if config.partition == "files" else None
        parts.append(_to_split(table, config, labelled, names, owner, str(path)))
    owners = [part.owners or [] for part in parts]
    return Split(
        {key: [text for part in parts for text in part.columns[key]] for key in parts[0].columns},
        np.concatenate([part.labels for part in parts]),
        [owner for part in owners for owner in part] if parts[0].owners is not None else None,
    )


def _from_hub(config: DataConfig, labelled: bool) -> dict[str, Split]:
    import datasets

    datasets.disable_progress_bars()
    try:
        tables: Any = datasets.load_dataset(config.path)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"data.path={config.path}: not a local file or folder, and could not be fetched from the hub ({reason}); "
            "without a network, point data.path to a folder with train/validation/test.parquet"
        ) from error
    if "train" not in tables:
        raise DataError(f"data.path={config.path}: the data set has no train split, only {sorted(tables)}")
    found = {split: tables[split] for split in SPLITS if split in tables}
    return {split: _to_split(table, config, labelled, [], None, config.path) for split, table in found.items()}


def _to_split(
    table: Any, config: DataConfig, labelled: bool, names: list[str], owner: str | None, origin: str
) -> Split:
    columns = prompt_columns(config.prompt)
    wanted = [*columns, *([config.label_column] if labelled else [])]
    if config.partition == "column" and config.partition_column:
        wanted.append(config.partition_column)
    absent = [name for name in wanted if name not in table.column_names]
    if absent and not (absent == [config.partition_column]):
        raise DataError(
            f"data: {origin} has no column {absent[0]!r} (columns: {', '.join(table.column_names)}); "
            "set data.prompt and data.label_column accordingly"
        )
    texts = {name: ["" if value is None else str(value) for value in table[name]] for name in columns}
    labels = _labels(table[config.label_column], config, names, origin) if labelled else [0] * len(table)
    owners = None
    if owner is not None:
        owners = [owner] * len(table)
    elif config.partition == "column" and not absent:
        owners = [str(value) for value in table[config.partition_column]]
    return Split(texts, np.array(labels, dtype=np.int64), owners)


def _labels(values: Any, config: DataConfig, names: list[str], origin: str) -> list[int]:
    """Integers as they are (None is -1); text by its place in data.label_words or labels.json."""
    codes = {name: place for place, name in enumerate(names)}
    codes.update({word: place for place, word in enumerate(config.label_words)})
    labels = []
    for value in values:
        if value is None or value != value:  # NaN is how some writers say "none"
            labels.append(-1)
        elif isinstance(value, str) and value in codes:  # before digits: "1" may be a label word
            labels.append(codes[value])
        elif isinstance(value, str) and re.fullmatch("-?[0-9]+", value) is None:
            raise DataError(
                f"data: label {value!r} in {origin} is neither in data.label_words {list(config.label_words)} "
                "nor in labels.json"
            )
        elif not isinstance(value, (int, float, str)) or (isinstance(value, float) and not value.is_integer()):
            raise DataError(f"data: label {value!r} in {origin} is not a whole number")
        else:
            labels.append(int(value))
    return labels
