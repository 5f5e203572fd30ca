"""Evidence on the mean of values in [0, 1]: a bet per value, averaged over a grid of stakes.

For values V_1, V_2, ... in [0, 1] with E[V_i | past] >= c, the product of 1 + lambda (c - V_i), with
0 <= lambda <= 1/(1 - c), is a supermartingale that starts at 1 and stays at least 0, and so is its average over any
fixed weights on lambda: P(it ever reaches 1/alpha) <= alpha (Ville). The mirror image, 1 + lambda (V_i - c) with
lambda <= 1/c, bets against E[V_i | past] <= c. A 0/1 outcome is the special case with its own closed form
(`verification.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements

STAKES = np.concatenate([2.0 ** -np.arange(8.0, 1.0, -1.0), 1.0 - 2.0 ** -np.linspace(1.0, 20.0, 33)])
"""The grid of stakes, as shares of the largest one that cannot lose everything; equal weights."""

LOOKS = slice(None, None, -16)
"""At which numbers of values a limit reads the evidence: any choice is valid, and fewer looks cost less time."""


@implements("waudby_smith2024_bounded_mean")
def log_e_mean_below(values: np.ndarray, c: float) -> np.ndarray:
    """Log evidence against E[V | past] >= c after each value, rounded down.

    Parameters
    ----------
    values : array (n,), in [0, 1]
        In the order in which they were seen.
    c : float in (0, 1)
        The mean that is bet against.

    Returns
    -------
    array (n,)
        Lower bounds on log of the average over lambda of prod_{i <= n} (1 + lambda (c - V_i)).

    Raises
    ------
    InvalidParameter
        If c is outside (0, 1), or a value is outside [0, 1].

    Notes
    -----
    Source: Waudby-Smith and Ramdas (2024), betting on a fixed grid of stakes;
    ``proofs_checks/waudby_smith2024_bounded_mean.py``.

    Examples
    --------
    >>> bool(log_e_mean_below(np.zeros(100), 0.1)[-1] > np.log(1000))
    True
    """
    v, bar = _values(values), probability("c", c)
    return _log_wealth(bar - v, STAKES / (1.0 - bar))


@implements("waudby_smith2024_bounded_mean")
def log_e_mean_above(values: np.ndarray, c: float) -> np.ndarray:
    """Log evidence against E[V | past] <= c after each value, rounded down; the mirror image of `log_e_mean_below`.

    Examples
    --------
    >>> bool(log_e_mean_above(np.ones(10), 0.1)[-1] > np.log(1000))
    True
    """
    v, bar = _values(values), probability("c", c)
    return _log_wealth(v - bar, STAKES / bar)


@implements("waudby_smith2024_bounded_mean", "boundlab_mixture_tilting")
def mean_upper_limit(values: np.ndarray, alpha: float) -> float:
    """Return U with P(mean >= U) <= alpha: the smallest c that `log_e_mean_below` refutes at some n, rounded up.

    The evidence rises with c, so that bisection finds U = min over n of inf{c : E_n(c) >= 1/alpha}; n runs over every
    16th number of values, counted back from all of them. It may be read after any number of values, as often as one
    likes: all readings hold together.

    Parameters
    ----------
    values : array (n,), in [0, 1]
        With E[V_i | past] equal to the mean that is bounded, in the order in which they were seen.
    alpha : float in (0, 1)
        The error level.

    Returns
    -------
    float
        In (0, 1], at most 0.1 % above the exact U; 1 where nothing is refuted. Memory: about 1 KB per value.

    Raises
    ------
    InvalidParameter
        If alpha is outside (0, 1), or a value is outside [0, 1].

    Notes
    -----
    Source: Waudby-Smith and Ramdas (2024), inverted; ``proofs_checks/boundlab_mixture_tilting.py``.

    Examples
    --------
    >>> 0.0029 < mean_upper_limit(np.zeros(1000), 0.05) < 0.0034  # the best fixed-n limit is 0.00299
    True
    """
    v, level = _values(values), -math.log(probability("alpha", alpha))
    if not len(v):
        return 1.0
    none = -math.expm1(-level / len(v))  # no product of n factors of at most 1/(1 - c) reaches 1/alpha below this c

    def refutes(c: float) -> bool:
        return bool(_log_wealth(c - v, STAKES / (1.0 - c), LOOKS).max() >= level)

    return _refuted_end(refutes, refuted=1.0, kept=none)


@implements("waudby_smith2024_bounded_mean", "boundlab_mixture_tilting")
def mean_lower_limit(values: np.ndarray, alpha: float) -> float:
    """Return L with P(mean <= L) <= alpha: the mirror image of `mean_upper_limit`, rounded down; 0 below 1e-12.

    Examples
    --------
    >>> mean_lower_limit(np.zeros(1000), 0.05), 0.98 < mean_lower_limit(np.ones(1000), 0.05) < 1
    (0.0, True)
    """
    v, level = _values(values), -math.log(probability("alpha", alpha))
    if not len(v):
        return 0.0

    def refutes(c: float) -> bool:
        return bool(_log_wealth(v - c, STAKES / c, LOOKS).max() >= level)

    least = 1e-12
    return _refuted_end(refutes, refuted=least, kept=math.exp(-level / len(v))) if refutes(least) else 0.0


def _refuted_end(refutes: Callable[[float], bool], *, refuted: float, kept: float) -> float:
    """Bisect between a mean that is refuted and one that is not; the refuted end, within 0.1 %."""
    while abs(math.log(refuted / kept)) > 1e-3:
        middle = math.sqrt(refuted * kept)
        refuted, kept = (middle, kept) if refutes(middle) else (refuted, middle)
    return refuted


def _log_wealth(gain: np.ndarray, stakes: np.ndarray, looks: slice = slice(None)) -> np.ndarray:
    """Log of the average over stakes of the running products of 1 + stake gain, rounded down, at some of the looks."""
    with np.errstate(divide="ignore"):
        logs = np.log1p(np.maximum(stakes[:, None] * gain[None, :], -1.0))  # (stakes, n)
    paths = np.cumsum(logs, axis=1)[:, looks]
    total = logsumexp(paths, axis=0) - np.log(len(stakes))
    # A running sum of n terms is off by at most n ulps of the sum of their sizes, and each term by one ulp.
    size = np.cumsum(np.abs(np.where(np.isfinite(logs), logs, 0.0)).max(axis=0, initial=0.0))
    return total - (2.0**-51 * (np.arange(4.0, 4.0 + len(size))) * (1.0 + size))[looks]


def _values(values: np.ndarray) -> np.ndarray:
    v = np.asarray(values, np.float64)
    if v.ndim != 1 or not np.all((v >= 0.0) & (v <= 1.0)):
        raise InvalidParameter(f"values must be a row of numbers in [0, 1], got shape {v.shape} and {values!r}.")
    return v
