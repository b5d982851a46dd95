"""Replica states for the two kinds of commits that are not scalars of clients, and `replica_state`, which chooses one.

- A pool of seeds (FedKSeed): a commit adds to the accumulator of each seed, and θ = θ0 + Σ_j c_j z_j in one pass.
  Catching up takes as long after a thousand rounds as after one. A snapshot holds the accumulators.
- Tensors: a commit is the trained tensors themselves. They are too large for a ledger, whose records keep their
  SHA-256 instead. The tensors of the newest rounds are in snapshots, which these runs write after every round.
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
from zorba_ray.zo import on_grid, require_short, require_within_reach


def replica_state(
    replica: Replica, directions: DirectionBackend, header: LedgerHeader, lazily_with: DirectionBackend | None = None
) -> ReplicaState:
    """The state at θ0 that fits the header's kind of commits; arguments and errors as in `ReplicaState`.

    Raises:
        LedgerError: a kind of commits that this program does not know.
    """
    if header.commits in ("scalars", "mean"):
        return ReplicaState(replica, directions, header, lazily_with)
    assert lazily_with is None, "only commits of scalars can be applied later"
    if header.commits == "pool":
        return PoolState(replica, directions, header)
    if header.commits == "tensors":
        return TensorState(replica, directions, header)
    raise LedgerError(
        f"the ledger's commits are {header.commits!r}, which this program does not know: use the version of zorba-ray "
        "that wrote it"
    )


class PoolState(ReplicaState):
    """`ReplicaState` for `commits: pool`. It keeps a copy of the tensors in scope at θ0."""

    def __init__(self, replica: Replica, directions: DirectionBackend, header: LedgerHeader) -> None:
        """As `ReplicaState`; θ must be on the device of `directions`."""
        super().__init__(replica, directions, header)
        self._start = replica.scoped_copy(self.rule.scope)
        self._seeds = pool_seeds(self.rule.seed, header.pool)
        self._sums = torch.zeros(header.pool + 1, dtype=torch.float64)
        """A_j of every seed, and η."""

    def movable(self) -> dict[str, torch.Tensor]:
        """The accumulators and the learning rate, which determine θ."""
        return {"accumulators": self._sums}

    def jump(self, round: int, chain: bytes) -> None:
        """As `ReplicaState.jump`; θ is rebuilt.

        Raises:
            Diverged: a coefficient overflows.
        """
        self._rebuild(self._sums.numpy().copy())
        self.round, self.chain = round, chain

    def check(self, body: bytes, size: float = math.inf) -> None:
        """As `ReplicaState.check`. The bounded step is η times the sum of the sizes that the commit adds.

        Raises:
            LedgerError: as `catch_up`, except for sums that are not finite.
            Diverged: the step is too large or not finite, or a coefficient overflows.
        """
        commit, sums = decode(body, RoundCommit), self._sums.numpy().copy()
        with np.errstate(invalid="ignore"):
            added = commit.lr * np.frombuffer(commit.scalars, dtype="<f4").astype(np.float64)
            distance, square = float(np.abs(added).sum()), float((added**2).sum())
        require_within_reach(distance, f"round {commit.round}: its sums")
        weights = sum(tensor.numel for tensor in self.replica.manifest.moved(self.rule.scope))
        require_short(math.sqrt(square * weights), size, f"round {commit.round}: its sums")
        self._add(sums, commit)
        on_grid(-sums[-1] * sums[:-1])

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Adds up commits in order, then rebuilds θ once.

        Raises:
            LedgerError: not the next round, a wrong number of sums, a sum that is not finite, or another rate.
            Diverged: a coefficient overflows; then θ is unchanged.
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
        """Adds a commit to `sums`: float64 [pool + 1], the accumulators and then the rate.

        Raises:
            LedgerError: as `catch_up`.
        """
        complete = len(commit.scalars) == 4 * (len(sums) - 1)
        added = np.frombuffer(commit.scalars if complete else b"", dtype="<f4").astype(np.float64)
        if not complete or not np.isfinite(added).all():
            count = len(commit.scalars) // 4
            raise LedgerError(f"round {commit.round}: {count} sums, {len(sums) - 1} finite ones expected")
        if sums[-1] not in (0.0, commit.lr):
            raise LedgerError(
                f"round {commit.round}: rate {commit.lr:g} after {sums[-1]:g}; with a pool of seeds all rounds need "
                "the same rate"
            )
        sums[:-1] += added
        sums[-1] = commit.lr

    def _rebuild(self, sums: np.ndarray) -> None:
        """Computes θ from θ0 and `sums`, all seeds in one pass over each tensor, and keeps `sums`.

        Raises:
            Diverged: a coefficient overflows; then nothing is changed.
        """
        coefficients = on_grid(-sums[-1] * sums[:-1])
        terms = Terms(self._seeds, np.zeros(len(self._seeds), np.uint64), coefficients, self.rule.distribution).moving()
        for tensor in self.replica.manifest.moved(self.rule.scope):
            theta = self.replica.parameters[tensor.name]
            theta.copy_(self._start[tensor.name])
            self.directions.apply_commits(theta, tensor.block, tensor.slot, [terms])
        self._sums.copy_(torch.from_numpy(sums))


def ledger_body(body: bytes, commits: str) -> bytes:
    """What the ledger keeps of a commit's frame: the frame itself. Of tensors, a frame with their SHA-256 instead.

    Args:
        commits: `LedgerHeader.commits`.
    """
    if commits != "tensors":
        return body
    commit = decode(body, RoundCommit)
    return encode(msgspec.structs.replace(commit, scalars=hashlib.sha256(commit.scalars).digest()))


class TensorState(ReplicaState):
    """`ReplicaState` for `commits: tensors`; the tensors of the last commit are θ in scope."""

    def check(self, body: bytes, size: float = math.inf) -> None:
        """As `ReplicaState.check`. The bounded step is the largest change of any weight.

        Raises:
            LedgerError: tensors of another model.
            Diverged: a change is too large or not finite.
        """
        commit = decode(body, RoundCommit)
        tensors = self.movable().values()
        furthest, square = 0.0, 0.0
        for tensor, new in zip(tensors, self._tensors(commit), strict=True):
            step = torch.from_numpy(new.astype(np.float64)).sub_(tensor.cpu()).abs_()
            furthest = max(furthest, float(step.max())) if bool(step.isfinite().all()) else math.inf
            square += float(step.square().sum())
        require_within_reach(furthest, f"round {commit.round}: its tensors")
        require_short(math.sqrt(square), size, f"round {commit.round}: its tensors")

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Copies the tensors of commits to θ, in order.

        Raises:
            LedgerError: not the next round, a record of the ledger (which has no tensors), or tensors of another model.
        """
        for body in bodies:
            commit = self.read_commit(body, self.round + 1)
            for tensor, new in zip(self.movable().values(), self._tensors(commit), strict=True):
                tensor.copy_(torch.from_numpy(new.copy()))
            self.round, self.chain = commit.round, next_chain(self.chain, ledger_body(body, "tensors"))

    def _tensors(self, commit: RoundCommit) -> list[np.ndarray]:
        """fp32 [numel] of each movable tensor.

        Raises:
            LedgerError: a record of the ledger (which has no tensors), or tensors of another model.
        """
        sizes = [tensor.numel() for tensor in self.movable().values()]
        if len(commit.scalars) != 4 * sum(sizes):
            raise LedgerError(
                f"round {commit.round}: {len(commit.scalars)} bytes of tensors, {4 * sum(sizes)} expected; a ledger "
                "keeps no tensors, they are in the run's snapshots"
            )
        return np.split(np.frombuffer(commit.scalars, dtype="<f4"), np.cumsum(sizes)[:-1])

    def require(self, body: bytes) -> None:
        """Checks that θ in scope has the SHA-256 of a ledger's record.

        Raises:
            LedgerError: it has another.
        """
        hasher = hashlib.sha256()
        for tensor in self.movable().values():
            hasher.update(tensor.cpu().numpy().astype("<f4").tobytes())
        if hasher.digest() != decode(body, RoundCommit).scalars:
            raise LedgerError(
                f"round {self.round}: the SHA-256 of the snapshot's tensors is not the one in the ledger; delete the "
                "snapshot"
            )
