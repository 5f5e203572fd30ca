"""Rare failures of a sum of m i.i.d. draws: sample where they happen, with weights under a proved cap.

For terms v_J with J ~ q and S = v_{J_1} + ... + v_{J_m}, draw J from q_j e^(theta v_j - L), where
L = ln sum_j q_j e^(theta v_j). The likelihood ratio of the m draws is e^(m L - theta S), and on the event S >= s, with
theta >= 0, it is at most B = e^(m L - theta s): Chernoff's bound. So P(S >= s) = B E[w 1{S >= s}/B] is B times the mean
of a quantity in [0, 1], and an e-process for bounded means bounds it after a few hundred draws, however small it is.
For several events at once, tilt one of them, picked with probability B_i / sum_j B_j: the cap is then sum_j B_j.

Sums are exact: `whole_multiples` rounds the values to multiples of a power of two, whose sums are whole numbers, and
says how far a sum can be from the one that is meant. `SumTable` draws them from 64-bit words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numba import njit
from scipy.optimize import brentq
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements

LEAST = 1e-300
"""The least probability of a value that can be drawn: below the normal floats a tilt has no digits left."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tilt:
    """A tilted law of one draw, J ~ `law`; a sum S of m draws weighs exp(`log_base` - theta S) <= exp(`log_cap`).

    `log_cap` is rounded up, by at most 2 `slack`. `law` is float64: the law of m draws from it is within `slack` of the
    exact tilt at `theta`, in total variation.
    """

    theta: float
    law: np.ndarray
    log_base: float
    log_cap: float
    slack: float

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
    q : array (edges,), 0 or at least LEAST, sum 1
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
    v, p, draws = _law_on(values, q, m)
    seen, mean = v[p > 0], float(v @ p)
    goal = threshold / draws
    if not seen.min() < goal < seen.max():
        raise InvalidParameter(
            f"threshold must lie strictly between {draws * seen.min():g} and {draws * seen.max():g}, got {threshold!r}."
        )
    theta = 0.0
    if (goal > mean) == upper and goal != mean:
        theta = _saddle(v, p, goal, upper=upper)
    return _tilted(v, p, draws, theta, threshold)


@implements("boundlab_mixture_tilting")
def upper_tilt(values: np.ndarray, q: np.ndarray, m: int, threshold: float) -> Tilt:
    """Return a tilt for the event S >= threshold at any threshold: like `tilt`, also where S >= threshold is certain.

    At or below the mean theta = 0, and the cap is 1. At the largest sum, where the saddle point is at infinity, theta
    is so large that float64 sees no other value: any theta >= 0 is valid.

    Parameters
    ----------
    values, q, m : as for `tilt`
    threshold : float
        At most m times the largest value that q can draw: above that the event is impossible.

    Returns
    -------
    Tilt
        With theta >= 0; `log_cap` is a bound of Chernoff's form on the event, rounded up.

    Raises
    ------
    InvalidParameter
        If q is no law on the values, or the event is impossible.

    Notes
    -----
    Source: ours, ``proofs_checks/boundlab_mixture_tilting.py``.

    Examples
    --------
    >>> found = upper_tilt(np.array([0.0, 1.0]), np.array([0.9, 0.1]), 300, 300.0)  # 0.1^300 is the chance
    >>> found.theta > 0, bool(abs(found.log_cap - 300 * np.log(0.1)) < 1e-6)
    (True, True)
    """
    v, p, draws = _law_on(values, q, m)
    seen, mean = v[p > 0], float(v @ p)
    top = float(seen.max())
    if not threshold <= draws * top:
        raise InvalidParameter(f"threshold must be at most the largest sum {draws * top:g}, got {threshold!r}.")
    goal = min(threshold / draws, top)
    theta = _saddle(v, p, goal, upper=True) if mean < goal and float(seen.min()) < top else 0.0
    return _tilted(v, p, draws, theta, threshold)


