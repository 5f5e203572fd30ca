"""Disintegrated PAC-Bayes bounds: one network drawn from the posterior is certified, the one that is shipped.

The prior P, the class and n are fixed before the n i.i.d. examples. The posterior Q may depend on them and on all coins
of the training, and h is drawn from Q with coins that are fresh given all that: re-using the seed of the training
breaks the bound. It speaks of the h drawn, unchanged. In the place of KL(Q||P) stands ln dQ/dP at h, in nats, which may
be negative. The best of N draws, N fixed beforehand, costs ln N; N counts every draw that could have been chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.catoni import catoni_grid
from boundlab.bounds.pac_bayes import log_xi, raised
from boundlab.concentration.chernoff import kl_inverse

_UP = 1.0 + 1e-14  # past the error of a handful of roundings
_TERM = 16.0 * 2.0**-52  # relative error of one term of a log-ratio, generously


@implements("rivasplata2020_single_draw")
def single_draw(risk: float, log_ratio: float, n: int, delta: float, *, draws: int = 1) -> float:
    """R(h) <= kl^-1(r(h), (ln (dQ/dP)(h) + ln(N xi(n)/delta)) / n) with probability 1 - delta over examples and draw.

    Parameters
    ----------
    risk : float
        r(h), measured on all n examples with the h that is shipped, in [0, 1]; a quotient may be rounded.
    log_ratio : float
        ln dQ/dP at h in nats, rounded up; may be negative.
    n : int
        Examples, >= 1.
    delta : float
        In (0, 1).
    draws : int
        N >= 1, fixed beforehand; any rule may then choose one of the N.

    Returns
    -------
    float
        In [0, 1], rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Rivasplata, Kuzborskij, Szepesvári and Shawe-Taylor (2020), after Catoni (2007) and Blanchard and Fleuret (2007), as
    we understand the papers; proved in ``rivasplata2020_single_draw``.

    Examples
    --------
    >>> f"{single_draw(0.0271, 1908.0 + 49.9, 60_000, 0.05):.4f}"
    '0.0904'
    """
    n = positive_int("n", n)
    total = total_nats(_ratio(log_ratio), log_xi(n), _confidence(delta, draws))
    return kl_inverse(raised(risk), max(0.0, total) / n * _UP)


@implements("boundlab_catoni_grid", "rivasplata2020_single_draw")
def single_draw_catoni(
    risk: float, log_ratio: float, n: int, delta: float, betas: Sequence[float], *, draws: int = 1
) -> float:
    """The single-draw bound with ln G, G temperatures fixed beforehand, in the place of ln xi(n); rounded up.

    The smallest of (1 - exp(-beta r - (ln dQ/dP + ln(N G/delta))/n)) / (1 - exp(-beta)). `betas` as in
    ``catoni_grid``, everything else as in `single_draw`.

    Examples
    --------
    >>> f"{single_draw_catoni(0.0271, 1908.0 + 49.9, 60_000, 0.05, [1.0, 1.25, 1.5]):.4f}"
    '0.0903'
    """
    if not len(betas):
        raise InvalidParameter("betas must hold at least one temperature, got none.")
    # Any pair of a divergence and a level with the same sum gives the same bound: keep the divergence at 0 or above.
    total = total_nats(_ratio(log_ratio), _confidence(delta, draws), -math.log(2.0))
    return catoni_grid(risk, max(0.0, total), n, 0.5, betas)


@implements("boundlab_gaussian_log_ratio")
def gaussian_log_ratio(w: Any, mean: Any, std: Any, prior_std: Any, prior_mean: Any = 0.0) -> float:
    """Return ln dQ/dP at w for Q = N(mean, std^2) and P = N(prior_mean, prior_std^2), independent weights; rounded up.

    sum over the weights of (w - prior_mean)^2 / (2 prior_std^2) - (w - mean)^2 / (2 std^2) + ln(prior_std / std), in
    float64, evaluated at the rounded w that is shipped.

    Parameters
    ----------
    w, mean, std, prior_std, prior_mean : array-like
        Finite, of one shape or broadcast to it; std and prior_std positive. float32 values are taken as they are.

    Returns
    -------
    float
        Nats, above the exact value of the given numbers by at most 1e-14 of the sum of the terms' magnitudes.

    Raises
    ------
    InvalidParameter
        If an entry is not finite, or a standard deviation not positive.

    Notes
    -----
    Its mean over w drawn from Q is KL(Q||P), `gaussian_kl`.

    Examples
    --------
    >>> f"{gaussian_log_ratio([1.0, 0.0], [1.0, 0.0], 0.5, 1.0):.4f}"
    '1.8863'
    """
    w, mean, std, prior_std, prior_mean = _gaussians(w, mean, std, prior_std, prior_mean)
    return _sum_up([_square(w - prior_mean, prior_std), -_square(w - mean, std), np.log(prior_std), -np.log(std)])


@implements("boundlab_gaussian_log_ratio")
def gaussian_kl(mean: Any, std: Any, prior_std: Any, prior_mean: Any = 0.0) -> float:
    """KL(N(mean, std^2) || N(prior_mean, prior_std^2)) summed over independent weights, in nats; rounded up.

    Parameters and errors as in `gaussian_log_ratio`.

    Examples
    --------
    >>> f"{gaussian_kl([1.0, 0.0], 0.5, 1.0):.4f}"
    '1.1363'
    """
    _, mean, std, prior_std, prior_mean = _gaussians(0.0, mean, std, prior_std, prior_mean)
    squares = [_square(mean - prior_mean, prior_std), _square(std, prior_std), np.full(mean.shape, -0.5)]
    return max(0.0, _sum_up([*squares, np.log(prior_std), -np.log(std)]))


def _square(distance: np.ndarray, std: np.ndarray) -> np.ndarray:
    """distance^2 / (2 std^2)."""
    with np.errstate(over="ignore"):
        return 0.5 * (distance / std) ** 2


def _sum_up(parts: list[np.ndarray]) -> float:
    """The sum of all terms, exactly rounded, plus an allowance for the error of each term."""
    terms = np.concatenate(parts)
    if not np.isfinite(terms).all() or not np.isfinite(terms.sum()):
        raise InvalidParameter("each squared distance must stay below 1e308 standard deviations, got an overflow.")
    return math.fsum(terms) + _TERM * math.fsum(np.abs(terms)) + 1e-300


def _gaussians(*values: Any) -> tuple[np.ndarray, ...]:
    """Flat float64 arrays (w, mean, std, prior_std, prior_mean) of one shape, checked."""
    try:
        arrays = [np.ravel(a) for a in np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in values))]
    except (TypeError, ValueError):
        raise InvalidParameter("weights, means and standard deviations must be numbers of one shape.") from None
    if not all(np.isfinite(a).all() for a in arrays):
        raise InvalidParameter("weights, means and standard deviations must be finite, got a NaN or an infinity.")
    if not ((arrays[2] > 0).all() and (arrays[3] > 0).all()):
        raise InvalidParameter(f"standard deviations must be positive, got {min(arrays[2].min(), arrays[3].min())!r}.")
    return tuple(arrays)


def _ratio(value: float) -> float:
    if math.isnan(value) or value == -math.inf:
        raise InvalidParameter(f"log_ratio must be a number above -inf, got log_ratio={value!r}.")
    return float(value)


def total_nats(*nats: float) -> float:
    """The sum, rounded up past the error of each part: a negative log-ratio may cancel the others."""
    return math.fsum(nats) + 1e-14 * math.fsum(map(abs, nats))


def _confidence(delta: float, draws: int) -> float:
    """ln(N / delta)."""
    return math.log(positive_int("draws", draws)) - math.log(probability("delta", delta))
