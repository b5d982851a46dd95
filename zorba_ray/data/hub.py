"""A data set of the Hugging Face hub -> its files on this machine, which are then read like any others."""

from pathlib import Path

from zorba_ray.data.files import KINDS, Kind
from zorba_ray.data.quoting import legible, listed
from zorba_ray.errors import DataError
from zorba_ray.hub import hub_answers


def hub_files(path: str) -> dict[str, list[tuple[Path, Kind]]]:
    """Split -> its files, downloaded or from the cache.

    The files themselves are read, not the tables that `datasets` makes of them: those take `NA` for nothing.

    Raises:
        DataError: not there, no network, or kept in another form than parquet, JSON or CSV.
    """
    import datasets
    from datasets import config as datasets_config

    datasets.disable_progress_bars()
    if not hub_answers():  # what was fetched before is taken from the cache, at once
        datasets_config.HF_HUB_OFFLINE = True
    try:
        builder = datasets.load_dataset_builder(path)
        kind: Kind | None = next((kind for kind in KINDS.values() if kind == builder.name), None)
        files = dict(builder.config.data_files or {})
        wanted = {str(split): list(urls) for split, urls in files.items()} if kind is not None else {}
        fetched = datasets.DownloadManager().download_and_extract(wanted)
    except Exception as error:  # `datasets` raises many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"data.path={legible(path)}: not a local file or folder, and could not be fetched from the hub "
            f"({legible(reason)}); without a network, point data.path to a folder with train/validation/test.parquet"
        ) from error
    if kind is None:
        raise DataError(
            f"data.path={legible(path)}: kept on the hub as {builder.name}; download it, and point data.path to a "
            "folder with train/validation/test in parquet, JSONL or CSV"
        )
    if "train" not in files:
        raise DataError(f"data.path={legible(path)}: the data set has no train split, only {listed(sorted(files))}")
    return {split: [(Path(file), kind) for file in paths] for split, paths in dict(fetched).items()}
