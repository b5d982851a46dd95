"""Errors cross process borders and become exit codes."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from zorba_ray import errors
from zorba_ray.cli.main import EPILOG

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ZorbaError)]

EXIT_CODES = {
    "ZorbaError": 1,
    "ConfigError": 2,
    "DataError": 2,
    "ModelError": 2,
    "RunDirError": 2,
    "RewardError": 2,
    "AllocationInfeasible": 3,
    "BudgetExceeded": 3,
    "ClusterError": 4,
    "StaleReplica": 4,
    "LostClients": 5,
    "ReportRejected": 5,
    "NotFinite": 5,
    "LedgerError": 6,
    "MessageError": 6,
    "Diverged": 7,
    "StorageError": 8,
    "SweepIncomplete": 9,
    "Interrupted": 130,
}
"""The documented codes. A new error must be added here."""


def test_every_error_has_its_documented_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in ALL} == EXIT_CODES


def test_the_troubleshooting_page_has_every_exit_code() -> None:
    """With what help says of them: 0 and the codes of the errors, no other."""
    page = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text("utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == {0, *EXIT_CODES.values()}
    assert codes == {int(code) for code in re.findall(r"(\d+) [a-z]", EPILOG)}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[errors.ZorbaError]) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(kind("zo.lr = −1: must be positive"), protocol))
        assert type(again) is kind
        assert str(again) == "zo.lr = −1: must be positive"
        assert again.exit_code == kind.exit_code


def test_what_the_user_wrote_wrong_is_a_value_error() -> None:
    for kind in (errors.ConfigError, errors.DataError, errors.ModelError, errors.RunDirError):
        assert issubclass(kind, ValueError)
