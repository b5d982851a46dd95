"""A learning rate from a few rounds per rate: each from θ0, along the same directions and on the same batches."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from zorba_ray.artifacts import Eval
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Diverged, LostClients
from zorba_ray.experiment.build import Setup, build_host, prepare, solve_allocation
from zorba_ray.experiment.evaluate import Evaluator, collapsed, require_near
from zorba_ray.experiment.scope import probe_scopes, with_scope
from zorba_ray.federation import SequentialBackend, participants, run_round
from zorba_ray.methods import build_method
from zorba_ray.protocol.replay import rule_of

ROUNDS = 4
"""Of fewer rounds none is suggested: what noise does in them and what a rate does look the same."""
CLIENTS = 4
"""Clients that are asked in a round, as far as the run asks so many."""
ROWS = 256
"""Validation examples."""
BELOW = 3.0
"""What is suggested is at least this many times below the first rate that raises the loss: a run takes more rounds than
the ladder, and noise adds up. On the built-in task's norms and biases 0.03 learns over 40 rounds and 0.06 does not,
while four rounds first rise at 0.095."""


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
    """None: no rate lowers the loss, or fewer than ROUNDS rounds were taken."""
    rounds: int
    clients: int
    forward_pairs: int
    """Of all rates and clients together."""
    suited: float | None
    """The rate that suits the curvature of the logits, by `suited_pairs` forward pairs and no round (`scope_probe`)."""
    suited_pairs: int

    @property
    def advice(self) -> tuple[float | None, str]:
        """The rate to take, None where none can be named, and why, in a sentence."""
        if self.rounds < ROUNDS:
            return None, f"{self.rounds} rounds are too few to tell a rate from noise: --rounds {ROUNDS} or more"
        if self.suggested is None:
            return None, "no rate lowers the loss: try smaller ones (--rates), or more directions (zo.directions)"
        if self.suited is None or self.suggested <= self.suited:
            return self.suggested, "the rounds above measured it, and by the curvature it is not too large either"
        return self.suited, (
            "the smaller of the two: a rate that is too small learns slowly, one that is too large destroys the "
            "model; if the loss falls too slowly, go up by a factor of 3"
        )


def find_rate(
    config: ExperimentConfig, rates: Sequence[float] | None = None, rounds: int = ROUNDS, clients: int = CLIENTS
) -> Ladder:
    """Takes `rounds` rounds from θ0 at each rate; nothing is written.

    Args:
        rates: None: two per factor 10, 1.5 decades up and down from `zo.lr`.

    Raises:
        ConfigError: a method whose commits are not scalars, a task that is a reward, or a rate that is not positive.
    """
    if config.task_kind == "reward":
        raise ConfigError(
            "task.kind=reward: lr judges a rate by the loss after a few rounds and by its curvature; a reward has no "
            "curvature, and what a few rounds change of it is mostly noise. Compare rates by whole runs: a sweep over "
            "zo.lr with the metric validation_reward"
        )
    rates = sorted(rates or [config.zo.lr * 10.0 ** (place / 2) for place in range(-3, 4)])
    if min(rates) <= 0 or not math.isfinite(max(rates)):
        raise ConfigError(f"rates {list(rates)}: they must be positive")
    if config.spec.commits not in ("scalars", "mean"):
        raise ConfigError(f"method={config.method}: lr knows the methods whose clients report scalars only")
    config, probe = with_scope(config)
    few = config.eval.model_copy(update={"rows": min(ROWS, config.eval.rows or ROWS)})
    setup = prepare(config.model_copy(update={"eval": few}))
    absent = frozenset(client.id for client in setup.fleet.at(1) if not client.present)
    wanted = min(clients, config.federation.clients - len(absent))
    asked = [
        participants(config.seed, number, config.federation.clients, wanted, absent) for number in range(1, rounds + 1)
    ]
    evaluator = Evaluator(setup.model, "validation", setup.validation)
    before, active = evaluator.record(0), solve_allocation(setup).active.packed
    steps = []
    for lr in rates:
        after = _after_rounds(setup, lr, asked, active, evaluator)
        loss = None if after is None or collapsed(after, before) else after.loss
        steps.append(Step(lr, loss, None if loss is None else loss - before.loss))
    probe = probe or probe_scopes(config, (config.zo.fixed_scope,))
    edge, suggested = suggest(steps)
    suggested = suggested if rounds >= ROUNDS else None
    return Ladder(
        steps=tuple(steps),
        start_loss=before.loss,
        edge=edge,
        suggested=suggested,
        rounds=rounds,
        clients=wanted,
        forward_pairs=len(rates) * rounds * wanted * config.zo.local_steps * config.zo.directions,
        suited=probe.suited_rate(config.zo.fixed_scope),
        suited_pairs=probe.forward_pairs,
    )


def suggest(steps: Sequence[Step]) -> tuple[float | None, float | None]:
    """The edge, and the rate that lowers the loss most among those at least `BELOW` times below it; as of `Ladder`."""
    lowering = [place for place, step in enumerate(steps) if step.change is not None and step.change < 0]
    after = lowering[-1] + 1 if lowering else 0
    edge = steps[after].lr if after < len(steps) else None
    low = [steps[place] for place in lowering if edge is None or steps[place].lr * BELOW <= edge]
    return edge, min(low, key=lambda step: (step.change, step.lr)).lr if low else None


def _after_rounds(
    setup: Setup, lr: float, asked: Sequence[Sequence[int]], active: bytes, evaluator: Evaluator
) -> Eval | None:
    """The evaluation after a round per entry of `asked` at one rate; None: they diverged. θ is θ0 again afterwards."""
    method = build_method(setup.config, rule_of(setup.header), setup.manifest)
    host = build_host(setup.config, setup.header, setup.model)
    size = setup.model.replica.size()
    host.load_shards(setup.shards)
    state = host.state
    origin = {name: tensor.clone() for name, tensor in state.movable().items()}
    try:
        for number, clients in enumerate(asked, start=1):
            told = method.plan(number, state.chain, active if number == 1 else None)
            plan = msgspec.structs.replace(told, lr=lr)
            state.apply(run_round(SequentialBackend(host), method, plan, clients, 1.0, state.check).body)
        require_near(len(asked), setup.model.replica.distance(origin), size)
        return evaluator.record(len(asked))
    except (Diverged, ArithmeticError, LostClients):
        return None
    finally:
        for name, tensor in state.movable().items():
            tensor.copy_(origin[name])
