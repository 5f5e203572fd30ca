"""Many claims at once: which may be called violated when K of them were tried."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements


@implements("holm1979_step_down")
def holm(log_e: np.ndarray, alpha: float) -> np.ndarray:
    """Return which claims are rejected with P(any wrong rejection) <= alpha, by Holm's step-down on p = min(1, 1/e).

    Each e-value may be the supremum of an e-process, at any time: by Ville's inequality 1/sup e is a p-value.

    Parameters
    ----------
    log_e : array (K,)
        Log evidence against each claim; any dependence.
    alpha : float in (0, 1)
        The family-wise error level.

    Returns
    -------
    array (K,) of bool

    Raises
    ------
    InvalidParameter
        If alpha is outside (0, 1), or the evidence is not a row of numbers.

    Examples
    --------
    >>> holm(np.log([100.0, 30.0, 2.0]), 0.05).tolist()
    [True, False, False]
    """
    e, level = _row(log_e), -np.log(probability("alpha", alpha))
    order = np.argsort(-e, kind="stable")
    enough = e[order] >= level + np.log(len(e) - np.arange(len(e)))
    rejected = np.zeros(len(e), bool)
    rejected[order[: len(e) if enough.all() else int(np.argmin(enough))]] = True
    return rejected


@implements("wang2022_e_bh")
def e_bh(log_e: np.ndarray, alpha: float) -> np.ndarray:
    """Return which claims are rejected with false discovery rate <= alpha: the largest i with e_(i) >= K/(i alpha).

    Valid under any dependence for e-values at one common stopping time. NOT valid in general for suprema of
    e-processes: calibrate those first (`calibrated`).

    Parameters
    ----------
    log_e : array (K,)
        Log evidence against each claim.
    alpha : float in (0, 1)
        The false discovery rate.

    Returns
    -------
    array (K,) of bool

    Raises
    ------
    InvalidParameter
        If alpha is outside (0, 1), or the evidence is not a row of numbers.

    Examples
    --------
    >>> e_bh(np.log([100.0, 31.0, 2.0]), 0.05).tolist()
    [True, True, False]
    """
    e, level = _row(log_e), -np.log(probability("alpha", alpha))
    order = np.argsort(-e, kind="stable")
    enough = e[order] >= level + np.log(len(e)) - np.log(np.arange(1, len(e) + 1))
    count = int(np.max(np.flatnonzero(enough), initial=-1)) + 1
    rejected = np.zeros(len(e), bool)
    rejected[order[:count]] = True
    return rejected


@implements("wang2022_e_bh")
def calibrated(log_sup: np.ndarray) -> np.ndarray:
    """Return log of max(sqrt(s) - 1, 0), s the running supremum of an e-process: again an e-value (mean at most 1).

    Examples
    --------
    >>> round(float(np.exp(calibrated(np.log(np.array([100.0])))[0])), 6)
    9.0
    """
    half = 0.5 * _row(log_sup)
    with np.errstate(divide="ignore"):
        return np.where(half > 0, half + np.log1p(-np.exp(-np.maximum(half, 0.0))), -np.inf)


def _row(log_e: np.ndarray) -> np.ndarray:
    e = np.asarray(log_e, np.float64)
    if e.ndim != 1 or not len(e) or np.any(np.isnan(e)):
        raise InvalidParameter(f"log_e must be a row of numbers, got shape {e.shape}.")
    return e
