"""The levers of zorba one by one, at equal forward passes: each against zorba with none of them changed.

Where a task starts from: eight directions, one-sided, all tensors, half of the blocks, dealt anew every second round.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.contest.measures import by_seed, gap_row, paired
from benchmarks.contest.tasks import AG_NEWS, SST2, TREC_SHORT, Task
from benchmarks.rows import Row
from zorba_ray.report.comparison import ComparisonRecord
from zorba_ray.report.measures import final_loss


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
    Lever("lora", ("zo.scope=lora", "model.lora={rank: 8, alpha: 16}"), 10.0),
    Lever("clip_spread", ("zo.clip_spread=2",)),
    Lever("label_shift", ("data.label_shift=1",)),
)
_BUILTIN = (
    "rounds=32", "eval.every=32", "zo.scope=all", "zo.lr=0.002", "zo.directions=8", "zo.difference=forward",
    "allocation.every=2", "data.batch_size=8", "tracking.wandb=disabled", "federation.backend=sequential",
    "federation.fleet=[{name: half, count: 8, vram: 4000000}]",
)  # fmt: skip
_FOUR = "federation.fleet=[{{name: half, count: 4, vram: {}}}]"
_SHORT = ("rounds=24", "eval.every=24", "eval.rows=400", "data.label_shift=0", "federation.clients=4")
BASES = (
    Task("builtin", "demo", overrides=_BUILTIN),
    replace(TREC_SHORT, name="trec", overrides=(*TREC_SHORT.overrides, "eval.every=33")),
    replace(AG_NEWS, overrides=(*_SHORT, "zo.lr=0.0006", _FOUR.format(59_400_000))),
    replace(SST2, overrides=(*_SHORT, "zo.lr=0.0005", "data.batch_size=8", _FOUR.format(62_200_000))),
)
"""Two to ten CPU minutes per lever and task: the passes of 144 pairs on the built-in task, of 150 on TREC, of 108 on AG
News and SST-2, these with four clients."""


def lever_task(base: Task, lever: Lever) -> Task:
    """Three runs of zorba with the lever, at its rate."""
    config = base.settings()
    rate = lever.rate * (config.zo.lr if config else 1e-3)
    return replace(
        base, name=f"levers/{base.name}/{lever.name}", methods=("zorba",), rates={"zorba": (rate,)},
        own={"zorba": lever.settings} if lever.settings else {},
    )  # fmt: skip


LEVER_TASKS = tuple(lever_task(base, lever) for base in BASES for lever in LEVERS)


def lever_rows(found: Mapping[str, ComparisonRecord | None]) -> list[Row]:
    """Final loss with a lever less that without, seed by seed; below 0 by more than its interval, it wins.

    Args:
        found: name of a task -> its comparison.
    """
    goal = "none; it wins below 0 by more than its 95 % interval"
    rows = []
    for base in BASES:
        losses = {
            lever.name: by_seed(found.get(f"levers/{base.name}/{lever.name}"), "zorba", final_loss) for lever in LEVERS
        }
        plain = losses.pop("none")
        for name, own in losses.items():
            title = f"{base.name}: final loss, {name} minus none"
            rows.append(gap_row(title, paired(own, plain), goal, lambda mean, half: None))
    return rows
