"""How many of N given points fail, from n of them drawn without replacement: exact limits, at one n or at all n."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaln, logsumexp

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements


@implements("waudby_smith2020_without_replacement")
def upper_count(k: int, n: int, population: int, alpha: float) -> int:
    """Return the largest number K of failing points for which P(at most k among n draws) > alpha: exact, at one n.

    Parameters
    ----------
    k, n, population : int
        k failures among n <= population points drawn without replacement.
    alpha : float in (0, 1)
        P(K true > the limit) <= alpha, for an n fixed before the first draw.

    Returns
    -------
    int
        Between k and population - (n - k); equal to k at n = population.

    Raises
    ------
    InvalidParameter
        If the counts do not satisfy 0 <= k <= n <= population, or alpha is outside (0, 1).

    Examples
    --------
    >>> upper_count(0, 59, 10_000, 0.05), upper_count(3, 10, 10, 0.05)
    (493, 3)
    """
    k, n, size = _counts(k, n, population)
    level = np.log(probability("alpha", alpha)) - _slack(size)
    low, high = k, size - (n - k)  # P(at most k) falls in K
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _log_cdf(k, n, middle, size) > level else (low, middle - 1)
    return low


@implements("waudby_smith2020_without_replacement")
def log_e_at_least(k: int, n: int, population: int, count: int) -> float:
    """Log evidence against "at least `count` of the points fail", valid at every n at once, rounded down.

    For a prior on K = 0 ... N, the mean likelihood over the likelihood at K is a martingale under K; its minimum over
    K >= count is an e-process for that hypothesis, and it is infinite where the count is impossible. The prior is half
    a spike at K = 0 and half uniform, for which the mean likelihood is 1/(n + 1):

        min over K >= count of  ( [k = 0] + 1/(n + 1) ) / ( 2 P(k | K) ).

    Parameters
    ----------
    k, n, population : int
        k failures among n <= population points drawn without replacement.
    count : int
        The hypothesis: at least this many of the population fail, 0 <= count <= population.

    Returns
    -------
    float
        A lower bound on the log evidence; inf where fewer than `count` failures are possible.

    Raises
    ------
    InvalidParameter
        If the counts are out of range.

    Examples
    --------
    >>> log_e_at_least(0, 100, 1000, 100) > 9, log_e_at_least(0, 950, 1000, 51)
    (True, inf)
    """
    k, n, size = _counts(k, n, population)
    least = count
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 0 <= count <= size:
        raise InvalidParameter(f"count must be a whole number from 0 to {size}, got count={count!r}.")
    if least > size - (n - k):
        return float("inf")
    hypotheses = np.arange(max(least, k), size - (n - k) + 1)
    likelihood = _log_pmf(k, n, hypotheses, size)
    # sum over J of C(J, k) C(N - J, n - k) = C(N + 1, n + 1)
    mean = 0.5 * ((k == 0) + 1.0 / (n + 1.0))
    return float(np.log(mean) - likelihood.max()) - _slack(size)


def _slack(size: int) -> float:
    """More than a log probability is off by: its logarithms of Gamma are up to N ln N, right to a few ulps each."""
    return 1e-9 + 2.0**-48 * size * math.log(size + 1.0)


def _log_pmf(k: int, n: int, K: np.ndarray, size: int) -> np.ndarray:
    """Log of C(K, k) C(size - K, n - k)/C(size, n)."""
    return _log_choose(K, k) + _log_choose(size - K, n - k) - _log_choose(np.asarray(size), n)


def _log_cdf(k: int, n: int, K: int, size: int) -> float:
    terms = _log_pmf_in_k(np.arange(max(0, n - (size - K)), min(k, K) + 1), n, K, size)
    return np.asarray(logsumexp(terms)).item() if len(terms) else -np.inf


def _log_pmf_in_k(k: np.ndarray, n: int, K: int, size: int) -> np.ndarray:
    return _log_choose(np.asarray(K), k) + _log_choose(np.asarray(size - K), n - k) - _log_choose(np.asarray(size), n)


def _log_choose(n: np.ndarray, k: np.ndarray | int) -> np.ndarray:
    n, k = np.broadcast_arrays(np.asarray(n, np.float64), np.asarray(k, np.float64))
    inside = (k >= 0) & (k <= n)
    safe_n, safe_k = np.where(inside, n, 0.0), np.where(inside, k, 0.0)
    inner = (safe_k > 0) & (safe_k < safe_n)
    log = np.where(inner, -betaln(safe_k + 1.0, safe_n - safe_k + 1.0) - np.log1p(safe_n), 0.0)
    return np.where(inside, log, -np.inf)


def _counts(k: int, n: int, population: int) -> tuple[int, int, int]:
    size = positive_int("population", population)
    whole = all(isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in (k, n))
    if not whole or not 0 <= k <= n <= size:
        raise InvalidParameter(f"counts must satisfy 0 <= k <= n <= {size}, got k={k!r}, n={n!r}.")
    return int(k), int(n), size
