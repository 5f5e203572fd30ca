"""How a budget of edges or draws is shared out over groups: exactly for kept edges, in closed form for draws.

A group of total sensitivity S_i gets eps_i(N) = u + sqrt(u² + 6 u) from N draws, u = A_i L/(3 N), A_i = max(1, K S_i),
L = ln(2/delta); see `error_functions`. It falls and is convex in N, so that a budget has one best division.
"""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.coresets.top_k import keep_largest

ROUNDING = 1e-12


@implements("baykal2022_det_allocation")
def top_sizes(values: np.ndarray, indptr: np.ndarray, budget: int) -> np.ndarray:
    """Return how many edges each group keeps so that the sum of all dropped sensitivities is smallest: the global top.

    Parameters
    ----------
    values : (edges,) float64 >= 0, sensitivities of all groups, of all layers
    indptr : (R + 1,) int64, the groups
    budget : int >= 1, edges to keep in all

    Returns
    -------
    (R,) int64, adding up to min(budget, edges). With these sizes `keep_largest` keeps the global top.

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, as we understand the paper.

    Examples
    --------
    >>> top_sizes(np.array([0.9, 0.1, 0.5, 0.6]), np.array([0, 2, 4]), 3).tolist()
    [1, 2]
    """
    kept = keep_largest(values, np.array([0, len(values)]), np.array([positive_int("budget", budget)]))
    return np.diff(np.concatenate([[0], np.cumsum(kept)])[indptr])


