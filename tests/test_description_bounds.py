"""Length priors, permutations, sample compression, screening, empirical Bernstein: numbers, limits, borders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.bounds.length_priors import length_nats, permutation_bonus, published_universal_nats
from boundlab.bounds.occam import occam_binomial, occam_hoeffding, occam_kl, occam_realizable
from boundlab.bounds.sample_compression import log_choices, sample_compression, size_nats
from boundlab.bounds.test_set import repeats, screened_interval, screened_limit
from boundlab.concentration.empirical_bernstein import empirical_bernstein, monte_carlo_limit
from boundlab.network import Layer, Network


@pytest.mark.parametrize(("k", "percent"), [(0, 0.0300), (100, 1.180), (200, 2.246), (450, 4.856)])
def test_langford_2005_test_set_numbers(k: int, percent: float) -> None:
    assert 100 * screened_limit(k, 10_000, 0.05) == pytest.approx(percent, abs=5e-4)
    low, high = screened_interval(k, 10_000, 0.05)
    assert low <= k / 10_000 < screened_limit(k, 10_000, 0.05) < high


def test_equal_units_have_no_bonus() -> None:
    same = Layer(weight=np.ones((4, 2)), bias=np.zeros(4), relu=True)
    top = Layer(weight=np.arange(4.0)[None, :], bias=np.zeros(1), relu=False)
    assert permutation_bonus(Network(layers=(same, top))) == 0.0


def test_nothing_kept_is_the_test_set_bound_at_the_price_of_saying_so() -> None:
    assert log_choices(100, 0) == 0.0
    alone = screened_limit(3, 100, 0.05 * math.exp(-size_nats(0)))
    assert sample_compression(3, 0, 100, 0.05) == pytest.approx(alone, rel=1e-9)
    assert sample_compression(3, 5, 100, 0.05) < sample_compression(3, 5, 100, 0.05, ordered=True) < 1.0
    assert sample_compression(3, 5, 100, 0.05, message=math.inf) == 1.0


def test_repeats_need_equal_labels() -> None:
    assert repeats(np.zeros((3, 2)), np.array([0, 1, 0])) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: length_nats(0),
        lambda: published_universal_nats(0),
        lambda: occam_binomial(1, 10, 0.0),
        lambda: occam_kl(11, 10, 1.0),
        lambda: occam_hoeffding(-1, 10, 1.0),
        lambda: occam_realizable(0, 1.0),
        lambda: sample_compression(0, 10, 10, 0.05),
        lambda: sample_compression(9, 2, 10, 0.05),
        lambda: sample_compression(1, 2, 10, 0.05, message=-1.0),
        lambda: screened_limit(1, 10, 0.05, models=0),
        lambda: empirical_bernstein(0.5, 0.6, 10, 0.05),
        lambda: empirical_bernstein(0.5, 0.1, 1, 0.05),
        lambda: monte_carlo_limit(np.array([0.5, 1.5]), 0.05),
        lambda: monte_carlo_limit(np.array([0.5]), 0.05),
    ],
)
def test_what_is_out_of_range_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must be"):
        call()
