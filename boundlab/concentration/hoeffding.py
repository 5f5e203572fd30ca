"""Hoeffding's inequality for a mean of bounded variables, and Bentkus's sharper tail: binomial, times e."""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.binomial import log_sf

_UP = 1.0 + 1e-14  # past the error of a logarithm, a quotient and a root


@implements("hoeffding1963_mean")
def radius(n: int, delta: float, *, width: float = 1.0) -> float:
    """Return r with P(E X - mean > r) <= delta for the mean of n independent variables in intervals of one width.

        r = width sqrt(ln(1/delta) / (2 n)),

    one-sided; for both sides at once pass delta / 2. It is never below the distance to `chernoff.kl_inverse`, which
    needs the same premises: take that one unless a closed form is wanted.

    Parameters
    ----------
    n : int >= 1, the number of variables
    delta : float in (0, 1)
    width : float > 0, the length of the interval in which each variable lies

    Returns
    -------
    float, rounded up

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Hoeffding (1963), the inequality for bounded summands, as we understand the paper; ``hoeffding1963_mean``.

    Examples
    --------
    >>> round(radius(2_397, 0.05), 6)
    0.024998
    """
    n, width = positive_int("n", n), positive("width", width)
    return width * math.sqrt(-math.log(probability("delta", delta)) / (2.0 * n)) * _UP


@implements("hoeffding1963_mean")
def upper_limit(mean: float, n: int, delta: float) -> float:
    """Return min(1, mean + radius(n, delta)): an upper limit on the mean of n independent variables in [0, 1].

    Parameters
    ----------
    mean : float in [0, 1], what was observed
    n, delta : as in `radius`

    Returns
    -------
    float in (0, 1], rounded up

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> round(upper_limit(0.1, 1_000, 0.05), 4)
    0.1387
    """
    if not 0.0 <= mean <= 1.0:
        raise InvalidParameter(f"mean must be in [0, 1], got mean={mean!r}.")
    return min(1.0, (float(mean) + radius(n, delta)) * _UP)


@implements("hoeffding1963_mean")
def sample_size(gap: float, delta: float, *, width: float = 1.0) -> int:
    """Return the smallest n at which `radius` is at most `gap`: ceil(width^2 ln(1/delta) / (2 gap^2)).

    Parameters
    ----------
    gap : float > 0, the distance that the mean may be off
    delta, width : as in `radius`

    Returns
    -------
    int >= 1, rounded up

    Raises
    ------
    InvalidParameter
        If an argument is out of its range, or n would exceed 2^53.

    Examples
    --------
    >>> sample_size(0.025, 0.05), sample_size(0.005, 0.05)  # the gap delta/2 at delta = .05 and .01
    (2397, 59915)
    """
    gap, width = positive("gap", gap), positive("width", width)
    need = (width / gap) * (width / gap) * -math.log(probability("delta", delta)) / 2.0 * (1.0 + 1e-13)
    if not need <= 2.0**53:
        raise InvalidParameter(f"gap must be large enough for a sample of at most 2^53, got gap={gap!r}.")
    return max(1, math.ceil(need))


@implements("bentkus2004_binomial_domination")
def log_binomial_tail(x: float, n: int, p: float) -> float:
    """Return an upper bound on ln P(X_1 + ... + X_n >= x) for independent X_i in [0, 1] of mean p each.

        P(sum >= x) <= e G(x),    ln G linear between whole numbers k, G(k) = P(Bin(n, p) >= k).

    Where x is large against the standard deviation this is below Chernoff's bound, whose exponent it shares, by a
    factor of the order of sqrt(n). Without the factor e it is false.

    Parameters
    ----------
    x : float
        At or below 0 the bound is 0, above n it is -inf.
    n : int >= 1
    p : float in [0, 1]

    Returns
    -------
    float <= 0, rounded up

    Raises
    ------
    InvalidParameter
        If x is not finite, or n or p is out of its range.

    Notes
    -----
    Bentkus (2004), the bound for bounded summands, as we understand the paper; ``bentkus2004_binomial_domination``.

    Examples
    --------
    >>> round(log_binomial_tail(3.0, 4, 0.25), 4)  # 1 + ln(13/256)
    -1.9802
    """
    n = positive_int("n", n)
    if not math.isfinite(x):
        raise InvalidParameter(f"x must be finite, got x={x!r}.")
    if x > n:
        return -math.inf
    if x <= 0:
        return 0.0
    k = math.floor(x)
    high = log_sf(k, n, p)[1]
    if x > k:
        high = (x - k) * log_sf(k + 1, n, p)[1] + (k + 1 - x) * high
    return min(0.0, high + 1.0 + 4e-15 * abs(high)) if high > -math.inf else high
