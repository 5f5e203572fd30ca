"""The soft-margin SVM objective of a weighted set, and certified lower bounds on its minimum.

With U the total weight, F(P, w) = sum_p u_p f(p, w), f(p, w) = |w|²/(2U) + lam [1 - <z_p, w>]_+. A coreset v of total
weight V stands for F_C(w) = sum_p v_p f(p, w) = (V/U) |w|²/2 + lam sum_p v_p [1 - <z_p, w>]_+: its regulariser is
scaled by V/U, so that its minimiser is that of an ordinary SVM with lam' = lam U/V.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive
from boundlab._theory import implements

ROUNDING = 2.0**-52


def signed_points(x: Any, y: Any, *, intercept: bool = False) -> np.ndarray:
    """Return the rows z = y x, or z = y (x, 1) with an intercept, so that a margin is <z, w>.

    Parameters
    ----------
    x : array_like (n, d), features
    y : array_like (n,), labels -1 and +1
    intercept : whether a column for the intercept is appended

    Returns
    -------
    ndarray (n, d) or (n, d + 1), float64

    Raises
    ------
    InvalidParameter
        If x is no finite matrix, or y is not one label -1 or +1 for each point.

    Examples
    --------
    >>> signed_points([[2.0], [3.0]], [1, -1], intercept=True)
    array([[ 2.,  1.],
           [-3., -1.]])
    """
    x = matrix("x", x)
    y = np.asarray(y)
    if y.shape != (len(x),):
        raise InvalidParameter(f"y must have shape ({len(x)},), one label per point, got {y.shape}.")
    if not np.all(np.isin(y, (-1, 1))):
        raise InvalidParameter(f"y must hold -1 and +1 only, got {np.unique(y)[:4].tolist()}.")
    z = np.column_stack([x, np.ones(len(x))]) if intercept else x
    return z * y.astype(np.float64)[:, None]


def weights(name: str, value: Any, points: int, *, zero: bool = False) -> np.ndarray:
    """Return `value` as finite float64 weights (..., points), positive, or at least 0 where `zero`."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise InvalidParameter(f"{name} must be an array of numbers, got {type(value).__name__}.") from None
    if array.ndim == 0 or array.shape[-1] != points:
        raise InvalidParameter(f"{name} must have {points} entries, one per point, got shape {array.shape}.")
    if not (np.all(np.isfinite(array)) and np.all(array >= 0 if zero else array > 0)):
        raise InvalidParameter(
            f"{name} must be finite and {'at least 0' if zero else 'positive'}, got {float(array.min())}."
        )
    return array


