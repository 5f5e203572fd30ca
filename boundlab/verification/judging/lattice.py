"""Exact error rates of a sequential rule: the law of a binomial walk (n, k) until it meets a boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.verification.judging.boundaries import Boundaries

TINY = 1e-30
"""Mass that the compiled recursion lets go of at either end of a row; less than 1e-20 in 10^9 trials."""


@dataclass(frozen=True, kw_only=True)
class Absorption:
    """Where a binomial walk of failure probability p ends: P(low first), P(high first), P(neither), mean trials."""

    low: float
    high: float
    neither: float
    trials: float


@implements("boundlab_peeking", "boundlab_repeated_limits", "ville1939_e_process_pair")
def absorption(
    low: Callable[[np.ndarray, np.ndarray], np.ndarray],
    high: Callable[[np.ndarray, np.ndarray], np.ndarray],
    p: float,
    horizon: int,
) -> Absorption:
    """Run the exact recursion of a rule that looks after every trial, for independent trials that fail with p.

    With w_n(k) = P(not stopped before n, k failures in n trials): w_n(k) = (1 - p) w_{n-1}(k) + p w_{n-1}(k - 1); the
    mass where low(n, k) or high(n, k) is true is taken out. All terms are at least 0, so that nothing cancels: the
    relative error is below 4 horizon 2^-52.

    Parameters
    ----------
    low, high : callable
        low(n, k) and high(n, k) answer, for arrays of whole numbers, whether the rule stops; low wins a tie.
    p : float in [0, 1]
        The failure probability of one trial.
    horizon : int
        The last trial, at least 1. Time grows with its square.

    Returns
    -------
    Absorption
        `trials` is the mean of min(stopping time, horizon).

    Raises
    ------
    InvalidParameter
        If p is outside [0, 1] or the horizon is below 1.

    Examples
    --------
    >>> absorption(lambda n, k: (n == 2) & (k == 0), lambda n, k: k == 1, 0.5, 2)
    Absorption(low=0.25, high=0.75, neither=0.0, trials=1.5)
    """
    last = positive_int("horizon", horizon)
    if not 0.0 <= p <= 1.0:
        raise InvalidParameter(f"p must be in [0, 1], got p={p!r}.")
    mass, first = np.ones(1), 0  # P(alive, k failures) for k = first, first + 1, ...
    down = up = mean = 0.0
    for n in range(1, last + 1):
        mean += float(mass.sum())
        stepped = np.zeros(len(mass) + 1)
        stepped[:-1] += (1.0 - p) * mass
        stepped[1:] += p * mass
        k = np.arange(first, first + len(stepped))
        at_low = np.asarray(low(np.full_like(k, n), k), bool)
        at_high = np.asarray(high(np.full_like(k, n), k), bool) & ~at_low
        down, up = down + float(stepped[at_low].sum()), up + float(stepped[at_high].sum())
        stepped[at_low | at_high] = 0.0
        alive = np.flatnonzero(stepped)
        if not len(alive):
            return Absorption(low=down, high=up, neither=0.0, trials=mean)
        first, mass = first + int(alive[0]), stepped[alive[0] : alive[-1] + 1]
    return Absorption(low=down, high=up, neither=float(mass.sum()), trials=mean)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoppingLaw:
    """When a walk meets a boundary: P(low at n) and P(high at n), for n = 0, 1, ..., last, and P(neither)."""

    low: np.ndarray
    high: np.ndarray
    neither: float

    @property
    def mean(self) -> float:
        """The mean of min(stopping time, last trial)."""
        last = len(self.low) - 1
        return float(np.arange(last + 1) @ (self.low + self.high)) + last * self.neither

    def quantile(self, share: float) -> int | None:
        """The first n with P(stopped by n) >= share; None where it is not reached."""
        stopped = np.cumsum(self.low + self.high) >= share
        return int(np.argmax(stopped)) if stopped.any() else None


@implements("boundlab_boundary_rules")
def stopping_law(boundaries: Boundaries, p: float, *, population: int | None = None) -> StoppingLaw:
    """Return the exact law of the first n with k <= low[n] or k >= high[n] of a walk (n, k): `absorption`, compiled.

    Parameters
    ----------
    boundaries : Boundaries
        For n = 0, 1, ..., last; low wins a tie.
    p : float in [0, 1]
        The failure probability of one trial; for a finite set its share of failing members, rounded to a whole number.
    population : int or None
        The size of a finite set whose members are drawn without replacement, at least `last`.

    Returns
    -------
    StoppingLaw
        Up to rounding, a relative 4 last 2^-52, and up to TINY for each end of each row. Time: last times the width
        of what is left between the boundaries.

    Raises
    ------
    InvalidParameter
        If p is outside [0, 1], or the population is smaller than the number of trials.

    Examples
    --------
    >>> law = stopping_law(Boundaries(np.array([-1, -1, 0]), np.array([1, 1, 1])), 0.5)
    >>> law.low.tolist(), law.high.tolist(), law.mean
    ([0.0, 0.0, 0.25], [0.0, 0.5, 0.25], 1.5)
    """
    low, high = (np.ascontiguousarray(ends, np.int64) for ends in boundaries)
    if not 0.0 <= p <= 1.0:
        raise InvalidParameter(f"p must be in [0, 1], got p={p!r}.")
    size = 0 if population is None else positive_int("population", population)
    if population is not None and size < len(low) - 1:
        raise InvalidParameter(f"population must be at least the last trial {len(low) - 1}, got {size}.")
    at_low, at_high = np.zeros(len(low)), np.zeros(len(low))
    neither = _walk(low, high, float(p), round(p * size), size, at_low, at_high)
    return StoppingLaw(low=at_low, high=at_high, neither=neither)


@njit(cache=True)
def _walk(low, high, p, failing, population, at_low, at_high):
    mass = np.zeros(len(low) + 1)  # P(alive, k failures) for first <= k <= end
    mass[0] = 1.0
    first, end = 0, 0
    for n in range(1, len(low)):
        left = population - n + 1  # members of the set before this draw
        for k in range(end + 1, first - 1, -1):
            fails = p if population == 0 else (failing - k + 1) / left  # at k - 1
            passes = 1.0 - p if population == 0 else (left - failing + k) / left
            mass[k] = passes * mass[k] + (fails * mass[k - 1] if k > first else 0.0)
        end += 1
        while first <= end and (first <= low[n] or mass[first] < TINY):
            at_low[n] += mass[first] if first <= low[n] else 0.0
            mass[first] = 0.0
            first += 1
        while end >= first and (end >= high[n] or mass[end] < TINY):
            at_high[n] += mass[end] if end >= high[n] else 0.0
            mass[end] = 0.0
            end -= 1
        if first > end:
            return 0.0
    return mass[first : end + 1].sum()
