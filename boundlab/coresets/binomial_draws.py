"""Binomial draws whose law is known to a stated distance, compiled; multinomial counts as a chain of them.

Binomial generators in wide use are not exact: see `printed_log_ratio`. Here every step that decides the law is bounded,
the rounding too. The words come from xoshiro256++; the kernels hold no lock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from boundlab._errors import InvalidParameter
from boundlab._theory import implements

INVERT_BELOW = 10.0
"""n p below which one uniform number is inverted: the constants of the rejection need n p of at least this."""

MOST_INVERTED = 110.0
"""The largest count by inversion: P(Bin(n, p) > 110) < 1e-70 for n p < 10."""

MOST_DRAWS = 2**53
"""The largest n: up to here float64 holds all whole numbers."""

EXCESS = np.array([
    0.07236494292470008, 0.02713619536691932, 0.016518182330115094, 0.011849453710405727,
    0.009232988349960452, 0.007561297733965538, 0.00640147105491602, 0.005549826206244116,
    0.004898020177724066, 0.004383139884907061, 0.003966160345673161, 0.0036215940766372886,
    0.0033320913959795895, 0.003085433580430681, 0.002872767150657649, 0.0026875202043956914,
])  # fmt: skip
"""By how much Stirling's X ln X - X + ln(2 pi)/2 exceeds ln x! at X = x + 1/2, for x = 0 .. 15."""


