"""The borders of the mathematics behind verdicts: what is refused, and published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.concentration.approximate import wald_upper, wilson_upper
from boundlab.concentration.betting import log_e_mean_above, log_e_mean_below
from boundlab.concentration.finite_population import log_e_at_least, upper_count
from boundlab.concentration.poisson_binomial import poisson_binomial
from boundlab.concentration.relative_estimate import estimate, failures_needed
from boundlab.concentration.tilting import tilt
from boundlab.concentration.two_sample import cross_upper_limit
from boundlab.verification.judging.lattice import absorption
from boundlab.verification.judging.many import calibrated, e_bh, holm
from boundlab.verification.judging.repeated import look_level, looks
from boundlab.verification.nested import nested_thresholds

COIN = np.array([0.0, 1.0]), np.array([0.5, 0.5])


@pytest.mark.parametrize(
    "call",
    [
        lambda: absorption(lambda n, k: k < 0, lambda n, k: k < 0, 1.5, 3),
        lambda: log_e_mean_below(np.array([0.5, 1.5]), 0.1),
        lambda: log_e_mean_above(np.array([0.5]), 1.0),
        lambda: cross_upper_limit(np.zeros(3), 0.05),
        lambda: cross_upper_limit(np.full((2, 2), 2.0), 0.05),
        lambda: upper_count(3, 2, 10, 0.05),
        lambda: log_e_at_least(1, 2, 10, 11),
        lambda: poisson_binomial(np.array([0.5, -0.1])),
        lambda: tilt(*COIN, 10, 10.0),
        lambda: tilt(COIN[0], np.array([0.5, 0.6]), 10, 7.0),
        lambda: estimate(np.array([3]), np.random.default_rng(0)),
        lambda: failures_needed(0.0, 0.05),
        lambda: nested_thresholds(0.05, 1.0),
        lambda: holm(np.array([]), 0.05),
        lambda: e_bh(np.array([math.nan]), 0.05),
        lambda: look_level(0.05, 0),
        lambda: looks(5, 10, 1.0),
        lambda: wilson_upper(np.array([5]), 4, 0.05),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


def test_limits() -> None:
    assert wald_upper(np.array([0]), 50, 0.05)[0] == 0
    assert log_e_mean_below(np.zeros(0), 0.1).shape == (0,)
    assert log_e_mean_below(np.ones(5), 0.5)[-1] < 0 < log_e_mean_above(np.ones(5), 0.5)[-1]
    assert upper_count(0, 10, 10, 0.05) == 0
    assert tilt(*COIN, 10, 3.0).theta == 0, "a threshold below the mean needs no tilt"
    assert not np.isfinite(calibrated(np.array([-1.0]))[0]), "a supremum below 1 is no evidence"


def test_everything_is_rejected_or_nothing() -> None:
    assert holm(np.full(3, 50.0), 0.05).all()
    assert not e_bh(np.zeros(3), 0.05).any()
