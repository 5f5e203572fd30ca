"""How many draws suffice: from a total sensitivity S, a relative error eps and a failure probability delta to m.

One group of positive terms with sum z is estimated by the mean of m draws of z_j/q_j, q_j = s_j/S. If no term's share
exceeds K s_j, the estimate is a mean of m independent terms in [0, S K z], and m follows from its tails.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from scipy.special import betainc, ndtri

from boundlab._errors import InvalidParameter, choice
from boundlab._theory import implements
from boundlab.concentration.multiplicative import bernstein_rate, binomial_failure, lower_rate, upper_rate

SLACK = 1e-9
"""K is enlarged by this share, so that a share measured in float64 is covered."""


class Rule(StrEnum):
    """Which inequality gives m. All but `BINOMIAL` certify; that one is what the extremal group needs."""

    PUBLISHED = "published"
    BERNSTEIN = "bernstein"
    KL = "kl"
    BINOMIAL = "binomial"


@implements(
    "baykal2019_positive_weights", "chernoff_multiplicative_kl", "bernstein_multiplicative", "boundlab_extremal_row"
)
def sample_size(
    total: np.ndarray,
    eps: np.ndarray | float,
    delta: float,
    *,
    K: float = 1.0,
    rule: Rule = Rule.KL,
    upper: int = 1,
    lower: int = 1,
) -> np.ndarray:
    """Return the number m of draws after which the group's relative error exceeds eps with probability <= delta.

        published    8 S K ln(2/delta) / eps²                         (CoreNet's m, with delta = 2 delta_paper/(8 eta))
        bernstein    (2 + 2 eps/3) S K ln(2/delta) / eps²
        kl           smallest m with exp(-m kl((1+eps)p||p)) + exp(-m kl((1-eps)p||p)) <= delta,  p = 1/(S K)
        binomial     smallest m with P(|Bin(m, p)/(m p) - 1| > eps) <= delta: necessary for some group, not sufficient
                     (exact up to 10^7 draws, above by the normal approximation)

    Parameters
    ----------
    total : array (R,), total sensitivities S >= 0; a group with S = 0 has no draws to make and gets m = 0
    eps : float or array (R,), >= 0; at 0 no number of draws suffices and m = inf; `published` needs eps <= 1
    delta : float in (0, 1), failure probability of one group
    K : float >= 1, by how much a share may exceed its sensitivity
    upper, lower : how many fixed vectors are tested at each tail (1 and 1: one two-sided event)

    Returns
    -------
    array (R,) float64 of whole numbers, rounded up; float64 because published sizes exceed every integer type.

    Source: CoreNet (arXiv:1804.05345), Algorithm 2, as we understand the paper; the kl form is our repair.
    """
    s = np.asarray(total, np.float64) * K * (1.0 + SLACK)
    eps = np.broadcast_to(np.asarray(eps, np.float64), s.shape)
    if not (np.all(eps >= 0) and 0 < delta < 1 and 1 <= K < np.inf):
        raise InvalidParameter(
            f"eps >= 0, delta in (0, 1) and a finite K >= 1 are needed, got delta={delta!r}, K={K!r}."
        )
    rule = choice("rule", rule, Rule)
    if rule is Rule.PUBLISHED and np.any(eps > 1.0):
        raise InvalidParameter(f"the published size is proved for eps <= 1, got eps={float(eps.max()):g}.")
    p = np.minimum(1.0, 1.0 / np.where(s > 0, s, 1.0))
    impossible, eps = eps == 0, np.where(eps > 0, eps, 1.0)
    events = np.log((upper + lower) / delta)
    if rule is Rule.PUBLISHED:
        with np.errstate(over="ignore"):
            m = 8.0 * s * events / eps / eps
    elif rule is Rule.BERNSTEIN:
        with np.errstate(divide="ignore", over="ignore"):
            m = events / bernstein_rate(p, eps)
    else:
        m = _chernoff_size(upper_rate(p, eps), lower_rate(p, eps), delta, upper, lower)
        if rule is Rule.BINOMIAL:  # a necessary size must not be enlarged: no allowance for rounding
            p = np.minimum(1.0, 1.0 / np.where(s > 0, np.asarray(total, np.float64) * K, 1.0))
            m = _binomial_size(p, eps, delta, np.ceil(m), ~impossible & (s > 0))
    m = np.where(impossible, np.inf, np.maximum(1.0, np.ceil(m)))
    return np.where(s > 0, m, 0.0)


@implements("chernoff_multiplicative_kl")
def certified_eps(
    total: np.ndarray, size: np.ndarray, delta: float, *, K: float = 1.0, upper: int = 1, lower: int = 1
) -> np.ndarray:
    """Return the smallest eps that `size` draws certify by the kl rule, rounded up; the inverse of `sample_size`.

    0 where S = 0. It may exceed 1: the lower tail is then empty, and the upper one ends at S K - 1.
    """
    s = np.asarray(total, np.float64) * K * (1.0 + SLACK)
    m = np.asarray(size, np.float64)
    p = np.minimum(1.0, 1.0 / np.where(s > 0, s, 1.0))
    low, high = np.zeros_like(p), np.maximum(1.0 + 1e-9, s * (1.0 + 1e-9))
    for _ in range(60):
        mid = 0.5 * (low + high)
        with np.errstate(invalid="ignore"):
            fails = upper * np.exp(-m * upper_rate(p, mid)) + lower * np.exp(-m * lower_rate(p, mid))
        good = fails <= delta
        low, high = np.where(good, low, mid), np.where(good, mid, high)
    return np.where(s > 0, high, 0.0)


def _chernoff_size(up: np.ndarray, down: np.ndarray, delta: float, upper: int, lower: int) -> np.ndarray:
    """Smallest real m with upper e^{-m up} + lower e^{-m down} <= delta, by bisection; the upper end is returned."""

    def fails(m: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            tail = upper * np.exp(-m * up) + lower * np.exp(-m * down)
        return np.where(np.isinf(up) & np.isinf(down), 0.0, tail)

    slowest = np.minimum(up, down)
    with np.errstate(divide="ignore", over="ignore"):
        high = np.where(np.isinf(slowest), 1.0, np.log((upper + lower) / delta) / slowest)
        low = np.where(np.isinf(slowest), 0.0, np.log(1.0 / delta) / slowest)
    for _ in range(60):
        mid = 0.5 * low + 0.5 * high
        good = fails(mid) <= delta
        low, high = np.where(good, low, mid), np.where(good, mid, high)
    return high


EXACT_UP_TO = 1e7
"""Above this many draws the binomial size comes from the normal approximation, good to a few percent."""


def _binomial_size(p: np.ndarray, eps: np.ndarray, delta: float, limit: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Smallest m with binomial failure <= delta, at most the kl size `limit`; exact where that is at most 10^7.

    The failure is no monotone function of m but a saw-tooth, so that the exact size is searched tooth by tooth. Larger
    sizes are (1 - p)/p (z/eps)² with z the normal quantile at delta/2.
    """
    z = float(ndtri(delta / 2.0))
    with np.errstate(over="ignore"):
        found = np.minimum(limit, np.maximum(EXACT_UP_TO, (1.0 - p) / p * (z / eps) ** 2))
    for r in np.flatnonzero(wanted & (limit <= EXACT_UP_TO)):
        found[r] = _first_passing(float(p[r]), float(eps[r]), delta, float(limit[r]))
    return found


def _first_passing(p: float, eps: float, delta: float, limit: float) -> float:
    if p >= 1.0:
        return 1.0
    # With x = (1 + eps) m p, P(Bin > x) >= I_p(x + 1, m - x), a smooth function of m that rises and then falls: the m
    # that it rules out are an interval. The saw-tooth is walked upwards in blocks; once inside the interval, behind it.
    start, block = 1.0, 256
    while start <= limit:
        m = np.arange(start, min(limit, start + block - 1) + 1)
        passing = np.flatnonzero(binomial_failure(m, np.array(p), np.array(eps)) <= delta)
        if passing.size:
            return float(m[passing[0]])
        start, block = start + block, 2 * block
        if _smooth_failure(start, p, eps) > delta:
            low, high = start, limit
            while high - low > max(0.5, 1e-9 * high):
                mid = 0.5 * (low + high)
                low, high = (mid, high) if _smooth_failure(mid, p, eps) > delta else (low, mid)
            start = np.floor(low)
    return limit


def _smooth_failure(m: float, p: float, eps: float) -> float:
    """A smooth lower bound on the exact binomial failure probability (two tails of incomplete beta functions)."""
    x, y = (1.0 + eps) * m * p, (1.0 - eps) * m * p
    above = float(betainc(x + 1.0, m - x, p)) if m > x else 0.0
    below = float(betainc(m - y + 1.0, y, 1.0 - p)) if y > 0 else 0.0
    return above + below
