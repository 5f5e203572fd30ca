"""Error spending: after n trials at most alpha n/(n + half) of a level is used up, and the boundary follows from that.

Gandy's rule decides on which side of a threshold p lies. Here it is two rules, one for each verdict, each with a
boundary of its own: the lower one is the highest at which P(k <= low[m] at some m <= n) <= alpha n/(n + half) for every
n, at p = threshold; the upper one is its mirror. In the original both boundaries end one walk, which gains a little:
mass that one has taken the other need not count. Apart, each stays valid where unknown outcomes count as failures in
one and as successes in the other, and where a nested claim gives the two different thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit

from boundlab._errors import probability
from boundlab._theory import implements
from boundlab.verification.judging.boundaries import Boundaries, first_where
from boundlab.verification.judging.rules import BoundaryRule, Findings

HALF = 10.0
"""Half of a level is spent after HALF/threshold trials."""


@implements("gandy2009_spending")
class SpendingBoundary:
    """One boundary, for p = `threshold` at level `alpha`, extended as far as it is asked for.

    Parameters
    ----------
    threshold, alpha : float in (0, 1)
        The rate that is judged, and the error level.
    upper : bool
        The boundary from which on failures refute p <= threshold; else the one up to which they refute p >= threshold.

    Notes
    -----
    Rounded to the safe side: the exact probability of ever having met the boundary by n is at most alpha n/(n + half).
    Time and memory grow with n, the time with n sqrt(n threshold). Source: Gandy (2009), as we understand the paper;
    ``proofs_checks/gandy2009_spending.py``.

    Examples
    --------
    >>> low = SpendingBoundary(0.05, 0.05, upper=False)
    >>> [int(np.argmax(low.up_to(200) == k)) for k in (0, 1)]  # without a failure 83 trials are needed
    [83, 131]
    """

    def __init__(self, threshold: float, alpha: float, *, upper: bool) -> None:
        """Begin at n = 0, where nothing is spent."""
        self.threshold, self.alpha, self.upper = probability("threshold", threshold), probability("alpha", alpha), upper
        # ends[n] for n = 0 ... ; P(alive, k failures) for k = first ...; the mass that met the boundary or was let go
        self._so_far = (np.array([1 if upper else -1]), 0, np.ones(1), np.zeros(2))

    def up_to(self, last: int) -> np.ndarray:
        """The boundary for n = 0, 1, ..., last."""
        known = len(self._so_far[0]) - 1
        if known < last:
            self._extend(max(last, 2 * known, 1_000))
        return self._so_far[0][: last + 1]

    def _extend(self, last: int) -> None:
        ends, first, alive, used = self._so_far
        mass, used = np.zeros(len(alive) + last - len(ends) + 1), used.copy()
        mass[: len(alive)] = alive
        new = np.empty(last + 1, np.int64)
        new[: len(ends)] = ends
        span = np.array([0, len(alive) - 1])
        _spend(mass, span, first, used, new, len(ends), self.threshold, self.alpha, HALF / self.threshold, self.upper)
        # One assignment: an interrupt or another thread finds the old boundary or the new one.
        self._so_far = (new, first + int(span[0]), mass[span[0] : span[1] + 1].copy(), used)


@njit(cache=True)
def _spend(mass, span, shift, used, ends, start, p, alpha, half, upper):
    """Go on to n = start, ..., len(ends) - 1; mass[j] belongs to k = shift + j, for span[0] <= j <= span[1]."""
    first, end = span
    met, lost = used
    for n in range(start, len(ends)):
        for j in range(end + 1, first, -1):
            mass[j] = (1.0 - p) * mass[j] + p * mass[j - 1]
        mass[first] *= 1.0 - p
        end += 1
        # Each of n steps rounds a mass by at most three units of 2^-53, and each sum by one more for each of its terms.
        allowed = alpha * (n / (n + half)) * (1.0 - 2.0**-50) * (1.0 - n * 2.0**-49)
        lost += 1e-300  # what underflows
        while first <= end:  # the far end: what is let go counts as if it met the boundary
            far = first if upper else end
            if lost + mass[far] > 1e-12 * allowed:
                break
            lost += mass[far]
            mass[far] = 0.0
            first, end = (first + 1, end) if upper else (first, end - 1)
        while first <= end:
            near = end if upper else first
            if met + lost + mass[near] > allowed:
                break
            met += mass[near]
            mass[near] = 0.0
            first, end = (first, end - 1) if upper else (first + 1, end)
        ends[n] = shift + (end + 1 if upper else first - 1)
    span[0], span[1] = first, end
    used[0], used[1] = met, lost


@lru_cache(maxsize=64)
def _boundary(threshold: float, alpha: float, upper: bool) -> SpendingBoundary:
    return SpendingBoundary(threshold, alpha, upper=upper)


@dataclass(frozen=True, kw_only=True)
class ErrorSpending(BoundaryRule):
    """Upheld at the lower boundary of at_upheld and alpha_upheld, violated at the upper one of its own pair.

    There is no e-process and no interval beyond what the verdict itself says.
    """

    def boundaries(self, last: int) -> Boundaries:
        """Both boundaries; kept between calls."""
        low, high = (
            _boundary(self.at_upheld, self.alpha_upheld, False),
            _boundary(self.at_violated, self.alpha_violated, True),
        )
        return Boundaries(low.up_to(last), high.up_to(last))

    def seen(self, tally: Any) -> Findings:
        """Nothing but the verdict."""
        return Findings((0.0, 1.0))

    @property
    def fewest(self) -> int:
        """The first trial at which the lower boundary reaches 0 failures: where their chance fits the plan."""
        p, level = self.at_upheld, math.log(self.alpha_upheld)
        return first_where(lambda n: n * math.log1p(-p) <= level - math.log1p(HALF / p / n), 1, 2**62)
