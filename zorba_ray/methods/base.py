"""What a federated method is: four pure functions around one round; no I/O, no clock, no process.

The driver calls `plan`, `check` and `aggregate`; a client's host calls `client_step`; everybody applies the commit with
the one update (`protocol.replay.ReplicaState`).
"""

from collections.abc import Sequence
from typing import Protocol

from zorba_ray.models import Batch, TaskModel
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan
from zorba_ray.protocol.replay import ReplicaState


class Method(Protocol):
    """A method whose commits are seeds and scalars."""

    name: str

    def plan(self, round: int, chain: bytes, active: bytes | None) -> RoundPlan:
        """What every participant of `round` is told; `active` only when the active sets changed."""
        ...

    def client_step(
        self,
        state: ReplicaState,
        model: TaskModel,
        client: int,
        plan: RoundPlan,
        digest: bytes,
        batches: Sequence[Batch],
    ) -> ClientReport:
        """One client's work: forward passes on its own batches, θ read only."""
        ...

    def check(self, report: ClientReport, client: int, plan: RoundPlan, digest: bytes) -> None:
        """Judges a report before it is used.

        Raises:
            ReportRejected: with the reason.
        """
        ...

    def aggregate(self, plan: RoundPlan, reports: Sequence[ClientReport]) -> RoundCommit:
        """The commit of the accepted reports, which are sorted by client id."""
        ...
