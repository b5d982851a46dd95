"""What came back to a question: answers read one by one, each client with a reason otherwise, and the quorum."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from zorba_ray.errors import Diverged, LostClients, MessageError, NotFinite, ReportRejected
from zorba_ray.federation.backend import Answer, Failure

T = TypeVar("T")


@dataclass(frozen=True)
class Replies(Generic[T]):
    """Every client asked is in one of the four."""

    accepted: dict[int, T] = field(default_factory=dict)
    """Client -> what was read, by client id."""
    failed: dict[int, str] = field(default_factory=dict)
    late: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    not_finite: set[int] = field(default_factory=set)
    """Those of the failed and rejected whose numbers are no longer finite, or too large to be used."""
    frames: list[bytes] = field(default_factory=list)
    """All answers that arrived, as encoded."""

    def reject(self, client: int, reason: str) -> None:
        """Takes back an accepted answer whose numbers are too large to be used."""
        del self.accepted[client]
        self.rejected[client] = reason
        self.not_finite.add(client)

    def require_quorum(self, question: str, quorum: float) -> None:
        """Whether enough clients answered well. `question` names it for people, as in "round 3".

        Raises:
            LostClients: fewer than the quorum; names who failed and why.
            Diverged: fewer than the quorum, which it would not be but for numbers that are no longer finite.
        """
        reasons = {**self.failed, **self.late, **self.rejected}
        asked = len(self.accepted) + len(reasons)
        needed = needed_reports(asked, quorum)
        if len(self.accepted) < needed <= len(self.accepted) + len(self.not_finite):
            raise Diverged(
                f"{question}: the numbers of {len(self.not_finite)} of {asked} clients are no longer finite or too "
                f"large, federation.quorum={quorum} needs {needed}: lower the learning rate or set zo.clip"
            )
        if len(self.accepted) < needed:
            listing = "; ".join(f"client {client}: {reason}" for client, reason in sorted(reasons.items())[:5])
            raise LostClients(
                f"{question}: {len(self.accepted)} of {asked} reports, federation.quorum={quorum} needs {needed} "
                f"({listing}). The ledger is intact: resume with --resume when the clients are back"
            )


def read_replies(asked: Sequence[int], answers: Mapping[int, Answer], read: Callable[[int, bytes], T]) -> Replies[T]:
    """`read` makes of a client's frame what is kept; its MessageError or ReportRejected rejects the frame."""
    replies: Replies[T] = Replies()
    for client in sorted(asked):
        answer = answers[client]
        if isinstance(answer, Failure):
            (replies.late if answer.kind == "late" else replies.failed)[client] = answer.reason
            if answer.diverged:
                replies.not_finite.add(client)
            continue
        replies.frames.append(answer)
        try:
            replies.accepted[client] = read(client, answer)
        except (MessageError, ReportRejected) as error:
            replies.rejected[client] = str(error)
            if isinstance(error, NotFinite):
                replies.not_finite.add(client)
    return replies


def needed_reports(asked: int, quorum: float) -> int:
    """Reports that a question needs: ⌈quorum · asked⌉, at least one."""
    return max(1, math.ceil(quorum * asked - 1e-9))
