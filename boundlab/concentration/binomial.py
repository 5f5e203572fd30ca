"""Binomial tails and their exact inversion: certified in floating point, at confidence levels far below underflow."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import root_scalar

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements

_EPS = 2.0**-52
_LOG_2PI = math.log(2.0 * math.pi)
_STIRLING_SLACK = 1e-13  # error of one `_stirling` value; the series below errs by 1.3e-14 at m = 16, less above
_LOGIT_MIN, _LOGIT_MAX = -700.0, 36.7  # p = 1e-304 and p = 1 - 2^-53: the ends of what a float p resolves

Enclosure = tuple[float, float]


@implements("clopper_pearson1934")
def upper_limit(failures: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson upper limit of a failure probability, one-sided, rounded up.

    Bin+(k, n, alpha) = sup{p : P[Bin(n, p) <= k] >= alpha}, the (1 - alpha)-quantile of Beta(k + 1, n - k);
    1 if k = n. With probability at least 1 - alpha over the trials it is at least the true probability.

    Parameters
    ----------
    failures : int
        k in 0..trials.
    trials : int
        n >= 1, independent trials; the number was fixed before looking.
    alpha : float
        Error level in (0, 1). A two-sided interval needs alpha / 2 on each side.

    Returns
    -------
    float
        In (0, 1], never below the exact limit.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Clopper and Pearson, Biometrika 26 (1934), as we understand the paper; proved in ``clopper_pearson1934``.

    Examples
    --------
    >>> f"{upper_limit(100, 10_000, 0.05):.3%}"
    '1.180%'
    """
    k, n = _counts(failures, trials, names=("failures", "trials"))
    return tail_inverse(k, n, _log_down(probability("alpha", alpha)))


@implements("clopper_pearson1934")
def lower_limit(failures: int, trials: int, alpha: float) -> float:
    """Clopper-Pearson lower limit of a failure probability, one-sided, rounded down.

    inf{p : P[Bin(n, p) >= k] >= alpha}, the alpha-quantile of Beta(k, n - k + 1); 0 if k = 0.
    Parameters, errors and source as in `upper_limit`.

    Examples
    --------
    >>> f"{lower_limit(100, 10_000, 0.05):.3%}"
    '0.842%'
    """
    k, n = _counts(failures, trials, names=("failures", "trials"))
    target = _log_down(probability("alpha", alpha))
    if k == 0:
        return 0.0
    return _certified_root(lambda p: log_sf(k, n, p), target, side=-1)


@implements("clopper_pearson1934")
def tail_inverse(k: int, n: int, log_delta: float) -> float:
    """The largest p that k successes in n trials do not refute at level delta, rounded up.

    sup{p : P[Bin(n, p) <= k] >= delta}. The value returned is 1, or a p at which the upper end of `log_cdf` is below
    log_delta: the cdf falls as p grows, so the supremum is smaller. delta may lie far below the smallest float.

    Parameters
    ----------
    k : int
        Successes, 0..n.
    n : int
        Trials, >= 1. About 2 ms at 10^7.
    log_delta : float
        ln delta, below 0; -inf gives 1.

    Returns
    -------
    float
        In (0, 1]; 1 if k = n, and where no float below 1 is certified.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    The inversion of a test, as in Clopper and Pearson (1934) and Langford (JMLR 6, 2005).

    Examples
    --------
    >>> f"{tail_inverse(0, 60_000, -6_000.0):.6f}"  # 1 - exp(-0.1)
    '0.095163'
    """
    k, n = _counts(k, n, names=("k", "n"))
    if math.isnan(log_delta) or log_delta >= 0:
        raise InvalidParameter(f"log_delta must be below 0, got log_delta={log_delta!r}.")
    if k == n or log_delta == -math.inf:
        return 1.0
    return _certified_root(lambda p: log_cdf(k, n, p), log_delta, side=+1)


@implements("clopper_pearson1934")
def log_cdf(k: int, n: int, p: float) -> Enclosure:
    """Enclose ln P[Bin(n, p) <= k].

    The top term by Loader's saddle-point form, the others relative to it by the ratios
    t_{i-1} / t_i = i (1-p) / ((n-i+1) p), which fall below 1 away from the mode; what is cut off is bounded by a
    geometric series. Above the mean the complement is summed instead.

    Parameters
    ----------
    k, n : int
        0 <= k <= n, n >= 1.
    p : float
        In [0, 1], taken as exact.

    Returns
    -------
    tuple of float
        (lower, upper), -inf <= lower <= ln P <= upper <= 0. The width is at most about 1e-13 + 1e-14 n.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    The allowance counts 8 units of roundoff for each product of logarithms, three times what a library with errors
    of at most one unit in the last place makes. Loader (2000), "Fast and accurate computation of binomial
    probabilities", as we understand the paper.
    """
    k, n = _counts(k, n, names=("k", "n"))
    p = _closed_probability(p)
    if k == n or p == 0.0:
        return 0.0, 0.0
    if p == 1.0:
        return -math.inf, -math.inf
    return _left(k, n, p) if k == 0 or k <= n * p else _complement(_right(k + 1, n, p))


@implements("clopper_pearson1934")
def log_sf(k: int, n: int, p: float) -> Enclosure:
    """Enclose ln P[Bin(n, p) >= k]; parameters, errors and method as in `log_cdf`."""
    k, n = _counts(k, n, names=("k", "n"))
    p = _closed_probability(p)
    if k == 0 or p == 1.0:
        return 0.0, 0.0
    if p == 0.0:
        return -math.inf, -math.inf
    return _right(k, n, p) if k == n or k >= n * p else _complement(_left(k - 1, n, p))


