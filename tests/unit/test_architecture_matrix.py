"""Each architecture is exact or refused as docs/architectures.md says, and none crashes.

One type of each mechanism is checked by `make test`, all of them by the slow tier.
"""

import pytest

from tests.support.architecture_matrix import hold_against_table
from tests.support.architecture_tables import MECHANISMS, VARIANTS
from tests.support.architectures import BUILDABLE


def _cases() -> list[object]:
    names = [name for name in (*BUILDABLE, *VARIANTS) if name not in MECHANISMS]
    return [*MECHANISMS, *(pytest.param(name, marks=pytest.mark.slow) for name in names)]


@pytest.mark.parametrize("name", _cases())
def test_outcomes_are_those_of_the_table(name: str) -> None:
    hold_against_table(name)
