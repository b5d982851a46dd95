"""What the runs of a comparison came to: means with intervals, paired differences, passes to a loss, curves.

Only finished runs are averaged; which seeds those are stands beside every figure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from zorba_ray.contest.records import Contest, Contestant, Estimate, Outcome, Point, Reached, finite
from zorba_ray.contest.student import mean_and_half
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.experiment.tracking import read_records

QUANTILES = (0.25, 0.5, 0.75)
"""Shares of the way from the start to zorba's median final loss: the losses that are to be reached."""


@dataclass(frozen=True)
class _Run:
    """A finished run."""

    summary: dict[str, Any]
    evals: Sequence[dict[str, Any]]
    """Of the validation split, in order of rounds."""
    cpu_s: Sequence[float] | None
    """After 0, 1, … rounds, evaluation left out; None where a round was recovered without it."""
    clients: int

    @property
    def rounds(self) -> int:
        return self.summary["rounds_done"]

    def best(self, key: str, choose: Callable[[Iterable[float]], float]) -> float | None:
        """The best value of `key` over all evaluations."""
        known = [record[key] for record in self.evals if record[key] is not None]
        return choose(known) if known else None

    def moved(self, way: str) -> float | None:
        """Bytes of a client over the whole run: frames of reports up; of plans and commits, with active sets, down."""
        each = self.summary[f"bytes_{way}_per_client_round"]
        if each is None:
            return None
        shared = self.summary[f"probe_bytes_{way}"] + (self.summary["active_set_bytes"] if way == "down" else 0)
        return each * self.rounds + shared / self.clients


FIGURES: dict[str, Callable[[_Run], float | None]] = {
    "start_loss": lambda run: run.summary["start_loss"],
    "final_loss": lambda run: run.summary["final_loss"],
    "best_loss": lambda run: run.best("loss", min),
    "start_accuracy": lambda run: run.summary["start_accuracy"],
    "final_accuracy": lambda run: run.summary["final_accuracy"],
    "best_accuracy": lambda run: run.best("accuracy", max),
    "start_test_accuracy": lambda run: run.summary["start_test_accuracy"],
    "test_accuracy": lambda run: run.summary["test_accuracy"],
    "test_loss": lambda run: run.summary["test_loss"],
    "bytes_up": lambda run: run.moved("up"),
    "bytes_down": lambda run: run.moved("down"),
    "bytes_up_per_round": lambda run: run.summary["bytes_up_per_client_round"],
    "bytes_down_per_round": lambda run: run.summary["bytes_down_per_client_round"],
    "cpu_s": lambda run: run.cpu_s[-1] if run.cpu_s else None,
}
"""Figure -> its value in a run. Losses and accuracies without a split are of the validation split."""

COMPARED = ("final_loss", "best_loss", "final_accuracy", "best_accuracy", "test_loss", "test_accuracy")
"""Figures whose differences are taken seed by seed."""


def find_results(state: Contest, path: Path) -> None:
    """Fills `targets` and `outcomes` of the state from its run directories under `path`."""
    runs = {
        one.method: {cell.seed: _read(path / cell.run) for cell in state.cells_of(one.method, "finished")}
        for one in state.contestants
    }
    state.targets = list(state.settings["targets"]) or _targets(state, runs)
    state.outcomes = [_outcome(state, one, runs[one.method]) for one in state.contestants]
    first = state.outcomes[0].figures
    for outcome in state.outcomes[1:]:
        outcome.differences = {
            name: difference(outcome.figures[name], first[name])
            for name in COMPARED
            if name in outcome.figures and name in first
        }


def estimate(values: Mapping[int, float | None]) -> Estimate | None:
    """Mean and interval over the seeds; None where a seed's value is unknown or there is none."""
    known = {seed: value for seed, raw in values.items() if (value := finite(raw)) is not None}
    if not known or len(known) < len(values):
        return None
    mean, half = mean_and_half(list(known.values()))
    return Estimate(values=known, mean=mean, half=half)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """one − other over the seeds that both have: the interval is that of the paired differences."""
    seeds = sorted(one.values.keys() & other.values.keys())
    return estimate({seed: one.values[seed] - other.values[seed] for seed in seeds}) or Estimate()


