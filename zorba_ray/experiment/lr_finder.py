"""Finds a learning rate: takes a few rounds at each rate, always from θ0, with the same directions and batches."""

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
"""With fewer rounds no rate is suggested: the effect of a rate cannot be told from noise."""
CLIENTS = 4
"""Most clients that are asked in a round."""
ROWS = 256
"""Most validation examples."""
BELOW = 3.0
"""A suggested rate is at least this many times smaller than the first rate that raises the loss: a run has more rounds
than this test, and noise adds up. An example, norms and biases of the built-in task: four rounds first raise the loss
at 0.095; over 40 rounds 0.03 learns, and 0.06 does not."""


@dataclass(frozen=True)
class Step:
    """One rate that was tried."""

    lr: float
    loss: float | None
    """Validation loss after the rounds; None: it diverged."""
    change: float | None
    """Change of the loss, compared with θ0."""


@dataclass(frozen=True)
class Ladder:
    """The rates that were tried, and their results."""

    steps: tuple[Step, ...]
    """By rate, ascending."""
    start_loss: float
    """Validation loss at θ0."""
    edge: float | None
    """The smallest rate from which on no rate lowers the loss; None: all rates are below it."""
    suggested: float | None
    """None: no rate lowers the loss, or there were fewer than ROUNDS rounds."""
    rounds: int
    clients: int
    forward_pairs: int
    """Of all rates and clients together."""
    suited: float | None
    """The rate that suits the curvature of the logits, from `suited_pairs` forward pairs, without rounds
    (`scope_probe`)."""
    suited_pairs: int

    @property
    def advice(self) -> tuple[float | None, str]:
        """(the rate to use, or None if no rate can be recommended; the reason in a sentence)."""
        if self.rounds < ROUNDS:
            return None, f"{self.rounds} rounds are too few to tell a rate from noise: use --rounds {ROUNDS} or more"
        if self.suggested is None:
            return None, "no rate lowers the loss: try smaller ones (--rates), or more directions (zo.directions)"
        if self.suited is None or self.suggested <= self.suited:
            return self.suggested, "the rounds above measured it, and it is not too large by the curvature either"
        return self.suited, (
            "the smaller of the two: a rate that is too small learns slowly, one that is too large destroys the "
            "model; if the loss falls too slowly, go up by a factor of 3"
        )


def find_rate(
    config: ExperimentConfig, rates: Sequence[float] | None = None, rounds: int = ROUNDS, clients: int = CLIENTS
) -> Ladder:
    """Runs `rounds` rounds from θ0 at each rate. Nothing is written.

    Args:
        rates: None: two per factor of 10, from zo.lr / 32 to zo.lr · 32.

    Raises:
        ConfigError: a method whose commits are not scalars, a task that is a reward, or a rate that is not positive.
    """
    if config.task_kind == "reward":
        raise ConfigError(
            "task.kind=reward: lr judges a rate by the loss after a few rounds and by its curvature. A reward has no "
            "curvature, and its change in a few rounds is mostly noise. Compare rates by whole runs: a sweep over "
            "zo.lr with the metric validation_reward"
        )
    rates = sorted(rates or [config.zo.lr * 10.0 ** (step / 2) for step in range(-3, 4)])
    if min(rates) <= 0 or not math.isfinite(max(rates)):
        raise ConfigError(f"--rates {list(rates)}: rates must be positive and finite")
    if config.spec.commits not in ("scalars", "mean"):
        raise ConfigError(
            f"method={config.method}: `zorba-ray lr` works only for methods whose clients report scalars, such as "
            "method=zorba"
        )
    config, probe = with_scope(config)
    few = config.eval.model_copy(update={"rows": min(ROWS, config.eval.rows or ROWS)})
    setup = prepare(config.model_copy(update={"eval": few}))
    absent = frozenset(client.id for client in setup.fleet.at(1) if not client.present)
    participant_count = min(clients, config.federation.clients - len(absent))
    asked_by_round = [
        participants(config.seed, number, config.federation.clients, participant_count, absent)
        for number in range(1, rounds + 1)
    ]
    evaluator = Evaluator(setup.model, "validation", setup.validation)
    before, active = evaluator.record(0), solve_allocation(setup).active.packed
    steps = []
    for lr in rates:
        after = _after_rounds(setup, lr, asked_by_round, active, evaluator)
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
        clients=participant_count,
        forward_pairs=len(rates) * rounds * participant_count * config.zo.local_steps * config.zo.directions,
        suited=probe.suited_rate(config.zo.fixed_scope),
        suited_pairs=probe.forward_pairs,
    )


def suggest(steps: Sequence[Step]) -> tuple[float | None, float | None]:
    """(edge, suggested) as in `Ladder`: of the rates at least `BELOW` times smaller than the edge, the one with the
    lowest loss."""
    lowering = [index for index, step in enumerate(steps) if step.change is not None and step.change < 0]
    after = lowering[-1] + 1 if lowering else 0
    edge = steps[after].lr if after < len(steps) else None
    low = [steps[index] for index in lowering if edge is None or steps[index].lr * BELOW <= edge]
    return edge, min(low, key=lambda step: (step.change, step.lr)).lr if low else None


def _after_rounds(
    setup: Setup, lr: float, asked_by_round: Sequence[Sequence[int]], active: bytes, evaluator: Evaluator
) -> Eval | None:
    """The evaluation after the rounds at one rate; None: they diverged. Afterwards θ is θ0 again.

    Args:
        asked_by_round: the clients that are asked, for each round.
    """
    method = build_method(setup.config, rule_of(setup.header), setup.manifest)
    host = build_host(setup.config, setup.header, setup.model)
    size = setup.model.replica.size()
    host.load_shards(setup.shards)
    state = host.state
    origin = {name: tensor.clone() for name, tensor in state.movable().items()}
    try:
        for number, clients in enumerate(asked_by_round, start=1):
            default_plan = method.plan(number, state.chain, active if number == 1 else None)
            plan = msgspec.structs.replace(default_plan, lr=lr)
            state.apply(run_round(SequentialBackend(host), method, plan, clients, 1.0, state.check).body)
        require_near(len(asked_by_round), setup.model.replica.distance(origin), size)
        return evaluator.record(len(asked_by_round))
    except (Diverged, ArithmeticError, LostClients):
        return None
    finally:
        for name, tensor in state.movable().items():
            tensor.copy_(origin[name])
