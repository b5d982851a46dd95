"""What a run is measured by: one function per quantity, for pages, comparisons and the figures of a paper.

Each takes a run's record and gives a number; None is unknown. Per client means: per client that takes part in every
round, so that runs with drop-outs compare.
"""

from collections.abc import Callable
from statistics import median

from zorba_ray.artifacts import Eval, Run
from zorba_ray.tables import wilson

Measure = Callable[[Run], float | None]


def _last(split: str, field: str, after: int = 0) -> Measure:
    """Of the evaluations from round `after` on, up to the round that is kept, that know the field."""

    def measure(run: Run) -> float | None:
        first = after if run.kept_round is None else min(after, run.kept_round)
        values = [getattr(record, field) for record in run.until_kept(split) if record.round >= first]
        return next((value for value in reversed(values) if value is not None), None)

    return measure


final_loss = _last("validation", "loss")
"""Validation loss of the last evaluation, or of the round that is kept. So `final_accuracy`, unknown for a language
model without labels."""
final_accuracy = _last("validation", "accuracy")
test_loss = _last("test", "loss", after=1)
"""Loss on the test split after training. So `test_accuracy`."""
test_accuracy = _last("test", "accuracy", after=1)


def passes_at(run: Run, round: int) -> int:
    """Forward passes of a client after a round; a backward pass counts as two. All probes of blocks count from round 1
    on, as if they came before it."""
    return run.config.cost_per_round * round + (probe_passes(run) if round else 0)


def probe_passes(run: Run) -> int:
    """Forward passes of probes, a mean over the clients."""
    return round(2 * run.summary.probe_forward_pairs / run.config.federation.clients) if run.summary else 0


def rounds_to(run: Run, level: float) -> float | None:
    """The first evaluated round with a validation loss at or below `level`; None: never."""
    return next((float(record.round) for record in run.split("validation") if record.loss <= level), None)


def bytes_of_client(run: Run, way: str) -> float | None:
    """In all and in probes, active sets left out; None of a central method. `way` is up or down."""
    each = bytes_per_round(run, way)
    if run.summary is None or each is None or run.config.spec.central:
        return None
    return each * run.rounds_done + getattr(run.summary, f"probe_bytes_{way}") / run.config.federation.clients


def bytes_per_round(run: Run, way: str) -> float | None:
    """Of a client in a round, active sets left out; `way` is up or down."""
    return getattr(run.summary, f"bytes_{way}_per_client_round") if run.summary else None


def vram(run: Run) -> float | None:
    """Largest bytes of a client, of the allocation's source."""
    return float(max(client.bytes for client in run.allocation.clients))


def vram_saved(run: Run) -> float | None:
    """1 − fleet VRAM / fleet VRAM with all blocks active; None where the run did not record the latter."""
    whole = run.allocation.fleet_bytes_all_active
    return 1 - run.allocation.f2_bytes / whole if whole else None


def chance(run: Run) -> float | None:
    """Accuracy of guessing each label equally often; None of a language model, of rows with options of their own, or
    where the labels are not known."""
    if run.config.row_kind == "multiple_choice":
        return None
    labels = len(run.config.data.label_words) or max((record.labels or 0 for record in run.evals), default=0)
    return 1 / labels if labels and any(record.accuracy is not None for record in run.evals) else None


def majority(run: Run) -> float | None:
    """Validation accuracy if every row got the label that most training rows have; None where that is not on record, or
    no more than chance."""
    known = [record.majority["accuracy"] for record in run.split("validation") if "accuracy" in record.majority]
    return known[-1] if known and known[-1] > (chance(run) or 0) + 1e-9 else None


def accuracy_interval(record: Eval) -> tuple[float, float] | None:
    """95 % interval of an accuracy, by the rows of its split; None where either is not on record."""
    if record.accuracy is None or not record.items:
        return None
    return wilson(record.accuracy, record.items)


def interval_of(record: Eval, name: str) -> tuple[float, float] | None:
    """95 % interval of one of `Eval.FIGURES`, by the rows of its split; None where it is not on record."""
    if name == "accuracy":
        return accuracy_interval(record)
    span = record.intervals.get(name)
    return None if span is None else (span.low, span.high)


def memory_label(*runs: Run) -> str:
    """Where VRAM figures come from, as in 'modelled, simulated accelerator'; several sources are all named."""
    sources = {(run.allocation.bytes_source, run.allocation.accelerator): None for run in runs}
    return "; ".join(
        f"{source}, {'simulated accelerator' if device == 'simulated' else device}" for source, device in sources
    )


def cpu_seconds(run: Run) -> float | None:
    """None of a run that was taken up again: its summary has those of the last session."""
    return run.summary.cpu_s if run.summary and not run.summary.resumed_after_round else None


def seconds_per_round(run: Run) -> float | None:
    """Median wall time of a round; None where a round was recovered without its time."""
    times = [record.time.get("round_s") for record in run.rounds]
    known = [time for time in times if time is not None]
    return median(known) if known and len(known) == len(times) else None


FIGURES: dict[str, Measure] = {
    **{f"final_{name}": _last("validation", name) for name in Eval.FIGURES},
    **{f"test_{name}": _last("test", name, after=1) for name in Eval.FIGURES},
    "bytes_up": lambda run: bytes_of_client(run, "up"),
    "bytes_down": lambda run: bytes_of_client(run, "down"),
    "vram_bytes": vram,
    "cpu_s": cpu_seconds,
}
"""What a comparison tells of each method, with their names in compare.csv."""
