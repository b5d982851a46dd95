"""Bytes on the wire, counted from encoded frames."""

from collections.abc import Sequence
from dataclasses import dataclass

from zorba_ray.protocol.messages import RoundCommit, RoundPlan


@dataclass(frozen=True)
class RoundTraffic:
    """One round's frames. Active sets ride in the plan and the commit of the rounds in which they change."""

    plan: int
    """Bytes of the plan's frame, to each asked client; active sets left out."""
    commit: int
    """Bytes of the commit's frame, to every client (or it evaluates a stale model); active sets left out."""
    active_sets: int
    """Bytes of active sets in both frames."""
    reports: int
    """Bytes of all reports' frames together."""

    @property
    def down(self) -> int:
        """Bytes to one participant: plan and commit."""
        return self.plan + self.commit


def count_round(plan: RoundPlan, frame: bytes, commit: RoundCommit, body: bytes, reports: Sequence[bytes]) -> RoundTraffic:
    """Traffic of a round from its messages and their frames."""
    in_plan = 0 if plan.active is None else len(plan.active)
    in_commit = 0 if commit.active is None else len(commit.active)
    return RoundTraffic(
        plan=len(frame) - in_plan,
        commit=len(body) - in_commit,
        active_sets=in_plan + in_commit,
        reports=sum(len(report) for report in reports),
    )
