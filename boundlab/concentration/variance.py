"""Bernstein's rate with the exact variance of sensitivity sampling, 1/p - 1, where the plain form has 1/p."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.concentration.multiplicative import ROUNDING


@implements("baykal2019_naive_lower_tail")
def variance_rate(p: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Return eps² / (2 (v + max(v, 1) eps/3)) with v = 1/p - 1, rounded down: a rate of both relative tails.

    The mean of m independent terms in [0, 1/p] with mean 1 is above 1 + eps, and below 1 - eps, each with probability
    at most exp(-m rate). A term's variance is at most v, it deviates upwards by at most v and downwards by at most 1;
    with v in the place of max(v, 1) the lower tail would be false for p > 1/2.

    Parameters
    ----------
    p : array in (0, 1]; at 1 there is no randomness and the rate is inf
    eps : array, positive

    Returns
    -------
    array, the broadcast shape; above `bernstein_rate` wherever v + max(v, 1) eps/3 < 1/p + eps/(3 p)

    Raises
    ------
    InvalidParameter
        If an entry is out of its range.

    Notes
    -----
    Bernstein's inequality with the variance of the estimator, as in section 2.8 of Boucheron, Lugosi and Massart
    (2013), as we understand it; the two-sided form for this range is ours.

    Examples
    --------
    >>> float(np.round(variance_rate(np.array(0.2), np.array(1.0)), 6))  # 1 / (2 (4 + 4/3))
    0.09375
    """
    p, eps = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(eps, np.float64))
    if not (np.all((p > 0) & (p <= 1)) and np.all((eps > 0) & np.isfinite(eps))):
        raise InvalidParameter(f"p must be in (0, 1] and eps positive, got p={p!r}, eps={eps!r}.")
    v = (1.0 - p) / p
    with np.errstate(divide="ignore"):
        rate = eps * eps / (2.0 * (v + np.maximum(v, 1.0) * eps / 3.0)) * (1.0 - ROUNDING)
    return np.where(p < 1.0, rate, np.inf)
