"""Data sets on which no SVM coreset is small: every point is the only one that some query sees.

d even, n = C(d, d/2): the unit vectors x_S = sqrt(2/d) 1_S, |S| = d/2. The query w_S = sqrt(d/2) 1_{not S} has margin
|T - S| at x_T, 0 at its own point and at least 1 at all others, and |w_S|² = d²/4.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int
from boundlab._theory import implements

DOWN = 1.0 - 1e-12


@implements("tukan2021_lower_bound")
def hard_instance(d: int, *, two_classes: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return (x, y): n = C(d, d/2) points of class +1, and with `two_classes` their mirror images of class -1.

    Parameters
    ----------
    d : even, from 2 to 16
    two_classes : whether (-x, -1) is added for each (x, +1), so that the problem has an intercept

    Returns
    -------
    x : (N, d) unit vectors;  y : (N,) labels

    Raises
    ------
    InvalidParameter
        If d is not an even number from 2 to 16.

    Examples
    --------
    >>> x, y = hard_instance(4)
    >>> x.shape, round(float(np.linalg.norm(x[0])), 12)
    ((6, 4), 1.0)
    """
    sets = _subsets(d)
    x = math.sqrt(2.0 / d) * sets
    if not two_classes:
        return x, np.ones(len(x))
    return np.concatenate([x, -x]), np.repeat([1.0, -1.0], len(x))


@implements("tukan2021_lower_bound")
def hard_queries(d: int) -> np.ndarray:
    """Return the queries w_S = sqrt(d/2) 1_{not S}, (n, d), in the order of ``hard_instance``."""
    return math.sqrt(d / 2.0) * (1.0 - _subsets(d))


@implements("tukan2021_lower_bound")
def total_floor(d: int, lam: float, *, two_classes: bool = False) -> float:
    """Return a lower bound on the sum of true sensitivities on ``hard_instance``, rounded down.

        one class     (d² + 8 n lam)/(d² + 8 lam),                                                    n = C(d, d/2)
        two classes   max{(d² + 8 N lam)/(d² + 16 lam), (d² + 4 N lam)/(d² + 4 lam)},                N = 2n

    Parameters
    ----------
    d : even, at least 2
    lam : positive
    two_classes : as for ``hard_instance``

    Examples
    --------
    >>> round(total_floor(8, 8.0), 6)
    35.5
    """
    points, square = _points(d), float(d * d)
    lam = positive("lam", lam)
    if not two_classes:
        return (square + 8.0 * points * lam) / (square + 8.0 * lam) * DOWN
    points *= 2
    pair = (square + 8.0 * points * lam) / (square + 16.0 * lam)
    return max(pair, (square + 4.0 * points * lam) / (square + 4.0 * lam)) * DOWN


@implements("tukan2021_lower_bound", "baykal2017_polylog")
def eps_floor(d: int, lam: float, *, two_classes: bool = False) -> float:
    """Return the eps, rounded down, below which every eps-coreset of ``hard_instance`` contains all of its points.

        one class     4 lam/(d² + 4 lam)          two classes, with intercept     2 lam/(d² + 2 lam)

    Coresets are non-negatively weighted subsets with the regulariser scaled by V/U.

    Parameters
    ----------
    d : even, at least 2
    lam : positive
    two_classes : as for ``hard_instance``

    Examples
    --------
    >>> round(eps_floor(4, 4.0), 9), round(eps_floor(4, 8.0, two_classes=True), 9)
    (0.5, 0.5)
    """
    _points(d)
    reach = (2.0 if two_classes else 4.0) * positive("lam", lam)
    return reach / (float(d * d) + reach) * DOWN


def _points(d: int) -> int:
    if positive_int("d", d) % 2:
        raise InvalidParameter(f"d must be even, got d={d!r}.")
    return math.comb(d, d // 2)


def _subsets(d: int) -> np.ndarray:
    if _points(d) > math.comb(16, 8):
        raise InvalidParameter(f"d must be at most 16, got d={d!r}.")
    rows = np.zeros((_points(d), d))
    for row, chosen in zip(rows, itertools.combinations(range(d), d // 2), strict=True):
        row[list(chosen)] = 1.0
    return rows
