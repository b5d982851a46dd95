"""The files of a run, sweep or comparison, as typed records with one reader and one writer. No torch."""

from zorba_ray.artifacts.files import held, making, raise_storage_error, write_json
from zorba_ray.artifacts.metrics import (
    ClientRange,
    Eval,
    Interval,
    Round,
    append_record,
    cut_torn_tail,
    keep_rounds,
    read_metrics,
    records_of,
)
from zorba_ray.artifacts.record import Record, read_record, read_tree, record_of, write_record
from zorba_ray.artifacts.run import Run
from zorba_ray.artifacts.run_files import (
    Budget,
    CutRows,
    HubPin,
    PartitionRecord,
    PrivacyRecord,
    Profile,
    Provenance,
    Summary,
)
from zorba_ray.artifacts.rundir import RunDir, pinned, read_run_settings

__all__ = [
    "Budget",
    "ClientRange",
    "CutRows",
    "Eval",
    "HubPin",
    "Interval",
    "PartitionRecord",
    "PrivacyRecord",
    "Profile",
    "Provenance",
    "Record",
    "Round",
    "Run",
    "RunDir",
    "Summary",
    "append_record",
    "cut_torn_tail",
    "held",
    "keep_rounds",
    "making",
    "pinned",
    "raise_storage_error",
    "read_metrics",
    "read_record",
    "read_run_settings",
    "read_tree",
    "record_of",
    "records_of",
    "write_json",
    "write_record",
]
