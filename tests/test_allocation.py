"""Budgets over groups: limits, invariances, border errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.coresets.allocation import draws_for_distinct, relaxed_sizes, top_sizes, whole_sizes
from boundlab.coresets.error_functions import bernstein_eps, published_eps

TOTAL, LIMIT = np.array([2.0, 5.0, 5.0, 20.0]), np.array([200.0, 500.0, 90.0, 800.0])


def test_a_budget_above_all_limits_gives_the_limits() -> None:
    assert relaxed_sizes(TOTAL, LIMIT, 1e6, 0.01).tolist() == LIMIT.tolist()
    assert whole_sizes(TOTAL, LIMIT, 10**6, 0.01).tolist() == LIMIT.tolist()
    assert top_sizes(np.array([0.1, 0.2]), np.array([0, 1, 2]), 9).tolist() == [1, 1]


@pytest.mark.parametrize("budget", [4, 100, 900, 1_589])
def test_whole_sizes_spend_the_budget_and_stay_near_the_real_ones(budget: int) -> None:
    whole, real = whole_sizes(TOTAL, LIMIT, budget, 0.01), relaxed_sizes(TOTAL, LIMIT, budget, 0.01)
    assert whole.sum() == budget == pytest.approx(real.sum())
    assert (whole >= 1).all()
    assert budget < 100 or np.abs(whole - real).max() < 2


def test_equal_groups_get_equal_sizes_and_a_weight_counts() -> None:
    assert whole_sizes(np.full(7, 3.0), np.full(7, 99.0), 72, 0.01).tolist() == [11, 11, 10, 10, 10, 10, 10]
    light, heavy = relaxed_sizes(np.full(2, 3.0), np.full(2, np.inf), 1e8, 0.01, weight=np.array([1.0, 8.0]))
    assert heavy / light == pytest.approx(4.0, rel=1e-2)  # lambda^(2/3) for small errors


def test_errors_at_the_ends() -> None:
    assert bernstein_eps(np.array([0.0, 1.0]), 0, 0.1).tolist() == [0.0, np.inf]
    ratio = bernstein_eps(np.ones(1), 1e12, 0.1) / published_eps(np.ones(1), 1e12, 0.1)
    assert ratio == pytest.approx(np.sqrt(2), rel=1e-5)


def test_draws_for_many_groups_at_once_are_those_of_each_alone() -> None:
    q = np.concatenate([np.random.default_rng(k).dirichlet(np.ones(9)) for k in range(5)])
    together = draws_for_distinct(q, np.arange(6) * 9, np.arange(2.0, 7.0))
    alone = [draws_for_distinct(q[9 * k : 9 * k + 9], np.array([0, 9]), np.array([2.0 + k]))[0] for k in range(5)]
    assert together.tolist() == alone


@pytest.mark.parametrize(
    "call",
    [
        lambda: bernstein_eps(np.array([-1.0]), 5, 0.1),
        lambda: relaxed_sizes(np.zeros(1), np.ones(1), 5, 0.1),
        lambda: whole_sizes(np.ones(3), np.ones(3), 2, 0.1),
        lambda: top_sizes(np.ones(3), np.array([0, 3]), 0),
        lambda: draws_for_distinct(np.ones(1), np.array([0, 1]), np.array([-1.0])),
    ],
)
def test_border(call) -> None:
    with pytest.raises(InvalidParameter):
        call()


def test_a_probability_near_zero_needs_more_draws_than_floats_can_count() -> None:
    q = np.array([1.0 - 3e-19, 1e-19, 2e-19])
    found = draws_for_distinct(q, np.array([0, 3]), np.array([2.0]))
    # the mean is 1 + (1 - e^{-N 1e-19}) + (1 - e^{-N 2e-19}) <= 2: with y = e^{-N 1e-19}, y + y^2 = 1
    assert found[0] == pytest.approx(-math.log((math.sqrt(5) - 1) / 2) / 1e-19, rel=1e-9)
