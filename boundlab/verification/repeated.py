"""Clopper-Pearson limits at many looks: each look pays its own share of alpha."""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.binomial import upper_limit


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
