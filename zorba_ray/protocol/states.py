"""The replica state that a ledger's header asks for."""

from zorba_ray.directions import DirectionBackend
from zorba_ray.errors import LedgerError
from zorba_ray.models import Replica
from zorba_ray.protocol.messages import LedgerHeader
from zorba_ray.protocol.pool_replay import PoolState
from zorba_ray.protocol.replay import ReplicaState
from zorba_ray.protocol.tensor_replay import TensorState


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
