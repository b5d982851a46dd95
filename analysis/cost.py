"""What a run cost: forward passes, bytes on the wire, VRAM, time. Counted from its files, with their source.

Per client means: per client that takes part in every round.
"""

from collections.abc import Iterable
from statistics import median

from zorba_ray.artifacts import Run


def forward_passes_per_round(run: Run) -> float:
    """Full forward passes of one batch that a client computes in a round, mean over the clients.

    (K s + passes (L − s)) / L with s the first active block: the blocks before s run once for all directions of a local
    step, the others in every pass, of which central differences need 2 K P (algorithm.md §4).
    """
    passes, steps, blocks = run.config.passes_per_round, run.config.local_steps, run.allocation.blocks
    each = []
    for client in run.allocation.clients:
        first = min(client.blocks, default=blocks)
        each.append((steps * first + passes * (blocks - first)) / blocks)
    return sum(each) / len(each)


def bytes_by_round(run: Run) -> list[float] | None:
    """Bytes of a client that takes part in every round after 0, 1, … of them, up and down together; None where a round
    has none on record.

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


def seconds_of_rounds(run: Run) -> float | None:
    """Wall time of all rounds together, evaluation and start left out; over all sessions of a resumed run."""
    times = _round_times(run)
    return sum(times) if times else None


def seconds_per_round(run: Run) -> float | None:
    """Median wall time of a round."""
    times = _round_times(run)
    return median(times) if times else None


def _round_times(run: Run) -> list[float] | None:
    """None where a round was recovered without its time."""
    times = [record.time.get("round_s") for record in run.rounds]
    known = [time for time in times if time is not None]
    return known if len(known) == len(times) else None


def vram_saved(run: Run) -> float | None:
    """1 − fleet VRAM / (clients × VRAM with all blocks active); None where the run did not record the latter."""
    whole = run.allocation.bytes_all_active
    return 1 - run.allocation.f2_bytes / (whole * len(run.allocation.clients)) if whole else None


def vram_source(runs: Iterable[Run]) -> str:
    """Where VRAM figures come from, as in 'modelled, simulated'; several sources are all named."""
    found = dict.fromkeys(f"{run.allocation.bytes_source}, {run.allocation.accelerator}" for run in runs)
    return " and ".join(found)


def variation(values: Iterable[float]) -> float:
    """Coefficient of variation: population standard deviation / mean."""
    numbers = list(values)
    mean = sum(numbers) / len(numbers)
    return (sum((value - mean) ** 2 for value in numbers) / len(numbers)) ** 0.5 / mean
