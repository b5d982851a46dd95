"""Short forms of `python -m benchmarks chaos`: the drills that need no Ray. The others are in the tests of Ray."""

from pathlib import Path

import pytest

from benchmarks import chaos
from benchmarks.chaos import frames

GOLDEN = Path(__file__).parents[1] / "golden" / "demo"


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", ["files", "frames", "machine", "kills"])
def test_no_fault_goes_through(name: str) -> None:
    missed = [row for row in chaos.rows(True, name) if row.met is False]
    assert not missed


def test_forged_bytes_are_refused(tmp_path: Path) -> None:
    assert frames.frames(2_000).met
    assert frames.ledgers(GOLDEN, tmp_path / "ledger.zl", 500).met
