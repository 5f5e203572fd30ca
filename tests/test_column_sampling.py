"""Neurons sampled as columns: sensitivities against brute force, sizes against the formula, borders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab import InvalidParameter, Rule
from boundlab.coresets.column_sampling import column_scales, column_size
from boundlab.nets.neuron_importance import neuron_sensitivities
from boundlab.network import Layer


def test_sensitivity_is_the_largest_share_of_any_reader() -> None:
    rng = np.random.default_rng(0)
    w, a = rng.normal(size=(4, 6)), rng.random((9, 6))
    want = np.zeros(6)
    for side in (w > 0, w < 0):
        part = np.abs(w) * side * a[:, None, :]  # (points, out, in)
        total = part.sum(axis=2, keepdims=True)
        share = np.divide(part, total, out=np.zeros_like(part), where=total > 0)
        want = np.maximum(want, share.max(axis=(0, 1)))
    got = neuron_sensitivities(Layer(weight=w, bias=np.zeros(4), relu=True), [a])
    assert got == pytest.approx(want, rel=1e-12)
    assert 1 <= got.sum() <= 6


def test_size_is_pfps_formula_up_to_rounding() -> None:
    s, eps, delta, out = np.array([0.5, 0.25, 1.0]), 0.5, 0.1, 5
    real = (2 + 2 * eps / 3) * 1.75 * math.log(4 * out / delta) / eps**2
    assert column_size(s, eps, delta, 2 * out, rule=Rule.BERNSTEIN) == math.ceil(real)


def test_nothing_to_sample() -> None:
    assert column_size(np.zeros(3), 0.5, 0.1, 2) == 0
    assert column_scales(np.zeros(3), 4, np.random.default_rng(0)).tolist() == [0, 0, 0]


def test_scales_add_up_to_the_draws() -> None:
    s = np.array([0.2, 0.3, 0.5])
    scale = column_scales(s, 11, np.random.default_rng(1))
    assert (scale * 11 * s / s.sum()).sum() == pytest.approx(11)


@pytest.mark.parametrize("bad", [np.array([]), np.array([-1.0]), np.array([np.nan]), np.ones((2, 2))])
def test_border(bad: np.ndarray) -> None:
    with pytest.raises(InvalidParameter, match="sensitivities must be"):
        column_scales(bad, 1, np.random.default_rng(0))
    with pytest.raises(InvalidParameter):
        column_size(np.ones(2), 0.5, 1.5, 1)
