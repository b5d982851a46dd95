"""How a sweep's keys, values, figures and trials are named on the page."""

from collections.abc import Sequence

from zorba_ray.artifacts.sweep import SweepRecord, TrialRecord
from zorba_ray.report.groups import Group
from zorba_ray.report.numbers import text_figure, text_swept

VRAM = "fleet_vram_bytes"

_NAMES = {
    VRAM: "fleet VRAM",
    "worst_share": "VRAM share",
    "bytes_up_per_client_round": "bytes up",
    "bytes_down_per_client_round": "bytes down",
    "wall_s": "wall time",
    "cpu_s": "CPU time",
}


def figure_name(name: str) -> str:
    """'validation_loss' -> 'validation loss'."""
    return _NAMES.get(name, name.replace("_", " "))


def key_name(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key where no other swept key ends on it."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def values_text(values: dict[str, int | float | str | None], keys: Sequence[str]) -> str:
    """As in 'epsilon 0.5, fleet equal'; only the swept keys."""
    return ", ".join(f"{key_name(key, keys)} {text_swept(values[key])}" for key in keys if key in values)


def trial_text(sweep: SweepRecord, trial: TrialRecord, keys: Sequence[str]) -> str:
    """Lines of a trial's tip."""
    figures = [metric.name for metric in sweep.metrics]
    figures += [name for name in ("test_accuracy", VRAM) if name not in figures]
    lines = [f"Trial {trial.entry.trial}: {values_text(trial.entry.values, keys)}"]
    for name in figures:
        if (value := trial.figure(name)) is not None:
            lines.append(f"{figure_name(name)}: {text_figure(name, value)}")
    if not trial.finished:
        lines.append(f"{status_text(trial)}, round {trial.round}")
    return "\n".join(lines)


def group_text(sweep: SweepRecord, group: Group, keys: Sequence[str], extra: str = "") -> str:
    """Lines of a group's tip."""
    lines = [values_text(group.values, keys) or "all trials"]
    figures = [metric.name for metric in sweep.metrics]
    for name in [*figures, *(name for name in (VRAM,) if name not in figures)]:
        spread = group.spread(name)
        if spread is None:
            continue
        text = f"{figure_name(name)}: {text_figure(name, spread.mean)}"
        if spread.low < spread.high:
            text += f" ({text_figure(name, spread.low)} to {text_figure(name, spread.high)}, {spread.count} seeds)"
        lines.append(text)
    many = len(group.trials) > 1
    lines.append(f"trial{'s' if many else ''} {', '.join(map(str, group.numbers))}")
    return "\n".join([*lines, extra] if extra else lines)


def status_text(trial: TrialRecord) -> str:
    """'stopped' is an early end by the scheduler."""
    return {"stopped": "stopped early"}.get(trial.entry.status, trial.entry.status)
