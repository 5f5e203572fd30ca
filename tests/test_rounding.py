"""What rounding to the grid adds to a relative error."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.codes.log_grid import STEPS
from boundlab.codes.rounding import grid_error, rounded_error


def test_grid_error_halves_in_the_logarithm() -> None:
    assert [grid_error(s) for s in STEPS] == pytest.approx([2 ** (1 / (2 * s)) - 1 for s in STEPS], rel=1e-10)


def test_rounded_error_of_nothing_is_nothing() -> None:
    assert rounded_error(np.array([0.0, 0.5]), 0.0).tolist() == pytest.approx([0.0, 0.5])
    assert float(rounded_error(0.0, 0.25)) == pytest.approx(0.25)


def test_border_errors() -> None:
    with pytest.raises(InvalidParameter, match="steps must be one of"):
        grid_error(3)
    with pytest.raises(InvalidParameter, match="eps and rho must be at least 0"):
        rounded_error(0.1, -0.1)
    with pytest.raises(InvalidParameter, match="eps and rho must be at least 0"):
        rounded_error(np.array([np.nan]), 0.1)
