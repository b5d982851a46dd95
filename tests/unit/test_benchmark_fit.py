"""The lines that the benchmarks draw through their points."""

import pytest

from benchmarks.scale.fit import fit_line, median_slope


def test_line_is_found_again():
    line = fit_line([8, 64, 512], [11.6, 22.8, 112.4], [10, 20, 110])
    assert (line.intercept, line.slope, line.r2) == pytest.approx((10.0, 0.2, 1.0))


def test_crooked_points_are_told():
    assert fit_line([1, 2, 3, 4], [1, 4, 9, 16]).r2 < 0.99


def test_scale_weighs_small_points():
    """One point off at the large end moves the constant little when that end counts relatively."""
    points, values, scale = [1, 10, 1000], [1.0, 10.0, 1100.0], [1, 10, 1000]
    assert abs(fit_line(points, values, scale).intercept) < abs(fit_line(points, values).intercept)


def test_median_slope_ignores_an_outlier():
    assert median_slope([1.0, 2.0, 3.0, 400.0, 5.0, 6.0]) == pytest.approx(1.0)
