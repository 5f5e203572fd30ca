"""Evidence for and against P(failure) <= delta: two e-processes in closed form, and the limits that they give.

Both functions below are rounded down: a reported log evidence never exceeds the exact one, so that rounding can delay
a verdict but cannot create one. Write a = k + 1, G(a, c) = log B(a, c) - a log delta - c log(1 - delta) and I for the
regularised incomplete beta function; G is evaluated by Loader's saddle-point form, in which nothing large cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincc, gammaln

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements

SPIKE = 0.5
"""w: the share of the prior of M- that sits at a failure rate of exactly 0."""

_EPS = 2.0**-52
_SMALLEST = 1e-30  # the smallest delta; a lower limit below it is reported as 0
_TINY = 1e-200  # a smaller tail may have lost digits to underflow on the way and counts as 0
_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


@implements("ville1939_e_process_pair")
def log_e_upheld(n: ArrayLike, k: ArrayLike, delta: float) -> np.ndarray:
    """Log evidence against p >= delta after k failures in n trials, rounded down.

    M-(n, k) is the mean of (q/delta)^k ((1-q)/(1-delta))^(n-k) over q = 0 with weight w = 1/2 and q uniform on
    [0, delta] with weight 1 - w:

        M- = w [k = 0] (1-delta)^-n + (1-w) (1-delta) exp G(k+1, n-k+1) I_delta(k+1, n-k+1).

    If P(X_i = 1 | past) >= delta for every trial, P(M- >= 1/alpha for some n) <= alpha, whatever the stopping rule.

    Parameters
    ----------
    n, k : array_like of int
        Trials and failures, 0 <= k <= n; they broadcast.
    delta : float in [1e-30, 1)
        The failure probability that is claimed.

    Returns
    -------
    ndarray of float64, broadcast shape of n and k (0-dimensional for two whole numbers)
        A lower bound on log M-. Where the incomplete beta function underflows, M- >= (1-w)/(k+1) is used.

    Raises
    ------
    InvalidParameter
        If delta is outside [1e-30, 1), or n and k are not whole numbers with 0 <= k <= n.

    Notes
    -----
    Source: Ville's inequality (1939) for a mixture of likelihood ratios; our proof is
    ``proofs_checks/ville1939_e_process_pair.py``.

    Examples
    --------
    >>> bool(log_e_upheld(68, 0, 0.05) >= np.log(20)), bool(log_e_upheld(67, 0, 0.05) >= np.log(20))
    (True, False)
    """
    trials, failures = _counts(n, k)
    return _log_upheld(trials, failures, _threshold(delta))


@implements("ville1939_e_process_pair")
def log_e_violated(n: ArrayLike, k: ArrayLike, delta: float) -> np.ndarray:
    """Log evidence against p <= delta after k failures in n trials, rounded down.

    M+(n, k) is the mean of (q/delta)^k ((1-q)/(1-delta))^(n-k) over q ~ Beta(1, b) cut to [delta, 1], b = 1/(2 delta):

        M+ = b delta exp G(k+1, b+n-k) (1 - I_delta(k+1, b+n-k)),        b delta = 1/2.

    If P(X_i = 1 | past) <= delta for every trial, P(M+ >= 1/alpha for some n) <= alpha, whatever the stopping rule.

    Parameters
    ----------
    n, k : array_like of int
        Trials and failures, 0 <= k <= n; they broadcast.
    delta : float in [1e-30, 1)
        The failure probability that is claimed.

    Returns
    -------
    ndarray of float64, broadcast shape of n and k (0-dimensional for two whole numbers)
        A lower bound on log M+. Where the incomplete beta function underflows, M+ >= b/(b+n-k) is used.

    Raises
    ------
    InvalidParameter
        If delta is outside [1e-30, 1), or n and k are not whole numbers with 0 <= k <= n.

    Notes
    -----
    Source: Ville's inequality (1939) for a mixture of likelihood ratios; our proof is
    ``proofs_checks/ville1939_e_process_pair.py``.

    Examples
    --------
    >>> bool(log_e_violated(5, 5, 0.05) >= np.log(20)), bool(log_e_violated(5, 0, 0.05) >= 0)
    (True, False)
    """
    trials, failures = _counts(n, k)
    return _log_violated(trials, failures, _threshold(delta))


def trials_if_no_failure(delta: float, alpha: float) -> int:
    """Return the smallest n at which n trials without a failure uphold P(failure) <= delta at level alpha.

    This is the least n with log_e_upheld(n, 0, delta) >= log(1/alpha); no run can uphold the claim earlier.

    Parameters
    ----------
    delta : float in [1e-30, 1)
        The failure probability that is claimed.
    alpha : float in (0, 1)
        The error level of the verdict.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    InvalidParameter
        If delta is outside [1e-30, 1), or alpha is outside (0, 1).

    Notes
    -----
    Source: ``proofs_checks/ville1939_e_process_pair.py``; the evidence rises with n along k = 0.

    Examples
    --------
    >>> [trials_if_no_failure(delta, 1e-3) for delta in (0.1, 0.05, 0.01, 0.001)]
    [71, 146, 744, 7472]
    """
    d, level, zero = _threshold(delta), -math.log(probability("alpha", alpha)), np.asarray(0.0)
    too_few, enough = 0, 1
    while _log_upheld(np.asarray(float(enough)), zero, d) < level:
        too_few, enough = enough, 2 * enough
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        decides = _log_upheld(np.asarray(float(middle)), zero, d) >= level
        too_few, enough = (too_few, middle) if decides else (middle, enough)
    return enough


@implements("darling1967_confidence_sequence")
def interval(
    n: int, k: int, unknown: int = 0, *, alpha_upheld: float = 1e-3, alpha_violated: float = 1e-6
) -> tuple[float, float]:
    """Return limits [L, U] on the failure probability that hold at every n at once.

    U = sup{c : M-(n, k + unknown; delta = c) < 1/alpha_upheld}, L = inf{c : M+(n, k; delta = c) < 1/alpha_violated}.
    P(U_n < p for some n) <= alpha_upheld and P(L_n > p for some n) <= alpha_violated. A claim p <= delta is
    upheld if and only if U <= delta, and violated if and only if L >= delta (up to the last few bits of delta).

    Parameters
    ----------
    n, k, unknown : int
        Trials, failures and unknown outcomes, k + unknown <= n. Unknown outcomes count as failures in U and not in L.
    alpha_upheld, alpha_violated : float in (0, 1)
        The error levels of U and of L.

    Returns
    -------
    tuple of two floats
        0 <= L and U <= 1; L is rounded down and U is rounded up.

    Raises
    ------
    InvalidParameter
        If a level is outside (0, 1), or the counts are not whole numbers with k + unknown <= n.

    Notes
    -----
    Source: inversion of one test for each c; ``proofs_checks/darling1967_confidence_sequence.py`` proves that M-
    rises and M+ falls in c, so that bisection finds the limits.

    Examples
    --------
    >>> low, high = interval(146, 0)
    >>> low, high <= 0.05
    (0.0, True)
    """
    trials, surely = _counts(n, k)
    perhaps = surely + _counts(n, unknown)[1]
    if perhaps > trials:
        raise InvalidParameter(f"k + unknown must be at most n, got {k} + {unknown} > {n}.")
    upper = upper_limit(trials, perhaps, probability("alpha_upheld", alpha_upheld))
    lower = lower_limit(trials, surely, probability("alpha_violated", alpha_violated))
    return float(lower), float(upper)


def upper_limit(n: np.ndarray, k: np.ndarray, alpha: float) -> np.ndarray:
    """Return the smallest float c with M-_c(n, k) >= 1/alpha, or 1 where there is none; n and k of one shape."""
    level = -math.log(alpha)
    return _first(lambda c: _log_upheld(n, k, c) >= level, np.shape(n))[1]


def lower_limit(n: np.ndarray, k: np.ndarray, alpha: float) -> np.ndarray:
    """Return the largest float c with M+_c(n, k) >= 1/alpha, or 0 where there is none; n and k of one shape."""
    level = -math.log(alpha)
    below = _first(lambda c: ~(_log_violated(n, k, c) >= level), np.shape(n))[0]
    return np.where(below > _SMALLEST, below, 0.0)


def _first(true_from: Callable[[np.ndarray], Any], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two neighbouring floats in [1e-30, 1]: the last c where the condition fails and the first where it holds."""
    # Positive floats are ordered as their bit patterns are: halving these ends at two neighbours.
    low = np.full(shape, _SMALLEST).view(np.int64)
    high = np.full(shape, 1.0).view(np.int64)
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        holds = true_from(middle.view(np.float64))
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    return low.view(np.float64), high.view(np.float64)


