"""The mean of shares in [0, 1] over coins: bets on a grid of stakes, one share after the other.

Against E[V] >= c a stake s multiplies its wealth by 1 + s (c - V)/(1 - c) = (1 - s) + s (1 - V)/(1 - c), and against
E[V] <= c by 1 + s (V - c)/c = (1 - s) + s V/c. Written so, a factor is a sum of two terms that are at least 0: nothing
cancels, a factor is right to six units of 2^-53, and a product of n factors to 7 n. Only multiplications, with exact
powers of two taken out, and in the order of the shares: the wealth is the same on every machine and for every way of
cutting the shares into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from scipy.special import logsumexp

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements
from boundlab.concentration.betting import STAKES
from boundlab.verification.judging.boundaries import Boundaries, first_where, monotone_boundaries
from boundlab.verification.judging.rules import Counts, Findings, Rule, agreeing, as_array
from boundlab.verification.verdict import State

DISTINCT = 10_000
"""How many distinct shares are remembered for the limits; beyond that the limits are those of the verdict alone."""

_SMALLEST = 1e-12  # of the means that are told apart from 0
_BITS = 256  # the exponents of wealth count in units of so many bits


@dataclass(frozen=True, kw_only=True)
class BoundedMean(Rule):
    """Judges "E[V] <= delta" for shares V in [0, 1], one for each coin; nan is unknown.

    An unknown share counts as 1 in the evidence for the claim, and as 0 in the evidence against it. The limits come
    from the same bets at every other mean: their wealth does not depend on the order of the shares, so that the tally
    keeps how often each share was seen.
    """

    delta: float
    alpha_upheld: float
    alpha_violated: float

    def __post_init__(self) -> None:
        for name in ("delta", "alpha_upheld", "alpha_violated"):
            object.__setattr__(self, name, probability(name, getattr(self, name)))
        if self.delta < _SMALLEST:
            raise InvalidParameter(f"delta must be at least {_SMALLEST:g}, got delta={self.delta!r}.")

    @property
    def stakes(self) -> np.ndarray:
        """`betting.STAKES`, continued down to about delta/2: what shares of 0 and 1 with a mean of 2 delta ask for."""
        return np.concatenate([2.0 ** -np.arange(math.ceil(1.0 - math.log2(self.delta)), 8.0, -1.0), STAKES])

    def read(self, answer: Any, n: int) -> np.ndarray:
        """Shares as float64."""
        array = as_array(answer)
        if array.shape != (n,):
            raise InvalidParameter(f"trial must return {n} shares, one per trial, got shape {array.shape}.")
        if array.dtype.kind not in "biuf":
            raise InvalidParameter(f"shares must be numbers in [0, 1] or nan, got dtype {array.dtype}.")
        shares = array.astype(np.float64)
        inside = np.isnan(shares) | ((shares >= 0.0) & (shares <= 1.0))
        if not inside.all():
            raise InvalidParameter(f"shares must be in [0, 1] or nan (unknown), got {shares[~inside][0]}.")
        return shares

    def start(self) -> Any:
        """Wealth 1 on every stake, for the claim and against it."""
        one, zero = [[1.0] * len(self.stakes)] * 2, [[0] * len(self.stakes)] * 2
        return {"counts": list(Counts()), "wealth": one, "exponents": zero, "shares": [], "seen": []}

    @implements("waudby_smith2024_bounded_mean", "boundlab_unknown_outcomes")
    def look(self, tally: Any, outcomes: np.ndarray) -> tuple[State, Any, int]:
        """Bet on one share after the other; the first crossing decides, violated before upheld."""
        counts = self.counts(tally)
        wealth, exponents = np.array(tally["wealth"]), np.array(tally["exponents"])
        levels = np.array([_level(self.alpha_upheld), _level(self.alpha_violated)])
        taken, crossed = _bet(outcomes, self.delta, self.stakes, wealth, exponents, counts.trials, levels)
        state = (State.UNDECIDED, State.UPHELD, State.VIOLATED)[crossed]
        seen = outcomes[:taken]
        now = Counts(
            counts.trials + taken,
            counts.failures + int(np.count_nonzero(self.failed(seen))),
            counts.unknown + int(np.count_nonzero(self.undecided(seen))),
        )
        fresh = {"counts": list(now), "wealth": wealth.tolist(), "exponents": exponents.tolist()}
        return state, fresh | _merged(tally, seen[~np.isnan(seen)]), taken

    def counts(self, tally: Any) -> Counts:
        """Trials, shares above 0, and unknown shares."""
        return Counts(*tally["counts"])

    def failed(self, outcomes: np.ndarray) -> np.ndarray:
        """Shares above 0."""
        return outcomes > 0.0

    def undecided(self, outcomes: np.ndarray) -> np.ndarray:
        """Shares that are nan."""
        return np.isnan(outcomes)

    @property
    def unknown(self) -> float:
        """Not a number."""
        return math.nan

    def findings(self, tally: Any, state: State) -> Findings:
        """Limits of the mean by inversion, and both log e-values."""
        trials, (for_it, against_it) = self.counts(tally).trials, _evidence(tally)
        limits = self._limits(tally) if trials and tally["shares"] is not None else (0.0, 1.0)
        return Findings(agreeing(limits, state, self.delta), for_it, against_it)

    @implements("waudby_smith2024_bounded_mean", "boundlab_unknown_outcomes")
    def _limits(self, tally: Any) -> tuple[float, float]:
        shares, seen, stakes = np.array(tally["shares"]), np.array(tally["seen"], np.float64), self.stakes
        unknown, level = self.counts(tally).unknown, _level(self.alpha_upheld)
        v, times = np.append(shares, 1.0), np.append(seen, unknown)
        high = _smallest(lambda c: _log_mean(1.0 - stakes, stakes / (1.0 - c), 1.0 - v, times) >= level)
        v, level = np.append(shares, 0.0), _level(self.alpha_violated)
        low = _smallest(lambda c: _log_mean(1.0 - stakes, stakes / c, v, times) < level, below=True)
        return low, high

    @implements("waudby_smith2024_bounded_mean")
    def boundaries(self, last: int) -> Boundaries:
        """For shares of 0 and 1: of all laws with one mean, theirs has the slowest growth of E[log wealth]."""
        kept, up, down = 1.0 - self.stakes, self.stakes / (1.0 - self.delta), self.stakes / self.delta

        def log_e(n: np.ndarray, k: np.ndarray, at_0: np.ndarray, at_1: np.ndarray) -> np.ndarray:
            paths = np.multiply.outer(n - k, np.log(at_0)) + np.multiply.outer(k, np.log(at_1))
            return np.asarray(logsumexp(paths, axis=-1)) - math.log(len(kept))

        return monotone_boundaries(
            lambda n, k: log_e(n, k, kept + up, kept) >= _level(self.alpha_upheld),
            lambda n, k: log_e(n, k, kept, kept + down) >= _level(self.alpha_violated),
            last,
        )

    @property
    def fewest(self) -> int:
        """Shares of 0 that uphold the claim."""
        gain, level, one = self.stakes / (1.0 - self.delta), _level(self.alpha_upheld), np.ones(1)
        return first_where(lambda n: _log_mean(1.0 - self.stakes, gain, one, n * one) >= level, 1, 2**62)


def _merged(tally: Any, known: np.ndarray) -> dict[str, Any]:
    """How often each share was seen, in rising order; None beyond DISTINCT of them."""
    if tally["shares"] is None:
        return {"shares": None, "seen": None}
    shares, place = np.unique(np.concatenate([tally["shares"], known]), return_inverse=True)
    if len(shares) > DISTINCT:
        return {"shares": None, "seen": None}
    seen = np.bincount(place[len(tally["shares"]) :], minlength=len(shares))
    seen[place[: len(tally["shares"])]] += np.array(tally["seen"], np.int64)
    return {"shares": shares.tolist(), "seen": seen.tolist()}


def _evidence(tally: Any) -> list[float]:
    """The two log e-values of a tally, rounded down."""
    wealth, exponents, n = np.array(tally["wealth"]), np.array(tally["exponents"]), tally["counts"][0]
    return [_log_average(wealth[side], exponents[side], n) for side in (0, 1)]


@njit(cache=True)
def _bet(shares, c, stakes, wealth, exponents, before, levels):
    """Bet until a level is reached: (shares taken, 0 undecided, 1 upheld or 2 violated); the wealth is changed."""
    big = 2.0**_BITS
    for i in range(len(shares)):
        unknown = np.isnan(shares[i])
        rest = (0.0 if unknown else 1.0 - shares[i]) / (1.0 - c)
        share = (0.0 if unknown else shares[i]) / c
        for j in range(len(stakes)):
            wealth[0, j] *= (1.0 - stakes[j]) + stakes[j] * rest
            wealth[1, j] *= (1.0 - stakes[j]) + stakes[j] * share
            for side in range(2):
                if wealth[side, j] > big:
                    wealth[side, j] /= big
                    exponents[side, j] += 1
                elif wealth[side, j] < 1.0 / big:
                    wealth[side, j] *= big
                    exponents[side, j] -= 1
        if _log_average(wealth[1], exponents[1], before + i + 1) >= levels[1]:
            return i + 1, 2
        if _log_average(wealth[0], exponents[0], before + i + 1) >= levels[0]:
            return i + 1, 1
    return len(shares), 0


@njit(cache=True)
def _log_average(wealth, exponents, n):
    """Log of the average wealth after n shares, rounded down."""
    top, total = exponents.max(), 0.0
    for j in range(len(wealth)):
        if exponents[j] >= top - 1:  # what is 2^-256 times smaller is left out
            total += wealth[j] if exponents[j] == top else wealth[j] * 2.0**-_BITS
    scale = top * (_BITS * np.log(2.0))
    found = np.log(total / len(wealth))
    # 7 n + 64 roundings of 2^-53 in the average, and a few in the logarithms.
    return found + scale - 2.0**-50 * (n + 64 + abs(found) + abs(scale)) if n else 0.0


def _log_mean(kept: np.ndarray, gain: np.ndarray, values: np.ndarray, times: np.ndarray) -> float:
    """Log of the average over stakes of prod (kept + gain value)^times, rounded down."""
    logs = np.log(kept[:, None] + gain[:, None] * values[None, :])  # (stakes, values)
    paths = logs @ times
    size = float((np.abs(logs) @ times).max())
    slack = 2.0**-50 * (float(times.sum()) + 64.0 + (len(values) + 4.0) * size)
    return np.asarray(logsumexp(paths)).item() - math.log(len(kept)) - slack


def _smallest(holds: Callable[[float], bool], *, below: bool = False) -> float:
    """The smallest mean in [1e-12, 1) at which a condition that stays true holds, rounded up, 1 if none.

    `below`: the largest mean before it, 0 if none. Positive floats are ordered as their bit patterns are; halving these
    ends within a relative 1e-10.
    """
    low, high = (int(np.float64(end).view(np.int64)) for end in (_SMALLEST, 1.0))
    least = low
    while high - low > 2**19:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(float(np.int64(middle).view(np.float64))) else (middle, high)
    found = float(np.int64(low if below else high).view(np.float64))
    return 0.0 if below and low == least else found


def _level(alpha: float) -> float:
    """Log of 1/alpha, rounded up."""
    return -math.log(alpha) * (1.0 + 2.0**-50)
