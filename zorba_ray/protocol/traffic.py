"""Bytes on the wire, counted from encoded frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from zorba_ray.protocol.messages import RoundCommit, RoundPlan, encode


@dataclass(frozen=True)
class RoundTraffic:
    """One round's frames. Active sets ride in the plan and the commit of the rounds in which they change."""

    plan: int
    """Bytes of the plan's frame, to each asked client; active sets left out."""
    commit: int
    """Bytes of the commit's frame, to every client that is to keep up; active sets left out."""
    active_sets: int
    """Bytes of active sets in both frames."""
    reports: int
    """Bytes of all reports' frames together."""


def count_round(
    plan: RoundPlan, frame: bytes, commit: RoundCommit, body: bytes, reports: Sequence[bytes]
) -> RoundTraffic:
    """Traffic of a round from its messages and their frames."""
    plan_alone = len(encode(msgspec.structs.replace(plan, active=None)))
    commit_alone = len(encode(msgspec.structs.replace(commit, active=None)))
    return RoundTraffic(
        plan=plan_alone,
        commit=commit_alone,
        active_sets=len(frame) - plan_alone + len(body) - commit_alone,
        reports=sum(len(report) for report in reports),
    )
