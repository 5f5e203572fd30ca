"""Hoeffding's limits and the binomial comparison: published numbers, limits, border errors."""

from __future__ import annotations

import math

import pytest

from boundlab._errors import InvalidParameter
from boundlab.concentration.binomial import log_sf
from boundlab.concentration.chernoff import kl_inverse
from boundlab.concentration.hoeffding import log_binomial_tail, radius, sample_size, upper_limit


def test_published_sample_sizes() -> None:
    # Okamoto's size for a gap of delta/2, at delta = .05, .01 and .001 and level .05
    assert [sample_size(delta / 2, 0.05) for delta in (0.05, 0.01, 0.001)] == [2_397, 59_915, 5_991_465]


def test_limit_stays_a_probability_and_is_looser_than_kl() -> None:
    assert upper_limit(1.0, 5, 0.1) == 1.0
    assert upper_limit(0.01, 1_000, 0.05) > 2 * kl_inverse(0.01, math.log(20) / 1_000)
    assert radius(10**12, 0.5) == pytest.approx(0.0, abs=1e-6)


def test_binomial_tail_at_its_ends() -> None:
    assert log_binomial_tail(-1.0, 5, 0.3) == log_binomial_tail(0.0, 5, 0.3) == 0.0
    assert log_binomial_tail(5.5, 5, 0.3) == -math.inf
    assert log_binomial_tail(5.0, 5, 0.3) == pytest.approx(1 + 5 * math.log(0.3))
    assert log_binomial_tail(1.0, 5, 0.0) == -math.inf
    assert log_binomial_tail(5.0, 5, 1.0) == 0.0
    assert log_binomial_tail(70.0, 100, 0.3) == pytest.approx(1 + log_sf(70, 100, 0.3)[1])


@pytest.mark.parametrize("mean", [-0.1, 1.5, math.nan])
def test_a_mean_outside_the_unit_interval_is_refused(mean: float) -> None:
    with pytest.raises(InvalidParameter, match="mean must be in"):
        upper_limit(mean, 10, 0.1)


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="n must be a whole number"):
        radius(0, 0.1)
    with pytest.raises(InvalidParameter, match="at most 2\\^53"):
        sample_size(1e-9, 0.1)
    with pytest.raises(InvalidParameter, match="x must be finite"):
        log_binomial_tail(math.inf, 3, 0.5)
