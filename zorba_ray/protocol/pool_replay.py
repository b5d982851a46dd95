"""A replica whose commits add to the accumulators of a pool of seeds (FedKSeed): θ = θ0 + Σ_j c_j z_j, in one pass.

Catching up takes as long after a thousand rounds as after one, and a snapshot is the accumulators.
"""

from collections.abc import Iterable

import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Terms, pool_seeds
from zorba_ray.errors import LedgerError
from zorba_ray.models import Replica
from zorba_ray.protocol.codec import decode
from zorba_ray.protocol.ledger import next_chain
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import on_grid, require_within_reach


class PoolState(ReplicaState):
    """`ReplicaState` for `commits: pool`; keeps the tensors in scope as they were at θ0."""

    def __init__(self, replica: Replica, directions: DirectionBackend, header: LedgerHeader) -> None:
        """As `ReplicaState`; θ is where `directions` compute."""
        super().__init__(replica, directions, header)
        self._start = replica.scoped_copy(self.rule.scope)
        self._seeds = pool_seeds(self.rule.seed, header.pool)
        self._sums = torch.zeros(header.pool + 1, dtype=torch.float64)
        """A_j of every seed, and η."""

    def movable(self) -> dict[str, torch.Tensor]:
        """The accumulators with the rate, from which θ follows."""
        return {"accumulators": self._sums}

    def jump(self, round: int, chain: bytes) -> None:
        """`movable` was written from elsewhere, as it stands after `round`.

        Raises:
            Diverged: a coefficient overflows.
        """
        self._rebuild()
        self.round, self.chain = round, chain

    def check(self, body: bytes) -> None:
        """As `ReplicaState.check`: η Σ_j of what the commit adds to |A_j|, and then of all |A_j|.

        Raises:
            LedgerError: as `catch_up`, but for sums that are not finite.
            Diverged: too far, or not finite.
        """
        commit, sums = decode(body, RoundCommit), self._sums.numpy().copy()
        with np.errstate(invalid="ignore"):
            distance = commit.lr * float(np.abs(np.frombuffer(commit.scalars, dtype="<f4").astype(np.float64)).sum())
        require_within_reach(distance, f"round {commit.round}: its sums")
        self._add(sums, commit)
        on_grid(-sums[-1] * sums[:-1])

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Adds up commits in order, then rebuilds θ once.

        Raises:
            LedgerError: not the next round, a wrong number of sums or one that is not finite, or another rate.
            Diverged: a coefficient overflows; θ is as before then.
        """
        sums, chain, number = self._sums.numpy().copy(), self.chain, self.round
        for body in bodies:
            number += 1
            commit = self.read_commit(body, number)
            self._add(sums, commit)
            chain = next_chain(chain, body)
        if number > self.round:
            kept = self._sums.clone()
            self._sums.copy_(torch.from_numpy(sums))
            try:
                self._rebuild()
            except BaseException:
                self._sums.copy_(kept)
                raise
            self.round, self.chain = number, chain

    def _add(self, sums: np.ndarray, commit: RoundCommit) -> None:
        """Adds a commit to accumulators, with the rate at their end (float64 [pool + 1]).

        Raises:
            LedgerError: as `catch_up`.
        """
        whole = len(commit.scalars) == 4 * (len(sums) - 1)
        own = np.frombuffer(commit.scalars if whole else b"", dtype="<f4").astype(np.float64)
        if not whole or not np.isfinite(own).all():
            sums_found = len(commit.scalars) // 4
            raise LedgerError(f"round {commit.round}: {sums_found} sums, {len(sums) - 1} finite ones expected")
        if sums[-1] not in (0.0, commit.lr):
            raise LedgerError(f"round {commit.round}: rate {commit.lr:g} after {sums[-1]:g}; a pool of seeds needs one")
        sums[:-1] += own
        sums[-1] = commit.lr

    def _rebuild(self) -> None:
        """θ from θ0: every seed in one pass over each tensor."""
        sums = self._sums.numpy()
        coefficients = on_grid(-sums[-1] * sums[:-1])
        terms = Terms(self._seeds, np.zeros(len(self._seeds), np.uint64), coefficients, self.rule.distribution).moving()
        for tensor in self.replica.manifest.moved(self.rule.scope):
            theta = self.replica.parameters[tensor.name]
            theta.copy_(self._start[tensor.name])
            self.directions.apply_commits(theta, tensor.block, tensor.slot, [terms])
