"""Checks from a ledger alone that each report was sent by its client, and in answer to its plan."""

from dataclasses import dataclass
from pathlib import Path

from zorba_ray.errors import LedgerError, MessageError, ReportRejected
from zorba_ray.experiment.privacy import secret_of_file
from zorba_ray.experiment.replay import recorded_run
from zorba_ray.protocol.messages import RoundCommit, decode
from zorba_ray.protocol.tags import reports_of, require_tag


@dataclass(frozen=True)
class Verified:
    """All tags of a ledger are right."""

    rounds: int
    reports: int


def verify_reports(path: Path, keys: Path, until: int | None = None) -> Verified:
    """Checks the tags of a run's reports.

    Args:
        path: the run directory.
        keys: the file with the keys of reports, `reports.key` of the run.
        until: the last round that is checked; None: all.

    Raises:
        ConfigError, RunDirError, LedgerError: as `recorded_run`; a file without keys.
        LedgerError: a report has no tag or a wrong one; names round and client.
    """
    recorded, secret = recorded_run(path, until), secret_of_file(keys)
    contents, scale = recorded.contents, recorded.config.zo.perturbation_scale
    count, records = 0, contents.records[:until]
    for record in records:
        commit = decode(record.body, RoundCommit)
        try:
            for report in reports_of(commit, contents.header, contents.chain_after(record.round - 1), scale):
                count += 1
                try:
                    require_tag(report, secret)
                except ReportRejected as error:
                    raise LedgerError(
                        f"round {record.round}: the report of client {report.client}: {error}; the ledger was "
                        f"changed, or {keys} has the keys of another run"
                    ) from error
        except MessageError as error:
            raise LedgerError(f"round {record.round}: {error}") from error
    return Verified(len(records), count)
