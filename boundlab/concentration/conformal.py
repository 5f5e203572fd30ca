"""Order statistics of a calibration set: by which factor a fresh point may exceed what was measured, without a premise.

R_1..R_n are ratios (or any scores) of calibration points, R that of a fresh point, all i.i.d. or only exchangeable.

    quantile_index       k = ceil((1-delta)(n+1)):  P(R > R_(k)) <= delta, over the calibration points and the fresh one
    conditional_index    smallest k with P(Bin(n, 1-delta) >= k) <= alpha:  with probability 1 - alpha over the
                         calibration points, a fresh point exceeds R_(k) with probability <= delta
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.binomial import log_cdf


@implements("vovk2005_split_conformal")
def quantile_index(points: int, delta: float) -> int:
    """Return k = ceil((1-delta)(n+1)), the rank whose order statistic a fresh point exceeds with probability <= delta.

    Computed in whole numbers for the rational number that the float delta is; n + 1 says that no rank will do, as
    delta < 1/(n+1).

    Parameters
    ----------
    points : int >= 1, the number n of calibration points
    delta : float in (0, 1)

    Returns
    -------
    int in 1..n+1

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Vovk, Gammerman and Shafer (2005), inductive conformal prediction, as we understand the book.

    Examples
    --------
    >>> quantile_index(99, 0.05), quantile_index(19, 0.05), quantile_index(18, 0.05)
    (95, 19, 19)
    """
    n, level = positive_int("points", points), Fraction(probability("delta", delta))
    return math.ceil((1 - level) * (n + 1))


@implements("vovk2012_training_conditional")
def conditional_index(points: int, delta: float, alpha: float) -> int:
    """Return the smallest k with P(Bin(n, 1-delta) >= k) <= alpha, or n + 1 where there is none.

    With probability at least 1 - alpha over the calibration points, P(R > R_(k)) <= delta for a fresh R given them.
    There is a rank as soon as (1-delta)^n <= alpha. The tail is an upper end of an enclosure, so that k errs upwards.

    Parameters
    ----------
    points : int >= 1, the number n of calibration points
    delta : float in (0, 1), the share of fresh points that may exceed
    alpha : float in (0, 1), the chance of unlucky calibration points

    Returns
    -------
    int in 1..n+1

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Vovk (2012), conditional validity of inductive conformal predictors, as we understand the paper.

    Examples
    --------
    >>> conditional_index(1000, 0.05, 0.01), conditional_index(59, 0.05, 0.05), conditional_index(58, 0.05, 0.05)
    (966, 59, 59)
    """
    n, delta = positive_int("points", points), probability("delta", delta)
    target = math.log(probability("alpha", alpha))
    low, high = 0, n + 1  # rank 0 fails, for its tail is 1; rank n + 1 passes, for its tail is empty
    while high - low > 1:
        k = (low + high) // 2
        if log_cdf(n - k, n, delta)[1] <= target - 1e-15 * abs(target):  # P(Bin(n, 1-delta) >= k), from the other end
            high = k
        else:
            low = k
    return high


@implements("vovk2005_split_conformal")
def conformal_factor(ratios: np.ndarray, delta: float) -> np.ndarray:
    """Return C = R_(k), k = ceil((1-delta)(n+1)): a fresh point's ratio exceeds C with probability at most delta.

    The probability is over the calibration points AND one fresh point, which must be exchangeable; what was measured
    (sensitivities, a kept set) must not depend on them. C = inf where n < 1/delta - 1: no certificate.

    Parameters
    ----------
    ratios : array (..., n), n >= 1 values >= 0 along the last axis; inf is allowed (a positive share over s = 0)
    delta : float in (0, 1)

    Returns
    -------
    array (...,) float64, >= 0 or inf

    Raises
    ------
    InvalidParameter
        If a ratio is negative or NaN, there is none, or delta is outside (0, 1).

    Notes
    -----
    Vovk, Gammerman and Shafer (2005), as we understand the book.

    Examples
    --------
    >>> float(conformal_factor(np.arange(1.0, 20.0), 0.1)), float(conformal_factor(np.arange(1.0, 9.0), 0.1))
    (18.0, inf)
    """
    values = _ratios(ratios)
    return _order_statistic(values, quantile_index(values.shape[-1], delta))


@implements("vovk2012_training_conditional")
def conditional_factor(ratios: np.ndarray, delta: float, alpha: float) -> np.ndarray:
    """Return R_(k) at k = `conditional_index`: given the calibration points, but for an unlucky share alpha of them.

    Parameters, returns and errors as in `conformal_factor`; the calibration points and the fresh one must be i.i.d.
    inf where (1-delta)^n > alpha.

    Examples
    --------
    >>> float(conditional_factor(np.arange(1.0, 101.0), 0.05, 0.05))
    99.0
    """
    values = _ratios(ratios)
    return _order_statistic(values, conditional_index(values.shape[-1], delta, alpha))


@implements("boundlab_max_of_sums")
def fresh_exceedance(points: int, statistics: int = 1) -> float:
    """Return min(1, d/(n+1)), rounded up: the chance that a fresh point exceeds the maximum of n others somewhere.

    Holds for d statistics that were fixed before the n points were drawn; a set that was chosen on those points is
    no fixed statistic.

    Parameters
    ----------
    points : int >= 1, n
    statistics : int >= 1, d, over which the union bound goes

    Examples
    --------
    >>> fresh_exceedance(9), fresh_exceedance(9, 20)
    (0.1, 1.0)
    """
    exact = Fraction(positive_int("statistics", statistics), positive_int("points", points) + 1)
    value = min(1.0, float(exact))
    return value if value >= min(exact, 1) else float(np.nextafter(value, 1.0))


@implements("baykal2022_calibration_size")
def published_calibration_size(neurons: int, widest: int, delta: float, *, constant: float = 3.0) -> int:
    """Return ceil(C ln(8 eta eta_*/delta)), the published number of calibration points; refuted, kept to show.

    It is enough only if every share comes within a factor C of its supremum with probability 1 - exp(-1/C) at a
    random point; see `needed_constant`. `conformal_factor` needs no such premise.

    Parameters
    ----------
    neurons : int >= 1, eta, the number of neurons without the inputs
    widest : int >= 1, eta_*, the largest number of neurons in one layer
    delta : float > 0, below 8 eta eta_*; the released experiments also use values above 1
    constant : float > 0, C = K' of the premise; 3 in the released code

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    The released code of Baykal et al. (2022), arXiv:1910.05422.

    Examples
    --------
    >>> published_calibration_size(410, 300, 1e-16)
    152
    """
    pairs = 8 * positive_int("neurons", neurons) * positive_int("widest", widest)
    if not positive("delta", delta) < pairs:
        raise InvalidParameter(f"delta must be below 8 eta eta_* = {pairs}, got delta={delta!r}.")
    return math.ceil(positive("constant", constant) * (math.log(pairs) - math.log(delta)))


@implements("baykal2022_calibration_size")
def needed_constant(active: float) -> float:
    """Return 1/ln(1/(1-p)), rounded up: the least K' that a feature active on a share p of the points allows.

    With a smaller K' the premise P(g <= M/K) <= exp(-1/K') fails, for g is 0 on a share 1 - p. It is about 1/p.

    Parameters
    ----------
    active : float in (0, 1)

    Examples
    --------
    >>> f"{needed_constant(0.01):.2f}"
    '99.50'
    """
    return -1.0 / math.log1p(-probability("active", active)) * (1.0 + 1e-15)


def _ratios(ratios: np.ndarray) -> np.ndarray:
    values = np.asarray(ratios, np.float64)
    if values.ndim == 0 or values.shape[-1] == 0 or not (values >= 0).all():
        raise InvalidParameter(f"ratios must be at least one number >= 0 and no NaN, got shape {values.shape}.")
    return values


def _order_statistic(values: np.ndarray, k: int) -> np.ndarray:
    """The k-th smallest along the last axis; inf for k = n + 1."""
    if k > values.shape[-1]:
        return np.full(values.shape[:-1], np.inf)
    return np.partition(values, k - 1, axis=-1)[..., k - 1]
