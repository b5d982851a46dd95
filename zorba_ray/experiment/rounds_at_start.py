"""A few rounds whose scalars are all measured at θ0. They show by one evaluation where a learning rate leads.

A scalar is measured before the update of its round, so it does not depend on the rate. θ0 − η Σ g, with the g of all
these rounds, is therefore known for every rate η. It differs from where the rounds would really lead by how much the
gradient turns on the way. A rate at which the steps of several rounds lower the loss, taken at once, does not overshoot
in one of them.
"""

import msgspec

from zorba_ray.artifacts import Eval
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, Diverged
from zorba_ray.experiment.build import Setup, build_host, prepare, solve_allocation
from zorba_ray.experiment.evaluate import Evaluator, collapsed, require_near
from zorba_ray.federation import SequentialBackend, participants, run_round
from zorba_ray.methods import build_method
from zorba_ray.protocol.messages import RoundCommit, encode
from zorba_ray.protocol.replay import rule_of

ROUNDS = 4
"""Rounds whose steps are taken at once."""
CLIENTS = 4
"""Most clients that are asked in a round."""
ROWS = 256
"""Most validation examples."""
_STANDSTILL = 1e-30
"""A rate at which local steps, too, are measured at θ0."""


def prepared_at_start(config: ExperimentConfig, device: str = "cpu") -> Setup:
    """`prepare` with at most ROWS validation examples.

    Raises:
        ConfigError: clients tell only noisy scalars, or as of `prepare`.
    """
    if config.privacy is not None:
        raise ConfigError(
            "privacy: to find a rate, clients are asked for scalars without noise; drop the section privacy, and look "
            "for the rate on data that need no privacy"
        )
    few = config.eval.model_copy(update={"rows": min(ROWS, config.eval.rows or ROWS)})
    return prepare(config.model_copy(update={"eval": few}), device)


class RoundsAtStart:
    """The commits of ROUNDS rounds at θ0, and the validation loss after all of them at any rate."""

    def __init__(self, setup: Setup) -> None:
        """Asks the clients.

        Raises:
            LostClients: a client failed; names it.
            Diverged: losses at θ0 are not finite.
        """
        config = setup.config
        method = build_method(config, rule_of(setup.header), setup.manifest)
        host = build_host(config, setup.header, setup.model)
        host.load_shards(setup.shards)
        self._state, self._model = host.state, setup.model
        self._origin = {name: tensor.clone() for name, tensor in self._state.movable().items()}
        self._chain = self._state.chain
        self._evaluator = Evaluator(setup.model, "validation", setup.validation)
        self.start = self._evaluator.record(0)
        """The evaluation at θ0."""
        absent = setup.fleet.absent_at(1)
        self.clients = min(CLIENTS, config.federation.clients - len(absent))
        """Number of clients that are asked in a round."""
        self.passes = ROUNDS * self.clients * config.passes_per_round
        """Forward passes of all clients together."""
        active = solve_allocation(setup).active.packed
        self._commits: list[RoundCommit] = []
        for number in range(1, ROUNDS + 1):
            self._state.jump(number - 1, self._chain)
            asked = participants(config.seed, number, config.federation.clients, self.clients, absent)
            plan = method.plan(number, self._chain, active if number == 1 else None)
            plan = msgspec.structs.replace(plan, lr=_STANDSTILL)
            result = run_round(SequentialBackend(host), method, plan, asked, 1.0, self._state.check)
            self._commits.append(result.commit)
        self._restore()

    def after(self, lr: float) -> Eval | None:
        """The evaluation at θ0 − lr · Σ g; None: nothing is left of the model. θ is θ0 again afterwards."""
        moved = [encode(msgspec.structs.replace(commit, lr=lr)) for commit in self._commits]
        try:
            self._state.catch_up(moved)
            replica = self._model.replica
            require_near(ROUNDS, replica.distance(self._origin), replica.size())
            result = self._evaluator.record(ROUNDS)
        except (Diverged, ArithmeticError):
            return None
        finally:
            self._restore()
        return None if collapsed(result, self.start) else result

    def _restore(self) -> None:
        for name, tensor in self._state.movable().items():
            tensor.copy_(self._origin[name])
        self._state.jump(0, self._chain)
