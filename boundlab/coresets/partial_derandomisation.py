"""Keep the k largest items exactly and draw from the rest: between keeping the largest only, and drawing only.

With A' = C (S - S_k) and rho = min(1, A'), the rest of a sum z is at most rho z, each of m draws at most A' z/m, and

    m >= (2 rho + 2 eps/3) A' ln(2 events/delta) / eps²

draws suffice. Where A' <= eps none is needed. k must come from the sensitivities alone, not from the tested data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.multiplicative import ROUNDING
from boundlab.coresets.sensitivity_sampling import SLACK


@dataclass(frozen=True, kw_only=True)
class Split:
    """How one group is split, and what that certifies."""

    kept: int  # k: the largest items, kept with their own weights
    draws: int  # m: draws with replacement from the rest; at most kept + draws items are not zero
    eps: float  # certified relative error, rounded up


@implements("liebenwein2020_derandomised")
def derandomised_error(values: np.ndarray, *, C: float = 1.0) -> np.ndarray:
    """Return C times the sum of the dropped sensitivities, for each number of largest items kept, rounded up.

    A sum of terms x_j in [0, C s_j z] loses between 0 and this share of z if the k largest s_j are kept unweighted. For
    channels s_j is a maximum over filters, patches and signs, and one number holds for all of them.

    Parameters
    ----------
    values : (..., d) sensitivities >= 0
    C : finite float >= 1, by how much a share may exceed its sensitivity

    Returns
    -------
    array (..., d + 1); entry k belongs to k kept items, entry d is 0

    Examples
    --------
    >>> derandomised_error(np.array([0.25, 0.5, 0.25])).round(6)
    array([1.  , 0.5 , 0.25, 0.  ])
    """
    s = _sensitivities(values)
    smallest_first = np.cumsum(np.sort(s, axis=-1), axis=-1)  # entry i: the i + 1 smallest together
    sums = np.concatenate([np.zeros((*s.shape[:-1], 1)), smallest_first], axis=-1)[..., ::-1]
    return sums * _inflation(C) * (1.0 + ROUNDING)


@implements("liebenwein2020_partial_derandomisation")
def partial_size(rest: np.ndarray | float, eps: float, delta: float, *, C: float = 1.0, events: int = 1) -> np.ndarray:
    """Return the draws from the rest after which the relative error is below eps in all events at once, rounded up.

        m = ceil((2 rho + 2 eps/3) A' ln(2 events/delta) / eps²),   A' = C rest,  rho = min(1, A');   0 if A' <= eps

    Parameters
    ----------
    rest : array >= 0, S - S_k: total sensitivity of what is not among the k largest
    eps : float > 0
    delta : float in (0, 1), failure probability of all events together
    C : finite float >= 1
    events : how many sums must hold together, such as filters x patches x signs

    Returns
    -------
    array float64 of whole numbers. Source: PFP (arXiv:1911.07412), as we understand the paper, whose constant is at
    least three times larger.

    Examples
    --------
    >>> partial_size(np.array([2.0, 0.5, 0.1]), 0.25, 0.1)
    array([208.,  28.,   0.])
    """
    positive("eps", eps)
    log = np.log(2.0 * positive_int("events", events) / probability("delta", delta))
    a, rho = _shares(rest, C)
    m = np.ceil((2.0 * rho + 2.0 * eps / 3.0) * a * log / eps / eps * (1.0 + ROUNDING))
    return np.where(a <= eps, 0.0, m)


@implements("liebenwein2020_partial_derandomisation")
def published_partial_size(rest: np.ndarray | float, eps: float, delta: float, *, K: float, filters: int) -> np.ndarray:
    """Return ceil((6 + 2 eps) (S - S_k) K ln(4 eta/delta) / eps²), the paper's size as we understand it, to compare."""
    positive("eps", eps)
    log = np.log(4.0 * positive_int("filters", filters) / probability("delta", delta))
    return np.ceil((6.0 + 2.0 * eps) * _shares(rest, K)[0] * log / eps / eps)


@implements("boundlab_within_row_split")
def partial_eps(
    rest: np.ndarray | float, draws: np.ndarray | float, delta: float, *, C: float = 1.0, events: int = 1
) -> np.ndarray:
    """Return the relative error that a number of draws from the rest certifies, rounded up; never above C rest.

        eps = min(A', a/3 + sqrt(a²/9 + 2 a rho)),   a = A' ln(2 events/delta) / m

    It inverts `partial_size`. The error can never exceed A' z: the drawn part and the true rest both lie in [0, A' z].
    `draws` are numbers >= 0; the other parameters are as in `partial_size`.
    """
    if not np.all(np.asarray(draws) >= 0):
        raise InvalidParameter(f"draws must be at least 0, got draws={draws!r}.")
    log = np.log(2.0 * positive_int("events", events) / probability("delta", delta))
    share, rho = _shares(rest, C)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.where(share > 0, share * log / np.asarray(draws, np.float64), 0.0)
    found = a / 3.0 + np.sqrt(a * a / 9.0 + 2.0 * a * rho)
    return np.minimum(share, found) * (1.0 + ROUNDING)


@implements("boundlab_within_row_split")
def best_split(values: np.ndarray, nnz: int, delta: float, *, C: float = 1.0, events: int = 1) -> Split:
    """Return the split of nnz items into k kept and nnz - k draws with the smallest certified error.

    k = 0 is drawing only, k = nnz keeping the largest only; the best k is never worse than the better of the two.

    Parameters
    ----------
    values : (d,) sensitivities of one group
    nnz : in 1..d
    delta, C, events : as in `partial_size`

    Examples
    --------
    >>> split = best_split(np.array([0.5] + [0.005] * 100), 60, 0.1)
    >>> split.kept, split.draws, round(split.eps, 4)
    (14, 46, 0.1667)
    """
    s = _sensitivities(values)
    if s.ndim != 1 or positive_int("nnz", nnz) > len(s):
        raise InvalidParameter(f"nnz must be at most the number of values, got nnz={nnz!r} for shape {s.shape}.")
    kept = np.arange(nnz + 1)
    errors = partial_eps(rest_after(s)[: nnz + 1], nnz - kept, delta, C=C, events=events)
    k = int(np.argmin(errors))
    return Split(kept=k, draws=int(nnz - k), eps=float(errors[k]))


def rest_after(values: np.ndarray) -> np.ndarray:
    """Return S - S_k for k = 0..d: the total sensitivity of all but the k largest, (..., d + 1), rounded up."""
    return derandomised_error(values)


def _sensitivities(values: np.ndarray) -> np.ndarray:
    s = np.asarray(values, np.float64)
    if s.ndim < 1 or not (np.isfinite(s).all() and np.all(s >= 0)):
        raise InvalidParameter("values must be an array of finite numbers >= 0, got others.")
    return s


def _inflation(C: float) -> float:
    if not 1.0 <= C < np.inf:
        raise InvalidParameter(f"C must be finite and at least 1, got C={C!r}.")
    return C * (1.0 + SLACK)


def _shares(rest: np.ndarray | float, C: float) -> tuple[np.ndarray, np.ndarray]:
    """A' and rho."""
    r = np.asarray(rest, np.float64)
    if not (np.isfinite(r).all() and np.all(r >= 0)):
        raise InvalidParameter("rest must be finite and at least 0, got another number.")
    a = r * _inflation(C)
    return a, np.minimum(1.0, a)
