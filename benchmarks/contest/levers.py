"""The levers of zorba one by one, at equal forward passes: each against zorba with none of them changed.

Where a task starts from: eight directions, one-sided, all tensors, half of the blocks, dealt anew every second round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from benchmarks.contest.tasks import AG_NEWS, SST2, TREC_SHORT, Task
from benchmarks.rows import Row, make_row, not_run
from zorba_ray.report.contest import ContestRecord, final_loss
from zorba_ray.report.interval import Interval


@dataclass(frozen=True)
class Lever:
    """One change."""

    name: str
    settings: tuple[str, ...]
    rate: float = 1.0
    """Multiple of the task's rate, where the change moves the scale of a step (LOG.md says where it is from)."""


LEVERS = (
    Lever("none", ()),
    Lever("central", ("zo.difference=central", "zo.directions=4"), 0.5),
    Lever("fixed_deal", ("allocation.every=null",)),
    Lever("matrices", ("zo.scope=matrices",)),
    Lever("bias_norm", ("zo.scope=bias_norm",), 12.5),
    Lever("normalise", ("zo.normalise=spread",), 3.0),
    Lever("clip_spread", ("zo.clip_spread=2",)),
    Lever("momentum", ("zo.momentum=0.7",)),
    Lever("block_rates", ("zo.block_rates=probe",)),
    Lever("label_shift", ("data.label_shift=1",)),
)
_BUILTIN = (
    "rounds=32", "eval.every=32", "zo.scope=all", "zo.lr=0.002", "zo.directions=8", "zo.difference=forward",
    "allocation.every=2", "data.batch_size=8", "tracking.wandb=disabled", "federation.backend=sequential",
    "federation.fleet=[{name: half, count: 8, vram: 4000000}]",
)  # fmt: skip
_SHORT = ("rounds=33", "eval.every=33", "zo.lr=0.002", "data.label_shift=0")
BASES = (
    Task("builtin", "demo", overrides=_BUILTIN),
    replace(TREC_SHORT, name="trec", overrides=(*TREC_SHORT.overrides, "eval.every=33")),
    replace(AG_NEWS, overrides=_SHORT),
    replace(SST2, overrides=_SHORT),
)
"""Five to ten CPU minutes per lever and task: the passes of 150 pairs, of 144 on the built-in task."""


def lever_task(base: Task, lever: Lever) -> Task:
    """Three runs of zorba with the lever, at its rate."""
    config = base.settings()
    rate = lever.rate * (config.zo.lr if config else 1e-3)
    return replace(
        base, name=f"levers/{base.name}/{lever.name}", methods=("zorba",), rates={"zorba": (rate,)},
        own={"zorba": lever.settings} if lever.settings else {},
    )  # fmt: skip


LEVER_TASKS = tuple(lever_task(base, lever) for base in BASES for lever in LEVERS)


def lever_rows(found: Mapping[str, ContestRecord | None]) -> list[Row]:
    """Final loss with a lever less that without, seed by seed; below 0 by more than its interval, it wins.

    Args:
        found: name of a task -> its comparison.
    """
    rows = []
    for base in BASES:
        plain = _losses(found.get(f"levers/{base.name}/none"))
        for lever in LEVERS[1:]:
            own = _losses(found.get(f"levers/{base.name}/{lever.name}"))
            gaps = [own[seed] - plain[seed] for seed in sorted(own.keys() & plain.keys())]
            rows.append(_row(f"{base.name}: final loss, {lever.name} minus none", gaps))
    return rows


def _row(name: str, gaps: list[float]) -> Row:
    goal = "none; it wins below 0 by more than its 95 % interval"
    interval = Interval.of(gaps)
    if interval is None:
        return not_run(name, "nats", goal, "not run, or no data or model")
    half = f" ± {interval.half:.4f}" if interval.half is not None else ""
    return make_row(f"{name} (mean {fmean(gaps):.4f}{half})", gaps, "nats", goal, None, "cpu, 1 thread")


def _losses(record: ContestRecord | None) -> dict[int, float]:
    runs = record.standings[0].runs if record else {}
    found = {seed: final_loss(run) for seed, run in runs.items()}
    return {seed: loss for seed, loss in found.items() if loss is not None}
