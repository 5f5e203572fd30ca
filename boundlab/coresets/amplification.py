"""Amplification: draw a row several times and keep the candidate with the least mean error on held-out points.

It buys a small error in the MEAN over inputs with few draws and many repetitions. It buys nothing for the share of
inputs that err by more than eps: that follows from the mean by Markov's inequality only, at a price that grows with
1/delta² where Bernstein's bound pays ln(1/delta).
"""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements

FACTOR = 10.0 / 9.0
"""By how much the best candidate may exceed the mean error; each candidate does so with probability at most 9/10."""

_UP = 1.0 + 1e-12


@implements("baykal2019_corenet_plus_plus")
def candidates(delta: float, *, factor: float = FACTOR) -> int:
    """Return tau = ⌈ln(1/delta) / ln(factor)⌉: so many that all exceed `factor` times the mean with chance <= delta.

    Parameters
    ----------
    delta : in (0, 1); delta/(4 eta) for one row of a net with eta neurons
    factor : above 1

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Markov's inequality: a candidate's error is at least `factor` times its mean with probability at most 1/factor.
    CoreNet++ of arXiv:1804.05345 uses 10/9, as we understand the paper.

    Examples
    --------
    >>> candidates(0.1 / (4 * 410))
    93
    """
    return math.ceil(-math.log(probability("delta", delta)) / math.log(_factor(factor)) * _UP)


@implements("baykal2019_corenet_plus_plus")
def mean_error(total: float, size: int, *, K: float = 1.0) -> float:
    """Return sqrt((S K - 1) / m), a bound on E |z_hat - z| / z over coins and good inputs, rounded up.

    Parameters
    ----------
    total : S of the row, S K >= 1
    size : draws m >= 1
    K : at a good input no share exceeds K s_j

    Examples
    --------
    >>> round(mean_error(2.0, 100), 9)
    0.1
    """
    return math.sqrt((_spread(total, K) - 1.0) / positive_int("size", size)) * _UP


@implements("baykal2019_corenet_plus_plus")
def amplified_size(total: float, eps: float, share: float, *, K: float = 1.0, factor: float = FACTOR) -> int:
    """Return the draws m with factor sqrt((S K - 1)/m) <= eps share: what amplification needs for a share of inputs.

    The best candidate's mean error over inputs is then at most eps `share`, so that by Markov's inequality at most a
    share of the inputs err by more than eps. ⌈(S K - 1) (factor/(eps share))²⌉, against O(S K ln(1/share)/eps²) without
    amplification.

    Examples
    --------
    >>> amplified_size(2.0, 0.5, 0.1)  # (100/4.5)²
    494
    """
    reach = positive("eps", eps) * probability("share", share)
    return max(1, math.ceil((_spread(total, K) - 1.0) * (_factor(factor) / reach) ** 2 * _UP))


@implements("baykal2019_corenet_plus_plus")
def holdout_points(total: float, tau: int, delta: float, slack: float, *, K: float = 1.0) -> int:
    """Return how many held-out points rank tau candidates to within `slack` each, all at once, except with delta.

    ⌈b² ln(2 tau/delta) / (2 slack²)⌉ with b = max(1, S K - 1), the range of a relative error (Hoeffding and a union).
    The candidate with the least error on them is within 2 `slack` of the best. The logarithm alone is not enough: the
    range of the errors enters squared.

    Examples
    --------
    >>> holdout_points(2.0, 93, 0.1, 0.1)
    377
    """
    span = max(1.0, _spread(total, K) - 1.0)
    logarithm = math.log(2.0 * positive_int("tau", tau) / probability("delta", delta))
    return math.ceil(span**2 * logarithm / (2.0 * positive("slack", slack) ** 2) * _UP)


def _spread(total: float, K: float) -> float:
    """S K, at least 1 and rounded up, so that S K - 1 is never too small."""
    product = positive("total", total) * positive("K", K)
    if product < 1.0 - 1e-9:
        raise InvalidParameter(
            f"total times K must be at least 1, as the shares of an input add up to 1, got {product}."
        )
    return max(1.0, product) * _UP


def _factor(factor: float) -> float:
    if not positive("factor", factor) > 1.0:
        raise InvalidParameter(f"factor must be above 1, got factor={factor!r}.")
    return factor
