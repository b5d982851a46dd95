"""From zorba's configuration to that of another method: same data, partition, batches, model and clients; what its
authors published for what defines it; as many forward passes of a client."""

import copy
import math
from collections.abc import Sequence
from typing import Any

from zorba_ray.config import ExperimentConfig, config_from_tree
from zorba_ray.config.base import apply_override, parse_override
from zorba_ray.config.baselines import FIRST_ORDER, PUBLISHED
from zorba_ray.errors import ConfigError
from zorba_ray.federation import participants

BACKWARD = 3
"""Forward passes that a forward and backward pass count as: the backward computes two products for each one."""


def passes_per_round(config: ExperimentConfig) -> int:
    """Forward passes of a client in a round, a forward and backward counted as `BACKWARD`."""
    return config.passes_per_round * (BACKWARD if config.method in FIRST_ORDER else 1)


def asked(base: ExperimentConfig) -> int:
    """Clients that take part in a round."""
    federation = base.federation
    return len(participants(base.seed, 1, federation.clients, federation.participants))


def budget_of(base: ExperimentConfig, method: str, budget: int | None = None) -> int:
    """Forward passes that `method` may make: those of a client that is asked in every round of `base`.

    A central method has those of all participants together, as it computes in their place.

    Args:
        budget: passes of a client; None: as many as `base` makes.
    """
    each = passes_per_round(base) * base.rounds if budget is None else budget
    return each * (asked(base) if is_central(method) else 1)


def is_central(method: str) -> bool:
    """Whether a method has one client, which holds all data."""
    return PUBLISHED[method].get("federation.clients") == 1


def rate_key(method: str) -> str:
    """The setting that is its learning rate."""
    return "first_order.lr" if method in FIRST_ORDER else "zo.lr"


def rate_of(config: ExperimentConfig) -> float:
    """The learning rate of a configuration's method."""
    return config.first_order.lr if config.method in FIRST_ORDER else config.zo.lr


def method_config(
    base: ExperimentConfig,
    method: str,
    seed: int,
    rate: float | None = None,
    budget: int | None = None,
    overrides: Sequence[str] = (),
    share: float = 1.0,
) -> ExperimentConfig:
    """The run of `method` that competes with `base`, a run of zorba; a pure function.

    zorba keeps all its settings. Of the others `base` says data, model, memory, clients, participation and evaluation;
    `zo`, `first_order` and what else defines the method are as published. VRAM budgets and the allocation are
    dropped: a method that activates every block can keep neither.

    Args:
        rate: learning rate; None: as configured or published.
        budget: forward passes of a client; None: as many as `base` makes.
        overrides: key=value of this method, on top.
        share: of the rounds that are run, for tuning; the schedule falls within them.

    Raises:
        ConfigError: the settings are refused, or one round alone makes more passes than the budget has.
    """
    tree = _tree(base, method)
    for text in overrides:
        parts, value = parse_override(text)
        apply_override(tree, parts, value)
    if rate is not None:
        apply_override(tree, rate_key(method).split("."), rate)
    tree |= {"method": method, "seed": seed, "name": f"{base.name}-{method}-{seed}"}
    origin = f"compare, {method}"
    each = passes_per_round(config_from_tree({**tree, "rounds": 1}, origin))
    may = budget_of(base, method, budget)
    if each > may:
        raise ConfigError(
            f"{method} makes {each:,} forward passes of a client in a round, and the budget is {may:,}: raise rounds "
            f"or --budget, or lower its local steps as in {method}:"
            f"{'first_order' if method in FIRST_ORDER else 'zo'}.local_steps=1"
        )
    rounds = may // each
    # About as many evaluations as zorba has, at the same shares of the passes.
    every = max(1, round(rounds * base.eval.every / base.rounds))
    rounds = max(1, math.floor(rounds * share + 0.5))
    return config_from_tree({**tree, "rounds": rounds, "eval": {**tree["eval"], "every": every}}, origin)


def _tree(base: ExperimentConfig, method: str) -> dict[str, Any]:
    """Settings of the method, without its rate, rounds, seed and name."""
    tree = copy.deepcopy(base.resolved())
    federation = {**tree["federation"], "backend": "sequential"}
    if method != "zorba":
        for section in ("zo", "allocation", "first_order", "fedkseed"):
            del tree[section]
        for key in ("fleet", "changes", "seeds", "weights"):
            del federation[key]
        if is_central(method):
            federation["participants"] = None
    tree["federation"] = federation
    for key, value in PUBLISHED[method].items():
        apply_override(tree, key.split("."), copy.deepcopy(value))
    return tree
