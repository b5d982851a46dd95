"""What a run is measured by: one function per quantity, for pages, comparisons and the figures of a paper.

Each takes a run's record and gives a number; None is unknown. Per client means: per client that takes part in every
round, so that runs with drop-outs compare.
"""

from collections.abc import Callable, Iterable
from operator import itemgetter
from statistics import median

from zorba_ray.artifacts import Run

Measure = Callable[[Run], float | None]


def _evaluated(split: str, field: str, pick: Callable[[list[float]], float], after: int = 0) -> Measure:
    """`pick` of the values of the evaluations from round `after` on; None without any."""

    def measure(run: Run) -> float | None:
        values = [getattr(record, field) for record in run.split(split) if record.round >= after]
        known = [value for value in values if value is not None]
        return pick(known) if known else None

    return measure


_first, _last = itemgetter(0), itemgetter(-1)
start_loss = _evaluated("validation", "loss", _first)
"""Validation loss of the first evaluation."""
final_loss = _evaluated("validation", "loss", _last)
"""Validation loss of the last evaluation. So `final_accuracy`, unknown for a language model without labels."""
final_accuracy = _evaluated("validation", "accuracy", _last)
best_loss = _evaluated("validation", "loss", min)
"""Lowest validation loss. So `best_accuracy`, the highest."""
best_accuracy = _evaluated("validation", "accuracy", max)
test_loss = _evaluated("test", "loss", _last, after=1)
"""Loss on the test split after training. So `test_accuracy`."""
test_accuracy = _evaluated("test", "accuracy", _last, after=1)


def distance(run: Run) -> float | None:
    """‖θ − θ0‖ over the tensors in scope, the last one on record."""
    return next((record.distance for record in reversed(run.rounds) if record.distance is not None), None)


def passes_at(run: Run, round: int) -> int:
    """Forward passes of a client after a round; a backward pass counts as two. All probes of blocks count from round 1
    on, as if they came before it."""
    return run.config.cost_per_round * round + (probe_passes(run) if round else 0)


def probe_passes(run: Run) -> int:
    """Forward passes of probes, a mean over the clients."""
    return round(2 * run.summary.probe_forward_pairs / run.config.federation.clients) if run.summary else 0


def passes_of_all(run: Run, round: int) -> int:
    """Forward passes of all asked clients together after a round: at equal cost whatever the number of clients is."""
    asked = next((record.clients_asked for record in run.rounds if record.clients_asked), len(run.allocation.clients))
    return asked * passes_at(run, round)


def whole_passes_per_round(run: Run) -> float:
    """Passes through the whole model on one batch that a client makes in a round, mean over the clients.

    (K s + passes (L − s)) / L with s the first active block: the blocks before s run once for all directions of a local
    step, the others in every pass, of which central differences need 2 K P (algorithm.md §4).
    """
    passes, steps, blocks = run.config.passes_per_round, run.config.local_steps, run.allocation.blocks
    firsts = [min(client.blocks, default=blocks) for client in run.allocation.clients]
    return sum((steps * first + passes * (blocks - first)) / blocks for first in firsts) / len(firsts)


def rounds_to(run: Run, level: float) -> float | None:
    """The first evaluated round with a validation loss at or below `level`; None: never."""
    return next((float(record.round) for record in run.split("validation") if record.loss <= level), None)


def passes_to(run: Run, level: float) -> float | None:
    """Forward passes of a client by then."""
    reached = rounds_to(run, level)
    return None if reached is None else float(passes_at(run, int(reached)))


def is_central(run: Run) -> bool:
    """Whether the method has no federation: one client makes the passes of all, and nothing travels."""
    return run.config.spec.central


def bytes_up(run: Run) -> float | None:
    """Of a client, in all and in probes; None of a central method."""
    return _bytes(run, "up")


def bytes_down(run: Run) -> float | None:
    """Of a client, in all and in probes, active sets left out; None of a central method."""
    return _bytes(run, "down")


def _bytes(run: Run, way: str) -> float | None:
    each = bytes_per_round(run, way)
    if run.summary is None or each is None or is_central(run):
        return None
    return each * run.rounds_done + getattr(run.summary, f"probe_bytes_{way}") / run.config.federation.clients


def bytes_per_round(run: Run, way: str) -> float | None:
    """Of a client in a round, active sets left out; `way` is up or down."""
    return getattr(run.summary, f"bytes_{way}_per_client_round") if run.summary else None


def bytes_by_round(run: Run) -> list[float] | None:
    """Bytes of a client after 0, 1, … rounds, up and down together; None where a round has none on record.

    A report's frame up, a plan's and a commit's frame down. Active sets, sent once, are left out.
    """
    total, found = 0.0, [0.0]
    for record in run.rounds:
        arrived = (record.clients_ok or 0) + len(record.rejected)
        if record.bytes_up is None or record.plan_bytes is None or record.commit_bytes is None or not arrived:
            return None
        total += record.bytes_up / arrived + record.plan_bytes + record.commit_bytes
        found.append(total)
    return found


def vram(run: Run) -> float | None:
    """Largest bytes of a client, of the allocation's source."""
    return float(max(client.bytes for client in run.allocation.clients))


def fleet_vram(run: Run) -> float | None:
    """Bytes of all clients, of the allocation's source."""
    return float(run.allocation.f2_bytes)


def vram_saved(run: Run) -> float | None:
    """1 − fleet VRAM / (clients × VRAM with all blocks active); None where the run did not record the latter."""
    whole = run.allocation.bytes_all_active
    return 1 - run.allocation.f2_bytes / (whole * len(run.allocation.clients)) if whole else None


def vram_source(runs: Iterable[Run]) -> str:
    """Where VRAM figures come from, as in 'modelled, simulated'; several sources are all named."""
    found = dict.fromkeys(f"{run.allocation.bytes_source}, {run.allocation.accelerator}" for run in runs)
    return " and ".join(found)


def cpu_seconds(run: Run) -> float | None:
    """None of a run that was taken up again: its summary has those of the last session."""
    return run.summary.cpu_s if run.summary and not run.summary.resumed_after_round else None


def seconds_of_rounds(run: Run) -> float | None:
    """Wall time of all rounds together, evaluation and start left out; over all sessions of a resumed run."""
    return sum(times) if (times := _round_times(run)) else None


def seconds_per_round(run: Run) -> float | None:
    """Median wall time of a round."""
    return median(times) if (times := _round_times(run)) else None


def _round_times(run: Run) -> list[float] | None:
    """None where a round was recovered without its time."""
    times = [record.time.get("round_s") for record in run.rounds]
    known = [time for time in times if time is not None]
    return known if len(known) == len(times) else None


FIGURES: dict[str, Measure] = {
    "final_loss": final_loss,
    "best_loss": best_loss,
    "final_accuracy": final_accuracy,
    "best_accuracy": best_accuracy,
    "test_loss": test_loss,
    "test_accuracy": test_accuracy,
    "bytes_up": bytes_up,
    "bytes_down": bytes_down,
    "vram_bytes": vram,
    "cpu_s": cpu_seconds,
}
"""What a comparison tells of each method, with their names in compare.csv."""
