"""The maximum of a calibration set as a bound on a fresh value: what exchangeability alone gives, without a premise."""

from __future__ import annotations

import math
from fractions import Fraction

from boundlab._errors import positive_int, probability
from boundlab._theory import implements


@implements("boundlab_exchangeable_maximum")
def maximum_exceeded(points: int, scores: int = 1) -> float:
    """Return min(1, scores/(points + 1)): a bound on the chance that a fresh value exceeds the maximum of `points`.

    For one score, P(g(x) > max_S g) <= 1/(n+1), whatever its distribution, ties included, as long as S and x are
    exchangeable (i.i.d., or drawn without replacement) and g was fixed before them; several scores by a union.

    Parameters
    ----------
    points : int >= 1, n = |S|
    scores : int >= 1, over how many scores the maximum is compared: every edge of a net, say

    Returns
    -------
    float in (0, 1], rounded up

    Raises
    ------
    InvalidParameter
        If an argument is no whole number of at least 1.

    Notes
    -----
    ``proofs_checks/boundlab_exchangeable_maximum.py``. It falls as 1/n where an assumption on the distribution would
    make it fall exponentially: for all edges of a net it says nothing before n exceeds their number.

    Examples
    --------
    >>> maximum_exceeded(99), maximum_exceeded(189, 266_200)  # all edges of 784-300-100-10
    (0.01, 1.0)
    """
    n, k = positive_int("points", points), positive_int("scores", scores)
    return min(1.0, _up(Fraction(k, n + 1)))


@implements("boundlab_exchangeable_maximum")
def points_needed(scores: int, delta: float) -> int:
    """Return the smallest n with scores/(n + 1) <= delta: how many calibration points a union over all scores needs.

    Parameters
    ----------
    scores : int >= 1
    delta : float in (0, 1)

    Returns
    -------
    int >= 1; in whole numbers for the rational number that the float delta is

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> points_needed(1, 0.5), points_needed(1, 0.25), points_needed(266_200, 0.25)
    (1, 3, 1064799)
    """
    k, level = positive_int("scores", scores), Fraction(probability("delta", delta))
    return max(1, math.ceil(k / level) - 1)


def _up(value: Fraction) -> float:
    """The smallest float at or above a fraction."""
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)
