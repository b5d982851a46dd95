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


_REWARD = (
    "task.reward=zorba_ray.tasks.rewards:exact_match", "eval.metric=reward", "rounds=40", "zo.scope=bias_norm",
    "zo.perturbation_scale=0.1", "zo.directions=16", "zo.lr=0.1", "data.batch_size=32", "federation.clients=4",
    "federation.fleet=null", "federation.backend=sequential", "memory={frozen: device}", "eval.rows=512",
    "tracking.wandb=disabled",
)  # fmt: skip
_FIRST_ORDER = (
    "federation.fleet=null", "allocation={}", "memory.frozen=device", "rounds=3", "eval.every=3", "eval.rows=150",
    "data.batch_size=8", "method_settings={local_steps: 5, lr: 0.001}",
)  # fmt: skip
_SHORT = (
    "rounds=22", "data.batch_size=16", "federation.fleet=null", "allocation.max_blocks=10", "zo.lr=0.025",
)  # fmt: skip
"""A third of the passes, in half the batch."""
_PLAIN, _FEW = "SST-2, plain prompt", "≥ .78 in ≤ 600 forward passes"

_SQUAD = (
    'data.prompt="{context}\\nQuestion: {question}\\nAnswer:"',
    "data.max_length=320",
    "eval={every: 20, rows: 80}",
    'task={references_column: answers, max_new_tokens: 12, until: ["\\n"]}',
    "rounds=20",
    "zo.directions=4",
    "zo.lr=0.02",
)
"""Answers from a passage."""

TRAINING = (
    Training("sst2_plain", _PLAIN, "smollm2_sst2", "sst2", _FEW, reaches(0.78), 500),
    Training(
        "sst2_good", "SST-2, good prompt", "smollm2_sst2", "sst2", "above zero-shot, beyond its interval",
        beyond_interval, 500, overrides=(
            'data.prompt="Review: {text}\\nSentiment:"', "data.label_words=[negative, positive]", *_SHORT,
        ),
    ),
    Training(
        "trec", "TREC", "smollm2_sst2", "trec", "+ ≥ 8 points", gains(8), overrides=(
            'data.prompt="{text}\\nAsks for:"', "data.max_length=48", *_SHORT, "zo.lr=0.0125",
            "data.label_words=[abbreviation, description, entity, human, location, number]",
        ),
    ),
    Training(
        "fin_sentiment", "financial sentiment", "smollm2_sst2", "fin_sentiment", "+ ≥ 8 points", gains(8), overrides=(
            'data.prompt="{text}\\nSentiment:"', "data.label_words=[negative, neutral, positive]", *_SHORT,
        ),
    ),
    Training(
        "ag_news", "AG News", "smollm2_sst2", "ag_news", "+ ≥ 8 points", gains(8), 500, overrides=(
            'data.prompt="{text}\\nTopic:"', "data.label_words=[World, Sports, Business, Technology]", *_SHORT,
            "data.max_length=80",
        ),
    ),
    Training(
        "alpaca", "instructions, held-out perplexity of the answer", "smollm2_alpaca", "alpaca_small",
        "falls ≥ 5 %, beyond its interval", falls(0.05), 120, "perplexity",
    ),
    Training(
        "squad", "SQuAD, loss on the answer", "smollm2_alpaca", "squad_small", "runs, the numbers", no_goal, None,
        "token_f1", (*_SQUAD, "data.batch_tokens=1280"),
    ),
    Training(
        "squad_f1", "SQuAD, F1 of the answer itself as the reward", "smollm2_alpaca", "squad_small",
        "runs, the numbers", no_goal, None, "token_f1", (
            *_SQUAD, "task.reward=zorba_ray.tasks.rewards:token_f1", "data.batch_tokens=null", "data.batch_size=8",
            "federation.clients=2", "zo.perturbation_scale=0.01",
        ),
    ),
    Training("copa", "multiple choice, COPA", "smollm2_copa", "copa", "runs, an honest number", no_goal, 100),
    *(
        Training(
            f"reward_{seed}", "built-in task, accuracy itself as the reward", "demo", "", "above zero-shot, beyond its "
            "interval", beyond_interval, 512, overrides=(*_REWARD, f"seed={seed}"),
        )
        for seed in (1, 2, 3)
    ),
    *(
        Training(
            f"sst2_{method}", f"{_PLAIN}, {what}", "smollm2_sst2", "sst2", "beside it", no_goal,
            overrides=(f"method={method}", *_FIRST_ORDER, *more),
        )
        for method, what, more in (
            ("fedit", "first-order LoRA", ("model.lora.rank=8", "zo={scope: lora}")),
            ("fedavg", "first-order, all tensors of the blocks", ("zo={}", "method_settings.lr=0.01")),
            ("adamw", "first-order, all data in one place", (
                "zo={}", "federation.clients=1", "method_settings={local_steps: 20, lr: 3.0e-5}",
            )),
        )
    ),
)  # fmt: skip
"""In the order in which they matter."""
