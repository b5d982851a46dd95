"""A run's directory: the names of its files. It is created once, and a resume needs the same settings."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.artifacts.files import held, making, write_json
from zorba_ray.artifacts.metrics import Round
from zorba_ray.artifacts.record import Record, read_record, read_tree
from zorba_ray.artifacts.run_files import HubPin, PartitionRecord, Profile, Provenance, Summary
from zorba_ray.config import ExperimentConfig, changed_numbers, config_from_tree
from zorba_ray.config.base import known_keys
from zorba_ray.config.migration import renamed
from zorba_ray.errors import ConfigError, RunDirError


class RunDir:
    """Paths of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.resolved.json"
        self.provenance = path / "provenance.json"
        self.partition = path / "partition.json"
        self.allocation = path / "allocation.json"
        self.ledger = path / "ledger.zl"
        self.secret = path / "secret.key"
        self.report_keys = path / "reports.key"
        self.snapshots = path / "snapshots"
        self.best = path / "best"
        self.metrics = path / "metrics.jsonl"
        self.pending = path / "pending.json"
        self.answers = path / "answers.json"
        self.summary = path / "summary.json"
        self.profile = path / "profile.json"
        self.report = path / "report.html"

    @classmethod
    def create(cls, path: Path, config: ExperimentConfig) -> "RunDir":
        """A new run directory with its resolved settings. A directory without a ledger, of a run that stopped before
        it began, is used again.

        Raises:
            RunDirError: it exists and has a ledger, is something else, cannot be created there, or is in use.
            StorageError: the disk is full.
        """
        run = cls(path)
        with making("run directory", path):
            unstarted = run.config.exists() and not run.ledger.exists()
            if (
                path.exists()
                and not unstarted
                and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir()))
            ):
                raise RunDirError(
                    f"run directory {path} exists: continue it with --resume, or name another with --run-dir DIR"
                )
            path.mkdir(0o700, parents=True, exist_ok=True)
            with held(path):
                write_json(run.config, config.resolved())
        return run

    def withdraw(self) -> None:
        """Removes the directory of a run that was refused before it had a ledger. Other directories are not touched."""
        if self.ledger.exists():
            return
        for file in (self.config, self.provenance, self.secret, self.report_keys, self.path / ".lock"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder with other files stays
            self.path.rmdir()

    @classmethod
    def reopen(cls, path: Path, config: ExperimentConfig) -> "RunDir":
        """The directory of a run that will be resumed with `config`. Nothing is written.

        `rounds` may be larger, if the rounds so far do not depend on it (`fixed_length`). If config.resolved.json is
        damaged or missing, nothing is compared here: the session compares digests with the ledger's header.

        Raises:
            RunDirError: not a run directory, or settings that change results differ (they are listed), or the run has
                settings that this program does not know.
        """
        run = cls(path)
        try:
            old, unknown = read_run_settings(run.config)
        except RunDirError:
            if run.ledger.exists():
                return run
            raise
        if unknown:
            raise RunDirError(
                f"resume of {path}: it has settings that this program does not know: {', '.join(unknown)}; resume it "
                "with the version of zorba-ray that began it (provenance.json names it), or start a new run in another "
                "directory"
            )
        if config.zo.scope == "auto":  # the run's settings have the scope that was chosen
            config = config.model_copy(update={"zo": config.zo.model_copy(update={"scope": old.zo.scope})})
        changes = changed_numbers(pinned(old, run.hub()).numbers(), pinned(config, run.hub()).numbers())
        longer = len(changes) == 1 and config.rounds > old.rounds
        if changes and not (longer and config.fixed_length is None):
            listing = "\n  ".join(changes)
            why = (
                f"{config.fixed_length} spreads the rate over all rounds, so a longer run has other rates from the "
                "first round on. "
                if longer
                else ""
            )
            raise RunDirError(
                f"resume of {path}: settings that change results differ (old -> new):\n  {listing}\n"
                f"{why}Resume with the old values, or start a new run in another directory"
            )
        return run

    def hub(self) -> dict[str, HubPin]:
        """The commits of this run's repositories on the hub when it began."""
        with contextlib.suppress(RunDirError):
            return read_record(self.provenance, Provenance).hub
        return {}

    def finished(self) -> Summary | None:
        """The summary if the run is finished, else None. A damaged one counts as none: a resume makes it anew."""
        with contextlib.suppress(RunDirError):
            summary = read_record(self.summary, Summary)
            return summary if summary.status == "finished" else None
        return None

    def damaged(self) -> dict[Path, str]:
        """The small files that are there and cannot be read -> why. The ledger decides without them, and a resume makes
        them anew."""
        kinds: dict[Path, type[Record]] = {
            self.provenance: Provenance,
            self.partition: PartitionRecord,
            self.answers: SampledAnswers,
            self.pending: Round,
            self.summary: Summary,
            self.profile: Profile,
        }
        faults = {}
        for path, kind in kinds.items():
            try:
                if path.exists():
                    read_record(path, kind)
            except RunDirError as error:
                faults[path] = str(error)
        try:
            read_run_settings(self.config)
        except RunDirError as error:
            faults[self.config] = str(error)
        return faults


def pinned(config: ExperimentConfig, hub: Mapping[str, HubPin]) -> ExperimentConfig:
    """`config` with the commits of `hub` in place of branches and tags."""
    for part, pin in hub.items():
        section = getattr(config, part)
        if section.revision == pin.asked:
            config = config.model_copy(update={part: section.model_copy(update={"revision": pin.revision})})
    return config


def read_run_settings(path: Path, printable: bool = False) -> tuple[ExperimentConfig, tuple[str, ...]]:
    """(the settings in config.resolved.json, dotted names of settings that this program does not know and ignores).

    Args:
        printable: as in `read_tree`.

    Raises:
        RunDirError: missing or damaged, or a known setting is refused; names file, key and rule.
    """
    tree = renamed(read_tree(path, printable=printable))
    try:
        ExperimentConfig.model_validate(tree)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        extra = [_taken_out(tree, fault["loc"]) for fault in faults if fault["type"] == "extra_forbidden"]
        unknown = tuple(dict.fromkeys(key for key in extra if key is not None))
    except (ArithmeticError, LookupError, TypeError, AttributeError, RecursionError):
        unknown = ()  # `config_from_tree` below reports the fault
    else:
        unknown = ()
    try:
        return config_from_tree(tree, str(path)), unknown
    except ConfigError as error:
        raise RunDirError(str(error)) from error


def _taken_out(tree: Any, location: tuple[int | str, ...]) -> str | None:
    """Removes an unknown key from a tree, and returns its dotted name. None: the key is known, but in another part of a
    union, and stays.

    Args:
        location: of pydantic; besides keys and list positions it has names of parts of unions.
    """
    dotted = []
    for part in location[:-1]:
        if isinstance(tree, dict) and part in tree:
            dotted.append(str(part))
            tree = tree[part]
        elif isinstance(tree, list) and isinstance(part, int):
            tree = tree[part]
    name = ".".join([*dotted, str(location[-1])])
    if name in known_keys(ExperimentConfig) or not isinstance(tree, dict):
        return None
    tree.pop(location[-1], None)
    return name
