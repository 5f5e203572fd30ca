"""Margins and what an error of the outputs can cost of them."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.nets.margin import lost_margin, margins


def test_margin_is_the_distance_to_the_best_rival() -> None:
    f = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, -5.0]])
    assert margins(f, np.array([0, 1])).tolist() == [1.0, 0.0]
    assert margins(f, np.array([2, 2])).tolist() == [-1.0, -5.0]


def test_lost_margin_takes_the_two_largest_outputs() -> None:
    f = np.array([[3.0, -1.0, -2.0], [0.0, 0.0, 0.0]])
    assert lost_margin(f, 0.5).tolist() == pytest.approx([2.5, 0.0])
    assert lost_margin(f, 0.0).tolist() == [0.0, 0.0]


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="at least two classes"):
        lost_margin(np.ones((3, 1)), 0.1)
    with pytest.raises(InvalidParameter, match="eps must be finite"):
        lost_margin(np.ones((3, 2)), -0.1)
    with pytest.raises(InvalidParameter, match="y must"):
        margins(np.ones((3, 2)), np.array([0, 1, 2]))