def _log_upheld(n: np.ndarray, k: np.ndarray, d: np.ndarray) -> np.ndarray:
    log_rest = np.log1p(-d)
    # At k = 0 the tail is 1 - (1-delta)^(n+1), which needs no special function.
    tail = np.where(k == 0, -np.expm1((n + 1) * log_rest), betainc(k + 1, n - k + 1, d))
    kernel = _log_kernel(k + 1, n - k + 1, d, tail, np.where(k == 0, 0.0, n))
    uniform = math.log1p(-SPIKE) + np.fmax(log_rest + kernel, -np.log(k + 1.0))
    spike = np.where(k == 0, math.log(SPIKE) - n * log_rest, -np.inf)
    return _down(np.logaddexp(spike, uniform), n)


def _log_violated(n: np.ndarray, k: np.ndarray, d: np.ndarray) -> np.ndarray:
    b = 0.5 / d
    # betaincc is the complement itself: 1 - betainc would leave an ulp where e^-1000 is meant.
    kernel = _log_kernel(k + 1, b + (n - k), d, betaincc(k + 1, b + (n - k), d), n)
    return _down(np.fmax(-math.log(2.0) + kernel, -np.log1p((n - k) / b)), n)


def _down(log_e: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Cover the last additions' rounding; the evidence of no trial at all is 0 exactly."""
    return np.where(n == 0, 0.0, log_e - 8 * _EPS * (1 + np.abs(log_e)))


def _log_kernel(a: np.ndarray, c: np.ndarray, d: np.ndarray, tail: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Lower bound on G(a, c) + log(tail), tail = I_d(a, c) or its complement; -inf where the tail underflows.

    Loader (2000), for real a and c: with N = a + c and Binet's function mu,
    G = 1/2 log(2 pi N / (a c)) + mu(a) + mu(c) - mu(N) + a log(a / (N d)) + c log(c / (N (1-d))).
    """
    total = a + c
    gap = a - total * d
    first, first_size = _deviance(a, total * d, gap)
    second, second_size = _deviance(c, total * (1 - d), -gap)
    with np.errstate(divide="ignore"):
        log_tail = np.log(np.where(tail > _TINY, np.minimum(tail, 1.0), 0.0))
    shape = _HALF_LOG_2PI - 0.5 * (np.log(a) + np.log(c / total)) + (_binet(a) + _binet(c) - _binet(total))
    # betainc was measured against ball arithmetic up to n = 1e9: relative error below (n + 10 min(n, 1000)) eps.
    slack = 16 * (first_size + second_size + 4 + np.abs(np.log(a))) + 10 * np.minimum(n, 1000) + n
    return first + second + shape + log_tail - _EPS * slack


def _deviance(count: np.ndarray, mean: np.ndarray, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count log(count/mean) - gap with gap = count - mean, and the size of its terms."""
    share = gap / mean
    near = np.abs(share) < 0.5
    scaled = count * np.where(near, np.log1p(np.where(near, share, 0.0)), np.log(count / mean))
    return scaled - gap, np.abs(scaled) + np.abs(gap)


def _binet(x: np.ndarray) -> np.ndarray:
    """mu(x) = log Gamma(x) - (x - 1/2) log x + x - log(2 pi)/2, by its series from 10 on."""
    small, large = np.minimum(x, 10.0), np.maximum(x, 10.0)
    direct = gammaln(small) - (small - 0.5) * np.log(small) + small - _HALF_LOG_2PI
    u = 1.0 / (large * large)
    series = (1 / 12 - u * (1 / 360 - u * (1 / 1260 - u * (1 / 1680 - u * (1 / 1188 - u * 691 / 360360))))) / large
    return np.where(x < 10, direct, series)


def _threshold(delta: float) -> np.ndarray:
    value = probability("delta", delta)
    if value < _SMALLEST:
        raise InvalidParameter(f"delta must be at least {_SMALLEST:g}, got delta={delta!r}.")
    return np.asarray(value)


def _counts(n: ArrayLike, k: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    trials, failures = np.broadcast_arrays(np.asarray(n), np.asarray(k))
    if not (np.issubdtype(trials.dtype, np.integer) and np.issubdtype(failures.dtype, np.integer)):
        raise InvalidParameter(f"counts must be whole numbers, got dtypes {trials.dtype} and {failures.dtype}.")
    if np.any(failures < 0) or np.any(failures > trials) or np.any(trials > 2**53):
        raise InvalidParameter(f"counts must satisfy 0 <= k <= n <= 2**53, got n={n!r} and k={k!r}.")
    return trials.astype(np.float64), failures.astype(np.float64)
