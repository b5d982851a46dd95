"""A replica whose commits are the trained tensors themselves.

They are too large for a ledger: its records keep their SHA-256, and the newest rounds' tensors are in snapshots, which
these runs write after every round.
"""

import hashlib
import math
from collections.abc import Iterable

import msgspec
import numpy as np
import torch

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.codec import decode, encode
from zorba_ray.protocol.ledger import next_chain
from zorba_ray.protocol.messages import RoundCommit
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.zo import require_within_reach


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