@implements("boundlab_mixture_tilting")
def union_shares(excess: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the weight of each outcome under the mixture of tilts, as a share of its cap: in [0, 1].

        share = w 1{some event} / sum_i B_i = 1{some event} / sum_i e^(theta_i (S_i - s_i)),
        P(some event) = E[share] sum_i B_i

    where event i is S_i >= s_i and outcomes come from the mixture that tilts event i with probability B_i / sum_j B_j.

    Parameters
    ----------
    excess : array (events, n)
        theta_i (S_i - s_i) of each outcome.
    inside : array (events, n) of bool
        Whether S_i >= s_i; it may leave outcomes out, for a lower limit.

    Returns
    -------
    array (n,) float64, in [0, 1]

    Examples
    --------
    >>> union_shares(np.log([[2.0, 0.5]]), np.array([[True, False]])).tolist()
    [0.5, 0.0]
    """
    return np.where(inside.any(axis=0), np.exp(-np.maximum(np.asarray(logsumexp(excess, axis=0)), 0.0)), 0.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Multiples:
    """Values as whole multiples of a power of two; a sum of m of them is off by at most `blur`."""

    step: float
    counts: np.ndarray  # (edges,) int64: value = step * count, up to rounding
    blur: Fraction


@implements("boundlab_mixture_tilting")
def whole_multiples(values: np.ndarray, m: int) -> Multiples:
    """Write values as multiples of a power of two so that a sum of m multiples is an exact whole number below 2^62.

    The step is the largest power of two that divides all values (blur 0), or where m max|v| would then exceed
    2^61 steps, the smallest one at which it does not: each value moves by at most half a step, and blur is m times the
    largest move.

    Parameters
    ----------
    values : array (edges,), finite; the largest size 0 or between 1e-250 and 1e250
    m : int, at least 1

    Raises
    ------
    InvalidParameter
        If the values are not finite or too small or large.

    Examples
    --------
    >>> found = whole_multiples(np.array([0.0, 0.75, -2.5]), 1000)
    >>> found.step, found.counts.tolist(), found.blur
    (0.25, [0, 3, -10], Fraction(0, 1))
    """
    v, draws = np.asarray(values, np.float64), positive_int("m", m)
    top = float(np.abs(v).max(initial=0.0))
    if not (np.all(np.isfinite(v)) and (top == 0.0 or 1e-250 <= top <= 1e250)):
        raise InvalidParameter(f"values must be 0 or of largest size 1e-250 to 1e250, got {top!r}.")
    if top == 0.0:
        return Multiples(step=1.0, counts=np.zeros(v.shape, np.int64), blur=Fraction(0))
    mantissa, exponent = np.frexp(v[v != 0.0])
    digits = (mantissa * 2.0**53).astype(np.int64)
    lowest = exponent - 53 + np.log2(digits & -digits).astype(np.int64)  # v is an odd multiple of 2^lowest
    room = math.frexp(top)[1] + (draws - 1).bit_length() - 61  # draws * top <= 2^(room + 61)
    step = math.ldexp(1.0, max(int(lowest.min()), room))
    counts = np.rint(v / step)
    return Multiples(
        step=step, counts=counts.astype(np.int64), blur=draws * Fraction(float(np.abs(v - step * counts).max()))
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class SumTable:
    """Cumulative laws in units of 2^-64, with the first candidate of each of 2^bits cells: draws sums of m numbers."""

    counts: np.ndarray  # (edges,) int64
    ends: np.ndarray  # (laws, edges) uint64
    guide: np.ndarray  # (laws, 2^bits) int32

    @classmethod
    def of(cls, counts: np.ndarray, laws: np.ndarray) -> SumTable:
        """Build the table of several laws, shape (laws, edges), on the same whole numbers."""
        share = np.minimum(np.cumsum(laws, axis=1), 1.0 - 2.0**-53)
        ends = (share * 2.0**64).astype(np.uint64)
        bits = min(14, max(4, (8 * len(counts)).bit_length()))
        cells = np.arange(2**bits, dtype=np.uint64) << np.uint64(64 - bits)
        guide = np.stack([np.minimum(np.searchsorted(e, cells, side="right"), len(counts) - 1) for e in ends])
        return cls(counts=np.asarray(counts, np.int64), ends=ends, guide=guide.astype(np.int32))

    def blur(self, m: int) -> float:
        """How far the law of m draws is from m draws of the laws given, in total variation, at most."""
        return m * len(self.counts) * 2.0**-51

    def sums(self, m: int, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one sum of m draws for each entry of `which`, the law to draw from; m words of the generator each."""
        found, rows = np.empty(len(which), np.int64), max(1, 2**17 // m)
        bits = np.uint64(64 - (self.guide.shape[1] - 1).bit_length())
        for first in range(0, len(which), rows):
            part = slice(first, first + rows)
            words = rng.integers(0, 2**64, size=(len(found[part]), m), dtype=np.uint64)
            _sum_draws(words, which[part], self.counts, self.ends, self.guide, bits, found[part])
        return found


@njit(cache=True)
def _sum_draws(words, which, counts, ends, guide, bits, found):
    last = len(counts) - 1
    for r in range(words.shape[0]):
        end, first, total = ends[which[r]], guide[which[r]], 0
        for word in words[r]:
            k = first[word >> bits]
            while k < last and word >= end[k]:
                k += 1
            total += counts[k]
        found[r] = total


def _law_on(values: np.ndarray, q: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, int]:
    """The values, the law with its sum divided out, and the number of draws."""
    v, p, draws = np.asarray(values, np.float64), np.asarray(q, np.float64), positive_int("m", m)
    if (
        v.ndim != 1
        or v.shape != p.shape
        or not (np.all(p >= 0) and abs(p.sum() - 1.0) <= 1e-9 and np.isfinite(v).all())
    ):
        raise InvalidParameter(f"q must be a law on the values, got shapes {v.shape}, {p.shape} and sum {p.sum():g}.")
    if np.any((p > 0) & (p < LEAST / 2)):  # a sum of 1 + 1e-9 may have been divided out before
        raise InvalidParameter(f"q must be 0 or at least {LEAST:g}, got {p[p > 0].min():g}.")
    p = p / p.sum()
    return np.where(p > 0, v, v[p > 0][0]), p, draws  # a value that is never drawn must not overflow


def _tilted(v: np.ndarray, p: np.ndarray, draws: int, theta: float, threshold: float) -> Tilt:
    """The tilt at a given theta, whatever it is."""
    log_mgf = np.asarray(logsumexp(theta * v, b=p)).item()
    # In exact arithmetic p e^x <= 1, so that x <= -ln LEAST; beyond it is rounding, and the slack is above 1.
    law = p * np.exp(np.minimum(theta * v - log_mgf, 700.0))
    base = draws * log_mgf
    # The logarithm is off by a few ulps of its largest term, and each draw repeats that error.
    slack = 2.0**-48 * (draws * (1.0 + abs(theta) * float(np.abs(v[p > 0]).max())) + abs(theta * threshold))
    return Tilt(theta=theta, law=law / law.sum(), log_base=base, slack=slack, log_cap=base - theta * threshold + slack)


def _saddle(v: np.ndarray, p: np.ndarray, goal: float, *, upper: bool) -> float:
    """The theta at which the tilted mean is `goal`; 0 where that is the mean up to rounding."""
    low, spread = float(v[p > 0].min()), float(np.ptp(v[p > 0]))
    u, target = (v - low) / spread, (goal - low) / spread  # the root finder's tolerance is absolute

    def gap(t: float) -> float:
        weights = p * np.exp(t * u - max(t, 0.0))
        return float(weights @ u / weights.sum()) - target

    if (gap(0.0) >= 0) if upper else (gap(0.0) <= 0):
        return 0.0
    far = 1.0
    while (gap(far) < 0) if upper else (gap(-far) > 0):
        far *= 2.0
    ends = (0.0, far) if upper else (-far, 0.0)
    return np.asarray(brentq(gap, *ends)).item() / spread
