"""A replica whose commits are the trained tensors themselves.

They are too large for a ledger: its records keep their SHA-256, and the newest rounds' tensors are in snapshots, which
these runs write after every round.
"""

import hashlib
from collections.abc import Iterable

import msgspec
import numpy as np
import torch

from zorba_ray.errors import LedgerError
from zorba_ray.protocol.codec import decode, encode
from zorba_ray.protocol.ledger import next_chain
from zorba_ray.protocol.messages import RoundCommit
from zorba_ray.protocol.replay import ReplicaState


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

    def catch_up(self, bodies: Iterable[bytes]) -> None:
        """Takes over the tensors of commits in order.

        Raises:
            LedgerError: not the next round, a record of the ledger, which has no tensors, or tensors of another model.
        """
        for body in bodies:
            commit = self.read_commit(body, self.round + 1)
            found = np.frombuffer(commit.scalars, dtype="<f4")
            own = self.movable().values()
            if len(found) != sum(tensor.numel() for tensor in own):
                raise LedgerError(
                    f"round {commit.round}: {len(commit.scalars)} bytes of tensors; a ledger keeps none, they are in "
                    "the run's snapshots"
                )
            start = 0
            for tensor in own:
                tensor.copy_(torch.from_numpy(found[start : start + tensor.numel()].copy()))
                start += tensor.numel()
            self.round, self.chain = commit.round, next_chain(self.chain, ledger_body(body, "tensors"))

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
