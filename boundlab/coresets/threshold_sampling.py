"""Sampling without replacement at a threshold: pi_j = min(1, s_j/tau), what it certifies, and how it is drawn.

An item is kept with probability pi_j and then weighs 1/pi_j. Large items are kept for certain, and no item is kept
twice. With C s_j z >= x_j for the terms x_j >= 0 of a sum z, no reweighted term exceeds C tau z, and the terms that
are left to chance sum to at most rho z, rho = min(1, C (S - S_k)): both tails follow from tau and rho alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.concentration.multiplicative import ROUNDING, excess_entropy
from boundlab.coresets.sensitivity_sampling import SLACK

_TINY = 2.0**-1000  # what a bound is told as that would underflow: 0 is for groups that leave nothing to chance


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Inclusion probabilities of many groups, and what their certificates need."""

    probabilities: np.ndarray  # (edges,) pi_j in [0, 1]; 0 only where s_j = 0 or the group keeps nothing
    tau: np.ndarray  # (R,) the threshold, rounded up; 0 where all is certain, inf where nothing is kept
    certain: np.ndarray  # (R,) int64, k: items kept with probability 1
    rest: np.ndarray  # (R,) S - S_k, rounded up: total sensitivity of what is left to chance


@implements("boundlab_threshold_probabilities")
def threshold_probabilities(values: np.ndarray, indptr: np.ndarray, nnz: np.ndarray) -> Threshold:
    """Return pi_j = min(1, s_j/tau) with sum_j pi_j = nnz in each group; the threshold is tau = (S - S_k)/(nnz - k).

    Parameters
    ----------
    values : (edges,) sensitivities s_j >= 0
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``
    nnz : (R,) whole numbers >= 0, the expected number of items kept; at or above the number of positive s_j, all of
        these are kept

    Returns
    -------
    Threshold, with tau <= S/nnz in every group. Time O(edges) for each round of certain items, of which few occur.

    Raises
    ------
    InvalidParameter
        For negative or infinite values, an indptr that does not fit, or an nnz that is no whole number.

    Notes
    -----
    Items at or above S/nnz become certain, and the rest is shared out anew, until no item is above its threshold.
    Duffield, Lund and Thorup's threshold sampling has these probabilities; as a plan for coresets it is ours.

    Examples
    --------
    >>> threshold_probabilities(np.array([4.0, 1.0, 1.0, 2.0]), np.array([0, 4]), np.array([3])).probabilities
    array([1. , 0.5, 0.5, 1. ])
    """
    s, indptr, want = _groups(values, indptr, nnz)
    rows = len(want)
    group = np.repeat(np.arange(rows), np.diff(indptr))
    full = (want >= np.bincount(group[s > 0], minlength=rows))[group] & (s > 0)
    above, tolerance = full, 1.0 + len(s) * np.finfo(np.float64).eps  # of the sums: all of nnz never stand above tau
    while True:
        left = np.bincount(group, weights=np.where(above, 0.0, s), minlength=rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            tau = np.where(left > 0, left / (want - np.bincount(group[above], minlength=rows)), 0.0)
        more = ~above & (s > tau[group] * tolerance)
        if not more.any():
            break
        above = above | more
    chance = np.minimum(1.0, np.divide(s, tau[group], out=np.ones_like(s), where=~above & (s > 0)))
    p = np.where(s > 0, chance, 0.0)
    return Threshold(
        probabilities=p,
        tau=tau * (1.0 + ROUNDING),
        certain=np.bincount(group[p == 1.0], minlength=rows),
        rest=np.bincount(group, weights=np.where(p < 1.0, s, 0.0), minlength=rows) * (1.0 + ROUNDING),
    )


@implements("boundlab_poisson_threshold")
def bernstein_failure(
    tau: np.ndarray | float, rest: np.ndarray | float, eps: np.ndarray | float, *, C: float = 1.0
) -> np.ndarray:
    """Return min(1, 2 exp(-eps²/(2 C tau (rho + eps/3)))), rho = min(1, C rest), rounded up: Bernstein's bound.

    It bounds P(|ẑ - z| >= eps z) where terms are at most C s_j z, for independent and for pivotal inclusions. With
    tau = rest/m it is the bound of m draws with replacement. Parameters as in `failure`.
    """
    b, rho, e = _scaled(tau, rest, eps, C)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent = np.where(b > 0, e * e / (2.0 * b * (rho + e / 3.0)), np.inf)
    return np.clip(2.0 * np.exp(-exponent * (1.0 - ROUNDING)), np.where(b > 0, _TINY, 0.0), 1.0)


@implements("boundlab_poisson_threshold", "srinivasan2001_pivotal")
def failure(
    tau: np.ndarray | float, rest: np.ndarray | float, eps: np.ndarray | float, *, C: float = 1.0
) -> np.ndarray:
    """Return the bound exp(-rho h(eps/rho)/(C tau)) + exp(-rho h(-eps/rho)/(C tau)) on P(|ẑ - z| >= eps z), rounded up.

    h(u) = (1+u) ln(1+u) - u and rho = min(1, C rest); the second term is 0 where eps > rho. It is Chernoff's bound
    against a Poisson variable, and never above `bernstein_failure`.

    Parameters
    ----------
    tau, rest : arrays >= 0, of `threshold_probabilities`; tau = 0 means that nothing is left to chance
    eps : array > 0, relative error of the group's sum
    C : finite float >= 1, by how much a share may exceed its sensitivity

    Returns
    -------
    array in [0, 1]

    Examples
    --------
    >>> f"{float(failure(0.01, 1.0, 0.5)):.2e}"
    '2.02e-05'
    """
    b, rho, e = _scaled(tau, rest, eps, C)
    safe = np.where(rho > 0, rho, 1.0)
    inside = e <= safe
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(b > 0, safe * excess_entropy(e / safe) / b, np.inf)
        down = np.where((b > 0) & inside, safe * excess_entropy(-np.where(inside, e / safe, 1.0)) / b, np.inf)
    tails = np.exp(-up * (1.0 - ROUNDING)) + np.exp(-down * (1.0 - ROUNDING))
    return np.clip(tails * (1.0 + ROUNDING), np.where(b > 0, _TINY, 0.0), 1.0)


@implements("boundlab_poisson_threshold")
def certified_eps(tau: np.ndarray | float, rest: np.ndarray | float, delta: float, *, C: float = 1.0) -> np.ndarray:
    """Return the smallest eps with `failure` <= delta, rounded up; 0 where nothing is left to chance.

    The search starts from Bernstein's closed form a/3 + sqrt(a²/9 + 2 a rho), a = C tau ln(2/delta), which is never
    below it. Parameters as in `failure`; delta in (0, 1) is the failure probability of one group.
    """
    probability("delta", delta)
    b, rho, _ = _scaled(tau, rest, 1.0, C)
    a = b * np.log(2.0 / delta)
    high = (a / 3.0 + np.sqrt(a * a / 9.0 + 2.0 * a * rho)) * (1.0 + 1e-9)
    high = np.where(np.isfinite(b), high, np.inf)
    low = np.zeros_like(high)
    for _ in range(60):
        mid = np.where(np.isfinite(high), 0.5 * (low + high), 1.0)
        good = (failure(tau, rest, np.where(mid > 0, mid, 1.0), C=C) <= delta) & np.isfinite(high)
        low, high = np.where(good, low, mid), np.where(good, mid, high)
    return high


@implements("boundlab_poisson_threshold")
def smallest_nnz(
    values: np.ndarray, indptr: np.ndarray, eps: np.ndarray | float, delta: float, *, C: float = 1.0
) -> np.ndarray:
    """Return the smallest nnz (R,) at which threshold sampling errs by eps or more with probability <= delta.

    At least 1 where S > 0. tau and rest fall as nnz grows, hence so does `failure`, and a bisection of whole numbers
    finds it; all positive items together have no error. Parameters as in `threshold_probabilities` and `failure`.
    """
    probability("delta", delta)
    s, indptr, _ = _groups(values, indptr, np.zeros(len(indptr) - 1, np.int64))
    group = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    high = np.bincount(group[s > 0], minlength=len(indptr) - 1)
    low = np.minimum(high, 1) - 1  # never passes, except where there is nothing to keep
    while np.any(high - low > 1):
        mid = (low + high + 1) // 2
        plan = threshold_probabilities(s, indptr, np.maximum(mid, 0))
        good = failure(plan.tau, plan.rest, eps, C=C) <= delta
        low, high = np.where(good, low, mid), np.where(good, mid, high)
    return high


@implements("horvitz1952_unbiased")
def poisson_sample(probabilities: np.ndarray, rng: np.random.Generator, *, draws: int = 1) -> np.ndarray:
    """Return (draws, edges) bools: item j is kept with its probability, independently of all others."""
    p = _chances(probabilities)
    return rng.random((draws, len(p))) < p


@implements("horvitz1952_unbiased")
def inverse_weights(kept: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return 1/pi_j where item j is kept, and 0 elsewhere: every weighted sum over {j : pi_j > 0} is then unbiased.

    Parameters
    ----------
    kept : (..., edges) bool
    probabilities : (edges,) in [0, 1]; an item with pi_j = 0 must not be kept

    Source: Horvitz and Thompson 1952.
    """
    p = _chances(probabilities)
    if np.any(kept & (p == 0)):
        raise InvalidParameter("an item of probability 0 must not be kept, got one that is.")
    return np.where(kept, np.divide(1.0, p, out=np.zeros_like(p), where=p > 0), 0.0)


@implements("horvitz1952_unbiased")
def poisson_variance(terms: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return sum_j (1/pi_j - 1) x_j² (...,), the variance of sum_j x_j I_j/pi_j under independent inclusions.

    inf where a term that is not 0 has pi_j = 0: such a sum is not estimated without bias.
    """
    p, x = _chances(probabilities), np.asarray(terms, np.float64)
    odds = np.divide(1.0 - p, p, out=np.full_like(p, np.inf), where=p > 0)
    return np.sum(np.where(x == 0, 0.0, np.where(x == 0, 0.0, odds) * x * x), axis=-1)


@implements("madow1949_systematic")
def systematic_sample(probabilities: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return (draws, edges) bools: item j is kept if a point of start + {0, 1, 2, ...} falls into its stretch of pi_j.

    Exactly sum_j pi_j items are kept if that is a whole number, each with probability pi_j. The inclusions are NOT
    independent, nor negatively associated: no tail bound holds, and the function is kept to show that.

    Parameters
    ----------
    probabilities : (edges,) in [0, 1]
    start : (draws,) in [0, 1), uniform

    Source: Madow 1949.
    """
    ends = np.cumsum(_chances(probabilities))
    steps = np.ceil(ends - np.asarray(start, np.float64)[:, None])  # points of the comb before each end, (draws, edges)
    return np.diff(steps, axis=1, prepend=0.0) > 0


def _scaled(
    tau: np.ndarray | float, rest: np.ndarray | float, eps: np.ndarray | float, C: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """C tau, rho and eps as arrays, with C enlarged by the slack for shares measured in float64."""
    if not 1.0 <= C < np.inf:
        raise InvalidParameter(f"C must be finite and at least 1, got C={C!r}.")
    t, r, e = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (tau, rest, eps)))
    if not (np.all(t >= 0) and np.all(r >= 0) and np.all(e > 0)):
        raise InvalidParameter("tau and rest must be at least 0 and eps positive, got another sign or NaN.")
    return t * C * (1.0 + SLACK), np.minimum(1.0, r * C * (1.0 + SLACK)), e


def _groups(values: np.ndarray, indptr: np.ndarray, nnz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    s, at, want = np.asarray(values, np.float64), np.asarray(indptr), np.asarray(nnz)
    if s.ndim != 1 or not (np.isfinite(s).all() and np.all(s >= 0)):
        raise InvalidParameter("values must be a vector of finite numbers >= 0, got others.")
    if at.ndim != 1 or len(at) < 2 or at[0] != 0 or at[-1] != len(s) or np.any(np.diff(at) < 0):
        raise InvalidParameter(f"indptr must rise from 0 to the {len(s)} values, got another one.")
    if want.shape != (len(at) - 1,) or want.dtype.kind not in "iu" or np.any(want < 0):
        raise InvalidParameter(f"nnz must be {len(at) - 1} whole numbers >= 0, got another array.")
    return s, at, want.astype(np.int64)


def _chances(probabilities: np.ndarray) -> np.ndarray:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 1 or not (np.all(p >= 0) and np.all(p <= 1)):
        raise InvalidParameter("probabilities must be a vector of numbers in [0, 1], got others.")
    return p
