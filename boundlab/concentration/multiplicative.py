"""Relative tails of a mean of m independent terms in [0, 1/p] with mean 1: the scalar heart of sensitivity sampling.

With S the total sensitivity and K the factor by which a share may exceed its sensitivity, p = 1/(S K). The tails

    P(mean >= 1 + eps) <= exp(-m kl((1 + eps) p || p)),      P(mean <= 1 - eps) <= exp(-m kl((1 - eps) p || p))

are Chernoff's, and the binomial Bin(m, p)/(m p) has exactly these exponents. All functions are elementwise on arrays.
"""

from __future__ import annotations

import numpy as np
from scipy.special import betainc

from boundlab._theory import implements

ROUNDING = 1e-12
"""Relative allowance for float64 rounding in a rate; rates are returned smaller by it, the safe side."""


def excess_entropy(u: np.ndarray) -> np.ndarray:
    """Return h(u) = (1 + u) ln(1 + u) - u for u >= -1, accurate near 0; h(u) ~ u²/2."""
    u = np.asarray(u, dtype=np.float64)
    small = np.abs(u) < 1e-2
    v = np.where(small, u, 0.0)
    series = v * v * (1 / 2 - v * (1 / 6 - v * (1 / 12 - v * (1 / 20 - v * (1 / 30 - v * (1 / 42 - v / 56))))))
    w = np.where(small | (u <= -1.0), 0.0, u)
    return np.where(small, series, np.where(u <= -1.0, 1.0, (1.0 + w) * np.log1p(w) - w))


@implements("chernoff_multiplicative_kl")
def upper_rate(p: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Return kl((1 + eps) p || p), rounded down; inf where (1 + eps) p > 1: the tail is then empty.

    Parameters
    ----------
    p : array in (0, 1]
    eps : array, positive
    """
    p, eps = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(eps, np.float64))
    over = (1.0 + eps) * p > 1.0
    return np.where(over, np.inf, _rate(np.where(over, 0.5, p), np.where(over, 0.5, eps)))


@implements("chernoff_multiplicative_kl")
def lower_rate(p: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Return kl((1 - eps) p || p), rounded down; inf where eps > 1, or p = 1: the tail is then empty."""
    p, eps = np.broadcast_arrays(np.asarray(p, np.float64), np.asarray(eps, np.float64))
    empty = (eps > 1.0) | (p >= 1.0)
    return np.where(empty, np.inf, _rate(np.where(empty, 0.5, p), -np.where(empty, 0.5, eps)))


@implements("bernstein_multiplicative")
def bernstein_rate(p: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Return eps² p / (2 + 2 eps/3), rounded down: Bernstein's rate, valid for both tails and never above kl's."""
    p, eps = np.asarray(p, np.float64), np.asarray(eps, np.float64)
    return eps * eps * p / (2.0 + 2.0 * eps / 3.0) * (1.0 - ROUNDING)


@implements("boundlab_extremal_row")
def binomial_failure(m: np.ndarray, p: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """Return P(|Bin(m, p)/(m p) - 1| > eps) exactly (to the accuracy of the incomplete beta function)."""
    m, p, eps = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (m, p, eps)))
    high = np.floor((1.0 + eps) * m * p * (1.0 + ROUNDING)) + 1.0  # smallest count above
    low = np.ceil((1.0 - eps) * m * p * (1.0 - ROUNDING)) - 1.0  # largest count below
    above = np.where(high > m, 0.0, betainc(np.minimum(high, m), np.maximum(m - high + 1.0, 1.0), p))
    below = np.where(low < 0, 0.0, betainc(np.maximum(m - low, 1.0), np.maximum(low + 1.0, 1.0), 1.0 - p))
    return np.where(p >= 1.0, 0.0, above + below)


def _rate(p: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return kl((1 + shift) p || p) = p h(shift) + (1 - p) h(-shift p/(1 - p)), rounded down."""
    rest = 1.0 - p
    other = np.divide(-shift * p, rest, out=np.zeros_like(p), where=rest > 0)
    exponent = p * excess_entropy(shift) + rest * excess_entropy(np.maximum(other, -1.0))
    return np.maximum(0.0, exponent) * (1.0 - ROUNDING)