def hinge(z: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Return h(p, w) = [1 - <z_p, w>]_+ of shape (..., n) for queries w of shape (..., D)."""
    return np.maximum(0.0, 1.0 - np.asarray(w, np.float64) @ np.asarray(z, np.float64).T)


def regulariser(w: np.ndarray, *, intercept: bool = False) -> np.ndarray:
    """Return |w|²/2 of queries (..., D), without the last coordinate where that is the intercept."""
    w = np.asarray(w, np.float64)
    slope = w[..., :-1] if intercept else w
    return 0.5 * np.sum(slope * slope, axis=-1)


@implements("tukan2021_regulariser")
def objective(
    z: np.ndarray,
    v: np.ndarray,
    w: np.ndarray,
    *,
    lam: float,
    intercept: bool = False,
    total: float | None = None,
) -> np.ndarray:
    """Return F_C(w) = (V/U) |w|²/2 + lam sum_p v_p [1 - <z_p, w>]_+, with V the sum of v.

    Parameters
    ----------
    z : (n, D), the signed points
    v : (n,), weights >= 0
    w : (..., D), queries
    lam : positive, the SVM's C
    intercept : whether the last coordinate of w is an intercept, which is not regularised
    total : U, the total weight of the set that v stands for; None: V itself, the objective of a full data set

    Returns
    -------
    ndarray (...)

    Raises
    ------
    InvalidParameter
        If lam or total is not positive, or v not one weight >= 0 per point.

    Notes
    -----
    Source: Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; proofs_checks/tukan2021_regulariser.py.

    Examples
    --------
    >>> float(objective(np.array([[1.0], [2.0]]), np.ones(2), np.array([0.5]), lam=1.0))
    0.625
    """
    v = weights("v", v, len(z), zero=True)
    share = 1.0 if total is None else float(v.sum()) / positive("total", total)
    return share * regulariser(w, intercept=intercept) + positive("lam", lam) * (hinge(z, w) @ v)


@implements("tukan2021_regulariser", "tukan2021_node_sensitivity")
def coreset_lam(lam: float, *, total: float, mass: float) -> float:
    """Return lam' = lam U/V: an SVM solver with lam' on weights v minimises the coreset's objective.

    Every quantity of the coreset's objective is V/U times that of the ordinary SVM (v, lam'), so that its
    sensitivities, too, are those of (v, lam'): this is the lam at an inner node of merge and reduce.

    Parameters
    ----------
    lam : positive, the SVM's C on the whole data
    total : positive, U, the total weight of the data
    mass : positive, V, the total weight of the coreset

    Raises
    ------
    InvalidParameter
        If an argument is not positive.

    Examples
    --------
    >>> coreset_lam(1.0, total=200, mass=50)
    4.0
    """
    return positive("lam", lam) * positive("total", total) / positive("mass", mass)


@implements("boundlab_svm_erm")
def erm_factor(eps: float, *, slack: float = 0.0) -> float:
    """Return (1 + slack)(1 + eps)/(1 - eps), rounded up: by how much a coreset's minimiser may miss the optimum.

    If |F_C - F| <= eps F at every query and F_C(w_C) <= (1 + slack) min F_C, then F(w_C) <= factor * min F.

    Parameters
    ----------
    eps : in [0, 1), the coreset's relative error
    slack : at least 0, by how much the solver misses the coreset's own optimum, relatively

    Raises
    ------
    InvalidParameter
        If eps or slack is out of range.

    Examples
    --------
    >>> round(erm_factor(0.2), 9)
    1.5
    """
    if not 0.0 <= eps < 1.0:
        raise InvalidParameter(f"eps must be in [0, 1), got eps={eps!r}.")
    if not 0.0 <= slack < math.inf:
        raise InvalidParameter(f"slack must be finite and at least 0, got slack={slack!r}.")
    return (1.0 + slack) * (1.0 + eps) / (1.0 - eps) * (1.0 + 8 * ROUNDING)


@implements("tukan2021_opt_estimate")
def dual_value(z: np.ndarray, u: np.ndarray, a: np.ndarray, *, lam: float, intercept: bool = False) -> float:
    """Return a certified lower bound on min F from any dual vector: weak duality, rounded down.

        sum_p a_p - |sum_p a_p x_p y_p|²/2 <= min_w F(P, w)   for 0 <= a_p <= lam u_p,  sum_p a_p y_p = 0 (intercept)

    The vector is made feasible first: clipped to [0, lam u], the heavier class scaled down to the lighter one where
    there is an intercept, and all of it scaled to the best multiple of at most 1. The result is at least 0.

    Parameters
    ----------
    z : (n, D), the signed points
    u : (n,), weights > 0
    a : (n,), dual vector; such as ``abs(dual_coef_)`` of a solver, or any guess
    lam : positive, the SVM's C
    intercept : whether the last coordinate is an unregularised intercept

    Raises
    ------
    InvalidParameter
        If shapes do not fit, lam is not positive, or a is not finite.

    Notes
    -----
    Proof: ``proofs_checks/tukan2021_opt_estimate.py``. An upper estimate in its place makes sensitivities too small.

    Examples
    --------
    >>> round(dual_value(np.array([[1.0], [2.0]]), np.ones(2), np.array([0.0, 0.25]), lam=1.0), 9)
    0.125
    """
    z, u = matrix("z", z), weights("u", u, len(z))
    a = np.asarray(a, np.float64)
    if a.shape != (len(z),) or not np.all(np.isfinite(a)):
        raise InvalidParameter(f"a must be finite, of shape ({len(z)},), one entry per point, got shape {a.shape}.")
    a = np.clip(a, 0.0, positive("lam", lam) * u * (1.0 - 4 * ROUNDING))
    x, side = (z[:, :-1], np.sign(z[:, -1])) if intercept else (z, np.zeros(len(z)))
    if intercept:
        plus, minus = float(a[side > 0].sum()), float(a[side < 0].sum())
        least = min(plus, minus)
        a = a * np.where(side > 0, least / max(plus, least, 1e-300), least / max(minus, least, 1e-300))
    slope = a @ x
    a = a * min(1.0, float(a.sum()) / max(float(slope @ slope), 1e-300)) * (1.0 - 4 * ROUNDING)
    slope, spread = a @ x, a @ np.abs(x)
    step = (len(z) + x.shape[1] + 16) * ROUNDING  # a float sum is off by at most this share of the sum of sizes
    off = abs(float(a @ side)) + step * float(a.sum()) * bool(intercept)  # what must still leave the heavier class
    longest = math.sqrt(float(np.max(np.sum(x * x, axis=1)))) * (1.0 + step)
    length = math.sqrt(float(spread @ spread)) * (1.0 + step)
    lost = step * (float(a.sum()) + 3.0 * length * length) + off * (1.0 + length * longest + off * longest * longest)
    return max(0.0, float(a.sum()) - 0.5 * float(slope @ slope) - lost)
