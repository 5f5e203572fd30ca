"""Limits that are not certificates: textbook approximations, kept to show by how much they miss.

No verdict, bound or certificate reads anything from this file; ``proofs_checks/brown2001_approximate_limits.py`` and
``proofs_checks/efron1979_percentile_bootstrap.py`` refute their stated levels exactly.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betaincinv, ndtri
from scipy.stats import binom

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements


@implements("brown2001_approximate_limits")
def wald_upper(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Return p + z sqrt(p (1 - p)/n), p = k/n: Wald's one-sided limit; it is 0 at k = 0."""
    p, z = _share(k, n), _quantile(alpha)
    return np.minimum(1.0, p + z * np.sqrt(p * (1.0 - p) / n))


@implements("brown2001_approximate_limits")
def wilson_upper(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Return Wilson's score limit: the larger root of (u - p)² = z² u (1 - u)/n."""
    p, z = _share(k, n), _quantile(alpha)
    centre, spread = p + z * z / (2 * n), z * np.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
    return np.minimum(1.0, (centre + spread) / (1.0 + z * z / n))


@implements("brown2001_approximate_limits")
def agresti_coull_upper(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Return Wald's limit after adding z²/2 failures and z²/2 successes."""
    p, z = _share(k, n), _quantile(alpha)
    more = n + z * z
    q = (p * n + z * z / 2.0) / more
    return np.minimum(1.0, q + z * np.sqrt(q * (1.0 - q) / more))


@implements("brown2001_approximate_limits")
def jeffreys_upper(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Return the 1 - alpha quantile of Beta(k + 1/2, n - k + 1/2); 1 at k = n."""
    k = _share(k, n) * n
    return np.where(k >= n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 1.0 - probability("alpha", alpha)))


@implements("efron1979_percentile_bootstrap")
def bootstrap_upper(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """Return the 1 - alpha quantile of Bin(n, k/n)/n: the percentile bootstrap with infinitely many resamples."""
    return binom.ppf(1.0 - probability("alpha", alpha), n, _share(k, n)) / n


def _share(k: np.ndarray, n: int) -> np.ndarray:
    k = np.asarray(k, np.float64)
    if n < 1 or np.any(k < 0) or np.any(k > n):
        raise InvalidParameter(f"counts must satisfy 0 <= k <= n and n >= 1, got k={k!r}, n={n!r}.")
    return k / n


def _quantile(alpha: float) -> float:
    return float(ndtri(1.0 - probability("alpha", alpha)))
