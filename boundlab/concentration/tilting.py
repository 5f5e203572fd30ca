"""Rare failures of a mean of m i.i.d. draws: sample where they happen, with weights under a proved cap.

For terms v_J with J ~ q and S = v_{J_1} + ... + v_{J_m}, draw J from q_j e^(theta v_j - L), where
L = ln sum_j q_j e^(theta v_j). The likelihood ratio of the m draws is e^(m L - theta S), and on the event S >= s, with
theta >= 0, it is at most B = e^(m L - theta s): Chernoff's bound. So P(S >= s) = B E[w 1{S >= s}/B] is B times the mean
of a quantity in [0, 1], and an e-process for bounded means bounds it after a few hundred draws, however small it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements


@dataclass(frozen=True, kw_only=True, eq=False)
class Tilt:
    """A tilted law of one draw, J ~ `law`; a sum S of m draws weighs exp(`log_base` - theta S) <= exp(`log_cap`)."""

    theta: float
    law: np.ndarray
    log_base: float
    log_cap: float

    def log_weight(self, total: np.ndarray) -> np.ndarray:
        """Log of the likelihood ratio of m draws whose values sum to `total`."""
        return self.log_base - self.theta * np.asarray(total, np.float64)


@implements("siegmund1976_tilting")
def tilt(values: np.ndarray, q: np.ndarray, m: int, threshold: float, *, upper: bool = True) -> Tilt:
    """Return the tilt that centres a sum of m draws on `threshold`, for the event S >= threshold (or <=).

    Parameters
    ----------
    values : array (edges,)
        The value of one draw of each edge.
    q : array (edges,), at least 0, sum 1
        The law of one draw.
    m : int
        Draws, at least 1.
    threshold : float
        Of the sum. Where it lies on the wrong side of the mean, theta = 0: no tilt.
    upper : bool
        The event is S >= threshold, else S <= threshold.

    Returns
    -------
    Tilt
        `log_cap` is Chernoff's bound on the event, rounded up; at most 0 up to that.

    Raises
    ------
    InvalidParameter
        If q is no law on the values, or the event is impossible or certain: the threshold must lie strictly between
        the smallest and the largest sum.

    Notes
    -----
    Source: Siegmund (1976), importance sampling by exponential families; ``proofs_checks/siegmund1976_tilting.py``.

    Examples
    --------
    >>> found = tilt(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 100, 50.0)
    >>> bool(np.isclose(found.law[1], 0.5))
    True
    """
    v, p, draws = np.asarray(values, np.float64), np.asarray(q, np.float64), positive_int("m", m)
    if v.ndim != 1 or v.shape != p.shape or np.any(p < 0) or abs(p.sum() - 1.0) > 1e-9 or not np.all(np.isfinite(v)):
        raise InvalidParameter(f"q must be a law on the values, got shapes {v.shape}, {p.shape} and sum {p.sum():g}.")
    p = p / p.sum()
    seen, mean = v[p > 0], float(v @ p)
    goal = threshold / draws
    if not seen.min() < goal < seen.max():
        raise InvalidParameter(
            f"threshold must lie strictly between {draws * seen.min():g} and {draws * seen.max():g}, got {threshold!r}."
        )
    theta = 0.0
    if (goal > mean) == upper and goal != mean:
        theta = _saddle(v, p, goal, upper=upper)
    log_mgf = np.asarray(logsumexp(theta * v, b=p)).item()
    law = p * np.exp(theta * v - log_mgf)
    base = draws * log_mgf
    # The logarithm is off by a few ulps of its largest term, and each draw repeats that error.
    slack = 2.0**-48 * (draws * (1.0 + abs(theta) * float(np.abs(seen).max())) + abs(theta * threshold))
    return Tilt(theta=theta, law=law / law.sum(), log_base=base, log_cap=base - theta * threshold + slack)


def _saddle(v: np.ndarray, p: np.ndarray, goal: float, *, upper: bool) -> float:
    """The theta at which the tilted mean is `goal`."""

    def gap(theta: float) -> float:
        weights = p * np.exp(theta * v - (theta * v).max())
        return float(weights @ v / weights.sum()) - goal

    far = 1.0 / float(np.ptp(v[p > 0]))
    while (gap(far) < 0) if upper else (gap(-far) > 0):
        far *= 2.0
    ends = (0.0, far) if upper else (-far, 0.0)
    return np.asarray(brentq(gap, *ends)).item()
