"""What `ray job submit --working-dir` would upload: its size, and the files of a run that it would leave behind.

The folder is walked by Ray's own function, so that ignore files mean here what they mean there.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zorba_ray.cli.doctor.finding import Finding
from zorba_ray.cli.doctor.settings import Plan
from zorba_ray.units import format_bytes

_ENTRY_BYTES = 76
"""A file's two headers in a zip archive, without its name."""


def check(folder: Path, plan: Plan | None) -> Iterator[Finding]:
    """Size against the cap of Ray's jobs API, and the files that the plan names."""
    if not folder.is_dir():
        yield Finding("fault", f"--working-dir {folder} is no folder", "name the folder that holds config and data")
        return
    packed = packed_files(folder)
    yield from _size(folder, packed)
    if plan is not None:
        for what, value in _named(plan):
            yield from _file(folder.resolve(), packed, what, value)


def packed_files(folder: Path) -> dict[Path, int]:
    """Files that Ray would upload, relative to `folder`, with their bytes: .gitignore, .rayignore and Ray's default
    excludes are left out, as RAY_RUNTIME_ENV_IGNORE_GITIGNORE and RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES say."""
    import logging

    from ray._private import ray_constants
    from ray._private.runtime_env import packaging

    root = folder.absolute()
    found: dict[Path, int] = {}

    def take(path: Path) -> None:
        if path.is_file():
            found[path.relative_to(root)] = path.stat().st_size

    excludes = [packaging._get_excludes(root, ray_constants.get_runtime_env_default_excludes())]
    honour = os.environ.get(ray_constants.RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    silent = logging.getLogger("zorba_ray.doctor")
    silent.setLevel(logging.ERROR)
    packaging._dir_travel(root, excludes, take, include_gitignore=honour, logger=silent)
    return found


def archive_bytes(packed: dict[Path, int]) -> int:
    """Bytes of Ray's archive, which is not compressed: the files, and headers that name each of them twice."""
    return sum(size + _ENTRY_BYTES + 2 * len(os.fsencode(path)) for path, size in packed.items())


def _size(folder: Path, packed: dict[Path, int]) -> Iterator[Finding]:
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE as cap

    total = archive_bytes(packed)
    line = f"{folder} uploads {len(packed)} files, {format_bytes(total)} (Ray takes {format_bytes(cap)})"
    if total < cap:
        yield Finding("ok", line)
        return
    parts: Counter[str] = Counter()
    for path, size in packed.items():
        parts[path.parts[0]] += size
    largest = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.most_common(3))
    yield Finding(
        "fault",
        f"{line}; largest: {largest}",
        "name what the job does not need in .rayignore, and put models and data on a volume that the nodes mount",
    )


def _named(plan: Plan) -> Iterator[tuple[str, str]]:
    for file in plan.files:
        yield "the config", str(file.resolve())
    if plan.config.data.path != "builtin":
        yield "data.path", plan.config.data.path
    model = plan.config.model.path
    if model != "builtin" and not model.startswith("package:"):
        yield "model.path", model


def _file(root: Path, packed: dict[Path, int], what: str, value: str) -> Iterator[Finding]:
    given = Path(value).expanduser()
    path = given if given.is_absolute() else root / given
    if not path.exists():
        if not given.is_absolute() and value.count("/") == 1 and not value.startswith("."):
            yield Finding(
                "note",
                f"{what}={value} is no path under {root}: taken as a hub id",
                "the nodes need a network or a filled Hugging Face cache",
            )
        elif given.is_absolute():
            yield Finding("note", f"{what}={value} is not on this machine", "it must be on every node, at this path")
        else:
            yield Finding("fault", f"{what}={value}: nothing there under {root}", "correct the path")
        return
    inside = Path(os.path.abspath(path))
    if not inside.is_relative_to(root):
        if given.is_absolute() and what != "the config":
            yield Finding(
                "note",
                f"{what}={value} is outside {root} and is not uploaded",
                "it must be on every node, at this path",
            )
        else:
            yield Finding(
                "fault",
                f"{what}={value} is outside {root} and is not uploaded",
                "move it into the working directory and name it relatively, or give an absolute path on a volume that "
                "all nodes mount",
            )
        return
    place = inside.relative_to(root)
    if given.is_absolute() and what != "the config":
        yield Finding(
            "fault",
            f"{what}={value} is an absolute path into the working directory: the job's copy is elsewhere",
            f"name it relatively: {what}={place}",
        )
        return
    wanted = (
        [place] if path.is_file() else [file.relative_to(root) for file in sorted(inside.rglob("*")) if file.is_file()]
    )
    left = [file for file in wanted if file not in packed]
    if not left:
        yield Finding("ok", f"{what}={value} is uploaded")
        return
    yield Finding(
        "fault",
        f"{what}={value}: {len(left)} of {len(wanted)} files would be left behind "
        f"({left[0]} by {_reason(root, left[0])})",
        "take the pattern out; or, for .gitignore, submit with RAY_RUNTIME_ENV_IGNORE_GITIGNORE=1 and a .rayignore; or "
        "put it on a volume that all nodes mount",
    )


def _reason(root: Path, file: Path) -> str:
    """The ignore file that leaves `file` out, or Ray's default excludes."""
    from ray._private.runtime_env import packaging

    parts = [root / file, *(root / file).parents]
    for folder in (part for part in parts[1:] if part.is_relative_to(root)):
        for name in (".gitignore", ".rayignore"):
            ignored = packaging._get_ignore_file(folder, name)
            if ignored is not None and any(
                ignored(part) for part in parts if part != folder and folder in part.parents
            ):
                return str((folder / name).relative_to(root))
    return "Ray's default excludes, see RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES"
