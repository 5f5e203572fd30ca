"""Amplification: counts against their definitions, the price of a share of inputs, borders."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from boundlab import InvalidParameter, Rule, sample_size
from boundlab.coresets.amplification import amplified_size, candidates, holdout_points, mean_error


@pytest.mark.parametrize("delta", [0.5, 0.1, 1e-3, 6.1e-5])
def test_as_few_candidates_as_markov_allows(delta: float) -> None:
    tau = candidates(delta)
    assert Fraction(9, 10) ** tau <= Fraction(delta) < Fraction(9, 10) ** (tau - 1)


def test_size_meets_its_share() -> None:
    m = amplified_size(3.0, 0.5, 0.01, K=2.0)
    assert 10 / 9 * math.sqrt(5 / m) <= 0.5 * 0.01
    assert mean_error(3.0, m, K=2.0) * 10 / 9 == pytest.approx(0.005, rel=1e-5)


def test_repetition_is_dearer_than_the_logarithm() -> None:
    share = 0.1 / (4 * 410)
    plain = float(sample_size(np.array([8.0]), 0.5, share, rule=Rule.BERNSTEIN)[0])
    assert amplified_size(8.0, 0.5, share) > 1e6 * plain


def test_a_wider_range_needs_more_points() -> None:
    assert holdout_points(11.0, 10, 0.1, 0.1) >= 99 * holdout_points(1.5, 10, 0.1, 0.1)


def test_border() -> None:
    for bad in (
        lambda: candidates(0.0),
        lambda: candidates(0.5, factor=1.0),
        lambda: mean_error(0.5, 3),
        lambda: mean_error(2.0, 0),
        lambda: amplified_size(2.0, 0.5, 1.0),
        lambda: holdout_points(2.0, 0, 0.1, 0.1),
        lambda: holdout_points(2.0, 1, 0.1, math.inf),
    ):
        with pytest.raises(InvalidParameter):
            bad()
