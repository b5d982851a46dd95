"""Replicas whose commits are no scalars of clients, and the replica state that a ledger's header asks for.

- A pool of seeds (FedKSeed): commits add to the accumulators of the seeds, and θ = θ0 + Σ_j c_j z_j in one pass.
  Catching up takes as long after a thousand rounds as after one, and a snapshot is the accumulators.
- Tensors: commits are the trained tensors themselves. They are too large for a ledger: its records keep their SHA-256,
  and the newest rounds' tensors are in snapshots, which these runs write after every round.
"""

import hashlib
import math
from collections.abc import Iterable

import msgspec
import numpy as np
import torch

from zorba_ray.directions import DirectionBackend, Terms, pool_seeds
from zorba_ray.errors import LedgerError
from zorba_ray.models import Replica
from zorba_ray.protocol.ledger import next_chain
from zorba_ray.protocol.messages import LedgerHeader, RoundCommit, decode, encode
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import on_grid, require_within_reach


def replica_state(
    replica: Replica, directions: DirectionBackend, header: LedgerHeader, lazily_with: DirectionBackend | None = None
) -> ReplicaState:
    """A state at θ0; arguments and errors as of `ReplicaState`.

    Raises:
        LedgerError: commits of a kind that this program does not know.
    """
    if header.commits in ("scalars", "mean"):
        return ReplicaState(replica, directions, header, lazily_with)
    assert lazily_with is None, "only scalars can wait for the reader of a block"
    if header.commits == "pool":
        return PoolState(replica, directions, header)
    if header.commits == "tensors":
        return TensorState(replica, directions, header)
    raise LedgerError(f"the ledger's commits are {header.commits!r}, which this program does not know")


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
        self._rebuild(self._sums.numpy().copy())
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
            self._rebuild(sums)
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

    def _rebuild(self, sums: np.ndarray) -> None:
        """θ from θ0 by these accumulators, which are kept: every seed in one pass over each tensor.

        Raises:
            Diverged: a coefficient overflows; nothing is changed then.
        """
        coefficients = on_grid(-sums[-1] * sums[:-1])
        terms = Terms(self._seeds, np.zeros(len(self._seeds), np.uint64), coefficients, self.rule.distribution).moving()
        for tensor in self.replica.manifest.moved(self.rule.scope):
            theta = self.replica.parameters[tensor.name]
            theta.copy_(self._start[tensor.name])
            self.directions.apply_commits(theta, tensor.block, tensor.slot, [terms])
        self._sums.copy_(torch.from_numpy(sums))


def ledger_body(body: bytes, commits: str) -> bytes:
    """What the ledger keeps of a commit's frame: all of it, or of tensors the frame with their SHA-256 instead.

    Args:
        commits: `LedgerHeader.commits`.
    """
    if commits != "tensors":
        return body
    commit = decode(body, RoundCommit)
    return encode(msgspec.structs.replace(commit, scalars=hashlib.sha256(commit.scalars).digest()))


class TensorState(ReplicaState):
    """`ReplicaState` for `commits: tensors`; θ in scope is what the last commit says."""

    def check(self, body: bytes) -> None:
        """As `ReplicaState.check`: how far any weight is from where it is now.

        Raises:
            LedgerError: tensors of another model.
            Diverged: too far, or not finite.
        """
        commit = decode(body, RoundCommit)
        own = self.movable().values()
        furthest = 0.0
        for tensor, new in zip(own, self._tensors(commit), strict=True):
            step = torch.from_numpy(new.astype(np.float64)).sub_(tensor.cpu()).abs_()
            furthest = max(furthest, float(step.max())) if bool(step.isfinite().all()) else math.inf
        require_within_reach(furthest, f"round {commit.round}: its tensors")

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Takes over the tensors of commits in order.

        Raises:
            LedgerError: not the next round, a record of the ledger, which has no tensors, or tensors of another model.
        """
        for body in bodies:
            commit = self.read_commit(body, self.round + 1)
            for tensor, new in zip(self.movable().values(), self._tensors(commit), strict=True):
                tensor.copy_(torch.from_numpy(new.copy()))
            self.round, self.chain = commit.round, next_chain(self.chain, ledger_body(body, "tensors"))

    def _tensors(self, commit: RoundCommit) -> list[np.ndarray]:
        """fp32 [numel] of each movable tensor.

        Raises:
            LedgerError: a record of the ledger, which has none, or tensors of another model.
        """
        sizes = [tensor.numel() for tensor in self.movable().values()]
        if len(commit.scalars) != 4 * sum(sizes):
            raise LedgerError(
                f"round {commit.round}: {len(commit.scalars)} bytes of tensors; a ledger keeps none, they are in "
                "the run's snapshots"
            )
        return np.split(np.frombuffer(commit.scalars, dtype="<f4"), np.cumsum(sizes)[:-1])

    def require(self, body: bytes) -> None:
        """Whether θ in scope is what a record of the ledger names.

        Raises:
            LedgerError: it is not.
        """
        hasher = hashlib.sha256()
        for tensor in self.movable().values():
            hasher.update(tensor.cpu().numpy().astype("<f4").tobytes())
        if hasher.digest() != decode(body, RoundCommit).scalars:
            raise LedgerError(
                f"round {self.round}: the snapshot's tensors are not those that the ledger names; delete the snapshot"
            )
