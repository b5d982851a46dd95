"""Reports that say who sent them: a tag of 16 bytes, HMAC-SHA256 under a key of the client, cut (RFC 2104, section 5).

A tag is of the whole report: round, client, plan, loss, examples and scalars. The plan names the place in the ledger on
which it builds, so that a report of another round, run or history does not fit. A commit keeps the tags and the losses
of its reports, in its order. So whoever has the keys can check each report again from the ledger alone.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from zorba_ray.errors import LedgerError, ReportRejected
from zorba_ray.privacy import Secret, client_key
from zorba_ray.protocol.example_groups import counts_of, counts_section, groups_of
from zorba_ray.protocol.messages import (
    ClientReport,
    LedgerHeader,
    RoundCommit,
    RoundPlan,
    Section,
    encode,
    frame_digest,
)

_NAME, _SIZE = "tag", 16


def report_keys(secret: Secret) -> Secret:
    """The secret from which the keys of reports follow. The noise of `privacy` does not follow from it."""
    return Secret(client_key(secret, 0, "all reports"))


def tagged(report: ClientReport, keys: Secret) -> ClientReport:
    """The report with the tag of its client."""
    return _with(report, _tag(report, keys))


def require_tag(report: ClientReport, keys: Secret) -> None:
    """Checks who sent a report.

    Raises:
        ReportRejected: it has no tag, or that of another report or client.
    """
    section = report.sections.get(_NAME)
    if section is None:
        raise ReportRejected("it has no tag, so that nobody knows who sent it")
    if not hmac.compare_digest(section.content, _tag(report, keys)):
        raise ReportRejected("its tag is not that of this client and report: it was changed, or is of somebody else")


def tags_section(reports: Sequence[ClientReport]) -> dict[str, Section]:
    """Of the commit of these reports: loss and tag of each; none where they have no tags."""
    if any(_NAME not in report.sections for report in reports):
        return {}
    return {_NAME: Section(1, b"".join(report.loss + report.sections[_NAME].content for report in reports))}


def reports_of(commit: RoundCommit, header: LedgerHeader, chain: bytes, scale: float) -> Iterator[ClientReport]:
    """The reports from which a commit of scalars was made, as they were sent.

    Args:
        chain: of the ledger before the commit.
        scale: μ.

    Raises:
        LedgerError: the commit has no tags, or as many as fit no number of reports.
    """
    plan = frame_digest(encode(RoundPlan(commit.round, commit.lr, scale, chain[:8], commit.active)))
    clients = np.frombuffer(commit.clients, dtype="<u4").tolist() or list(range(len(header.samples)))
    content = commit.sections[_NAME].content if _NAME in commit.sections else b""
    size, rest = divmod(len(content), len(clients))
    if rest or size not in (_SIZE, _SIZE + 4):
        raise LedgerError(
            f"round {commit.round}: {len(content)} bytes of tags for {len(clients)} reports; federation.authenticated "
            "was off, or the commit was changed"
        )
    steps, full = header.local_steps, max(1, groups_of(header.sections))
    counts = counts_of(commit, steps * len(clients), full).reshape(len(clients), steps)
    ends = 4 * header.directions_per_step * np.cumsum(counts.sum(axis=1))
    for number, client in enumerate(clients):
        told = content[number * size : (number + 1) * size]
        scalars = commit.scalars[int(ends[number - 1]) if number else 0 : int(ends[number])]
        loss, tag = told[:-_SIZE], told[-_SIZE:]
        report = ClientReport(
            commit.round, client, plan, loss, header.samples[client], scalars,
            sections=counts_section(counts[number], full),
        )  # fmt: skip
        yield _with(report, tag)


def _tag(report: ClientReport, keys: Secret) -> bytes:
    others = {name: section for name, section in report.sections.items() if name != _NAME}
    message = encode(msgspec.structs.replace(report, sections=others))
    return hmac.new(client_key(keys, report.client, "report"), message, hashlib.sha256).digest()[:_SIZE]


def _with(report: ClientReport, tag: bytes) -> ClientReport:
    return msgspec.structs.replace(report, sections={**report.sections, _NAME: Section(1, tag)})
