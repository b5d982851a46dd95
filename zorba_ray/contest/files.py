"""compare.csv, a line per method; cells.csv, a line per compared run. All digits; unknown is empty."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zorba_ray.contest.records import Contest, Contestant, Outcome, Reached
from zorba_ray.contest.results import COMPARED, FIGURES

Line = dict[str, Any]


def write_tables(state: Contest, path: Path) -> None:
    """Both files, beside compare.json.

    Raises:
        OSError: a file cannot be written.
    """
    _write(path / "compare.csv", method_lines(state))
    _write(path / "cells.csv", cell_lines(state))


def method_lines(state: Contest) -> list[Line]:
    """One line per method, all with the same keys."""
    outcomes = {outcome.method: outcome for outcome in state.outcomes}
    return [_line(state, one, outcomes.get(one.method) or Outcome(method=one.method)) for one in state.contestants]


def cell_lines(state: Contest) -> list[Line]:
    """One line per compared run."""
    outcomes = {outcome.method: outcome for outcome in state.outcomes}
    found = []
    for cell in state.cells:
        figures = outcomes[cell.method].figures if cell.method in outcomes else {}
        found.append(
            {
                "method": cell.method,
                "seed": cell.seed,
                "status": cell.status,
                "rounds_done": cell.round,
                **{name: figures[name].values.get(cell.seed) if name in figures else None for name in FIGURES},
                "error": cell.error,
                "run": cell.run,
            }
        )
    return found


def never_text(reached: Reached) -> str:
    """'' where every seed gets there, 'never', or as in 'never in 1 of 3'."""
    missing = sum(value is None for value in reached.rounds.values())
    if not missing:
        return ""
    return "never" if missing == len(reached.rounds) else f"never in {missing} of {len(reached.rounds)}"


def _line(state: Contest, one: Contestant, outcome: Outcome) -> Line:
    line: Line = {
        "method": one.method,
        "rate": one.rate,
        "rates_tried": " ".join(f"{each.rate:g}" for each in one.tries),
        "tried_losses": " ".join("" if each.loss is None else f"{each.loss}" for each in one.tries),
        "rounds": one.rounds,
        "passes_per_round": one.passes_per_round,
        "passes": one.passes_per_round * one.rounds,
        "passes_left_over": one.left_over,
        "seeds": " ".join(str(cell.seed) for cell in state.cells_of(one.method, "finished")),
        "diverged": " ".join(f"{cell.seed}@{cell.round}" for cell in state.cells_of(one.method, "diverged")),
        "failed": " ".join(str(cell.seed) for cell in state.cells_of(one.method, "failed")),
    }
    for name in FIGURES:
        found = outcome.figures.get(name)
        line[name], line[f"{name}_half"] = (found.mean, found.half) if found else (None, None)
    for name in COMPARED:
        found = outcome.differences.get(name)
        line[f"{name}_difference"], line[f"{name}_difference_half"] = (
            (found.mean, found.half) if found else (None, None)
        )
    for place, target in enumerate(state.targets):
        reached = outcome.reached[place] if place < len(outcome.reached) else None
        known = [value for value in reached.passes.values() if value is not None] if reached else []
        line[f"target_{place + 1}"] = target
        line[f"passes_to_{place + 1}"] = (
            sum(known) / len(known) if reached and known and not never_text(reached) else None
        )
        line[f"never_{place + 1}"] = never_text(reached) if reached else None
    return line | {
        "vram_bytes": outcome.vram_bytes,
        "vram_source": outcome.vram_source,
        "over_budget_bytes": outcome.over_budget_bytes,
    }


def _write(path: Path, lines: Sequence[Line]) -> None:
    """Aside, then renamed: a reader sees the old file or the new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
