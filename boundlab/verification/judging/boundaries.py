"""The (n, k) plane of a rule: up to how many failures n trials uphold a claim, and from how many on they refute it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Decides = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, k) -> bool, elementwise on whole numbers


class Boundaries(NamedTuple):
    """n trials with k failures uphold a claim if k <= low[n], and refute it if k >= high[n]; for n = 0, 1, ..., last.

    low[n] = -1 and high[n] > n where no number of failures decides.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def nowhere(cls, last: int) -> Boundaries:
        """No decision at any n, for a rule to write its looks into."""
        return cls(np.full(last + 1, -1), np.arange(last + 1) + 1)


def monotone_boundaries(upheld: Decides, violated: Decides, last: int) -> Boundaries:
    """Return the boundaries of two tests that are monotone in n and in k, by bisection in n for each k.

    upheld(n, k) rises with n and falls with k; violated(n, k) falls with n and rises with k: a success speaks for the
    claim, a failure against it. So `low` rises by at most 1 in each trial, and few values of k have to be looked at.

    Parameters
    ----------
    upheld, violated : callable
        Elementwise on arrays of whole numbers 0 <= k <= n.
    last : int
        The last n, at least 1.

    Examples
    --------
    >>> found = monotone_boundaries(lambda n, k: n >= 3 + 2 * k, lambda n, k: k >= 2 + n // 4, 6)
    >>> found.low.tolist(), found.high.tolist()
    ([-1, -1, -1, 0, 0, 1, 1], [1, 2, 2, 2, 3, 3, 3])
    """
    n = np.arange(last + 1)
    most = _first_true(lambda k: ~upheld(np.full_like(k, last), k), np.zeros(1, np.int64), last + 1)[0]
    k = np.arange(most)
    first = _first_true(lambda m: upheld(m, k), k, last + 1)  # from here on, k failures uphold
    least = _first_true(lambda k: violated(np.full_like(k, last), k), np.zeros(1, np.int64), last + 1)[0]
    k = np.arange(least)
    end = _first_true(lambda m: ~violated(m, k), k, last + 1)  # before this, k failures refute
    return Boundaries(np.searchsorted(first, n, "right") - 1, np.searchsorted(end, n, "right"))


def first_where(holds: Callable[[int], bool], low: int, stop: int) -> int:
    """Return the first whole number in [low, stop) at which a condition that stays true holds, or `stop`.

    The steps double from `low` on before they are halved, so that an answer near `low` is found soon.

    Examples
    --------
    >>> first_where(lambda n: n * n >= 50, 0, 100), first_where(lambda n: n > 1000, 0, 100)
    (8, 100)
    """
    step, high = 1, low
    while high < stop and not holds(high):
        low, high, step = high + 1, high + step, 2 * step
    high = min(high, stop)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high


def _first_true(rises: Callable[[np.ndarray], np.ndarray], low: np.ndarray, stop: int) -> np.ndarray:
    """The first whole number in [low, stop) at which a condition that stays true holds, or `stop`; elementwise."""
    high = np.full_like(low, stop)
    while np.any(low < high):
        middle = (low + high) // 2
        open_, holds = low < high, rises(np.minimum(middle, stop - 1))
        low, high = np.where(open_ & ~holds, middle + 1, low), np.where(open_ & holds, middle, high)
    return low
