"""A T x N cross of coins and inputs is no sample of T N trials: what it does certify (Hoeffding's two-sample bound)."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.chernoff import kl_inverse


@implements("hoeffding1963_two_sample", "boundlab_pooled_outcomes")
def cross_upper_limit(outcomes: np.ndarray, alpha: float) -> float:
    """Return an upper limit on P(failure) from every coin tried on every input.

    With T i.i.d. coins (rows), N i.i.d. inputs (columns) and h = min(T, N), the mean of all T N outcomes is an average
    of means over h disjoint pairs, so that by convexity P(mean <= q) <= exp(-h kl(q || p)) for q <= p:

        U = kl^-1(mean, ln(1/alpha)/h).

    Parameters
    ----------
    outcomes : array (T, N), in [0, 1]
        Entry (t, i) is 1 if coin t fails at input i.
    alpha : float in (0, 1)
        P(U < p) <= alpha, over coins and inputs together.

    Returns
    -------
    float
        Rounded up. Its precision is that of min(T, N) trials, however many outcomes there are.

    Raises
    ------
    InvalidParameter
        If an outcome is outside [0, 1], the array is not (T, N) with T, N >= 1, or alpha is outside (0, 1).

    Notes
    -----
    Source: Hoeffding (1963), section 5b, as we understand the paper; ``proofs_checks/hoeffding1963_two_sample.py``.

    Examples
    --------
    >>> round(cross_upper_limit(np.zeros((50, 1000)), 0.05), 4)
    0.0582
    """
    table = np.asarray(outcomes, np.float64)
    if table.ndim != 2 or not table.size or not np.all((table >= 0.0) & (table <= 1.0)):
        raise InvalidParameter(f"outcomes must be an array (T, N) in [0, 1], got shape {table.shape}.")
    pairs = positive_int("min(T, N)", min(table.shape))
    mean = min(1.0, float(table.mean()) * (1.0 + 2.0**-40))
    return kl_inverse(mean, -np.log(probability("alpha", alpha)) / pairs)
