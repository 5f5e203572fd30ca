"""A failure rate to a relative accuracy that does not depend on the rate: trials until k failures (GBAS)."""

from __future__ import annotations

import numpy as np
from scipy.special import gammainc, gammaincc

from boundlab._errors import positive, positive_int, probability
from boundlab._theory import implements


@implements("huber2017_gamma_bernoulli")
def estimate(runs: np.ndarray, rng: np.random.Generator) -> float:
    """Return (k - 1)/T, T ~ Gamma(sum of `runs`): an unbiased estimate of the failure rate p.

    Each run is the number of trials up to and including one failure, Geometric(p); with runs_1 ... runs_k a
    Gamma(runs_i) variable is Exponential(p), so that T ~ Gamma(k, p) and the law of p T does not depend on p.

    Parameters
    ----------
    runs : array (k,), of whole numbers at least 1, k >= 2
    rng : numpy Generator

    Raises
    ------
    InvalidParameter
        If there are fewer than two runs or a run is not positive.

    Examples
    --------
    >>> bool(0.05 < estimate(np.full(400, 10), np.random.default_rng(0)) < 0.2)
    True
    """
    counts = np.asarray(runs)
    k = positive_int("the number of runs minus 1", len(counts) - 1) + 1
    positive_int("the shortest run", int(counts.min()))
    return (k - 1) / float(rng.gamma(float(counts.sum())))


@implements("huber2017_gamma_bernoulli")
def relative_miss(k: int, eps: float) -> float:
    """Return P(|estimate/p - 1| > eps) after k failures: P(G < (k-1)/(1+eps)) + P(G > (k-1)/(1-eps)), G ~ Gamma(k).

    Parameters
    ----------
    k : int, at least 2
    eps : float, positive; from 1 on only the upper side counts

    Raises
    ------
    InvalidParameter
        If k is below 2 or eps not positive.

    Examples
    --------
    >>> [k for k in range(2, 100) if relative_miss(k, 0.5) <= 0.05][0]
    17
    """
    runs, error = positive_int("k - 1", k - 1) + 1, positive("eps", eps)
    above = float(gammainc(runs, (runs - 1) / (1.0 + error)))
    below = float(gammaincc(runs, (runs - 1) / (1.0 - error))) if error < 1.0 else 0.0
    return above + below


@implements("huber2017_gamma_bernoulli")
def failures_needed(eps: float, alpha: float) -> int:
    """Return the smallest k >= 2 at which `relative_miss(k, eps)`, which falls with k, is at most alpha.

    Examples
    --------
    >>> [failures_needed(eps, 0.05) for eps in (0.5, 0.2, 0.1)]
    [17, 97, 385]
    """
    level, error = probability("alpha", alpha), positive("eps", eps)
    low, high = 1, 2  # one failure gives no estimate
    while relative_miss(high, error) > level:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if relative_miss(middle, error) <= level else (middle, high)
    return high
