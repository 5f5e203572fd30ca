"""Exact error rates of a sequential rule: the law of a binomial walk (n, k) until it meets a boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements


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
