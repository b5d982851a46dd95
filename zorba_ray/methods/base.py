"""What a federated method is: four pure functions around one round; no I/O, no clock, no process.

The driver calls `plan`, `check` and `aggregate`; a client's host calls `client_steps`; everybody applies the commit
with the one update (`protocol.replay.ReplicaState`).
"""

from collections.abc import Mapping, Sequence
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

    def client_steps(
        self,
        state: ReplicaState,
        model: TaskModel,
        plan: RoundPlan,
        digest: bytes,
        batches: Mapping[int, Sequence[Batch]],
    ) -> list[ClientReport]:
        """The work of some clients of one worker, each on its own batches: forward passes only, θ read only.

        Each report is the one that the client gives alone.
        """
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
