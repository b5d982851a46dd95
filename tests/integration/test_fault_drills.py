"""Short forms of the drills, as `python -m benchmarks chaos --quick` runs them."""

from pathlib import Path

import pytest

from benchmarks import chaos
from benchmarks.chaos import frames

GOLDEN = Path(__file__).parents[1] / "golden" / "demo"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", chaos.NAMES)
def test_no_fault_goes_through(name: str) -> None:
    rows = chaos.rows(True, name)
    assert rows
    assert [(row.row, row.details) for row in rows if row.met is False] == []


def test_forged_bytes_are_refused(tmp_path: Path) -> None:
    assert frames.frames(2_000).met
    assert frames.ledgers(GOLDEN, tmp_path / "ledger.zl", 500).met
