"""Draws with replacement from many discrete distributions at once: Walker's alias method, compiled.

Each group has its own random key, so the counts do not depend on the number of threads or on the order of groups.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from boundlab._theory import implements

MULTINOMIAL_ABOVE = 40
"""Draws per edge above which conditional binomials beat single draws; part of the stream, so never tuned."""


@implements("walker_alias_law")
def draw_counts(
    probabilities: np.ndarray, indptr: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return multinomial counts: `size[r]` independent draws from the probabilities of group r.

    Parameters
    ----------
    probabilities : (edges,) float64, non-negative, summing to 1 in each group that is drawn from
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``
    size : (R,) int64, draws per group; 0 leaves the group's counts at 0
    rng : the generator that gives one 64-bit key per group

    Returns
    -------
    (edges,) int64, summing to `size[r]` in each group. Time O(edges + draws), memory O(edges).

    Source: Walker 1977, Vose 1991 (alias tables); xoshiro256++ of Blackman and Vigna 2019 for the bits.
    """
    keys = rng.integers(0, 2**64, size=len(size), dtype=np.uint64)
    counts = np.zeros(len(probabilities), np.int64)
    edges = np.diff(indptr)
    many = size > MULTINOMIAL_ABOVE * edges
    _draw(
        np.ascontiguousarray(probabilities, np.float64), indptr, np.where(many, 0, size).astype(np.int64), keys, counts
    )
    for r in np.flatnonzero(many):
        group = slice(indptr[r], indptr[r + 1])
        q = probabilities[group]
        own = np.flatnonzero(q)  # numpy gives what rounding leaves over to the last entry, be it 0
        counts[group.start + own] = np.random.Generator(np.random.Philox(key=keys[r])).multinomial(
            size[r], q[own] / q[own].sum()
        )
    return counts


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
def _alias_table(q, threshold, alias, stack):
    """Fill Vose's table for the distribution proportional to q: bucket k keeps k with chance threshold[k]."""
    n = len(q)
    total = 0.0
    for k in range(n):
        total += q[k]
    small, large = 0, n  # two stacks in one array, growing towards each other
    for k in range(n):
        threshold[k] = q[k] / total * n
        alias[k] = k
        if threshold[k] < 1.0:
            stack[small] = k
            small += 1
        else:
            large -= 1
            stack[large] = k
    while small > 0 and large < n:
        small -= 1
        s, g = stack[small], stack[large]
        alias[s] = g
        threshold[g] -= 1.0 - threshold[s]
        if threshold[g] < 1.0:
            large += 1
            stack[small] = g
            small += 1
    while small > 0:  # left over by rounding: within an ulp of 1, or a zero that no bucket can feed
        small -= 1
        if q[stack[small]] > 0.0:
            threshold[stack[small]] = 1.0
    while large < n:
        threshold[stack[large]] = 1.0
        large += 1


@njit(cache=True, parallel=True)
def _draw(q, indptr, size, keys, counts):
    for r in prange(len(size)):
        m = size[r]
        if m == 0:
            continue
        start, stop = indptr[r], indptr[r + 1]
        n = stop - start
        threshold = np.empty(n)
        alias = np.empty(n, np.int64)
        _alias_table(q[start:stop], threshold, alias, np.empty(n, np.int64))
        state = keys[r]
        state, s0 = _splitmix(state)
        state, s1 = _splitmix(state)
        state, s2 = _splitmix(state)
        state, s3 = _splitmix(state)
        for _ in range(m):
            bits = _rotl(s0 + s3, 23) + s0
            t = s1 << np.uint64(17)
            s2 ^= s0
            s3 ^= s1
            s1 ^= s2
            s0 ^= s3
            s2 ^= t
            s3 = _rotl(s3, 45)
            u = np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0) * n
            k = min(np.int64(u), n - 1)
            if u - k >= threshold[k]:
                k = alias[k]
            counts[start + k] += 1
