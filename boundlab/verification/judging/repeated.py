"""Clopper-Pearson limits at many looks: each look pays its own share of alpha."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.verification.judging.boundaries import Boundaries
from boundlab.verification.judging.fixed_size import fewest_trials, upholding_count, violating_count
from boundlab.verification.judging.rules import BoundaryRule, Counts, Findings, Outcome
from boundlab.verification.verdict import State


@implements("boundlab_repeated_limits")
def look_level(alpha: float, look: int) -> float:
    """Return alpha/(look (look + 1)), the level of one look; over look = 1, 2, ... the levels sum to alpha.

    Parameters
    ----------
    alpha : float in (0, 1)
        The level of all looks together.
    look : int
        The number of the look, from 1 on.

    Raises
    ------
    InvalidParameter
        If alpha is outside (0, 1) or look is below 1.

    Examples
    --------
    >>> round(look_level(0.05, 1), 12), round(look_level(0.05, 4), 12)
    (0.025, 0.0025)
    """
    j = positive_int("look", look)
    return probability("alpha", alpha) / (j * (j + 1)) * (1.0 - 2.0**-51)


@implements("boundlab_repeated_limits")
def looks(first: int, horizon: int, growth: float = 1.25) -> list[int]:
    """Return the trials at which to look: first, then rising by the factor `growth` (at least by 1), up to `horizon`.

    Raises
    ------
    InvalidParameter
        If first or horizon is below 1, or growth is not above 1.

    Examples
    --------
    >>> looks(60, 150)
    [60, 75, 94, 118, 148]
    """
    n, last = positive_int("first", first), positive_int("horizon", horizon)
    if not growth > 1.0:
        raise InvalidParameter(f"growth must be above 1, got growth={growth!r}.")
    found = []
    while n <= last:
        found.append(n)
        n = max(n + 1, math.ceil(n * growth))
    return found


@implements("boundlab_repeated_limits")
def repeated_upper_limit(failures: int, trials: int, look: int, alpha: float) -> float:
    """Return the Clopper-Pearson upper limit of look number `look`: P(it misses at any look) <= alpha.

    The looks must be fixed before the first trial. Raises InvalidParameter like `concentration.binomial.upper_limit`.
    """
    return upper_limit(failures, trials, look_level(alpha, look))


@dataclass(frozen=True, kw_only=True)
class RepeatedLimits(BoundaryRule):
    """Exact binomial tests at n_1, n_2, ..., each 1.25 times the one before; look j has level alpha/(j (j + 1)).

    n_1 is the smallest number of trials that can uphold the claim. The limits are those of the last look; between
    looks they stand still. The tally holds the counts now and at the last look.
    """

    def boundaries(self, last: int) -> Boundaries:
        """Nowhere but at the looks."""
        found = Boundaries.nowhere(last)
        for look, n in enumerate(looks(self.fewest, last) if last else [], 1):
            found.low[n] = upholding_count(n, self.at_upheld, look_level(self.alpha_upheld, look))
            found.high[n] = violating_count(n, self.at_violated, look_level(self.alpha_violated, look))
        return found

    def start(self) -> Any:
        """No trial and no look."""
        return [*Counts(), *Counts()]

    def counts(self, tally: Any) -> Counts:
        """The counts now."""
        return Counts(*tally[:3])

    def look(self, tally: Any, outcomes: np.ndarray) -> tuple[State, Any, int]:
        """Look where a look is due; the first that decides ends it."""
        state, now, taken = super().look(tally[:3], outcomes)
        n, k, u = tally[:3]
        seen = tally[3:]
        due = [m for m in looks(self.fewest, now[0]) if m > n] if now[0] >= self.fewest else []
        if due:
            then = outcomes[: due[-1] - n]
            failed, unknown = (int(np.count_nonzero(then == kind)) for kind in (Outcome.FAILED, Outcome.UNKNOWN))
            seen = [due[-1], k + failed, u + unknown]
        return state, [*now, *seen], taken

    @implements("boundlab_repeated_limits", "clopper_pearson1934")
    def seen(self, tally: Any) -> Findings:
        """Clopper-Pearson limits of the last look, at its level."""
        n, k, u = tally[3:]
        if n == 0:
            return Findings((0.0, 1.0))
        look = len(looks(self.fewest, n))
        low = lower_limit(k, n, look_level(self.alpha_violated, look))
        return Findings((low, upper_limit(k + u, n, look_level(self.alpha_upheld, look))))

    @property
    def fewest(self) -> int:
        """The first look."""
        return fewest_trials(self.at_upheld, look_level(self.alpha_upheld, 1))
