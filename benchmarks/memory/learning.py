"""What packed frozen blocks cost in learning: the same runs at equal passes and active blocks, in three formats.

Every run is kept below the folder that ZORBA_TASKS names, as those of `benchmarks tasks`. What is done is not run
again, and what was cut off goes on. No budgets: they would give a client more active blocks in a smaller format.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.rows import Row, make_row, not_run
from benchmarks.tasks.training import Training
from zorba_ray.artifacts import Run, RunDir

FORMATS = ("compute", "int8", "nf4")
_POINTS = 3.0
"""Of accuracy, in percent."""
_EQUAL = ("federation.fleet=null", "federation.backend=sequential", "allocation={algorithm: greedy, max_blocks: 3}")


@dataclass(frozen=True)
class Series:
    """Runs that differ in format and seed."""

    name: str
    what: str
    config: str
    data: str
    seeds: Sequence[int]
    overrides: tuple[str, ...]

    def run(self, format: str, seed: int) -> Training:
        """One of them."""
        settings = (*self.overrides, f"memory.frozen_format={format}", f"seed={seed}")
        name = f"frozen_{self.name}_{format}_{seed}"
        return Training(name, self.what, self.config, self.data, "", lambda run, found: None, overrides=settings)


SERIES = (
    Series("built_in", "built-in task, all of three of six blocks active", "demo", "", (1, 2, 3), _EQUAL),
    Series(
        "trec", "TREC on MiniLM, biases and norms of three of six blocks active", "trec_minilm", "trec", (1, 2, 3),
        (*_EQUAL, "rounds=15", "eval.every=15"),
    ),
    Series(
        "smollm2", "SST-2 on SmolLM2, norms of ten of thirty blocks active", "smollm2_sst2", "sst2", (1,),
        ("federation.fleet=null", "allocation.max_blocks=10", "data.batch_size=16", "rounds=17", "eval.every=17",
         "eval.rows=500"),
    ),
)  # fmt: skip


def rows(quick: bool) -> list[Row]:
    """Test loss and accuracy of every series by format. Quick: reads what is there, and runs nothing."""
    return [row for series in SERIES for row in _rows(series, quick)]


def _rows(series: Series, quick: bool) -> list[Row]:
    found: dict[str, list[Run]] = {}
    for seed in series.seeds:
        for format in FORMATS:
            training = series.run(format, seed)
            if not quick:
                training.train()
            if RunDir(training.path).finished() is not None:
                found.setdefault(format, []).append(Run(training.path))
    if any(len(found.get(format, [])) < len(series.seeds) for format in FORMATS):
        return [not_run(series.what, "", "int8 within the seeds' spread, nf4 within 3 points", "not run")]
    return [row for format in FORMATS for row in _figures(series, format, found[format], found["compute"])]


def _figures(series: Series, format: str, runs: list[Run], plain: list[Run]) -> list[Row]:
    """Loss and accuracy of one format; int8 is judged by the loss, nf4 by the accuracy."""
    losses, bare = _test(runs, "loss"), _test(plain, "loss")
    points = [100 * (after - before) for after, before in zip(_test(runs, "accuracy"), _test(plain, "accuracy"),
                                                                strict=True)]  # fmt: skip
    summary = runs[0].summary
    assert summary is not None
    details = {
        "by seed": ", ".join(f"{loss:.4f}" for loss in losses),
        "accuracy, points beside compute": ", ".join(f"{value:+.1f}" for value in points),
        "passes": f"{summary.forward_passes_per_client:,} of a client, {runs[0].config.federation.clients} clients, "
        f"batch {runs[0].config.data.batch_size}",
    }
    name = f"{series.what}: test loss, frozen blocks in {format}"
    if format == "compute":
        return [make_row(name, losses, "", "none, for comparison", None, details=details)]
    if format == "int8":
        spread = max(bare) - min(bare) if len(bare) > 1 else None
        met = None if spread is None else abs(median(losses) - median(bare)) <= spread
        return [make_row(name, losses, "", "within the seeds' spread", met, details=details)]
    return [make_row(name, losses, "", "accuracy within 3 points", median(points) >= -_POINTS, details=details)]


def _test(runs: list[Run], figure: str) -> list[float]:
    values = []
    for run in runs:
        assert run.summary is not None
        value = getattr(run.summary.evaluations["test"], figure)
        assert value is not None
        values.append(value)
    return values
