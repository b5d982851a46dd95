"""All exceptions of the package. They have one base class, an exit code each, and can be pickled for Ray.

Messages name the setting, the value and the rule, and say what to do. To add an exception: subclass `ZorbaError`, set
`exit_code`, keep a constructor with one message string (pickling needs it), and list the exit code in
docs/troubleshooting.md.
"""

import errno

from zorba_ray.printable import printable, shortened


class ZorbaError(Exception):
    """Base of all errors that a user can meet. `exit_code` is the exit code of the command.

    A message has fewer than 2,000 characters; a longer one is shortened.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class ConfigError(ZorbaError, ValueError):
    """A setting has a wrong name, type or value, or two settings contradict each other."""

    exit_code = 2


class DataError(ConfigError):
    """The data cannot be used: missing, empty, without labels, or with a label that is not a label word."""


class ModelError(ConfigError):
    """The model cannot be loaded or has no list of transformer blocks."""


class RunDirError(ConfigError):
    """The run directory exists already, is missing, or belongs to a run with other settings."""


class RewardError(ZorbaError):
    """The function of `task.reward` raised, or gave something else than a number for each row; the ledger is intact."""

    exit_code = 2


class AllocationInfeasible(ZorbaError):
    """No allocation of blocks satisfies the constraints; the message names client, constraint and missing bytes."""

    exit_code = 3


class BudgetExceeded(ZorbaError):
    """A client uses, or would use, more bytes of its accelerator than its budget; the message names the largest
    part."""

    exit_code = 3


class ClusterError(ZorbaError):
    """Ray or an accelerator is missing, too small or unreachable."""

    exit_code = 4


class LostClients(ZorbaError):
    """Fewer reports than the quorum; the ledger is intact and the run can be resumed."""

    exit_code = 5


class LedgerError(ZorbaError):
    """The ledger is damaged or belongs to another model, configuration or manifest."""

    exit_code = 6


class StorageError(ZorbaError):
    """A file of the run directory cannot be written: full disk, quota, read-only folder; the run can be resumed."""

    exit_code = 8


class MessageError(ZorbaError):
    """A message is malformed, of an unknown version, or for another round."""

    exit_code = 6


class ReportRejected(ZorbaError):
    """A client's report was refused (wrong round, plan or count, not finite); the round goes on without it."""

    exit_code = 5


class NotFinite(ReportRejected):
    """A client's report was refused because its numbers are no longer finite."""


class Diverged(ZorbaError):
    """The loss or the update is no longer finite, or too large; the ledger is intact up to the round in the message."""

    exit_code = 7


class SweepIncomplete(ZorbaError):
    """A sweep ended and some of its trials failed; the others are whole."""

    exit_code = 9


class Interrupted(ZorbaError):
    """The user or the scheduler asked the run to stop; the ledger is intact and the run can be resumed."""

    exit_code = 130


class StaleReplica(ZorbaError):
    """A worker's replica is at another round than a plan needs; it must catch up from the ledger."""

    exit_code = 4


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Error numbers of the operating system that mean a fault of the disk."""


def refused_place(what: str, error: OSError) -> ZorbaError:
    """The error for a file or folder that the user named and that cannot be used: exit code 8 for a fault of the disk,
    else 2."""
    where = "" if error.filename is None or str(error.filename) in what else f" ({error.filename})"
    text = printable(f"{shortened(what, 300)}: {error.strerror or error}{shortened(where, 300)}")
    if error.errno in _FULL:
        return StorageError(f"{text}: free some space, or name another folder")
    return RunDirError(f"{text}: name a file or folder that can be read and written")
