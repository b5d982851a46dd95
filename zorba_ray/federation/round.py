"""One round over any backend: ask clients, read and check their reports, aggregate them to a commit.

The package `experiment` then writes the commit to the ledger and applies it.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from zorba_ray.config.aggregation import participant_count
from zorba_ray.directions import permutation
from zorba_ray.errors import Diverged, LostClients, MessageError, NotFinite, ReportRejected
from zorba_ray.federation.backend import Answer, Backend, Failure
from zorba_ray.federation.outliers import Outliers
from zorba_ray.methods import Method, report_loss
from zorba_ray.privacy import Secret
from zorba_ray.protocol.messages import ClientReport, RoundCommit, RoundPlan, decode, encode, frame_digest
from zorba_ray.protocol.tags import require_tag
from zorba_ray.stopwatch import UNWATCHED, Watch

T = TypeVar("T")


@dataclass(frozen=True)
class RoundResult:
    """A round up to its commit."""

    plan: RoundPlan
    plan_frame: bytes
    asked: tuple[int, ...]
    reports: tuple[ClientReport, ...]
    """Accepted reports, by client id."""
    frames: tuple[bytes, ...]
    """Frames of all reports that arrived."""
    commit: RoundCommit
    body: bytes
    """Frame of the commit. It is sent to the workers, and is the body of the ledger's record."""
    failed: dict[int, str] = field(default_factory=dict)
    late: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    too_large: tuple[int, ...] = ()
    """The rejected clients without whose reports the update is small enough to be applied."""
    clients_s: float = 0.0
    """Wall seconds until all answers had arrived."""
    aggregate_s: float = 0.0
    """Wall seconds of checks and aggregation."""

    @property
    def loss(self) -> float | None:
        """Mean training loss over the accepted clients, weighted by their examples; None if they do not tell it."""
        if not self.client_loss:
            return None
        total = sum(report.samples for report in self.reports)
        return sum(report_loss(report) * report.samples for report in self.reports) / total

    @property
    def client_loss(self) -> dict[int, float]:
        """Training loss of each accepted client, by client id."""
        return {report.client: report_loss(report) for report in self.reports if report.loss}

    @property
    def scalars(self) -> np.ndarray:
        """float32: all accepted ρ."""
        return np.frombuffer(self.commit.scalars, dtype="<f4")


def participants(
    seed: int, number: int, clients: int, setting: int | float | None, absent: frozenset[int] = frozenset()
) -> tuple[int, ...]:
    """S_t: the clients that are asked in round `number`, ascending. They are a sample if `setting` is a number.

    Args:
        setting: `federation.participants`: a count, a share of the clients that are present, or None for all.
    """
    present = clients - len(absent)
    count = participant_count(present, setting)
    if count >= present:
        return tuple(client for client in range(clients) if client not in absent)
    return tuple(sorted(_drawn(seed, number, clients, absent)[:count]))


def spare_clients(
    seed: int,
    number: int,
    clients: int,
    setting: int | float | None,
    spares: int,
    absent: frozenset[int] = frozenset(),
) -> tuple[int, ...]:
    """The clients that come after `participants` in the order in which these were drawn, at most `spares`."""
    count = participant_count(clients - len(absent), setting)
    return tuple(_drawn(seed, number, clients, absent)[count : count + spares]) if spares else ()


def _drawn(seed: int, number: int, clients: int, absent: frozenset[int]) -> list[int]:
    """The clients that are present, in the order in which round `number` draws them."""
    order = permutation(seed, "participants", number, 0, clients).tolist()
    return [client for client in order if client not in absent]


@dataclass(frozen=True)
class Replies(Generic[T]):
    """The answers to a plan. Every asked client is in exactly one of accepted, failed, late and rejected."""

    accepted: dict[int, T] = field(default_factory=dict)
    """Client -> its answer as read; ascending."""
    failed: dict[int, str] = field(default_factory=dict)
    late: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    not_finite: set[int] = field(default_factory=set)
    """Failed and rejected clients whose numbers are no longer finite, or too large to be used."""
    frames: list[bytes] = field(default_factory=list)
    """Frames of all answers that arrived."""
    wanted: int | None = None
    """Number of answers that are used if there are so many; None: all."""

    def standing_in(self, asked: Sequence[int], spares: Sequence[int]) -> "Replies[T]":
        """With answers of spare clients, in their order, only in place of asked ones that are missing."""
        missing = sum(client not in self.accepted for client in asked)
        used = {*asked, *[client for client in spares if client in self.accepted][:missing]}
        accepted = {client: answer for client, answer in self.accepted.items() if client in used}
        late = {client: reason for client, reason in self.late.items() if client not in spares}
        return replace(self, accepted=accepted, late=late, wanted=len(asked))

    def reject(self, client: int, reason: str) -> None:
        """Rejects an answer that was accepted before, because its numbers are too large to be used."""
        del self.accepted[client]
        self.rejected[client] = reason
        self.not_finite.add(client)

    def require_quorum(self, label: str, quorum: float) -> None:
        """Checks that enough answers were accepted.

        Args:
            label: subject of the error message, as in "round 3".

        Raises:
            LostClients: fewer than the quorum; names the clients that failed, and why.
            Diverged: fewer than the quorum, because numbers of clients are no longer finite.
        """
        reasons = {**self.failed, **self.late, **self.rejected}
        asked = len(self.accepted) + len(reasons)
        needed = needed_reports(self.wanted or asked, quorum)
        if len(self.accepted) < needed <= len(self.accepted) + len(self.not_finite):
            first = min(self.not_finite)
            raise Diverged(
                f"{label}: the numbers of {len(self.not_finite)} of {asked} clients are no longer finite or too large "
                f"(client {first}: {reasons[first]}), and federation.quorum={quorum} needs {needed} reports: lower the "
                "learning rate or set zo.clip"
            )
        if len(self.accepted) < needed:
            listing = "; ".join(f"client {client}: {reason}" for client, reason in sorted(reasons.items())[:5])
            raise LostClients(
                f"{label}: {len(self.accepted)} of {asked} reports, federation.quorum={quorum} needs {needed} "
                f"({listing}). The ledger is intact: resume with --resume when the clients are back"
            )


