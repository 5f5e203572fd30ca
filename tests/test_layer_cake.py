"""Relative deviations and the layer cake: limits, inverses, scaling, border errors."""

from __future__ import annotations

import math

import pytest

from boundlab import InvalidParameter
from boundlab.coresets.layer_cake import layer_cake_error, layer_cake_size, log_growth, relative_deviation


def test_growth_is_that_of_all_subsets_up_to_the_dimension() -> None:
    assert log_growth(2, 5) == pytest.approx(2 * math.log(2))
    assert log_growth(1000, 2) == pytest.approx(2 * math.log(500 * math.e))


def test_deviations_vanish_with_the_sample() -> None:
    assert relative_deviation(1e12, 0.01, vc=3) < 1e-4 < relative_deviation(1e6, 0.01, vc=3)


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e6])
def test_value_total_and_error_scale_together(scale: float) -> None:
    scaled = layer_cake_error(3.0 * scale, 5.0 * scale, 1e4, 0.1, dimension=2)
    assert scaled == pytest.approx(scale * layer_cake_error(3.0, 5.0, 1e4, 0.1, dimension=2))


@pytest.mark.parametrize(("total", "eps", "dimension"), [(10.0, 0.5, 2), (300.0, 0.1, 50), (2.0, 2.0, 1)])
def test_the_size_gives_its_error_and_one_less_by_a_percent_does_not(total: float, eps: float, dimension: int) -> None:
    m = layer_cake_size(total, eps, 0.05, dimension=dimension)
    assert layer_cake_error(1.0, total, m, 0.05, dimension=dimension) <= eps * (1 + 1e-9)
    assert layer_cake_error(1.0, total, 0.99 * m, 0.05, dimension=dimension) > eps


def test_a_tiny_total_needs_what_the_growth_bound_asks_for() -> None:
    assert layer_cake_size(1e-6, 1.0, 0.5, dimension=4) == 3.0  # 2 m >= d + 1


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="value must be finite"):
        layer_cake_error(-1.0, 1.0, 10, 0.1, dimension=1)
    with pytest.raises(InvalidParameter, match="vc must be a whole number"):
        log_growth(10, 0)
