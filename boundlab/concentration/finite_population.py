"""How many of N given points fail, from n of them drawn without replacement: exact limits, at one n or at all n."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
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
def log_e_at_least(k: ArrayLike, n: ArrayLike, population: int, count: int, *, scale: float = 1.0) -> np.ndarray:
    """Log evidence against "at least `count` of the points fail", valid at every n at once, rounded down.

    For a prior on K = 0 ... N, the mean likelihood over the likelihood at K is a martingale under K; its minimum over
    K >= count is an e-process for that hypothesis, and it is infinite where the count is impossible. The prior is half
    a spike at K = 0 and half beta-binomial with parameters 1 and b = `scale`, which is uniform for b = 1:

        min over K >= count of  ( [k = 0] + C(n, k) b B(k + 1, n - k + b) ) / ( 2 P(k | K) ).

    P(k | K) rises in K up to K + 1 = k (N + 1)/n and falls from there on, so that the minimum stands there or at
    `count`. The evidence falls with k as soon as it is above 0, and for b >= N/count it rises with n.

    Parameters
    ----------
    k, n : array_like of int
        k failures among n <= population points drawn without replacement; they broadcast.
    population : int
        The size N of the set, at most 2^31.
    count : int
        The hypothesis: at least this many of the population fail, 0 <= count <= population.
    scale : float, at least 1
        b; the prior expects a failing share of 1/(1 + b).

    Returns
    -------
    ndarray of float64, broadcast shape of k and n (0-dimensional for two whole numbers)
        Lower bounds on the log evidence; inf where fewer than `count` failures are possible.

    Raises
    ------
    InvalidParameter
        If the counts are out of range, or the scale is below 1.

    Notes
    -----
    Source: Waudby-Smith and Ramdas (2020), as we understand the paper, for the ratio; the spike is ours;
    ``proofs_checks/waudby_smith2020_without_replacement.py``.

    Examples
    --------
    >>> bool(log_e_at_least(0, 100, 1000, 100) > 9), float(log_e_at_least(0, 950, 1000, 51))
    (True, inf)
    """
    failed, drawn, size = _whole_counts(k, n, population)
    least, b = _hypothesis(count, size), _scale(scale)
    spike = np.where(failed == 0, 0.0, -np.inf)
    log_mean = np.logaddexp(spike, _log_beta_binomial(failed, drawn, b)) - math.log(2.0)
    worst = np.maximum(_mode(failed, drawn, size), np.maximum(least, failed))
    possible = least <= size - (drawn - failed)
    own = _log_pmf(failed, drawn, np.minimum(worst, size - (drawn - failed)), size)
    return np.where(possible, log_mean - own - _slack(size + b), np.inf)


@implements("waudby_smith2020_without_replacement")
def log_e_at_most(k: ArrayLike, n: ArrayLike, population: int, count: int, *, scale: float = 1.0) -> np.ndarray:
    """Log evidence against "at most `count` of the points fail", valid at every n at once, rounded down.

    As `log_e_at_least`, with the minimum over K <= count and without the spike; b = N/(2 count) looks at about twice
    the count. It is cut at 0 where k (N + b + 1) < (count + 1) (n + b), so that it rises with k, and falls with n, as
    soon as it is above 0.

    Parameters, result and errors as for `log_e_at_least`; inf where more than `count` failures were seen.

    Examples
    --------
    >>> bool(log_e_at_most(30, 100, 1000, 100) > 9), float(log_e_at_most(4, 10, 1000, 3))
    (True, inf)
    """
    failed, drawn, size = _whole_counts(k, n, population)
    most, b = _hypothesis(count, size), _scale(scale)
    log_mean = _log_beta_binomial(failed, drawn, b)
    worst = np.minimum(_mode(failed, drawn, size), np.minimum(most, size - (drawn - failed)))
    own = _log_pmf(failed, drawn, np.maximum(worst, failed), size)
    found = log_mean - own - _slack(size + b)
    rising = failed * (size + b + 1.0) >= (most + 1.0) * (drawn + b)
    return np.where(failed <= most, np.where(rising, found, np.minimum(found, 0.0)), np.inf)


def _log_beta_binomial(k: np.ndarray, n: np.ndarray, b: float) -> np.ndarray:
    """Log of C(n, k) b B(k + 1, n - k + b): the chance of k failures in n draws under the beta-binomial prior."""
    return _log_choose(n, k) + betaln(k + 1.0, n - k + b) + math.log(b)


def _mode(k: np.ndarray, n: np.ndarray, size: int) -> np.ndarray:
    """The K at which k failures in n draws are the likeliest: the whole part of k (N + 1)/n, at most N."""
    return np.minimum(k * (size + 1) // np.maximum(n, 1), size)


def _slack(size: float) -> float:
    """More than a log probability is off by: its logarithms of Gamma are up to N ln N, right to a few ulps each."""
    return 1e-9 + 2.0**-48 * size * math.log(size + 1.0)


def _log_pmf(k: ArrayLike, n: ArrayLike, K: ArrayLike, size: int) -> np.ndarray:
    """Log of C(K, k) C(size - K, n - k)/C(size, n)."""
    failed, drawn, failing = np.asarray(k), np.asarray(n), np.asarray(K)
    chosen = _log_choose(failing, failed) + _log_choose(size - failing, drawn - failed)
    return chosen - _log_choose(np.asarray(size), drawn)


def _log_cdf(k: int, n: int, K: int, size: int) -> float:
    terms = _log_pmf(np.arange(max(0, n - (size - K)), min(k, K) + 1), n, K, size)
    return np.asarray(logsumexp(terms)).item() if len(terms) else -np.inf


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


def _whole_counts(k: ArrayLike, n: ArrayLike, population: int) -> tuple[np.ndarray, np.ndarray, int]:
    size = positive_int("population", population)
    failed, drawn = np.broadcast_arrays(np.asarray(k), np.asarray(n))
    whole = failed.dtype.kind in "iu" and drawn.dtype.kind in "iu"
    if not whole or size > 2**31 or np.any(failed < 0) or np.any(failed > drawn) or np.any(drawn > size):
        raise InvalidParameter(f"counts must satisfy 0 <= k <= n <= {size} <= 2**31, got k={k!r}, n={n!r}.")
    return failed.astype(np.int64), drawn.astype(np.int64), size


def _hypothesis(count: int, size: int) -> int:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 0 <= count <= size:
        raise InvalidParameter(f"count must be a whole number from 0 to {size}, got count={count!r}.")
    return int(count)


def _scale(b: float) -> float:
    if not 1.0 <= b < math.inf:
        raise InvalidParameter(f"scale must be a number of at least 1, got scale={b!r}.")
    return float(b)
