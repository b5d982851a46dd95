"""docs/allocation.md: every number on the page is what the program prints."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "allocation.md"


def test_the_page_prints_what_it_says():
    result = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert result.attempted >= 10
    assert result.failed == 0
