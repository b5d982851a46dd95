"""Checks the upload of `ray job submit --working-dir`: its size, and whether all files of a run are in it.

The list of files is made by Ray's own function, so that ignore files have the same effect.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zorba_ray.cli.doctor import Finding
from zorba_ray.config import ExperimentConfig
from zorba_ray.units import format_bytes


def check_upload(folder: Path, config: ExperimentConfig | None, files: list[Path]) -> Iterator[Finding]:
    """Compares the size with the limit of Ray's jobs API, and looks for `files` and the paths in the settings."""
    if not folder.is_dir():
        yield Finding("fault", f"--working-dir {folder} is not a folder", "name the folder with config and data")
        return
    root = folder.resolve()
    packed = packed_files(root)
    yield _size(folder, packed)
    for file in files:
        yield _named(root, packed, "the config", str(file.resolve()))
    for what, value in () if config is None else (("data.path", config.data.path), ("model.path", config.model.path)):
        path = root / Path(value).expanduser()
        if Path(value).expanduser().is_absolute():
            yield Finding("note", f"{what}={value} is not uploaded", "it must be on every node, at this path")
        elif path.exists():
            yield _named(root, packed, what, value)
        elif value != "builtin" and not value.startswith("package:"):
            remedy = "correct the path; or, if it is on the hub, the nodes need a network or a filled cache"
            yield Finding("note", f"{what}={value} is not a path under {root}", remedy)


def packed_files(root: Path) -> dict[Path, int]:
    """Files that Ray would upload, relative to `root` -> their bytes.

    Files in .gitignore, .rayignore and Ray's default excludes are left out, according to the variables
    RAY_RUNTIME_ENV_IGNORE_GITIGNORE and RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES.
    """
    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    packed: dict[Path, int] = {}

    def take(path: Path) -> None:
        if path.is_file():
            packed[path.relative_to(root)] = path.stat().st_size

    excludes = [packaging._get_excludes(root, ray_constants.get_runtime_env_default_excludes())]
    gitignore = os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    packaging._dir_travel(root, excludes, take, include_gitignore=gitignore, logger=logging.getLogger("zorba_ray.ray"))
    return packed


def _size(folder: Path, packed: dict[Path, int]) -> Finding:
    """The size of the upload. Ray's archive is not compressed, so it is about as large as its files."""
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE as cap

    total = sum(packed.values())
    line = f"{folder} uploads {len(packed)} files, {format_bytes(total)} (Ray's limit is {format_bytes(cap)})"
    if total < cap:
        return Finding("ok", line)
    parts: Counter[str] = Counter()
    for path, size in packed.items():
        parts[path.parts[0]] += size
    largest = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.most_common(3))
    remedy = "name what the job does not need in .rayignore; put models and data on a volume that the nodes mount"
    return Finding("fault", f"{line}; largest: {largest}", remedy)


def _named(root: Path, packed: dict[Path, int], what: str, value: str) -> Finding:
    """Whether a file, or every file of a folder, is uploaded."""
    path = Path(os.path.abspath(root / value))
    if not path.is_relative_to(root):
        remedy = "move it into the working directory, or onto a volume that all nodes mount and name it absolutely"
        return Finding("fault", f"{what}={value} is outside {root} and is not uploaded", remedy)
    files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
    missing = [file.relative_to(root) for file in files if file.relative_to(root) not in packed]
    if not missing:
        return Finding("ok", f"{what}={value} is uploaded")
    return Finding(
        "fault",
        f"{what}={value}: {len(missing)} of {len(files)} files would not be uploaded ({missing[0]}), because of a "
        ".gitignore, a .rayignore or Ray's default excludes",
        "remove the pattern; or, for .gitignore, submit with RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 and a .rayignore; or "
        "put the files on a volume that all nodes mount",
    )
