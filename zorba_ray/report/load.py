"""A typed reader of one run directory."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zorba_ray.config import ExperimentConfig, config_from_tree
from zorba_ray.errors import ConfigError, RunDirError
from zorba_ray.report.records import Allocation, Eval, Round, Summary, parse

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class RunRecord:
    """Everything the report knows of one run."""

    path: Path
    config: ExperimentConfig
    provenance: dict[str, Any]
    allocation: Allocation
    rounds: tuple[Round, ...]
    """In order of their number, each once."""
    evals: tuple[Eval, ...]
    """In order of round, each round and split once."""
    summary: Summary | None
    """None while the run is under way, or where the file is older than the last rounds."""

    def split(self, name: str) -> tuple[Eval, ...]:
        """The evaluations of one split."""
        return tuple(record for record in self.evals if record.split == name)

    @property
    def status(self) -> str:
        """As in summary.json; `unfinished` without one."""
        return self.summary.status if self.summary else "unfinished"

    @property
    def rounds_done(self) -> int:
        """Number of the last round on record."""
        return self.rounds[-1].round if self.rounds else 0


def load_run(path: str | Path) -> RunRecord:
    """Reads a run directory, finished or not.

    Raises:
        RunDirError: not a directory, a file is missing or damaged, or a value is of the wrong type; names the file.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunDirError(f"{path}: no such run directory")
    config_path = path / "config.resolved.json"
    tree = read_json(config_path)
    try:
        config = config_from_tree(tree, str(config_path))
    except ConfigError as error:
        raise RunDirError(str(error)) from error
    provenance = read_json(path / "provenance.json")
    allocation = parse(Allocation, read_json(path / "allocation.json"), str(path / "allocation.json"))
    rounds, evals = _read_metrics(path / "metrics.jsonl")
    summary_path = path / "summary.json"
    summary = parse(Summary, read_json(summary_path), str(summary_path)) if summary_path.exists() else None
    if summary is not None and rounds and summary.rounds_done < len(rounds):
        summary = None  # of an earlier session; this one is under way
    return RunRecord(path, config, provenance, allocation, rounds, evals, summary)


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """One name per run, all different."""
    return told_apart([(run.config.name, run.path) for run in runs])


def told_apart(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Names, all different: each with its directory where names repeat."""
    names = [name for name, _ in named]
    short = [f"{name} ({path.name})" for name, path in named]
    found = []
    for index, (name, path) in enumerate(named):
        if names.count(name) == 1:
            found.append(name)
        else:
            found.append(short[index] if short.count(short[index]) == 1 else f"{name} ({path})")
    return found


def read_json(path: Path, of: str = "run") -> dict[str, Any]:
    """A JSON object of a run's or sweep's directory, its text made printable.

    Raises:
        RunDirError: missing, unreadable or no object; names the file.
    """
    try:
        tree = _loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunDirError(f"{path.parent} is not a complete {of} directory: {path.name} is missing") from error
    except (OSError, ValueError) as error:
        raise RunDirError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(tree, dict):
        raise RunDirError(f"{path} holds no JSON object")
    return tree


def _loads(text: str) -> Any:
    tree = json.loads(text)
    # Most lines hold neither an escape nor such a character, and are not walked.
    return _printable(tree) if "\\u" in text or _UNPRINTABLE.search(text) else tree


def _printable(node: Any) -> Any:
    """Control characters and halves of surrogate pairs, which XML and UTF-8 cannot hold, and marks that would turn the
    direction of the text around them, become U+FFFD."""
    if isinstance(node, dict):
        return {_printable(key): _printable(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_printable(item) for item in node]
    return _UNPRINTABLE.sub("\ufffd", node) if isinstance(node, str) else node


def _read_metrics(path: Path) -> tuple[tuple[Round, ...], tuple[Eval, ...]]:
    # Not experiment.tracking.read_records: its package imports torch, and a page of numbers needs none of it.
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise RunDirError(f"{path.parent} is not a complete run directory: {path.name} is missing") from error
    rounds: dict[int, Round] = {}
    evals: dict[tuple[int, str], Eval] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            tree = _loads(line.decode("utf-8"))
            if not isinstance(tree, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if any(later.strip() for later in lines[number:]):
                raise RunDirError(f"{where}: not a JSON object; only the last line may be torn by a kill") from error
            continue
        if tree.get("kind") == "round":
            entry = parse(Round, tree, where)
            rounds.setdefault(entry.round, entry)
        elif tree.get("kind") == "eval":
            record = parse(Eval, tree, where)
            evals.setdefault((record.round, record.split), record)
    return (
        tuple(rounds[number] for number in sorted(rounds)),
        tuple(evals[key] for key in sorted(evals)),
    )
