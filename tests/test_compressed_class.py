"""Prices of counts and bounds through compression: the borders, and limits."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from boundlab import InvalidParameter, random_network
from boundlab.bounds.compressed_class import (
    compressed_risk,
    margin_radius,
    margin_shift,
    original_risk,
    relative_margins,
)
from boundlab.bounds.corenet_corollary import log_size
from boundlab.codes.counts import (
    dirichlet_nats,
    disintegrated_nats,
    draw_log_probability,
    log_sphere_size,
    multinomial_nats,
    sphere_nats,
    support_first_nats,
)
from boundlab.nets.deviation import spectral_deviation


@pytest.mark.parametrize(
    "call",
    [
        lambda: log_sphere_size(0, 3),
        lambda: sphere_nats(np.zeros(3, int)),
        lambda: support_first_nats(np.array([0.5, 1.0])),
        lambda: multinomial_nats(np.array([1, 2]), np.full((2, 2), 0.5)),
        lambda: dirichlet_nats(np.array([[1]])),
        lambda: draw_log_probability(np.array([1, 2]), np.array([1.0])),
        lambda: margin_radius(0.1, norm="taxi"),
        lambda: compressed_risk(11, 0, 10, 1.0, 0.05),
        lambda: compressed_risk(1, 0, 10, -1.0, 0.05),
        lambda: original_risk(1, 10, 1.0, 1, 10, 0.05, grid=0),
        lambda: original_risk(1, 10, 1.0, 1, 10, 0.05, nets=0),
        lambda: relative_margins(np.array([[math.nan, 1.0]]), np.array([0])),
        lambda: relative_margins(np.array([[math.inf, 1.0]]), np.array([0])),
        lambda: margin_shift(np.array([[math.inf, 1.0]]), np.zeros((1, 2))),
        lambda: log_size([], [], K=1.0, eta=1, n=1, delta=0.1, ratio=1.0),
        lambda: log_size([1.0], [1.0, 1.0], K=1.0, eta=1, n=1, delta=0.1, ratio=1.0),
        lambda: log_size([math.nan], [1.0], K=1.0, eta=1, n=1, delta=0.1, ratio=1.0),
        lambda: log_size([1.0], [1.0], K=0.0, eta=1, n=1, delta=0.1, ratio=1.0),
        lambda: log_size([1.0], [1.0], K=1.0, eta=1, n=1, delta=9.0, ratio=1.0),
        lambda: relative_margins(np.zeros((2, 1)), np.zeros(2, int)),
        lambda: relative_margins(np.zeros((2, 2)), np.zeros(2, bool)),
        lambda: disintegrated_nats(np.array([1, 2]), np.array([0.5, 0.5]), -1.0),
        lambda: spectral_deviation(random_network((3, 2), rng=0), random_network((3, 3), rng=0), 1.0),
    ],
)
def test_bad_input_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        call()


def test_limits() -> None:
    assert compressed_risk(5, 8, 10, 0.0, 0.05) == 1.0, "more failures than examples"
    assert math.isinf(multinomial_nats(np.array([1]), np.array([[0.0], [1.0]])))
    assert disintegrated_nats(np.array([2, 0]), np.array([0.0, 1.0]), 3.0) == -math.inf, "an impossible draw"
    net = random_network((3, 2), rng=0)
    assert spectral_deviation(net, net, 1.0) == 0.0


def test_margins_beyond_the_largest_float_are_none() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = relative_margins(np.array([[1.7e308, -1.7e308], [1.7e308, 1.0]]), np.array([0, 0]))
    assert found[0] <= -1.0
    assert 0.999 < found[1] <= 1.0


def test_the_smallest_delta_is_shared_without_underflow() -> None:
    small, smaller = (original_risk(1, 10_000, 1.0, 1, 10_000, delta, grid=33, nets=4) for delta in (1e-299, 1e-300))
    assert 0.1 < small < smaller < 0.2


def test_the_sparse_vector_is_cheaper_by_its_support() -> None:
    z = np.zeros(784, int)
    z[:3] = [40, -2, 6]
    assert support_first_nats(z) < sphere_nats(z)
    assert log_sphere_size(784, 48) <= 48 * math.log(math.e * (48 + 1568) / 48)
