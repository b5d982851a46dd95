"""The simulation behind docs/theory.md: what it expects comes out, in few rounds; and the exact variance by itself."""

from pathlib import Path

import numpy as np
import pytest

from analysis import noise_of_allocation
from analysis.command import make
from analysis.linear_rounds import Federation, equal_holders, unequal_holders, updates
from analysis.noise_of_allocation import draw, rank_correlation, rows, write
from analysis.printed import print_style
from analysis.rows import Rows


@pytest.fixture(scope="module")
def found() -> Rows:
    """60 rounds a case, 300 sets, 40 allocations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise_of_allocation, "SETS", 300)
        patch.setattr(noise_of_allocation, "RANKED", 40)
        return rows(rounds=60)


def test_holders() -> None:
    equal = equal_holders(16, 8, 2)
    assert (equal.sum(axis=1) == 2).all()
    assert (equal.sum(axis=0) == 4).all()
    unequal = unequal_holders([1] * 15 + [8], 8)
    assert unequal.sum(axis=1).tolist() == [1] * 15 + [8]
    assert unequal.sum(axis=0).tolist() == [3] * 7 + [2]


def test_an_update_is_the_weighted_sum_of_scalars_and_directions() -> None:
    """One client, one block of one parameter: ρ z = (g z) z = g whatever z is."""
    moved = updates(Federation(np.ones((1, 1), dtype=bool), np.full((1, 1, 1), 2.5)), 3)
    np.testing.assert_allclose(moved[:, 0, 0], 2.5, rtol=1e-6)
    # Two clients hold the block, one of them another one too: weights 1/2 and 1/2, or 1/3 and 2/3.
    active = np.array([[True, True], [True, False]])
    gradients = np.array([[[3.0], [0.0]], [[6.0], [0.0]]])
    by_data, by_noise = (
        updates(Federation(active, gradients), 2),
        updates(Federation(active, gradients, "inverse_noise"), 2),
    )
    np.testing.assert_allclose(by_data[:, 0, 0], 4.5, rtol=1e-6)
    np.testing.assert_allclose(by_noise[:, 0, 0], 5.0, rtol=1e-6)


def test_every_expected_value_is_met(found: Rows) -> None:
    """Within 5 standard errors and the term −‖g_b‖² that the theory leaves out, at most 1/d_b of the whole."""
    for row in found.rows:
        if row["step"] in ("scalar", "equal", "unequal", "bias"):
            expected, simulated, error = (float(row[key] or 0.0) for key in ("expected", "simulated", "standard_error"))
            assert abs(simulated - expected) <= 5 * error + expected / noise_of_allocation.SIZE + 1e-12, row


def test_the_expected_values_are_those_of_the_theory(found: Rows) -> None:
    """d_b ḡ² L / (P N) = 64 · 64 · 8 / 16; times 1 + CV² for balanced N_b; k-fold of 64 · 64 for shared seeds."""
    value = {(r["step"], r["case"], r["weights"]): r["expected"] for r in found.rows}
    for held in (1, 2, 4, 8):
        assert value["equal", f"per_client, {held} blocks each", "data"] == pytest.approx(2048)
        assert value["equal", f"shared, {held} blocks each", "data"] == pytest.approx(4096 * held)
    counts = np.array([1] * 8 + [8] * 8)
    factor = 16 * (counts**2).sum() / counts.sum() ** 2
    assert value["unequal", "8 × 1, 8 × 8", "data"] == pytest.approx(2048 * factor)
    assert value["unequal", "8 × 1, 8 × 8", "inverse_noise"] == pytest.approx(2048)


def test_descent_keeps_its_bound_and_f1_ranks_equal_holders(found: Rows) -> None:
    parts = dict(found.parts("step"))
    descent = parts["descent"]
    slack = 5 * descent.column("standard_error")
    assert (descent.column("simulated") <= descent.column("expected") + slack).all()
    by_case = dict(parts["ranking"].parts("case"))
    assert rank_correlation(by_case["4 blocks each"]) > 0.999
    assert 0.3 < rank_correlation(by_case["1–8 each, inverse_noise"]) < 0.999


def test_files_and_table(found: Rows, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "noise"
    assert make(out, lambda: found, write) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-3:] == [f"wrote {out}.{ending}" for ending in ("pdf", "png", "csv")]
    assert len(printed) == 3 + sum(row["expected"] is not None for row in found.rows)


def test_the_picture_shows_the_rows(found: Rows) -> None:
    with print_style():
        axes = draw(found).axes
    parts = dict(found.parts("step"))
    expected = next(line for line in axes[0].lines if line.get_linestyle() == "-")
    assert list(np.asarray(expected.get_ydata())) == parts["scalar"].column("expected").tolist()
    assert len(axes) == 6
