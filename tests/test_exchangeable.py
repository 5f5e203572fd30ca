"""The maximum of a calibration set as a bound on a fresh value."""

from __future__ import annotations

import pytest

from boundlab._errors import InvalidParameter
from boundlab.concentration.exchangeable import maximum_exceeded, points_needed


def test_one_score_is_exceeded_once_in_n_plus_one() -> None:
    assert [maximum_exceeded(n) for n in (1, 9, 99)] == [0.5, 0.1, 0.01]


def test_a_union_over_all_edges_needs_more_points_than_edges() -> None:
    assert maximum_exceeded(189, 266_200) == 1.0
    assert points_needed(266_200, 0.5) == 2 * 266_200 - 1


@pytest.mark.parametrize(("scores", "delta"), [(1, 0.3), (7, 0.1), (1000, 1e-3)])
def test_points_needed_is_the_inverse(scores: int, delta: float) -> None:
    n = points_needed(scores, delta)
    assert maximum_exceeded(n, scores) <= delta < maximum_exceeded(max(1, n - 1), scores)


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="points must be a whole number"):
        maximum_exceeded(0)
    with pytest.raises(InvalidParameter, match="scores must be a whole number"):
        points_needed(0, 0.1)
    with pytest.raises(InvalidParameter, match=r"delta must be in \(0, 1\)"):
        points_needed(3, 1.0)
