"""Every exception of the package: one base, one exit code each, all picklable (they cross Ray).

Messages name the setting, the value and the rule, and say what to do. To add one: subclass `ZorbaError`, set
`exit_code`, keep the constructor at one message string (pickling depends on it), and list it in the README's table.
"""

import errno

from zorba_ray.printable import printable, shortened


class ZorbaError(Exception):
    """Base of all errors that a user can meet. `exit_code` is what the command line returns.

    A message has fewer than 2,000 characters, whatever was quoted in it.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class ConfigError(ZorbaError, ValueError):
    """A setting has a wrong name, type or value, or two settings contradict each other."""

    exit_code = 2


class DataError(ConfigError):
    """The data cannot serve: missing, empty, unlabelled, or a label outside the label words."""


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
    """A client holds, or would hold, more bytes on its accelerator than its budget; the message names the part."""

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
    """A frame or message on the wire is malformed, of an unknown version, or for another round."""

    exit_code = 6


class ReportRejected(ZorbaError):
    """A client's report was refused (wrong round, plan or count, not finite); the round goes on without it."""

    exit_code = 5


class NotFinite(ReportRejected):
    """A client's report was refused because its numbers are no longer finite."""


class Diverged(ZorbaError):
    """The loss or the update is no longer finite; the ledger is intact up to the round named."""

    exit_code = 7


class SweepIncomplete(ZorbaError):
    """A sweep ended and some of its trials failed; the others are whole."""

    exit_code = 9


class Interrupted(ZorbaError):
    """The user or the scheduler asked the run to stop; the ledger is intact and the run can be resumed."""

    exit_code = 130


class StaleReplica(ZorbaError):
    """A worker's θ is not the one that a plan was made for; it must catch up from the ledger."""

    exit_code = 4


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What the operating system says of a disk, whatever file or folder was asked for."""


def refused_place(what: str, error: OSError) -> ZorbaError:
    """What it means to the user that `what`, a file or folder that they named, cannot be used: exit code 8 where the
    disk is to blame, else 2."""
    where = "" if error.filename is None or str(error.filename) in what else f" ({error.filename})"
    text = printable(f"{shortened(what, 300)}: {error.strerror or error}{shortened(where, 300)}")
    if error.errno in _FULL:
        return StorageError(f"{text}: make room, or name another place")
    return RunDirError(f"{text}: name a place that can be read and written")
