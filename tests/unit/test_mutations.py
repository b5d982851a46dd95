"""The list of faults that the tests must catch: each of them can still be put into the code."""

import pytest

from tools.mutations import ROOT, Mutation, applied, mutations


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.what)
def test_a_fault_has_its_line_and_its_tests(mutation: Mutation) -> None:
    """`python -m tools.mutations` puts them in and runs the tests; this only holds the list true to the code."""
    assert applied(mutation, ROOT) != (ROOT / mutation.file).read_text("utf-8")
    assert all((ROOT / test).is_file() for test in mutation.tests)


def test_a_line_that_is_gone_is_refused() -> None:
    with pytest.raises(ValueError, match="0 times"):
        applied(Mutation("a fault", "zorba_ray/units.py", "no such line", "", ()), ROOT)