def _left(k: int, n: int, p: float) -> Enclosure:
    """Enclose ln sum_{i <= k} t_i where k <= np (so that the terms fall from k downwards)."""
    return _sum_from(_log_pmf(k, n, p), k, n, (1.0 - p) / p)


def _right(k: int, n: int, p: float) -> Enclosure:
    """Enclose ln sum_{i >= k} t_i where k >= np; the same ratios with n - k and the inverse odds."""
    return _sum_from(_log_pmf(k, n, p), n - k, n, p / (1.0 - p))


def _sum_from(top: tuple[float, float], k: int, n: int, odds: float) -> Enclosure:
    """Enclose ln of top * (1 + r_0 + r_0 r_1 + ...), r_j = (k-j) / (n-k+j+1) * odds, j < k."""
    total, last, done, block, left_out = 1.0, 1.0, 0, 64, 0.0
    while done < k:
        j = np.arange(done, min(done + block, k), dtype=np.float64)
        terms = last * np.cumprod((k - j) / (n - k + j + 1.0) * odds)
        total += float(terms.sum())
        last = float(terms[-1])
        done += len(j)
        ratio = (k - done) / (n - k + done + 1.0) * odds
        if ratio < 1.0 - 1e-9:  # the ratios fall, so the rest is below a geometric series
            left_out = 2.0 * last * ratio / (1.0 - ratio)
            if left_out <= 1e-15 * total:
                break
            left_out = 0.0 if done >= k else left_out
        block *= 2
    log_top, slack = top
    # Each ratio and its product err by at most 2.5 roundoffs, the sum by one more for each term.
    summation = 4.0 * _EPS * (done + 2.0) if done else 0.0
    slack += summation + 2.0 * _EPS * abs(log_top) + 1e-300
    value = log_top + math.log(total)
    return value - slack, min(0.0, value + slack + left_out / total)


def _complement(log_p: Enclosure) -> Enclosure:
    """Enclose ln(1 - P) from an enclosure of ln P."""
    low, high = math.exp(log_p[0]), math.exp(log_p[1])
    upper = math.log1p(-low) + 8.0 * _EPS * low / (1.0 - low)
    if high >= 1.0:
        return -math.inf, min(0.0, upper)
    return math.log1p(-high) - 8.0 * _EPS * high / (1.0 - high) - 1e-300, min(0.0, upper + 1e-300)


def _log_pmf(k: int, n: int, p: float) -> tuple[float, float]:
    """Return ln P[Bin(n, p) = k] and a bound on its error, for 0 < p < 1."""
    log_p, log_q = math.log(p), math.log1p(-p)
    if k in (0, n):
        value = n * (log_q if k == 0 else log_p)
        return value, 4.0 * _EPS * abs(value)
    log_a, log_b = math.log(k / n), math.log1p(-k / n)
    root = 0.5 * (math.log(n / (k * (n - k))) - _LOG_2PI)
    stirling = _stirling(n) - _stirling(k) - _stirling(n - k)
    value = k * (log_p - log_a) + (n - k) * (log_q - log_b) + root + stirling
    # The quotient k / n is rounded: that costs k roundoffs in each of the two products.
    weighed = k * (2.0 + abs(log_p) + abs(log_a)) + (n - k) * (abs(log_q) + abs(log_b))
    return value, 8.0 * _EPS * (2.0 + weighed + abs(root)) + 3.0 * _STIRLING_SLACK


def _stirling(m: int) -> float:
    """Return ln m! - (m + 1/2) ln m + m - ln(2 pi) / 2, within _STIRLING_SLACK, for m >= 1.

    From m = 16 on four terms of the asymptotic series, whose error is below the fifth, 1 / (1188 m^9).
    """
    if m < 16:
        return math.log(math.factorial(m)) - (m + 0.5) * math.log(m) + m - 0.5 * _LOG_2PI
    s = 1.0 / (m * m)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s / 1680))) / m


def _certified_root(enclose: Callable[[float], Enclosure], target: float, *, side: int) -> float:
    """The p just beyond the root of enclose(p) = target at which the upper end is below the target.

    side = +1: `enclose` falls in p, the result is at or above the root (at most 1); side = -1: the mirror image.
    """

    def distance(logit: float) -> float:
        low, high = enclose(_expit(logit))
        return (0.5 * (low + high) if math.isfinite(low) else -1e300) - target

    at_min, at_max = distance(_LOGIT_MIN), distance(_LOGIT_MAX)
    if side * at_min <= 0 or side * at_max >= 0:
        root = _LOGIT_MIN if side * at_min <= 0 else _LOGIT_MAX
    else:
        bracket = (_LOGIT_MIN, _LOGIT_MAX)
        root = root_scalar(distance, method="brentq", bracket=bracket, xtol=1e-14, rtol=1e-15, maxiter=500).root
    step = 1e-15 * max(1.0, abs(root))
    while True:
        p = _expit(root + side * step)
        if p in (0.0, 1.0) or enclose(p)[1] < target:
            return p
        step *= 2.0


def _expit(x: float) -> float:
    """1 / (1 + exp(-x)); 0 below the floats and 1 above them."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x)) if x < 700 else 1.0
    return math.exp(x) / (1.0 + math.exp(x)) if x > -745 else 0.0


def _log_down(alpha: float) -> float:
    """Return ln alpha, rounded down past the error of the logarithm."""
    return math.log(alpha) * (1.0 + 4.0 * _EPS)


def _counts(k: int, n: int, *, names: tuple[str, str]) -> tuple[int, int]:
    n = positive_int(names[1], n)
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 0 <= k <= n:
        raise InvalidParameter(f"{names[0]} must be a whole number in 0..{n}, got {names[0]}={k!r}.")
    return int(k), n


def _closed_probability(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise InvalidParameter(f"p must be in [0, 1], got p={p!r}.")
    return float(p)
