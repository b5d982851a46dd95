"""The figures of a run: one function per quantity, for pages, comparisons and papers.

Each takes a run and returns a number; None: unknown. "Per client" means per client that takes part in every round, so
that runs in which clients drop out can be compared.
"""

from collections.abc import Callable

from zorba_ray.artifacts import Eval, Run
from zorba_ray.artifacts.sweep import FIGURES as OF_TRIALS
from zorba_ray.artifacts.sweep import last_value
from zorba_ray.config import DECODED
from zorba_ray.tables import wilson

Measure = Callable[[Run], float | None]


final_loss = last_value("validation", "loss")
"""Validation loss of the kept round, or of the last evaluation."""


def passes_at(run: Run, round: int) -> int:
    """Forward passes of a client after a round; a backward pass counts as two. Block probes count as if all came before
    round 1."""
    return run.config.cost_per_round * round + (probe_passes(run) if round else 0)


def probe_passes(run: Run) -> int:
    """Forward passes of block probes, as a mean over the clients."""
    return round(2 * run.summary.probe_forward_pairs / run.config.federation.clients) if run.summary else 0


def bytes_of_client(run: Run, way: str) -> float | None:
    """Bytes of a client over the whole run, with probes and without active sets; None for a method with one client.
    `way` is up or down."""
    per_round = bytes_per_round(run, way)
    if run.summary is None or per_round is None or run.config.spec.central:
        return None
    return per_round * run.rounds_done + getattr(run.summary, f"probe_bytes_{way}") / run.config.federation.clients


def bytes_per_round(run: Run, way: str) -> float | None:
    """Bytes of a client in a round, without active sets; `way` is up or down."""
    return getattr(run.summary, f"bytes_{way}_per_client_round") if run.summary else None


def vram(run: Run) -> float | None:
    """The largest number of bytes of a client, by the allocation's source."""
    return float(max(client.bytes for client in run.allocation.clients))


def vram_saved(run: Run) -> float | None:
    """1 − fleet VRAM / fleet VRAM with all blocks active; None if the latter is not recorded."""
    all_active = run.allocation.fleet_bytes_all_active
    return 1 - run.allocation.f2_bytes / all_active if all_active else None


def examples_of_client(run: Run) -> float | None:
    """Examples of a client that takes part in every round, each counted as often as it is read by a step; None if
    batches are limited by tokens."""
    config = run.config
    return None if config.data.batch_tokens else float(run.rounds_done * config.local_steps * config.data.batch_size)


def data_share(run: Run) -> float:
    """Share of the training examples that clients hold which take part."""
    return sum(client.examples for client in run.allocation.present) / sum(c.examples for c in run.allocation.clients)


def chance(run: Run) -> float | None:
    """Accuracy of a random guess among the labels; None for a language model, for rows with options of their own, or if
    the labels are not known."""
    if run.config.row_kind == "multiple_choice":
        return None
    labels = len(run.config.data.label_words) or max((record.labels or 0 for record in run.evals), default=0)
    return 1 / labels if labels and any(record.accuracy is not None for record in run.evals) else None


def majority(run: Run) -> float | None:
    """Validation accuracy if every row were given the most frequent training label; None if it is not recorded, or not
    above chance."""
    recorded = [record.majority["accuracy"] for record in run.split("validation") if "accuracy" in record.majority]
    return recorded[-1] if recorded and recorded[-1] > (chance(run) or 0) + 1e-9 else None


def headline_figure(run: Run) -> str:
    """The figure that says most of the answers: reward, else the first of `task.scores`, else accuracy, else loss."""
    if run.config.task.is_reward:
        return "reward"
    if run.config.task_kind in DECODED:
        return run.config.task.scores[0]
    return "accuracy" if not run.evals or any(record.accuracy is not None for record in run.evals) else "loss"


def interval_of(record: Eval, name: str) -> tuple[float, float] | None:
    """95 % interval of one of `Eval.FIGURES` over the rows of its split; None if it is not recorded."""
    if name == "accuracy":
        return None if record.accuracy is None or not record.items else wilson(record.accuracy, record.items)
    span = record.intervals.get(name)
    return None if span is None else (span.low, span.high)


def memory_label(*runs: Run) -> str:
    """The source of VRAM figures, such as 'modelled, simulated accelerator'; if there are several, all of them."""
    sources = {(run.allocation.bytes_source, run.allocation.accelerator): None for run in runs}
    return "; ".join(
        f"{source}, {'simulated accelerator' if device == 'simulated' else device}" for source, device in sources
    )


def cpu_seconds(run: Run) -> float | None:
    """CPU seconds of a run; None if it was resumed, because its summary only has those of the last session."""
    return run.summary.cpu_s if run.summary and not run.summary.resumed_after_round else None


FIGURES: dict[str, Measure] = {
    **{f"final_{name}": last_value("validation", name) for name in Eval.FIGURES},
    **{f"test_{name}": last_value("test", name, after=1) for name in Eval.FIGURES},
    "passes": lambda run: float(run.config.cost_per_round * run.rounds_done),
    "examples": examples_of_client,
    "data_share": data_share,
    "bytes_up_per_round": lambda run: None if run.config.spec.central else bytes_per_round(run, "up"),
    "bytes_down_per_round": lambda run: None if run.config.spec.central else bytes_per_round(run, "down"),
    "bytes_up": lambda run: bytes_of_client(run, "up"),
    "bytes_down": lambda run: bytes_of_client(run, "down"),
    "vram_bytes": vram,
    "cpu_s": cpu_seconds,
    "privacy_epsilon": OF_TRIALS["privacy_epsilon"],
}
"""Name in compare.csv -> figure of a comparison."""
