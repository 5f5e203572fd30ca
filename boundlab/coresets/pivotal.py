"""Dependent rounding: probabilities to a set of exactly their sum, item by item, with negative correlation.

Two items that are still open play against each other: one of them is settled, the other takes what is left, and each
keeps its expectation. Whatever the order, P(all of A kept) <= prod pi and P(none of A kept) <= prod (1 - pi) for every
set A, so that every tail bound from the moment generating function of independent inclusions holds as it stands.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from boundlab._errors import InvalidParameter
from boundlab._theory import implements

WHOLE = 1e-9
"""A sum of probabilities this near to a whole number is one: the last open item is then settled without a coin."""


@implements("srinivasan2001_pivotal")
def pivotal_sample(probabilities: np.ndarray, indptr: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which items are kept: sum_j pi_j of each group if that is whole, else one of the two next to it.

    Parameters
    ----------
    probabilities : (edges,) pi_j in [0, 1]
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``; groups are independent
    rng : numpy Generator; one uniform per item is drawn

    Returns
    -------
    (edges,) bool with P(kept_j) = pi_j, but for a last open item whose chance is within 1e-9 of 0 or 1: it is settled
    without a coin. Time O(edges).

    Raises
    ------
    InvalidParameter
        If a probability is outside [0, 1] or indptr does not fit.

    Notes
    -----
    Source: Srinivasan 2001; in survey sampling it is the pivotal method of Deville and Tillé (1998).

    Examples
    --------
    >>> int(pivotal_sample(np.full(10, 0.3), np.array([0, 10]), np.random.default_rng(0)).sum())
    3
    """
    p, at = np.ascontiguousarray(probabilities, np.float64), np.asarray(indptr, np.int64)
    if p.ndim != 1 or not (np.all(p >= 0) and np.all(p <= 1)):
        raise InvalidParameter("probabilities must be a vector of numbers in [0, 1], got others.")
    if at.ndim != 1 or len(at) < 2 or at[0] != 0 or at[-1] != len(p) or np.any(np.diff(at) < 0):
        raise InvalidParameter(f"indptr must rise from 0 to the {len(p)} probabilities, got another one.")
    kept = np.zeros(len(p), np.bool_)
    _round(p, at, rng.random(len(p)), kept)
    return kept


@njit(cache=True)
def _round(p, indptr, uniforms, kept):
    """Settle item after item; `open_` is the one that still plays, with chance `chance`."""
    for r in range(len(indptr) - 1):
        first, stop = indptr[r], indptr[r + 1]
        open_, chance = -1, 0.0
        for j in range(first, stop):
            if p[j] >= 1:
                kept[j] = True
            elif p[j] > 0:
                if open_ < 0:
                    open_, chance = j, p[j]
                    continue
                both = chance + p[j]
                if both <= 1:  # one of the two takes the whole, the other is dropped
                    if not uniforms[j] < chance / both:
                        open_ = j
                    chance = both
                else:  # one of the two is kept, the other goes on with the rest
                    if uniforms[j] < (1 - p[j]) / (2 - both):
                        kept[open_] = True
                        open_ = j
                    else:
                        kept[j] = True
                    chance = both - 1
                if chance >= 1:
                    kept[open_] = True
                    open_ = -1
        if open_ >= 0:  # the sum is no whole number, or one but for rounding; the first uniform is still unused
            kept[open_] = chance > 1 - WHOLE or (chance >= WHOLE and uniforms[first] < chance)
