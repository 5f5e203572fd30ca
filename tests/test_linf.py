"""l_inf-coresets, peeling and sensitivities without a ball: known instances, invariance, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.absolute_sensitivity import lewis_sensitivities, lewis_weights, multiplicative_share
from boundlab.coresets.linf import axis_points, contact_points, peel, peeled_sensitivities

ROWS = np.random.default_rng(0).standard_normal((40, 4))


def test_the_square_needs_two_contact_points_up_to_sign() -> None:
    found = contact_points(np.array([[1.0, 1.0], [1.0, -1.0], [0.5, 0.0]]))
    assert found.indices.tolist() == [0, 1]
    assert found.factor == pytest.approx(np.sqrt(2.0))


def test_one_direction_needs_its_longest_row() -> None:
    found = contact_points(np.array([[1.0, 2.0], [-3.0, -6.0], [0.0, 0.0]]))
    assert (found.indices.tolist(), found.factor) == ([1], pytest.approx(1.0, abs=1e-8))
    assert axis_points(np.array([[1.0], [2.0]]), symmetric=True).indices.tolist() == [1]


def test_equal_points_stand_for_each_other() -> None:
    assert axis_points(np.ones((5, 3))).indices.tolist() == [0]


def test_linear_maps_change_nothing() -> None:
    a = np.random.default_rng(1).standard_normal((4, 4))
    np.testing.assert_allclose(lewis_weights(ROWS @ a), lewis_weights(ROWS), rtol=1e-8)
    assert contact_points(ROWS @ a).factor == pytest.approx(contact_points(ROWS).factor, rel=1e-3)
    assert multiplicative_share(ROWS @ a) == pytest.approx(multiplicative_share(ROWS), abs=1e-6)


def test_each_point_is_peeled_once_and_zeros_never() -> None:
    peeling = peel(np.vstack([ROWS, np.zeros(4)]), contact_points)
    assert peeling.rounds[-1] == 0
    assert sum(len(c.indices) for c in peeling.coresets) == 40
    assert peeled_sensitivities(peeling)[-1] == 0.0


def test_lewis_weights_add_up_to_the_rank_and_to_less_than_peeling() -> None:
    s = lewis_sensitivities(ROWS)
    assert s.sum() == pytest.approx(4.0)
    assert s.sum() < peeled_sensitivities(peel(ROWS, contact_points)).sum()


def test_kappa_is_a_half_with_opposites_and_nothing_in_a_cone() -> None:
    assert multiplicative_share(np.vstack([ROWS, -ROWS])) == pytest.approx(0.5)
    assert multiplicative_share(np.abs(ROWS)) == 0.0


@pytest.mark.parametrize("call", [contact_points, axis_points, lewis_sensitivities, multiplicative_share])
def test_a_direction_that_may_be_rounding_is_refused(call) -> None:
    with pytest.raises(InvalidParameter, match="clear rank"):
        call(np.array([[1.0, 1.0], [1.0, 1.0 + 1e-12], [2.0, 2.0], [3.0, 3.0]]))


@pytest.mark.parametrize("call", [contact_points, axis_points, lewis_weights, multiplicative_share])
def test_border_errors(call) -> None:
    with pytest.raises(InvalidParameter, match="not all be 0"):
        call(np.zeros((3, 2)))
    with pytest.raises(InvalidParameter, match="finite"):
        call(np.array([[np.nan, 1.0]]))
