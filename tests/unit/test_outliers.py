"""Who is left out as an outlier again and again, and that a ledger says the same as the run that wrote it."""

import numpy as np
import pytest

from zorba_ray.federation import Outliers
from zorba_ray.federation.outliers import IN_A_ROW
from zorba_ray.protocol.messages import ClientReport

CLIENTS = 5


def reports(sizes: dict[int, float]) -> list[ClientReport]:
    return [
        ClientReport(1, n, b"", b"", 1, np.array([size, -size], dtype="<f4").tobytes()) for n, size in sizes.items()
    ]


def play(outliers: Outliers, sizes: dict[int, float]) -> set[int]:
    """A round: who was left out; the others are committed."""
    out = outliers.left_out(reports(sizes))
    counted = {n: size for n, size in sizes.items() if n not in out}
    outliers.committed(
        np.array(list(counted), dtype=np.int64), np.array([[[size, -size]] for size in counted.values()], dtype="f4")
    )
    return set(out)


def all_of(size: float, **others: float) -> dict[int, float]:
    return {n: others.get(f"client{n}", size) for n in range(CLIENTS)}


def test_the_fourth_outlier_in_a_row_is_left_out_until_it_behaves() -> None:
    outliers = Outliers(CLIENTS, 3.0)
    left_out = [play(outliers, all_of(1.0, client3=100.0)) for _ in range(6)]
    assert left_out == [set()] * (IN_A_ROW - 1) + [{3}] * (6 - IN_A_ROW + 1)
    assert play(outliers, all_of(1.0, client3=2.0)) == set()
    assert play(outliers, all_of(1.0, client3=100.0)) == set()


def test_the_reason_has_the_numbers() -> None:
    outliers = Outliers(CLIENTS, 3.0)
    for _ in range(IN_A_ROW - 1):
        play(outliers, all_of(1.5, client0=6.0))
    reason = outliers.left_out(reports(all_of(1.5, client0=6.0)))[0]
    assert "the size 6, that of the others is 1.5" in reason
    assert "beyond 3 times in 4 of its reports in a row" in reason


@pytest.mark.parametrize("sizes", [all_of(1.0, client3=2.9), {0: 1.0, 1: 1e9}, {0: 1.0}, all_of(0.0), {}])
def test_nobody_is_left_out_within_the_spread_or_of_two(sizes: dict[int, float]) -> None:
    outliers = Outliers(CLIENTS, 3.0)
    assert not any(play(outliers, sizes) for _ in range(10))


def test_all_together_larger_is_no_outlier() -> None:
    """A loss that grows makes all scalars large: nobody is to blame."""
    outliers = Outliers(CLIENTS, 3.0)
    assert not any(play(outliers, all_of(10.0**number)) for number in range(8))


def test_groups_that_a_batch_lacks_do_not_count() -> None:
    outliers = Outliers(CLIENTS, 3.0)
    scalars = np.array([[[1.0, np.nan]]] * 4 + [[[9.0, np.nan]]], dtype="f4")
    for _ in range(IN_A_ROW - 1):
        outliers.committed(np.arange(CLIENTS), scalars)
    assert set(outliers.left_out(reports(all_of(1.0, client4=9.0)))) == {4}
