"""Errors and sizes of a sampled layer: formulas by hand, inverses, scaling, border errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.uniform_error import (
    direction_spread,
    fixed_inputs_error,
    fixed_inputs_size,
    lipschitz_error,
    relu_error,
    relu_error_bousquet,
    relu_size,
    vector_error,
    vector_size,
)


def test_formulas_by_hand() -> None:
    assert fixed_inputs_size(10.0, 1.0, 0.02, c0=1.0) == math.ceil(50 * math.log(100))
    assert relu_error(10.0, 1.0, 100, 0.02, c0=1.0)[0] == pytest.approx(1.5 + math.sqrt(math.log(100) / 2))
    assert lipschitz_error(10.0, 1.0, 100, 0.02)[0] == pytest.approx(2 + math.sqrt(2 * math.log(100)))
    assert vector_error(10.0, 100, 0.02) == pytest.approx(4 + math.sqrt(2 * math.log(50)))
    assert relu_error(1.0, 1.0, 1, 0.02, nonnegative=True)[0] == pytest.approx(1.2071 + 3.0349, abs=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 7.0, 1e6])
def test_weights_and_error_scale_together(scale: float) -> None:
    """Multiplying all weights by K and eps by K leaves the random experiment, and so every size, as it is."""
    for size in (fixed_inputs_size, relu_size, vector_size):
        assert size(30.0 * scale, 2.0 * scale, 0.1) == pytest.approx(size(30.0, 2.0, 0.1), abs=1)


@pytest.mark.parametrize("size", [fixed_inputs_size, relu_size, vector_size])
def test_sizes_fall_with_eps_and_with_delta(size) -> None:
    assert size(30.0, 1.0, 0.1) >= size(30.0, 2.0, 0.1) >= size(30.0, 2.0, 0.2)


def test_bousquet_is_better_where_few_neurons_are_active_and_never_negative() -> None:
    spread = direction_spread(np.eye(50), np.ones((1, 50)), np.full(50, 0.02))
    assert spread == pytest.approx(0.02)
    few = relu_error_bousquet(1.0, 1.0, 1e6, 1e-6, spread=spread)
    assert 0 < few[0] < relu_error(1.0, 1.0, 1e6, 1e-6)[0]


def test_a_smaller_variance_gives_a_smaller_error() -> None:
    assert fixed_inputs_error(1.0, 100, 0.1, variance=0.0) < fixed_inputs_error(1.0, 100, 0.1, variance=0.1)


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="c0 must be 1"):
        relu_error(1.0, 1.0, 10, 0.1, c0=1.5)
    with pytest.raises(InvalidParameter, match="kap must be finite"):
        relu_error(1.0, -1.0, 10, 0.1)
    with pytest.raises(InvalidParameter, match="delta must be in"):
        vector_error(1.0, 10, 1.0)
