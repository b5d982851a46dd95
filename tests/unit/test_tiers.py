"""Which tests are in the slow tier, from measured times."""

from tools.tiers import PROMISES, slow_tests

TIMES = f"""
3.50s call     tests/unit/test_a.py::test_long[a b]
2.00s setup    tests/unit/test_a.py::test_with_a_fixture
1.50s call     tests/unit/test_a.py::test_with_a_fixture
2.90s call     tests/unit/test_a.py::test_short
90.00s call     {PROMISES[1]}
= 4 passed in 9.99s =
"""


def test_what_took_longer_is_slow_but_for_promises() -> None:
    assert slow_tests(TIMES, 3.0) == [
        "tests/unit/test_a.py::test_long[a b]",
        "tests/unit/test_a.py::test_with_a_fixture",
    ]
