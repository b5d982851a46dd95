"""A quarter of all architectures: each is exact or refused as docs/architectures.md says, and none crashes."""

import pytest

from tests.support.architecture_matrix import group, hold_against_table


@pytest.mark.parametrize("name", group(1))
def test_outcomes_are_those_of_the_table(name: str) -> None:
    hold_against_table(name)