def first_at(evals: Sequence[Mapping[str, Any]], target: float) -> int | None:
    """The first evaluated round at or below `target`; None for never."""
    return next((int(record["round"]) for record in evals if record["loss"] <= target), None)


def _targets(state: Contest, runs: Mapping[str, Mapping[int, _Run]]) -> list[float]:
    names = [one.method for one in state.contestants]
    lead = "zorba" if "zorba" in names else names[0]
    found = list(runs[lead].values())
    if not found:
        return []
    start = float(median(run.summary["start_loss"] for run in found))
    end = float(median(run.summary["final_loss"] for run in found))
    return [start - share * (start - end) for share in QUANTILES] if end < start else []


def _outcome(state: Contest, one: Contestant, runs: Mapping[int, _Run]) -> Outcome:
    outcome = Outcome(method=one.method)
    if not runs:
        return outcome
    for name, value in FIGURES.items():
        if one.central and name.startswith("bytes"):
            continue  # nothing travels
        if (found := estimate({seed: value(run) for seed, run in runs.items()})) is not None:
            outcome.figures[name] = found
    each = one.passes_per_round / (state.participants if one.central else 1)
    for target in state.targets:
        rounds = {seed: first_at(run.evals, target) for seed, run in runs.items()}
        passes = {seed: None if number is None else round(number * each) for seed, number in rounds.items()}
        outcome.reached.append(Reached(target=target, rounds=rounds, passes=passes))
    outcome.curve = _curve(one, list(runs.values()), each)
    _memory(state, outcome, list(runs.values()))
    return outcome


def _curve(one: Contestant, runs: Sequence[_Run], each: float) -> list[Point]:
    """At every round that all runs evaluated."""
    tables = [{record["round"]: record for record in run.evals} for run in runs]
    points = []
    for number in sorted(set.intersection(*(set(table) for table in tables))):
        losses = [table[number]["loss"] for table in tables]
        accuracies = [table[number]["accuracy"] for table in tables]
        moved = [_sum(run.moved("up"), run.moved("down")) for run in runs]
        known = None if one.central or None in moved else fmean(value for value in moved if value is not None)
        cpu = [run.cpu_s[number] for run in runs if run.cpu_s]
        points.append(
            Point(
                round=number,
                passes=number * each,
                bytes=None if known is None else known * number / one.rounds,
                cpu_s=fmean(cpu) if len(cpu) == len(runs) else None,
                loss=fmean(losses),
                loss_low=min(losses),
                loss_high=max(losses),
                accuracy=None if None in accuracies else fmean(accuracies),
            )
        )
    return points


def _memory(state: Contest, outcome: Outcome, runs: Sequence[_Run]) -> None:
    held = [run.summary["vram_bytes_per_client"] for run in runs]
    most = max(int(client["bytes"]) for one in held for client in one["clients"])
    outcome.vram_bytes = most
    outcome.vram_source = f"{held[0]['source']}, {held[0]['accelerator']}"
    if state.largest_budget_bytes is not None:
        outcome.over_budget_bytes = most - state.largest_budget_bytes


def _read(path: Path) -> _Run:
    run = RunDir(path)
    records = read_records(run.metrics)
    summary = run.read_json(run.summary)
    rounds = [record for record in records if record["kind"] == "round"]
    each = [(record.get("time") or {}).get("cpu_s") for record in rounds]
    known = [value for value in each if value is not None]
    spent = [sum(known[:count]) for count in range(len(known) + 1)] if len(known) == summary["rounds_done"] else None
    evals = [record for record in records if record["kind"] == "eval" and record["split"] == "validation"]
    return _Run(
        summary,
        sorted(evals, key=lambda record: record["round"]),
        spent,
        len(summary["vram_bytes_per_client"]["clients"]),
    )


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
