"""The fault drills in their short form, as `python -m benchmarks chaos --quick` runs them."""

import pytest

from benchmarks import chaos


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", chaos.NAMES)
def test_drills(name: str) -> None:
    rows = chaos.rows(True, name)
    assert rows
    assert [(row.row, row.details) for row in rows if row.met is False] == []