@implements("hormann1993_btrs")
def draw_binomials(n: np.ndarray | int, p: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
    """Return independent draws of Bin(n, p), int64, in the common shape of n and p.

    Each has its law within total variation ``distance(n, p)``, below 2e-11 for n up to 10^9. Inversion below
    n min(p, 1 - p) = 10, Hörmann's transformed rejection BTRS from there on.

    Parameters
    ----------
    n : whole numbers in [0, 2^53]
    p : in [0, 1]
    rng : gives one 64-bit key, and nothing else

    Raises InvalidParameter.

    Source: Hörmann 1993, algorithm BTRS; Loader 2000 for the idea of the deviance.

    Examples
    --------
    >>> draw_binomials(np.array([0, 5, 10**9]), np.array([0.3, 1.0, 0.5]), np.random.default_rng(0)).tolist()
    [0, 5, 500004413]
    """
    trials, chances = np.broadcast_arrays(np.asarray(n), np.asarray(p, np.float64))
    if trials.dtype.kind not in "iu" or np.any(trials < 0) or np.any(trials > MOST_DRAWS):
        raise InvalidParameter(f"n must be whole numbers in [0, 2^53], got {_extremes(trials)}.")
    if not np.all((chances >= 0.0) & (chances <= 1.0)):
        raise InvalidParameter(f"p must be in [0, 1], got {_extremes(chances)}.")
    counts = np.empty(trials.size, np.int64)
    _draw_binomials(trials.ravel().astype(np.float64), chances.ravel(), rng.integers(2**64, dtype=np.uint64), counts)
    return counts.reshape(trials.shape)


def _extremes(values: np.ndarray) -> str:
    """The range and the kind of an array, for a message."""
    return f"{values.min()} .. {values.max()} of dtype {values.dtype}" if values.size else f"dtype {values.dtype}"


@implements("hormann1993_btrs")
def distance(n: int, p: float) -> float:
    """Return 2^-43 + 10 · 2^-53 sqrt(n p (1-p)), a bound of the total variation between a draw and Bin(n, p).

    Only rounding is left: the law of real arithmetic is Bin(n, p). The generator's words are taken as uniform.

    Examples
    --------
    >>> f"{distance(1_000, 0.1):.1e}, {distance(10**9, 0.5):.1e}"
    '1.2e-13, 1.8e-11'
    """
    return 2.0**-43 + 10.0 * 2.0**-53 * math.sqrt(n * p * (1.0 - p))


@implements("kachitvichyanukul1988_btpe")
def printed_log_ratio(k: np.ndarray, n: int, p: float, *, leading: float = 13860.0) -> np.ndarray:
    """Return what BTPE's last test takes for ln(f(k)/f(m)), m the mode: refuted, kept to show by how much it misses.

        xm ln(f1/x1) + (n-m+1/2) ln(z/w) + (k-m) ln(w p/(x1 q)) + t(f1) + t(z) + t(x1) + t(w)

    with f1 = m+1, x1 = k+1, z = n+1-m, w = n+1-k, xm = m + 1/2, and t the Stirling series. t(x1) and t(w) belong to
    k! (n-k)!, the denominator of f(k), and must be subtracted. numpy before 2.5 adds them too, with `leading` = 13680.

    Parameters
    ----------
    k : counts, any shape
    n, p : with p <= 1/2
    leading : the first coefficient of t, 13860/166320 = 1/12

    Source: Kachitvichyanukul and Schmeiser 1988, step 5.3, as we understand it from what others say of it.
    """
    counts, m = np.asarray(k, np.float64), math.floor((n + 1) * p)
    x1, w, f1, z = counts + 1.0, n + 1.0 - counts, m + 1.0, n + 1.0 - m
    main = (m + 0.5) * np.log(f1 / x1) + (n - m + 0.5) * np.log(z / w) + (x1 - f1) * np.log(w * p / (x1 * (1.0 - p)))
    return main + sum(_printed_tail(x, leading) for x in (f1, z, x1, w))


def _printed_tail(x: Any, leading: float) -> Any:
    """1/(12 x) - 1/(360 x^3) + 1/(1260 x^5) - ..., of a number or an array."""
    square = x * x
    return (leading - (462.0 - (132.0 - (99.0 - 140.0 / square) / square) / square) / square) / x / 166320.0


@njit(cache=True)
def _splitmix(state):
    state = state + np.uint64(0x9E3779B97F4A7C15)
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, z ^ (z >> np.uint64(31))


@njit(cache=True)
def _rotl(x, k):
    return (x << np.uint64(k)) | (x >> np.uint64(64 - k))


@njit(cache=True)
def _xoshiro(s0, s1, s2, s3):
    """One word of xoshiro256++, and the state after it."""
    word = _rotl(s0 + s3, 23) + s0
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    return word, s0, s1, s2, _rotl(s3, 45)


@njit(cache=True)
def _seeded(key):
    """The four words of state that a key stands for."""
    state, s0 = _splitmix(key)
    state, s1 = _splitmix(state)
    state, s2 = _splitmix(state)
    state, s3 = _splitmix(state)
    return s0, s1, s2, s3


@njit(cache=True)
def _excess(x):
    """By how much Stirling's formula at X = x + 1/2 exceeds ln x!: the table, then 1/(24 X) and so on."""
    if x < len(EXCESS):
        return EXCESS[np.uint64(x)]
    y = 1.0 / (x + 0.5)
    s = y * y
    return y * (1 / 24 - s * (7 / 2880 - s * (31 / 40320 - s * (127 / 215040 - s * (511 / 608256)))))


@njit(cache=True)
def _deviance(a, d):
    """(a + d) ln(1 + d/a) - d >= 0, with a small relative error: a series where the terms would cancel."""
    t = d / a
    if abs(t) < 0.125:
        v = d / (2.0 * a + d)  # ln(1 + t) = 2 artanh v
        s = v * v
        return d * (v + (1.0 + v) * s * (1 / 3 + s * (1 / 5 + s * (1 / 7 + s * (1 / 9 + s * (1 / 11 + s * (1 / 13)))))))
    return (a + d) * math.log1p(t) - d


@njit(cache=True)
def _relative_probability(k, n, p):
    """f(k) up to a factor that does not depend on k, about 1 at the mode.

    exp(e(k) + e(n-k) - H), H the deviance of k + 1/2 and n-k + 1/2 from (n+1) p and (n+1) (1-p), e as in `_excess`.
    """
    a = (n + 1.0) * p
    d = k + 0.5 - a
    return math.exp(_excess(k) + _excess(n - k) - _deviance(a, d) - _deviance(n + 1.0 - a, -d))


@njit(cache=True)
def _shape(n, p):
    """Hörmann's a, b of the transformation, v_r of the squeeze and alpha of the hat."""
    deviation = math.sqrt(n * p * (1.0 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    return a, b, 0.92 - 4.2 / b, (2.83 + 5.1 / b) * deviation


@njit(cache=True, error_model="numpy")
def _proposal(word, n, p, a, b):
    """floor((2a/us + b) u + n p + 1/2) and us = 1/2 - abs(u), at u = word/2^64 in [-1/2, 1/2] for a signed word.

    The mode is split off first: near it the sum is small, and its rounding harmless. us = 0 gives an infinite count.
    """
    u = np.float64(np.int64(word)) * 2.0**-64
    us = 0.5 - abs(u)
    mode = np.floor((n + 1.0) * p)
    return mode + np.floor((2.0 * a / us + b) * u + (n * p + 0.5 - mode)), us


@njit(cache=True)
def _accepted(v, k, us, n, p, a, b, squeeze, alpha):
    """Whether v alpha <= (a/us^2 + b) f(k), which the squeeze implies and spares."""
    if us >= 0.07 and v <= squeeze:
        return True
    return 0.0 <= k <= n and v * alpha <= (a / (us * us) + b) * _relative_probability(k, n, p)


@njit(cache=True)
def _rejection(n, p, s0, s1, s2, s3):
    """A draw of Bin(n, p) for n p >= 10 and p <= 1/2, and the state after it."""
    a, b, squeeze, alpha = _shape(n, p)
    while True:
        word, s0, s1, s2, s3 = _xoshiro(s0, s1, s2, s3)
        k, us = _proposal(word, n, p, a, b)
        word, s0, s1, s2, s3 = _xoshiro(s0, s1, s2, s3)
        v = np.float64(word) * 2.0**-64
        if _accepted(v, k, us, n, p, a, b, squeeze, alpha):
            return k, s0, s1, s2, s3


@njit(cache=True)
def _inverted(word, n, p):
    """The count at u = word/2^64 for n p < 10 and p <= 1/2; -1 beyond all that the sum of rounded terms reaches."""
    u, k, most = np.float64(word) * 2.0**-64, 0.0, min(n, MOST_INVERTED)
    if u < 1.0 - n * p:  # at most (1-p)^n, and spares its logarithm
        return 0.0
    odds, term = p / (1.0 - p), math.exp(n * math.log1p(-p))
    while u >= term:
        if k == most:
            return -1.0
        u -= term
        k += 1.0
        term *= (n + 1.0 - k) * odds / k
    return k


@njit(cache=True)
def _inversion(n, p, s0, s1, s2, s3):
    while True:
        word, s0, s1, s2, s3 = _xoshiro(s0, s1, s2, s3)
        k = _inverted(word, n, p)
        if k >= 0.0:
            return k, s0, s1, s2, s3


@njit(cache=True)
def _binomial(n, p, s0, s1, s2, s3):
    """A draw of Bin(n, p), p <= 1/2, and the state after it; n and the draw are whole numbers in float64."""
    if n * p < INVERT_BELOW:
        return _inversion(n, p, s0, s1, s2, s3)
    return _rejection(n, p, s0, s1, s2, s3)


@njit(cache=True, nogil=True)
def _draw_binomials(n, p, key, counts):
    s0, s1, s2, s3 = _seeded(key)
    for i in range(len(n)):
        if p[i] <= 0.5:
            k, s0, s1, s2, s3 = _binomial(n[i], p[i], s0, s1, s2, s3)
        else:
            k, s0, s1, s2, s3 = _binomial(n[i], 1.0 - p[i], s0, s1, s2, s3)
            k = n[i] - k
        counts[i] = np.int64(k)


@njit(cache=True, nogil=True)
def masses_after(q, indptr, size):
    """Return sum_{i > j} q_i for each edge j of the groups with draws, 0 elsewhere; a relative error of 2^-52."""
    after = np.zeros(len(q))
    for r in range(len(size)):
        if size[r] > 0:
            total = missing = 0.0  # Kahan's sum: its error does not grow with the edges
            for j in range(indptr[r + 1] - 1, indptr[r] - 1, -1):
                after[j] = total
                term = q[j] - missing
                grown = total + term
                missing = (grown - total) - term
                total = grown
    return after


@njit(cache=True)
def _chain(q, after, size, key, count):
    """Set the counts of one group, each a binomial of what the edges before it have left."""
    s0, s1, s2, s3 = _seeded(key)
    left = np.float64(size)
    for j in range(len(q)):
        if q[j] > after[j]:  # draw what passes on: the smaller probability has the smaller absolute error
            k, s0, s1, s2, s3 = _binomial(left, after[j] / (q[j] + after[j]), s0, s1, s2, s3)
            k = left - k
        elif q[j] > 0.0:
            k, s0, s1, s2, s3 = _binomial(left, q[j] / (q[j] + after[j]), s0, s1, s2, s3)
        else:
            k = 0.0
        count[j] = np.int64(k)
        left -= k


@njit(cache=True, nogil=True)
def draw_chains(q, after, indptr, size, keys, counts):
    """Set the counts of each group with draws, and leave the others."""
    for r in range(len(size)):
        if size[r] > 0:
            group = slice(indptr[r], indptr[r + 1])
            _chain(q[group], after[group], size[r], keys[r], counts[group])


@njit(cache=True, nogil=True)
def draw_chain_sums(q, after, indptr, size, keys, worth, columns, a, sums):
    """Set sum_j c_j worth_j a[columns_j] of each group with draws, in the order of its edges, and leave the others."""
    for r in range(len(size)):
        if size[r] > 0:
            start, n = indptr[r], indptr[r + 1] - indptr[r]
            counts = np.empty(n, np.int64)
            _chain(q[start : start + n], after[start : start + n], size[r], keys[r], counts)
            sums[r] = 0.0
            for k in range(n):
                sums[r] += counts[k] * worth[start + k] * a[columns[start + k]]
