"""Bernstein's rate with the exact variance: limits, order among the rates, border."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.concentration.multiplicative import bernstein_rate, lower_rate, upper_rate
from boundlab.concentration.variance import variance_rate

P = np.linspace(0.02, 0.98, 49)[:, None]
EPS = np.logspace(-4, 1, 61)


def test_never_above_the_exact_exponent() -> None:
    assert np.all(variance_rate(P, EPS) <= np.minimum(upper_rate(P, EPS), lower_rate(P, EPS)))


def test_above_the_plain_bernstein_rate_where_it_should_be() -> None:
    v = 1 / P - 1
    gains = v + np.maximum(v, 1) * EPS / 3 < (1 + EPS / 3) / P * (1 - 1e-9)
    assert np.all(variance_rate(P, EPS)[gains] > bernstein_rate(P, EPS)[gains])


def test_small_errors_see_the_variance_alone() -> None:
    assert variance_rate(np.array(0.25), np.array(1e-6)) == pytest.approx(1e-12 / 6, rel=1e-5)


def test_no_randomness_no_failure() -> None:
    assert variance_rate(np.array(1.0), np.array(0.1)) == np.inf


@pytest.mark.parametrize(("p", "eps"), [(0.0, 1.0), (1.5, 1.0), (np.nan, 1.0), (0.5, 0.0), (0.5, -1.0), (0.5, np.inf)])
def test_border(p: float, eps: float) -> None:
    with pytest.raises(InvalidParameter, match="p must be in"):
        variance_rate(np.array(p), np.array(eps))
