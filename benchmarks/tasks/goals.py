"""The rows of training, each with the goal that it is held against."""

from benchmarks.tasks.held_out import HeldOut
from benchmarks.tasks.training import Training, Verdict
from zorba_ray.artifacts import Run

MOST_PASSES = 600
"""Forward passes of a client."""


def reaches(least: float) -> Verdict:
    """An accuracy, within MOST_PASSES."""

    def met(run: Run, found: HeldOut) -> bool:
        passes = run.summary and run.summary.forward_passes_per_client
        return found.accuracy is not None and found.accuracy[1] >= least and (passes or 0) <= MOST_PASSES

    return met


def gains(points: float) -> Verdict:
    """So many points of accuracy above zero-shot."""

    def met(run: Run, found: HeldOut) -> bool:
        return found.accuracy is not None and 100 * (found.accuracy[1] - found.accuracy[0]) >= points

    return met


def beyond_interval(run: Run, found: HeldOut) -> bool:
    """Zero-shot accuracy lies below the interval of the accuracy after."""
    return (
        found.accuracy is not None and found.accuracy_after is not None and found.accuracy[0] < found.accuracy_after[0]
    )


def falls(share: float) -> Verdict:
    """Perplexity falls by `share`, and the whole interval of what is left of it, row by row, lies below 1."""

    def met(run: Run, found: HeldOut) -> bool:
        left = found.perplexity_share
        if left is None or found.perplexity is None:
            return False
        return found.perplexity[1] <= (1 - share) * found.perplexity[0] and left[1] < 1

    return met


def no_goal(run: Run, found: HeldOut) -> None:
    """Of a row that is to run and to be told."""


TRAINING = (
    Training(
        "sst2_plain", "SST-2, plain prompt", "smollm2_sst2", "sst2", "≥ .78 in ≤ 600 forward passes", reaches(0.78), 500,
    ),
    Training(
        "alpaca", "instructions, held-out perplexity of the answer", "smollm2_alpaca", "alpaca_small",
        "falls ≥ 5 %, beyond its interval", falls(0.05), 120, "perplexity",
    ),
    Training("copa", "multiple choice, COPA", "smollm2_copa", "copa", "runs, an honest number", no_goal),
)  # fmt: skip
"""In the order in which they matter."""
