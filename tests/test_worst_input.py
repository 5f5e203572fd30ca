"""The worst input of a reweighted layer: known suprema, orders, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.worst_input import ascent_lower, ball_upper, plane_range, plane_sup

AXES = np.eye(2)


def test_orthogonal_neurons_have_the_norm_of_one_sign() -> None:
    low, high = plane_range(AXES, np.array([[3.0, 4.0], [3.0, -4.0], [0.0, 0.0]]), 2.0)
    np.testing.assert_allclose(high, [10.0, 6.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(low, [0.0, -8.0, 0.0], atol=1e-12)


def test_opposite_neurons_of_opposite_weights_are_linear() -> None:
    assert plane_sup(np.array([[3.0, 4.0], [-3.0, -4.0]]), np.array([[1.0, -1.0]]))[0] == pytest.approx(5.0)


def test_nonnegative_inputs_leave_a_dead_neuron_dead() -> None:
    p, c = np.array([[-1.0, -1.0], [1.0, 0.0]]), np.array([[7.0, 1.0]])
    assert plane_sup(p, c, nonnegative=True)[0] == pytest.approx(1.0)
    assert plane_sup(p, c)[0] == pytest.approx(7.0 * np.sqrt(2.0))


def test_neurons_at_zero_contribute_nothing() -> None:
    assert plane_sup(np.zeros((3, 2)), np.ones((2, 3))).tolist() == [0.0, 0.0]
    assert ball_upper(np.zeros((3, 5)), np.ones(3)) == 0.0
    assert ascent_lower(np.zeros((3, 5)), np.ones(3), rng=np.random.default_rng(0)) == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_ascent_below_sweep_below_upper_bound_below_sum_of_suprema(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, c = rng.standard_normal((9, 2)), rng.standard_normal(9)
    sup = float(plane_sup(p, c[None], 3.0)[0])
    assert 0.9 * sup <= ascent_lower(p, c, 3.0, rng=rng) <= sup <= ball_upper(p, c, 3.0)
    assert ball_upper(p, c, 3.0) <= 3.0 * np.abs(c) @ np.linalg.norm(p, axis=1)


def test_the_radius_scales_the_supremum() -> None:
    p, c = np.random.default_rng(3).standard_normal((2, 6, 2))
    assert plane_sup(p, c.T, 4.0) == pytest.approx(4.0 * plane_sup(p, c.T))


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="2 features"):
        plane_sup(np.ones((3, 3)), np.ones((1, 3)))
    with pytest.raises(InvalidParameter, match="radius must be finite and positive"):
        ball_upper(AXES, np.ones(2), 0.0)
    with pytest.raises(InvalidParameter, match="coefficients must have shape"):
        ball_upper(AXES, np.ones((1, 2)))
