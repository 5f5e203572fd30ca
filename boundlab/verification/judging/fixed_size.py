"""Exact binomial tests at one number of trials, fixed before the first of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.binomial import log_cdf, log_sf, lower_limit, upper_limit
from boundlab.verification.judging.boundaries import Boundaries, first_where
from boundlab.verification.judging.rules import BoundaryRule, Findings

MOST_FAILURES = 2_000
"""Critical counts up to which `power_size` searches: for rates within some 15 % of delta no size is found."""


@implements("clopper_pearson1934")
@lru_cache(maxsize=4096)
def upholding_count(n: int, rate: float, alpha: float) -> int:
    """Return the largest k with P(Bin(n, rate) <= k) <= alpha, or -1: so few failures refute every rate above `rate`.

    Parameters
    ----------
    n : int
        Trials, at least 1.
    rate, alpha : float in (0, 1)
        The rate that is refuted, and the error level.

    Returns
    -------
    int
        Rounded down: the probability is at most alpha in exact arithmetic.

    Raises
    ------
    InvalidParameter
        If n is below 1, or rate or alpha is outside (0, 1).

    Notes
    -----
    Source: Clopper and Pearson (1934); ``proofs_checks/clopper_pearson1934.py``.

    Examples
    --------
    >>> upholding_count(58, 0.05, 0.05), upholding_count(59, 0.05, 0.05)
    (-1, 0)
    """
    p, level = probability("rate", rate), _log_down(alpha)
    return first_where(lambda k: log_cdf(k, n, p)[1] > level, 0, positive_int("n", n)) - 1


@implements("clopper_pearson1934")
@lru_cache(maxsize=4096)
def violating_count(n: int, rate: float, alpha: float) -> int:
    """Return the smallest k with P(Bin(n, rate) >= k) <= alpha, or n + 1: so many failures refute every rate below.

    Parameters, errors and source as in `upholding_count`; rounded up.

    Examples
    --------
    >>> violating_count(2, 0.05, 0.05), violating_count(10, 0.05, 0.05)
    (2, 3)
    """
    p, level = probability("rate", rate), _log_down(alpha)
    return first_where(lambda k: log_sf(k, n, p)[1] <= level, 0, positive_int("n", n) + 1)


@implements("clopper_pearson1934")
def power_size(delta: float, rate: float, alpha: float, power: float) -> int:
    """Return the smallest n at which an exact test of P(failure) against delta has the wanted power at a true `rate`.

    Below delta the test is for `upheld`, above it for `violated`. The power is a sawtooth in n: a slightly larger
    number of trials may have less.

    Parameters
    ----------
    delta : float in (0, 1)
        The failure probability that is claimed.
    rate : float in [0, 1]
        The true one, other than delta.
    alpha, power : float in (0, 1)
        The error level of the test, and the probability of its verdict at `rate`.

    Returns
    -------
    int
        At least 1; the power there is at least the wanted one in exact arithmetic.

    Raises
    ------
    InvalidParameter
        If a level is outside its range, or the test would have to count more than MOST_FAILURES failures.

    Notes
    -----
    Source: Clopper and Pearson (1934); ``proofs_checks/clopper_pearson1934.py``.

    Examples
    --------
    >>> power_size(0.05, 0.0, 0.05, 0.95), power_size(0.05, 0.025, 0.05, 0.8), power_size(0.05, 0.1, 0.05, 0.8)
    (59, 361, 169)
    """
    d, wanted, level = probability("delta", delta), math.log(probability("power", power)), _log_down(alpha)
    if not 0.0 <= rate <= 1.0 or rate == d:
        raise InvalidParameter(f"rate must be in [0, 1] and other than delta={d!r}, got rate={rate!r}.")
    n = 1
    for k in range(MOST_FAILURES):
        if rate < d:  # k failures uphold from some n on, and their power falls with n
            n = first_where(lambda m, k=k: log_cdf(k, m, d)[1] <= level, max(n, k + 1), 2**53)
            if log_cdf(k, n, rate)[0] >= wanted:
                return n
        else:  # k + 1 failures violate up to some n, and their power rises with n
            end = first_where(lambda m, k=k: log_sf(k + 1, m, d)[1] > level, max(n, k + 1), 2**53)
            if end > max(n, k + 1) and log_sf(k + 1, end - 1, rate)[0] >= wanted:
                return first_where(lambda m, k=k: log_sf(k + 1, m, rate)[0] >= wanted, max(n, k + 1), end - 1)
            n = end
    raise InvalidParameter(f"rate must be further from delta={d!r} for a fixed size, got rate={rate!r}.")


@dataclass(frozen=True, kw_only=True)
class FixedSize(BoundaryRule):
    """One look, after `size` trials: upheld iff P(Bin(n, delta) <= failed + unknown) <= alpha_upheld, and its mirror.

    Nothing is decided before, and nothing may be added after it. The limits are those of Clopper and Pearson.
    """

    size: int

    def boundaries(self, last: int) -> Boundaries:
        """Nowhere but at n = size."""
        found = Boundaries.nowhere(last)
        if last >= self.size:
            found.low[self.size] = upholding_count(self.size, self.at_upheld, self.alpha_upheld)
            found.high[self.size] = violating_count(self.size, self.at_violated, self.alpha_violated)
        return found

    def seen(self, tally: Any) -> Findings:
        """Clopper-Pearson limits, once all trials are there."""
        n, k, u = tally
        if n < self.size:
            return Findings((0.0, 1.0))
        return Findings((lower_limit(k, n, self.alpha_violated), upper_limit(k + u, n, self.alpha_upheld)))

    @property
    def horizon(self) -> int:
        """The one look."""
        return self.size

    @property
    def fewest(self) -> int:
        """The smallest size that can uphold the claim."""
        return fewest_trials(self.at_upheld, self.alpha_upheld)


@implements("clopper_pearson1934")
def fewest_trials(delta: float, alpha: float) -> int:
    """Return the smallest n with (1 - delta)^n <= alpha: no test at level alpha upholds the claim with fewer trials.

    Examples
    --------
    >>> [fewest_trials(delta, 0.05) for delta in (0.1, 0.05, 0.01, 0.001)]
    [29, 59, 299, 2995]
    """
    d, level = probability("delta", delta), _log_down(alpha)
    n = max(1, math.ceil(level / math.log1p(-d)) - 1)
    while log_cdf(0, n, d)[1] > level:
        n += 1
    return n


def _log_down(alpha: float) -> float:
    """The logarithm of a level, rounded down."""
    return math.log(probability("alpha", alpha)) * (1.0 + 2.0**-50)
