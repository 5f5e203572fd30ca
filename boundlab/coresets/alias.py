"""Draws with replacement from many discrete distributions at once: Walker's alias method in whole numbers, compiled.

Each group has its own random key, so that its counts depend on no thread and on no other group. The kernels hold no
lock: threads that draw from the same tables do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.coresets.binomial_draws import (
    MOST_DRAWS,
    _splitmix,
    _xoshiro,
    draw_chain_sums,
    draw_chains,
    masses_after,
)

MULTINOMIAL_ABOVE = 32
"""Draws per edge above which conditional binomials beat single draws; part of the stream, so never tuned."""


@implements("walker_alias_law", "hormann1993_btrs")
@dataclass(frozen=True, eq=False)
class Multinomials:
    """Independent multinomial counts, one vector per group; the tables are built once and drawn from many times.

        entry_k = 2^bits t_k + alias_k,   u C = 2^64 k + coin,   the edge is k if coin < 2^bits t_k, else alias_k

    with C edges in the group, bits = ⌈log2 C⌉, one 64-bit word u per draw and thresholds t_k of 64 - bits bits.

    Parameters
    ----------
    probabilities : (edges,) float64, at least 0, summing to 1 (within 1e-6) in each group that is drawn from
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``; at most 2^31 edges each
    size : (R,) int64, draws per group; 0 leaves the group's counts at 0

    Raises
    ------
    InvalidParameter
        If a group with draws has a negative or NaN probability, or a sum that is not 1.

    Notes
    -----
    One draw is within total variation 2^-50 + 3 · 2^-(64-bits) of q/sum(q), and an edge with q_j = 0 is never drawn:

    - The table gives out C · 2^(63-bits) units, edge j the whole number of them next to its share, and what rounding
      leaves over goes to the largest edge: at most 4 · 2^-53 (the float64 sum of q and one product) and second-order
      terms, below 2^-50 together, and half a unit per edge, 2^-(64-bits) in all. Pairing whole numbers is exact.
    - The words u that end at one edge are those between whole-number roundings of the at most 2 (C - 1) real limits
      between columns, or between an edge and its alias; each limit moves by less than one word: 2 · 2^-(64-bits).

    At C = 784 this is 2^-50 + 0.75 · 2^-52, so that N draws change the chance of any event by at most 1.1e-15 N.
    Above `MULTINOMIAL_ABOVE` draws per edge conditional binomials take over: N draws are then within
    2^-43 C + 10 · 2^-53 sqrt(N C) + 4 · 2^-53 sqrt(N) in all, and an edge with q_j = 0 is never drawn either.
    Poisson counts would be faster there, but their total is random: no theorem here promises anything for that law, and
    conditioning on the total gives the multinomial back.

    Source: Walker 1977, Vose 1991 (alias tables); Lemire 2019 (column and remainder from one product), without its
    rejection step; Hörmann 1993 (binomials); xoshiro256++ and splitmix64 of Blackman, Steele and Vigna for the bits.

    Examples
    --------
    >>> groups = Multinomials(np.array([0.5, 0.0, 0.5, 1.0]), np.array([0, 3, 4]), np.array([10, 7]))
    >>> counts = groups.draw(np.random.default_rng(0))
    >>> int(counts[0] + counts[2]), counts[[1, 3]].tolist()
    (10, [0, 7])
    """

    probabilities: np.ndarray
    indptr: np.ndarray
    size: np.ndarray
    entries: np.ndarray = field(init=False, repr=False)  # (edges,) uint64, of the groups with draws
    chained: np.ndarray = field(init=False, repr=False)  # (R,) int64, draws made by conditional binomials
    after: np.ndarray = field(init=False, repr=False)  # (edges,) float64, the mass after each edge; empty if unused

    def __post_init__(self) -> None:
        q = np.ascontiguousarray(self.probabilities, np.float64)
        indptr, size = np.ascontiguousarray(self.indptr, np.int64), np.ascontiguousarray(self.size, np.int64)
        entries = np.zeros(len(q), np.uint64)
        bad = _fill_tables(q, indptr, size, entries)
        if bad >= 0:
            own = q[indptr[bad] : indptr[bad + 1]]
            raise InvalidParameter(
                "the probabilities of a group with draws must be at least 0 and sum to 1, "
                f"got sum {own.sum():g} and minimum {own.min(initial=np.inf):g} in group {bad}."
            )
        chained = np.where(size > MULTINOMIAL_ABOVE * np.diff(indptr), size, 0)
        if chained.max(initial=0) > MOST_DRAWS:
            raise InvalidParameter(f"a group must have at most 2^53 draws, got {chained.max()}.")
        after = masses_after(q, indptr, chained) if chained.any() else np.empty(0)
        made = {"probabilities": q, "indptr": indptr, "size": size, "entries": entries, "chained": chained}
        for name, array in {**made, "after": after}.items():
            object.__setattr__(self, name, array)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return fresh counts, shape (edges,) int64, summing to `size[r]` in each group.

        `rng` gives one 64-bit key per group, and nothing else. Memory O(edges), and time O(edges + draws), the draws
        counted up to `MULTINOMIAL_ABOVE` per edge.
        """
        keys = self._keys(rng)
        counts = np.zeros(len(self.probabilities), np.int64)
        _draw(self.entries, self.indptr, self.size - self.chained, keys, counts)
        draw_chains(self.probabilities, self.after, self.indptr, self.chained, keys, counts)
        return counts

    def draw_sums(self, worth: np.ndarray, columns: np.ndarray, a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return sum_j c_j worth_j a[columns_j] in each group, shape (R,), with the counts c that `draw` would give.

        `worth` and `columns` have shape (edges,). Each sum is taken in the order of its edges, and the counts are not
        stored: they would be most of the memory traffic.
        """
        keys = self._keys(rng)
        sums = _draw_sums(self.entries, self.indptr, self.size - self.chained, keys, worth, columns, a)
        draw_chain_sums(self.probabilities, self.after, self.indptr, self.chained, keys, worth, columns, a, sums)
        return sums

    def _keys(self, rng: np.random.Generator) -> np.ndarray:
        return rng.integers(0, 2**64, size=len(self.size), dtype=np.uint64)


def draw_counts(
    probabilities: np.ndarray, indptr: np.ndarray, size: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return multinomial counts once: ``Multinomials(probabilities, indptr, size).draw(rng)``."""
    return Multinomials(probabilities, indptr, size).draw(rng)


def _wide_product_of(typing: Any, a: Any, b: Any) -> Any:
    """What numba asks of an intrinsic: the signature, and a function that emits the code."""
    signature = types.UniTuple(types.uint64, 2)(types.uint64, types.uint64)

    def generate(context: Any, builder: Any, signature: Any, words: Any) -> Any:
        word, wide = ir.IntType(64), ir.IntType(128)
        product = builder.mul(*(builder.zext(w, wide) for w in words))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return context.make_tuple(builder, signature.return_type, (high, builder.trunc(product, word)))

    return signature, generate


_wide_product: Any = intrinsic(_wide_product_of)
"""(high, low): the two words of the 128-bit product of two 64-bit words."""


@njit(cache=True)
def _bits(n):
    """⌈log2 n⌉, the bits of an alias."""
    bits = 0
    while (1 << bits) < n:
        bits += 1
    return bits


@njit(cache=True)
def _most_edges(indptr):
    most = 0
    for r in range(len(indptr) - 1):
        most = max(most, indptr[r + 1] - indptr[r])
    return most


@njit(cache=True, nogil=True)
def _fill_tables(q, indptr, size, entries):
    """Fill the table of each group with draws; return the first group whose q is no distribution, or -1."""
    most = _most_edges(indptr)
    mass, stack = np.empty(most, np.uint64), np.empty(most, np.int64)
    for r in range(len(size)):
        group = slice(indptr[r], indptr[r + 1])
        if size[r] > 0 and not _fill_table(q[group], entries[group], mass, stack):
            return r
    return -1


@njit(cache=True, nogil=True)
def _fill_table(q, entries, mass, stack):
    """Fill Vose's table of a distribution in whole units, 2^(63-bits) to a bucket; False if q is none."""
    n = len(q)
    total = missing = 0.0  # Kahan's sum: its error does not grow with n
    largest = 0
    for k in range(n):
        if not q[k] >= 0.0:
            return False
        term = q[k] - missing
        grown = total + term
        missing = (grown - total) - term
        total = grown
        if q[k] > q[largest]:
            largest = k
    if not abs(total - 1.0) <= 1e-6:
        return False
    shift = np.uint64(_bits(n) + 1)
    unit = np.uint64(1) << (np.uint64(64) - shift)
    scale = np.float64(unit) * n / total
    rest = unit * np.uint64(n)
    for k in range(n):
        mass[k] = np.uint64(np.rint(q[k] * scale))
        rest -= mass[k]
    mass[largest] += rest  # negative or not: words are whole numbers modulo 2^64
    small, large = 0, n  # two stacks in one array, growing towards each other
    for k in range(n):
        if mass[k] < unit:
            stack[small] = k
            small += 1
        else:
            large -= 1
            stack[large] = k
    while small > 0:  # open buckets hold a unit each in the mean: beside a small one stands a large one
        small -= 1
        s, g = stack[small], stack[large]
        entries[s] = (mass[s] << shift) | np.uint64(g)
        mass[g] -= unit - mass[s]
        if mass[g] < unit:
            large += 1
            stack[small] = g
            small += 1
    for k in stack[large:n]:  # exactly one unit: a bucket that is its own alias
        entries[k] = k
    return True


@njit(cache=True)
def _draw_group(table, size, key, count):
    """Add `size` draws from one table to its counts."""
    columns = np.uint64(len(table))
    alias_bits = (np.uint64(1) << np.uint64(_bits(len(table)))) - np.uint64(1)
    state, s0 = _splitmix(key)
    state, s1 = _splitmix(state)
    state, s2 = _splitmix(state)
    state, s3 = _splitmix(state)
    for _ in range(size):
        word, s0, s1, s2, s3 = _xoshiro(s0, s1, s2, s3)
        k, coin = _wide_product(word, columns)
        alias = table[k] & alias_bits
        count[k if coin < table[k] - alias else alias] += 1  # a conditional move: nothing to mispredict


@njit(cache=True, nogil=True)
def _draw(entries, indptr, size, keys, counts):
    for r in range(len(size)):
        group = slice(indptr[r], indptr[r + 1])
        _draw_group(entries[group], size[r], keys[r], counts[group])


@njit(cache=True, nogil=True)
def _draw_sums(entries, indptr, size, keys, worth, columns, a):
    sums = np.zeros(len(size))
    counts = np.empty(_most_edges(indptr), np.int64)  # of one group: they stay in the first cache
    for r in range(len(size)):
        start, n = indptr[r], indptr[r + 1] - indptr[r]
        counts[:n] = 0
        _draw_group(entries[start : start + n], size[r], keys[r], counts)
        for k in range(n):
            sums[r] += counts[k] * worth[start + k] * a[columns[start + k]]
    return sums
