"""Simulate sampled sums where they fail: exact whole-number sums, one tilt per side, one mixture over the sides.

A sum S of m draws v_J becomes a whole number of steps, counted from the smallest sum on; `edge` is the first number at
which S may be beyond its limit, and `sure` the first at which it is, whatever was rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.concentration.tilting import LEAST, SumTable, Tilt, union_shares, upper_tilt, whole_multiples

BLOCK = 4096
"""Outcomes simulated at a time; each neuron has a stream of its own, so that the block size changes nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledSum:
    """One sampled neuron: S = v_{J_1} + ... + v_{J_m} with J ~ q i.i.d. fails where S < low or S > high.

    Parameters
    ----------
    values : array (edges,), finite
        The value v_j of one draw of edge j.
    q : array (edges,), 0 or at least 1e-300, sum 1 up to 1e-9
        The law of one draw is q divided by its sum.
    m : int, at least 1
    low, high : float, low <= high
        Limits of the sum; -inf or inf where a side cannot fail. They need not enclose the mean.
    blur : float, at least 0
        How far S, with the values given, may be from the sum that is meant.

    Raises
    ------
    InvalidParameter
        If one of these rules is broken.

    Examples
    --------
    >>> SampledSum(values=[0.0, 1.0], q=[0.9, 0.1], m=100, low=-np.inf, high=50).m
    100
    """

    values: np.ndarray
    q: np.ndarray
    m: int
    low: float
    high: float
    blur: float = 0.0

    def __post_init__(self) -> None:
        v, q = np.asarray(self.values, np.float64), np.asarray(self.q, np.float64)
        if v.ndim != 1 or not len(v) or v.shape != q.shape or not np.isfinite(v).all():
            raise InvalidParameter(f"values and q must be finite rows of one length, got shapes {v.shape}, {q.shape}.")
        if not (np.all((q == 0) | (q >= LEAST)) and abs(q.sum() - 1.0) <= 1e-9):
            raise InvalidParameter(
                f"q must be 0 or at least {LEAST:g} and sum to 1, got sum {q.sum():.9g}, least {q.min():g}."
            )
        positive_int("m", self.m)
        if not float(self.low) <= float(self.high):
            raise InvalidParameter(f"low must be at most high, got [{self.low!r}, {self.high!r}].")
        if not 0.0 <= float(self.blur) < math.inf:
            raise InvalidParameter(f"blur must be finite and at least 0, got blur={self.blur!r}.")
        for name, value in (("values", v), ("q", q), ("m", int(self.m))):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tail:
    """One side that can fail: its sum, counted away from the other side, reaches `edge`; from `sure` on, certainly."""

    side: str
    edge: int
    sure: int
    tilt: Tilt
    log_bernstein: float


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeSum:
    """A SampledSum in whole numbers: counts from 0 on with their law, and its tails, or why one is impossible."""

    counts: np.ndarray
    law: np.ndarray
    m: int
    step: float
    tails: dict[str, Tail | str]

    @classmethod
    def of(cls, given: SampledSum) -> WholeSum:
        """Round the values to whole steps, merge equal ones, and find the tilt of each side that can fail."""
        drawn = given.q > 0
        rounded = whole_multiples(given.values[drawn], given.m)
        counts, where = np.unique(rounded.counts, return_inverse=True)
        order, cuts = np.argsort(where, kind="stable"), np.flatnonzero(np.diff(np.sort(where))) + 1
        law = np.array([math.fsum(part) for part in np.split(given.q[drawn][order], cuts)])
        first, width = int(counts[0]), int(counts[-1] - counts[0])
        counts, law = counts - first, law / math.fsum(law)
        step, blur = Fraction(rounded.step), rounded.blur + Fraction(float(given.blur))

        def tail(side: str) -> Tail | str:
            above = side == "above"
            limit = float(given.high if above else -given.low)
            start = given.m * (first if above else -first - width)  # the smallest sum, counted towards this side
            if limit == math.inf:
                return "impossible: no limit on this side"
            if limit == -math.inf:
                edge = sure = 0
            else:  # the first whole number of steps above the limit, from the smallest sum on
                edge, sure = (math.floor((Fraction(limit) + b) / step) + 1 - start for b in (-blur, blur))
            if edge > given.m * width:
                return f"impossible: the sum never leaves [{given.low:g}, {given.high:g}] on this side"
            edge = max(0, edge)
            values = rounded.step * (counts if above else width - counts)
            threshold = min(rounded.step * edge, given.m * float(values.max()))  # rounded apart, never beyond it
            found = upper_tilt(values, law, given.m, threshold)
            return Tail(
                side=side,
                edge=edge,
                sure=max(0, min(sure, given.m * width + 1)),
                tilt=found,
                # Bernstein's bound is never below Chernoff's; the maximum keeps rounding from claiming otherwise.
                log_bernstein=max(found.log_cap, _log_bernstein(values, law, given.m, threshold)),
            )

        tails = {side: tail(side) for side in ("above", "below")}
        return cls(counts=counts, law=law, m=given.m, step=rounded.step, tails=tails)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Simulated outcomes as shares of a cap; exp(log_cap) is at most exp(slack) above the exact cap."""

    shares: np.ndarray  # (n,)
    surely: np.ndarray  # (n,): 0 where rounding decides
    hits: np.ndarray  # (tails,): mean of the shares in which this tail fails
    log_cap: float
    slack: float
    blur: float  # by how much the mean of the shares can differ from that under the exact mixture


@implements("boundlab_mixture_tilting")
def simulate(
    neurons: Sequence[WholeSum], tails: Sequence[tuple[int, Tail]], draws: int, coins: Sequence[np.random.Generator]
) -> Outcomes:
    """Draw outcomes from the mixture of the tails' tilts; coins: one stream for the choice, one for each neuron."""
    log_caps = np.array([tail.tilt.log_cap for _, tail in tails])
    log_cap = np.asarray(logsumexp(log_caps)).item()
    ends = np.cumsum(np.exp(log_caps - log_cap))[:-1]
    own: list[list[tuple[int, Tail]]] = [[] for _ in neurons]
    for i, (r, tail) in enumerate(tails):
        own[r].append((i, tail))
    used = [
        (neuron, mine, SumTable.of(neuron.counts, np.stack([neuron.law, *(tail.tilt.law for _, tail in mine)])), rng)
        for neuron, mine, rng in zip(neurons, own, coins[1:], strict=True)
        if mine
    ]
    shares, surely, hits = np.empty(draws), np.empty(draws), np.zeros(len(tails))
    for first in range(0, draws, BLOCK):
        part = slice(first, min(first + BLOCK, draws))
        n = part.stop - first
        picked = np.searchsorted(ends, coins[0].random(n), side="right")
        excess, inside, sure = np.empty((len(tails), n)), *np.empty((2, len(tails), n), bool)
        for neuron, mine, table, rng in used:
            which = np.zeros(n, np.int64)
            for law, (i, _) in enumerate(mine, 1):
                which[picked == i] = law
            sums = table.sums(neuron.m, which, rng)
            for i, tail in mine:
                reached = sums if tail.side == "above" else neuron.m * int(neuron.counts[-1]) - sums
                excess[i] = tail.tilt.theta * neuron.step * (reached - tail.edge)
                inside[i], sure[i] = reached >= tail.edge, reached >= tail.sure
        shares[part], surely[part] = union_shares(excess, inside), union_shares(excess, sure)
        hits += inside @ shares[part]
    blur = sum(table.blur(neuron.m) + max(tail.tilt.slack for _, tail in mine) for neuron, mine, table, _ in used)
    slack = 2.0**-40 + 3.0 * max(tail.tilt.slack for _, tail in tails)
    return Outcomes(
        shares=shares,
        surely=surely,
        hits=hits / draws,
        log_cap=log_cap,
        slack=slack,
        blur=blur + 2.0**-40 + len(tails) * 2.0**-50,
    )


def _log_bernstein(values: np.ndarray, law: np.ndarray, m: int, threshold: float) -> float:
    """Log of Bernstein's bound exp(-t^2/(2 m var + 2 b t/3)), b = max v - mean, on S >= m mean + t; rounded up."""
    mean = float(values @ law)
    b = float(values.max()) - mean
    if threshold <= m * mean or b <= 0:
        return 0.0
    t, variance = (threshold - m * mean) / b, float(law @ ((values - mean) / b) ** 2)
    return -t * t / (2.0 * m * variance + 2.0 * t / 3.0) * (1.0 - 2.0**-30)
