"""A learning rate from a few rounds per rate: each from θ0, along the same directions and on the same batches."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from zorba_ray.active_sets import ActiveSets
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Diverged, LostClients
from zorba_ray.experiment.allocate import first_allocation
from zorba_ray.experiment.build import Setup, build_host, prepare
from zorba_ray.experiment.divergence import collapsed
from zorba_ray.experiment.evaluate import Evaluator
from zorba_ray.experiment.scope import suited_rate, with_scope
from zorba_ray.federation import participants, run_round
from zorba_ray.federation.host import SequentialBackend
from zorba_ray.methods import Method, build_method
from zorba_ray.protocol.replay import rule_of

ROUNDS = 4
CLIENTS = 4
"""Clients that are asked in a round, as far as the run asks so many."""
ROWS = 256
"""Validation examples."""
BELOW = 3.0
"""What is suggested is at least this many times below the first rate that raises the loss: a run takes more rounds than
the ladder, and noise adds up. On the demonstration 0.03 learns over 40 rounds and 0.06 does not, while four rounds
first rise at 0.095."""


@dataclass(frozen=True)
class Step:
    """One rate of the ladder."""

    lr: float
    loss: float | None
    """Validation loss after the rounds; None: it diverged."""
    change: float | None
    """Against θ0."""


@dataclass(frozen=True)
class Ladder:
    """What the rates did."""

    steps: tuple[Step, ...]
    """By rate, ascending."""
    start_loss: float
    """At θ0."""
    edge: float | None
    """The smallest rate from which on no rate lowers the loss; None: all of the ladder is below it."""
    suggested: float | None
    """None: no rate lowers the loss."""
    rounds: int
    clients: int
    forward_pairs: int
    """Of all rates and clients together."""
    suited: float | None
    """The rate that suits the curvature of the logits, by `suited_pairs` forward pairs and no round (`scope_probe`)."""
    suited_pairs: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def rates_around(lr: float, decades: float = 1.5, each: int = 2) -> list[float]:
    """`each` rates per factor 10, `decades` up and down from `lr`."""
    count = round(decades * each)
    return [lr * 10.0 ** (place / each) for place in range(-count, count + 1)]


def find_rate(
    config: ExperimentConfig,
    rates: Sequence[float] | None = None,
    rounds: int = ROUNDS,
    clients: int = CLIENTS,
    done: Callable[[int, int], None] = lambda number, of: None,
) -> Ladder:
    """Takes `rounds` rounds from θ0 at each rate (None: around `zo.lr`); nothing is written.

    Args:
        done: told (rates done, rates) after each.

    Raises:
        ConfigError: a method whose commits are not scalars, no rate, or one that is not positive.
    """
    rates = sorted(rates_around(config.zo.lr) if rates is None else rates)
    if not rates or min(rates) <= 0 or not math.isfinite(max(rates)):
        raise ConfigError(f"rates {list(rates)}: name at least one, all positive")
    if config.spec.commits not in ("scalars", "mean"):
        raise ConfigError(f"method={config.method}: lr knows the methods whose clients report scalars only")
    config, chosen = with_scope(config)
    few = config.eval.model_copy(update={"rows": min(ROWS, config.eval.rows or ROWS)})
    setup = prepare(config.model_copy(update={"eval": few}))
    method = build_method(config, rule_of(setup.header), setup.model.replica.manifest)
    active = ActiveSets(first_allocation(setup).allocation.active).packed
    judge = Evaluator(setup.model, "validation", setup.validation, config.eval.batch_size)
    before = judge.record(0)
    start = before["loss"]
    absent = frozenset(client.id for client in setup.fleet if not client.present)
    wanted = min(clients, config.federation.clients - len(absent))
    steps, pairs = [], 0
    for place, lr in enumerate(rates):
        loss, taken = _walk(setup, method, lr, rounds, wanted, absent, active, judge, before)
        steps.append(Step(lr, loss, None if loss is None else loss - start))
        pairs += taken
        done(place + 1, len(rates))
    edge = first_beyond(steps)
    return Ladder(tuple(steps), start, edge, suggest(steps, edge), rounds, wanted, pairs, *suited_rate(config, chosen))


def first_beyond(steps: Sequence[Step]) -> float | None:
    """The rate after the last one that lowers the loss; None: that is the largest of all."""
    good = [place for place, step in enumerate(steps) if step.change is not None and step.change < 0]
    after = good[-1] + 1 if good else 0
    return steps[after].lr if after < len(steps) else None


def suggest(steps: Sequence[Step], edge: float | None) -> float | None:
    """The rate that lowers the loss most among those at least `BELOW` times below the edge; None: none does."""
    low = [
        step for step in steps if step.change is not None and step.change < 0 and (not edge or step.lr * BELOW <= edge)
    ]
    return min(low, key=lambda step: (step.change, step.lr)).lr if low else None


def _walk(
    setup: Setup,
    method: Method,
    lr: float,
    rounds: int,
    clients: int,
    absent: frozenset[int],
    active: bytes,
    judge: Evaluator,
    before: dict[str, Any],
) -> tuple[float | None, int]:
    """(Validation loss, forward pairs taken) of a few rounds at one rate; θ is θ0 again afterwards.

    Args:
        before: the evaluation at θ0. The loss is None where the rounds destroyed the model.
    """
    config = setup.config
    host = build_host(config, setup.header, setup.model)
    host.load_shards(setup.shards)
    state, pairs = host.state, 0
    origin = {name: tensor.clone() for name, tensor in state.movable().items()}
    try:
        for number in range(1, rounds + 1):
            asked = participants(config.seed, number, len(setup.fleet), clients, absent)
            told = method.plan(number, state.chain, active if number == 1 else None)
            plan = msgspec.structs.replace(told, lr=lr)
            result = run_round(SequentialBackend(host), method, plan, asked, 1.0, host.state.check)
            pairs += len(asked) * config.zo.local_steps * config.zo.directions
            state.apply(result.body)
        after = judge.record(rounds)
        return (None if collapsed(after, before) else after["loss"]), pairs
    except (Diverged, ArithmeticError, LostClients):
        return None, pairs
    finally:
        for name, tensor in state.movable().items():
            tensor.copy_(origin[name])