def read_replies(asked: Sequence[int], answers: Mapping[int, Answer], read: Callable[[int, bytes], T]) -> Replies[T]:
    """Sorts answers into accepted and other ones.

    Args:
        read: makes the accepted value from (client, frame). If it raises MessageError or ReportRejected, the answer is
            rejected.
    """
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
    """Number of reports that are needed: ⌈quorum · asked⌉, at least one."""
    return max(1, math.ceil(quorum * asked - 1e-9))


def run_round(
    backend: Backend,
    method: Method,
    plan: RoundPlan,
    asked: Sequence[int],
    quorum: float,
    judge: Callable[[bytes], None] = lambda body: None,
    watch: Watch = UNWATCHED,
    spares: Sequence[int] = (),
    keys: Secret | None = None,
    outliers: Outliers | None = None,
) -> RoundResult:
    """Asks the participants and aggregates the reports that pass the checks.

    A commit that `judge` refuses is never returned. In that case each report is tried as a commit of its own. Those
    that `judge` refuses are rejected, and the others are aggregated without them.

    Args:
        judge: raises Diverged for a commit's frame that cannot be applied (`ReplicaState.check`).
        keys: of the tags that reports must have; None: they have none.
        outliers: says which reports that passed the checks are left out; None: none.
        spares: clients that are asked too; their reports count as in `Replies.standing_in`.
        watch: the driver's; the time for the answers is added to the part `ask`.

    Raises:
        LostClients, Diverged: fewer accepted reports than the quorum, as in `Replies.require_quorum`.
        Diverged: all reports together cannot be applied, although each alone could.
    """
    frame = encode(plan)
    digest = frame_digest(frame)
    start = time.perf_counter()
    with watch.part("ask"):
        answers = backend.ask(frame, [*asked, *spares], len(asked)) if spares else backend.ask(frame, asked)
    answered = time.perf_counter()

    authentic: set[int] = set()  # not: those in whose name somebody else may have answered

    def read(client: int, answer: bytes) -> ClientReport:
        report = decode(answer, ClientReport)
        if keys is not None:
            require_tag(report, keys)
        authentic.add(client)
        method.check(report, client, plan, digest)
        return report

    replies = read_replies([*asked, *spares], answers, read)
    left_out = {} if outliers is None else outliers.left_out(list(replies.accepted.values()))
    for client, reason in left_out.items():
        del replies.accepted[client]
        replies.rejected[client] = reason
    if spares:
        replies = replies.standing_in(asked, spares)
    too_large: list[int] = []
    while True:
        replies.require_quorum(f"round {plan.round}", quorum)
        reports = list(replies.accepted.values())
        commit = method.commit(plan, reports, sorted(authentic & replies.rejected.keys()))
        body = encode(commit)
        refused = _refused(method, plan, reports, body, judge)
        if not refused:
            break
        for client, reason in refused.items():
            replies.reject(client, reason)
        too_large += refused
    seconds = (answered - start, time.perf_counter() - answered)
    outcome = (replies.failed, replies.late, replies.rejected, tuple(too_large))
    return RoundResult(
        plan, frame, (*asked, *spares), tuple(reports), tuple(replies.frames), commit, body, *outcome, *seconds
    )


def _refused(
    method: Method, plan: RoundPlan, reports: Sequence[ClientReport], body: bytes, judge: Callable[[bytes], None]
) -> dict[int, str]:
    """Client -> reason, for each report that alone would make a refused commit. Empty if all together are accepted.

    Raises:
        Diverged: all together are refused, and no report alone is.
    """
    try:
        judge(body)
        return {}
    except Diverged:
        refused = {}
        for report in reports:
            try:
                judge(encode(method.aggregate(plan, [report])))
            except Diverged as error:
                refused[report.client] = str(error)
        if not refused:
            raise
        return refused
