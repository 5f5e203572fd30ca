"""PAC-Bayes, Catoni and single-draw bounds: published numbers, limits, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.bounds.catoni import catoni, catoni_grid, lambda_grid
from boundlab.bounds.informed_priors import break_even_risk, recursive_step
from boundlab.bounds.pac_bayes import Root, lambda_bound, log_xi, majority_vote, pac_bayes_kl, root_bound
from boundlab.bounds.single_draw import gaussian_kl, gaussian_log_ratio, single_draw, single_draw_catoni


@pytest.mark.parametrize(("n", "xi"), [(1, 2.0), (2, 2.5), (3, 26 / 9), (60_000, 307.6651049)])
def test_xi_is_its_sum(n: int, xi: float) -> None:
    assert math.exp(log_xi(n)) == pytest.approx(xi, rel=1e-9)


def test_limits_of_the_kl_form() -> None:
    assert pac_bayes_kl(0.1, math.inf, 100, 0.05) == 1.0
    assert pac_bayes_kl(1.0, 0.0, 100, 0.05) == 1.0
    assert 0.1 < pac_bayes_kl(0.1, 0.0, 10**6, 0.05) < 0.102
    assert majority_vote(0.0) == 0.0
    assert majority_vote(0.7) == 1.0


def test_single_draw_of_a_published_size() -> None:
    """1540 weights, training error 2.71 %, ln dQ/dP = 1908 nats with everything paid: 8.92 % to the rounding of r."""
    assert single_draw(0.0271, 1908.0, 60_000, 0.05) == pytest.approx(0.0892, abs=1e-4)
    assert single_draw(0.0271, 1908.0, 60_000, 0.05, draws=256) > single_draw(0.0271, 1908.0, 60_000, 0.05)
    assert single_draw(0.3, -1e6, 100, 0.05) < 0.3 + 1e-6
    assert single_draw_catoni(0.3, -1e6, 100, 0.05, [1.0]) >= 0.3


def test_a_posterior_equal_to_its_prior_costs_nothing() -> None:
    w = np.random.default_rng(0).normal(size=50).astype(np.float32)
    assert 0.0 <= gaussian_log_ratio(w, 0.0, 0.3, 0.3) < 1e-10
    assert 0.0 <= gaussian_kl(np.zeros(50), 0.3, 0.3) < 1e-10


@pytest.mark.parametrize(
    "call",
    [
        lambda: pac_bayes_kl(1.1, 1.0, 10, 0.05),
        lambda: pac_bayes_kl(0.1, -1.0, 10, 0.05),
        lambda: pac_bayes_kl(0.1, 1.0, 0, 0.05),
        lambda: root_bound(0.1, 1.0, 1, 0.05, Root.LOTFI_2022),
        lambda: lambda_bound(0.1, 1.0, 10, 0.05, 2.0),
        lambda: catoni(0.1, 1.0, 10, 0.05, 0.0),
        lambda: catoni_grid(0.1, 1.0, 10, 0.05, ()),
        lambda: single_draw_catoni(0.1, 1.0, 10, 0.05, ()),
        lambda: lambda_grid(0.1, 1.0, 10, 0.05, 0.5),
        lambda: single_draw(0.1, math.nan, 10, 0.05),
        lambda: single_draw(0.1, 1.0, 10, 0.05, draws=0),
        lambda: gaussian_log_ratio([1.0], [0.0], [0.0], [1.0]),
        lambda: gaussian_log_ratio([math.inf], [0.0], [1.0], [1.0]),
        lambda: gaussian_log_ratio([1.0, 2.0], [0.0, 1.0, 2.0], [1.0], [1.0]),
        lambda: gaussian_log_ratio([1e200], [0.0], [1.0], [1.0]),
        lambda: break_even_risk(11, 0.0, 10, 0.05),
        lambda: recursive_step(0.1, (0.5, 0.1), 0.0, 10, 0.05, steps=1),
        lambda: recursive_step(0.1, (0.5, 0.1, 0.0), 0.0, 10, 0.05, steps=1, gamma=1.5),
    ],
)
def test_what_is_out_of_range_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()
