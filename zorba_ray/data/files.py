"""`data.path` -> the files of each split, from a folder or from a data set on the hub."""

from pathlib import Path

from zorba_ray.config import DataConfig
from zorba_ray.data.table_file import KINDS, Kind
from zorba_ray.errors import DataError
from zorba_ray.hub import gate, hub_answers
from zorba_ray.printable import first_line, listed, on_one_line

SPLITS = ("train", "validation", "test")
_OTHER_DATA = (
    ".tsv", ".txt", ".gz", ".bz2", ".xz", ".zst", ".zip", ".arrow", ".feather", ".xls", ".xlsx", ".ods", ".pkl",
)  # fmt: skip
"""Data files that cannot be read. One of them is an error: ignored, its split would be cut from the training rows."""

Files = dict[str, list[tuple[Path, Kind]]]
"""Split -> its files."""


def training_file(path: Path) -> tuple[Path, Kind]:
    """The file of training rows that `data.path` stands for.

    Raises:
        DataError: there is none.
    """
    origin = f"data.path={on_one_line(str(path))}"
    if path.is_dir():
        return folder_files(path, origin, DataConfig())["train"][0]
    if not path.is_file():
        raise DataError(f"{origin}: no such file or folder")
    return path, file_kind(path)


def file_kind(path: Path) -> Kind:
    """What a file is read as, by its ending.

    Raises:
        DataError: an ending that cannot be read.
    """
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        ending = on_one_line(path.suffix) or "no ending"
        raise DataError(f"data.path={on_one_line(str(path))}: {ending} is not one of {', '.join(KINDS)}")
    return kind


def folder_files(folder: Path, origin: str, config: DataConfig) -> Files:
    """The files of each split in a folder.

    With partition=files there is one file train-NAME per client; another split has one file, or one per client too.
    """
    files: Files = {}
    for split in SPLITS:
        client_files = _of_kind(folder, f"{split}-*") if config.partition == "files" else []
        split_files = [] if split == "train" and config.partition == "files" else _of_kind(folder, split)
        paths = split_files or client_files
        if len(split_files) > 1 or (split_files and client_files):
            names = " and ".join(p.name for p in [*split_files, *client_files][:4])
            raise DataError(f"{origin}: {names} are files of the same split; keep one")
        if paths:
            files[split] = [(path, file_kind(path)) for path in paths]
        elif other := next((p for p in sorted(folder.glob(f"{split}.*")) if p.suffix.lower() in _OTHER_DATA), None):
            raise DataError(
                f"{origin}: {on_one_line(other.name)} has a format that cannot be read; write it as one of "
                f"{', '.join(KINDS)}, or move it out of the folder"
            )
    if "train" not in files:
        expected = "train-*.parquet" if config.partition == "files" else "train.parquet"
        raise DataError(f"{origin}: no {expected} (or .jsonl, .csv) in this folder")
    return files


def _of_kind(folder: Path, stem: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{stem}.*") if path.suffix.lower() in KINDS)


def hub_files(path: str, revision: str | None = None) -> Files:
    """The files of a data set of the Hugging Face hub, downloaded or from the cache.

    The files themselves are read, not the tables that `datasets` makes of them: these read the text `NA` as missing.

    Raises:
        DataError: no such data set, no network, or files in another format than parquet, JSON or CSV.
    """
    import datasets
    from datasets import config as datasets_config

    origin = f"data.path={on_one_line(path)}"
    datasets.disable_progress_bars()
    if not hub_answers():  # files that were downloaded before come from the cache, without waiting
        datasets_config.HF_HUB_OFFLINE = True
    try:
        builder = datasets.load_dataset_builder(path, revision=revision)
        kind: Kind | None = next((kind for kind in KINDS.values() if kind == builder.name), None)
        files = dict(builder.config.data_files or {})
        urls = {str(split): list(names) for split, names in files.items()} if kind is not None else {}
        downloaded = datasets.DownloadManager().download_and_extract(urls)
    except Exception as error:  # `datasets` raises many kinds
        if (closed := gate(error)) is not None:
            raise DataError(f"{origin}: {closed}") from error
        reason = on_one_line(first_line(error, 400)) if hub_answers() else "the hub does not answer"
        raise DataError(
            f"{origin}: not a local file or folder, and could not be downloaded from the hub ({reason}); without a "
            "network, point data.path to a folder with train/validation/test.parquet"
        ) from error
    if kind is None:
        raise DataError(
            f"{origin}: its files on the hub have the format {builder.name}, which cannot be read; download them, and "
            "point data.path to a folder with train/validation/test in parquet, JSONL or CSV"
        )
    if "train" not in files:
        raise DataError(f"{origin}: the data set has no train split, only {listed(sorted(files))}")
    return {split: [(Path(file), kind) for file in paths] for split, paths in dict(downloaded).items()}
