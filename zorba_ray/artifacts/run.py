"""`Run`: a run read from its directory, with settings, metrics, summary and allocation; also as pandas tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zorba_ray.artifacts.allocation import AllocationRecord
from zorba_ray.artifacts.answers import SampledAnswers
from zorba_ray.artifacts.metrics import Eval, Round, read_metrics
from zorba_ray.artifacts.record import read_record
from zorba_ray.artifacts.run_files import PartitionRecord, Profile, Provenance, Summary
from zorba_ray.artifacts.rundir import RunDir, read_run_settings
from zorba_ray.errors import RunDirError

if TYPE_CHECKING:
    import pandas


class Run:
    """A run, as its files were when the object was made. The run may be finished, running or interrupted.

    Attributes:
        path: its directory.
        config: its settings, with defaults.
        unknown_settings: dotted names of settings of a newer program, which this one does not know and ignores.
        provenance: versions, machine and command of its last session.
        partition: number of training rows of each client and label; None if the file is missing, as in older runs.
        answers: some test rows with the answers before and after training; None if they were not kept.
        allocation: which client holds which blocks, and the bytes.
        rounds: in order of their number, each once.
        evals: evaluations in order of round and split, each once.
        summary: None while the run goes on, or if the file is older than the last rounds.
        profile: None if the run was not profiled.

    Characters that cannot be shown safely (control characters, marks of text direction) are replaced by U+FFFD.
    """

    def __init__(self, directory: str | Path) -> None:
        """Reads a run directory.

        Raises:
            RunDirError: not a directory, a file is missing or damaged, of a newer version, or a value breaks a rule;
                names file, line and key.
        """
        self.path = path = Path(directory)
        if not path.is_dir():
            raise RunDirError(f"{path}: no such run directory")
        files = RunDir(path)
        self.config, self.unknown_settings = read_run_settings(files.config, printable=True)
        self.provenance = read_record(files.provenance, Provenance, printable=True)
        self.partition = (
            read_record(files.partition, PartitionRecord, printable=True) if files.partition.exists() else None
        )
        self.answers = read_record(files.answers, SampledAnswers, printable=True) if files.answers.exists() else None
        self.allocation = read_record(files.allocation, AllocationRecord, printable=True)
        try:
            records = read_metrics(files.metrics, printable=True)
        except FileNotFoundError as error:
            raise RunDirError(f"{path} is not a complete run directory: {files.metrics.name} is missing") from error
        except OSError as error:
            raise RunDirError(f"{files.metrics} cannot be read ({error.strerror})") from error
        # After a kill there may be duplicates, until the run is resumed. The first one counts.
        rounds = {record.round: record for record in reversed(records) if isinstance(record, Round)}
        evals = {(record.round, record.split): record for record in reversed(records) if isinstance(record, Eval)}
        self.rounds: tuple[Round, ...] = tuple(rounds[number] for number in sorted(rounds))
        self.evals: tuple[Eval, ...] = tuple(evals[key] for key in sorted(evals))
        self.summary = read_record(files.summary, Summary, printable=True) if files.summary.exists() else None
        if self.summary is not None and self.summary.rounds_done < len(self.rounds):
            self.summary = None  # it is of an earlier session, and the present session goes on
        self.profile = read_record(files.profile, Profile, printable=True) if files.profile.exists() else None

    def split(self, name: str) -> tuple[Eval, ...]:
        """The evaluations of one split, by round."""
        return tuple(record for record in self.evals if record.split == name)

    @property
    def kept_round(self) -> int | None:
        """The round whose θ is the result of a finished run; None if the run is not finished."""
        if self.summary is None or self.summary.status != "finished":
            return None
        return self.rounds_done if self.summary.kept_round is None else self.summary.kept_round

    def until_kept(self, split: str) -> tuple[Eval, ...]:
        """The evaluations of one split, by round, up to the round that is kept."""
        kept_round = self.kept_round
        return tuple(record for record in self.split(split) if kept_round is None or record.round <= kept_round)

    @property
    def status(self) -> str:
        """As in summary.json; `unfinished` without one."""
        return self.summary.status if self.summary else "unfinished"

    @property
    def rounds_done(self) -> int:
        """Number of the last round in metrics.jsonl."""
        return self.rounds[-1].round if self.rounds else 0

    def rounds_frame(self) -> "pandas.DataFrame":
        """One row per round, indexed by its number: the fields of `Round`, nested ones as time.round_s."""
        return _frame(self.rounds, ["round"])

    def evals_frame(self) -> "pandas.DataFrame":
        """One row per evaluation, indexed by round and split: the fields of `Eval`."""
        return _frame(self.evals, ["round", "split"])

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.status}, {self.rounds_done} of {self.config.rounds} rounds)"


def _frame(records: Sequence[Round | Eval], index: list[str]) -> "pandas.DataFrame":
    import pandas

    table = pandas.json_normalize([record.tree() for record in records])
    return table.drop(columns="kind").set_index(index) if len(table) else table


def run_names(runs: Sequence[Run]) -> list[str]:
    """One name per run, all different."""
    return told_apart([(run.config.name, run.path) for run in runs])


def told_apart(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Names that are all different: a name that occurs twice gets its directory."""
    names = [name for name, _ in named]
    short = [f"{name} ({path.name})" for name, path in named]
    unique = []
    for brief, (name, path) in zip(short, named, strict=True):
        alone = names.count(name) == 1
        unique.append(name if alone else brief if short.count(brief) == 1 else f"{name} ({path})")
    return unique