@implements("baykal2022_rand_allocation")
def relaxed_sizes(
    total: np.ndarray,
    limit: np.ndarray,
    budget: float,
    delta: float,
    *,
    K: float = 1.0,
    weight: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Return the real sizes N_i that minimise sum_i lambda_i eps_i(N_i) subject to sum_i N_i <= B and N_i <= limit_i.

    With t_i = eps_i(N_i) the optimum is N_i = min(A_i L (6 + 2 t_i)/(3 t_i²), limit_i), where

        t_i³/(6 + t_i) = (2/3) mu A_i L/lambda_i

    for one multiplier mu, which is found by bisection.

    Parameters
    ----------
    total : (R,), total sensitivities S_i > 0
    limit : (R,), > 0, the most draws that a group may get, such as its number of edges; inf for none
    budget : float > 0, B
    delta, K : as in `bernstein_eps`
    weight : (R,) or float, lambda_i > 0

    Returns
    -------
    (R,) float64, adding up to at most B (to B where the limits allow it, within a share of 1e-12)

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    The objective is that of Baykal et al. (2022), arXiv:1910.05422, as we understand the paper; the solution is ours.

    Examples
    --------
    >>> relaxed_sizes(np.array([1.0, 8.0]), np.array([np.inf, np.inf]), 3000, 0.01).round().tolist()
    [985.0, 2015.0]
    """
    cost, weight, limit = _groups(total, limit, budget, delta, K, weight)
    if limit.sum() <= budget:
        return limit.copy()

    def sizes(log_mu: float) -> np.ndarray:
        t = _cubic(np.exp(log_mu) * 2.0 * cost / (3.0 * weight))
        return np.minimum(cost * (6.0 + 2.0 * t) / (3.0 * t * t), limit)

    ratio = np.log(cost / weight)
    low, high = -200.0 - ratio.max(), 200.0 - ratio.min()  # at low too many draws, at high too few
    for _ in range(100):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if sizes(mid).sum() > budget else (low, mid)
    return sizes(high)


@implements("baykal2022_rand_allocation")
def whole_sizes(
    total: np.ndarray, limit: np.ndarray, budget: int, delta: float, *, K: float = 1.0, weight: np.ndarray | float = 1.0
) -> np.ndarray:
    """Return the whole sizes N_i that minimise sum_i lambda_i eps_i(N_i) under the same budget and limits.

    As eps_i is convex, the B draws with the largest gains lambda_i (eps_i(N-1) - eps_i(N)) are the optimum. Parameters,
    errors and source as in `relaxed_sizes`, with a budget of at least one draw for each group.

    Returns
    -------
    (R,) int64 >= 1, adding up to min(B, sum of the limits rounded down)

    Examples
    --------
    >>> whole_sizes(np.array([1.0, 8.0]), np.array([4000, 4000]), 3000, 0.01).tolist()
    [985, 2015]
    """
    cost, weight, limit = _groups(total, np.floor(limit), budget, delta, K, weight)
    if budget < len(cost) or (limit < 1).any():
        raise InvalidParameter(f"budget must be at least one draw for each of {len(cost)} groups, got {budget!r}.")
    limit = np.minimum(limit, budget).astype(np.int64)
    if limit.sum() <= budget:
        return limit

    def gain(size: np.ndarray) -> np.ndarray:
        """What draw number `size` gains; the first one is a must."""
        now, before = _eps(cost, size), _eps(cost, np.maximum(size - 1, 1))
        return np.where(size > 1, weight * (before - now), np.inf)

    def sizes(least: float) -> np.ndarray:
        """The largest size of each group whose last draw gains at least `least`."""
        low, high = np.ones_like(limit), limit + 1
        for _ in range(int(limit.max()).bit_length() + 1):
            mid = (low + high) // 2
            good = (mid <= limit) & (gain(mid) >= least)
            low, high = np.where(good, mid, low), np.where(good, high, np.maximum(mid, low + 1))
        return low

    small, large = -700.0, 700.0  # logarithms of a gain: at `small` too many draws, at `large` one each
    for _ in range(70):
        mid = 0.5 * (small + large)
        small, large = (mid, large) if sizes(float(np.exp(mid))).sum() > budget else (small, mid)
    found = sizes(float(np.exp(large)))
    while (left := budget - int(found.sum())) > 0:  # draws whose gains are equal but for rounding
        following = np.where(found < limit, gain(np.minimum(found + 1, limit)), -np.inf)
        found[np.argsort(-following, kind="stable")[: min(left, int((found < limit).sum()))]] += 1
    return found


@implements("baykal2022_distinct_budget")
def expected_distinct(probabilities: np.ndarray, indptr: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return sum_j 1 - (1 - q_j)^N, the expected number of distinct edges in N draws with replacement; (R,) float64.

    Parameters
    ----------
    probabilities : (edges,) float64 >= 0, adding up to 1 in each group that is drawn from
    indptr : (R + 1,) int64, the groups
    size : (R,) draws N >= 0

    Examples
    --------
    >>> expected_distinct(np.array([0.5, 0.5]), np.array([0, 2]), np.array([3])).tolist()
    [1.75]
    """
    q, count = np.minimum(probabilities, 1.0), np.diff(indptr)
    group = np.repeat(np.arange(len(count)), count)
    draws = np.asarray(size, np.float64)[group]
    with np.errstate(divide="ignore", invalid="ignore"):
        missed = np.where((draws > 0) & (q > 0), draws * np.log1p(-q), 0.0)  # ln P(edge j is not drawn)
    return np.bincount(group, -np.expm1(missed), minlength=len(count))


@implements("baykal2022_distinct_budget")
def draws_for_distinct(probabilities: np.ndarray, indptr: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the largest number of draws whose expected number of distinct edges is at most `wanted`.

    A group has c edges with q_j > 0; as c distinct ones would need infinitely many draws, what is wanted is cut at
    max(1, c - 1). Whoever can afford all c keeps the group as it is. The search starts from Jensen's lower bound
    ln(c/(c - m))/ln(c/(c - 1)), which is the answer for equal probabilities.

    Parameters
    ----------
    probabilities, indptr : as in `expected_distinct`
    wanted : (R,) numbers m >= 0; below 1 there is nothing to draw

    Returns
    -------
    (R,) float64 of whole numbers N; the expected number does not exceed m by more than rounding

    Raises
    ------
    InvalidParameter
        If a wanted number is negative or NaN.

    Notes
    -----
    The budget of the released code of Baykal et al. (2022), arXiv:1910.05422.

    Examples
    --------
    >>> draws_for_distinct(np.full(10, 0.1), np.array([0, 10]), np.array([5.0])).tolist()
    [6.0]
    """
    wanted = np.asarray(wanted, np.float64)
    if not (wanted >= 0).all():
        raise InvalidParameter("wanted must be numbers >= 0 without NaN.")
    group = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    edges = np.bincount(group, probabilities > 0, minlength=len(indptr) - 1)
    cut = np.minimum(wanted, np.maximum(edges - 1.0, 1.0))
    drawn = (cut >= 1.0) & (edges > 1)

    def fits(size: np.ndarray) -> np.ndarray:
        return expected_distinct(probabilities, indptr, size) <= cut * (1.0 + ROUNDING)

    low = np.where(drawn, np.floor(jensen_draws(edges, cut) * (1.0 + ROUNDING)), 1.0)
    high = 2.0 * low
    while (short := drawn & fits(high)).any():
        low, high = np.where(short, high, low), np.where(short, 2.0 * high, high)
    while (drawn & ((mid := np.floor(0.5 * (low + high))) > low) & (mid < high)).any():  # beyond 2^53 floats have gaps
        good = fits(mid)
        low, high = np.where(good, mid, low), np.where(good, high, mid)
    return np.where(drawn, low, np.where((cut >= 1.0) & (edges == 1), 1.0, 0.0))


@implements("baykal2022_distinct_budget")
def jensen_draws(edges: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return ln(c/(c-m))/ln(c/(c-1)): as many draws at least are needed for m distinct of c edges, whatever the q_j.

    Parameters
    ----------
    edges : (R,) c >= 2
    wanted : (R,) m in [1, c)

    Examples
    --------
    >>> f"{jensen_draws(np.array([10.0]), np.array([5.0]))[0]:.4f}"
    '6.5788'
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log1p(-wanted / edges) / np.log1p(-1.0 / edges)


def _groups(
    total: np.ndarray, limit: np.ndarray, budget: float, delta: float, K: float, weight: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A_i L, lambda_i and limit_i, checked."""
    s, most = np.asarray(total, np.float64), np.asarray(limit, np.float64)
    weight = np.broadcast_to(np.asarray(weight, np.float64), s.shape)
    if not (s.ndim == 1 and most.shape == s.shape and (s > 0).all() and (most > 0).all() and (weight > 0).all()):
        raise InvalidParameter("total, limit and weight must be positive, one of each for every group.")
    if not (budget > 0 and 1.0 <= K < np.inf and np.isfinite(s).all()):
        raise InvalidParameter(f"budget > 0 and a finite K >= 1 are needed, got budget={budget!r}, K={K!r}.")
    return np.maximum(1.0, K * s) * -np.log(0.5 * probability("delta", delta)), weight, most


def _eps(cost: np.ndarray, size: np.ndarray) -> np.ndarray:
    u = cost / (3.0 * size)
    return u + np.sqrt(u * u + 6.0 * u)


def _cubic(c: np.ndarray) -> np.ndarray:
    """The positive root of t³ = c (6 + t), by Newton's method from above; c > 0."""
    t = np.cbrt(6.0 * c) + np.sqrt(c)
    for _ in range(40):
        t = t - (t * t * t - c * (6.0 + t)) / (3.0 * t * t - c)
    return t
