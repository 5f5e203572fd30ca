"""Order statistics of a calibration set: ranks, factors, published sizes, border errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from boundlab._errors import InvalidParameter
from boundlab.concentration.conformal import (
    conditional_factor,
    conditional_index,
    conformal_factor,
    fresh_exceedance,
    needed_constant,
    published_calibration_size,
    quantile_index,
)


def test_the_rank_needs_as_many_points_as_one_over_delta() -> None:
    assert [quantile_index(n, 0.05) for n in (1, 18, 19, 39, 999)] == [2, 19, 19, 38, 950]
    assert conformal_factor(np.ones(18), 0.05) == np.inf
    assert conformal_factor(np.ones(19), 0.05) == 1.0


def test_the_conditional_rank_agrees_with_the_beta_law() -> None:
    for n, delta, alpha in ((100, 0.1, 0.05), (1_000, 0.05, 0.01), (10_000, 0.01, 1e-6)):
        k = conditional_index(n, delta, alpha)
        assert beta.cdf(1 - delta, k, n + 1 - k) <= alpha < beta.cdf(1 - delta, k - 1, n + 2 - k)
        assert k >= quantile_index(n, delta)


def test_factors_work_along_the_last_axis_and_take_inf() -> None:
    ratios = np.array([[3.0, 1.0, 2.0], [np.inf, 0.0, 5.0]])
    assert conformal_factor(ratios, 0.5).tolist() == [2.0, 5.0]
    assert conformal_factor(ratios, 0.25).tolist() == [3.0, np.inf]
    assert conditional_factor(ratios, 0.5, 0.6).tolist() == [2.0, 5.0]


def test_the_sizes_of_the_released_experiments() -> None:
    assert [published_calibration_size(410, 300, d) for d in (10, 1, 1e-4, 1e-16, 1e-32)] == [35, 42, 70, 152, 263]
    assert needed_constant(0.5) == pytest.approx(1.442695040888963, rel=1e-14)


@pytest.mark.parametrize(
    "call",
    [
        lambda: quantile_index(0, 0.1),
        lambda: conditional_index(9, 0.1, 0.0),
        lambda: conformal_factor(np.array([]), 0.1),
        lambda: conformal_factor(np.array([1.0, -1.0]), 0.1),
        lambda: fresh_exceedance(9, 0),
        lambda: published_calibration_size(1, 1, 8.0),
        lambda: needed_constant(0.0),
    ],
)
def test_border(call) -> None:
    with pytest.raises(InvalidParameter):
        call()
