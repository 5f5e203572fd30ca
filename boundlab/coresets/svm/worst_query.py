"""The worst query for an SVM coreset: exact on a line through the origin, by search in more dimensions.

Along w = s direction every margin is linear in s, so that F_C/F is a quotient of two quadratics between neighbouring
breakpoints s = 1/<z_p, direction>: its extremes are at breakpoints, at stationary points, or at infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab._theory import implements
from boundlab.coresets.svm.objective import weights


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """Least and greatest F_C/F over a line, with the positions at which they are attained (inf: in the limit)."""

    low: np.ndarray
    high: np.ndarray
    at_low: np.ndarray
    at_high: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """The largest |F_C/F - 1|."""
        return np.maximum(self.high - 1.0, 1.0 - self.low)


@implements("boundlab_svm_sensitivity", "boundlab_svm_size")
def extremes(
    z: np.ndarray, u: np.ndarray, v: np.ndarray, *, lam: float, share: np.ndarray | float | None = None
) -> Extremes:
    """Return the extremes over s in R of F_C/F, F_C = share s²/2 + lam sum v [1 - z s]_+, F = s²/2 + lam sum u [...]_+.

    Exact up to rounding: the SVM in one dimension without intercept, or any SVM along one direction of unit slope.

    Parameters
    ----------
    z : (n,), signed points, or their products with the direction
    u : (n,), weights > 0
    v : (..., n), weights >= 0 of one or many coresets
    lam : positive, the SVM's C
    share : (...), the factor of the regulariser of F_C; None: V/U, 1: a coreset that keeps it, 0: hinges only

    Returns
    -------
    Extremes of shape (...)

    Raises
    ------
    InvalidParameter
        If shapes do not fit, a weight is out of range, or lam is not positive.

    Notes
    -----
    With v = u at one point and 0 elsewhere, the greatest ratio is that point's sensitivity (``true_sensitivities``).

    Examples
    --------
    >>> round(float(extremes(np.array([1.0, 2.0]), np.ones(2), np.array([2.0, 0.0]), lam=1.0).error), 9)
    0.8
    """
    z = np.asarray(z, np.float64)
    u, v = weights("u", u, z.size), weights("v", v, z.size, zero=True)
    if z.ndim != 1 or not np.all(np.isfinite(z)):
        raise InvalidParameter(f"z must be finite, of shape (n,), got shape {z.shape}.")
    share = v.sum(axis=-1) / u.sum() if share is None else np.broadcast_to(share, v.shape[:-1])
    lam = positive("lam", lam)
    order, breaks = _breaks(z)
    top = _pieces(z, v, order, lam)  # (..., pieces) each: constant and slope of the hinge part
    bottom = _pieces(z, u, order, lam)
    rho = np.asarray(share, np.float64)[..., None]
    start, stop = np.concatenate([[-np.inf], breaks]), np.concatenate([breaks, [np.inf]])
    # (rho s²/2 + a - b s)/(s²/2 + c - e s): its derivative vanishes where x2 s² + x1 s + x0 = 0
    (a, b), (c, e) = top, bottom
    x2, x1, x0 = 0.5 * (b - rho * e), rho * c - a, a * e - b * c
    candidates, values = [], []
    for s in (*_roots(x2, x1, x0), np.broadcast_to(stop, x1.shape)):
        inside = (s >= start) & (s <= stop) & np.isfinite(s)
        s = np.where(inside, s, 0.0)
        below = np.where(inside, s * s / 2 + np.maximum(0.0, c - e * s), 1.0)
        ratio = (rho * s * s / 2 + np.maximum(0.0, a - b * s)) / below
        candidates.append(np.where(inside, s, np.inf))
        values.append(np.where(inside, ratio, rho))  # at infinity the ratio is rho
    where, ratio = np.concatenate(candidates, axis=-1), np.concatenate(values, axis=-1)
    low, high = np.argmin(ratio, axis=-1)[..., None], np.argmax(ratio, axis=-1)[..., None]
    return Extremes(
        low=np.take_along_axis(ratio, low, -1)[..., 0],
        high=np.take_along_axis(ratio, high, -1)[..., 0],
        at_low=np.take_along_axis(where, low, -1)[..., 0],
        at_high=np.take_along_axis(where, high, -1)[..., 0],
    )


@implements("boundlab_svm_sensitivity", "boundlab_svm_hinge_only")
def true_sensitivities(z: np.ndarray, u: np.ndarray, *, lam: float, hinge_only: bool = False) -> np.ndarray:
    """Return all exact sensitivities of an SVM in one dimension without intercept, up to rounding.

    s(p) = sup_w u_p f(p, w)/F(P, w), or sup_w u_p lam h(p, w)/F(P, w) for `hinge_only`.

    Parameters
    ----------
    z, u, lam : as for ``extremes``
    hinge_only : whether the regulariser is kept exactly

    Examples
    --------
    >>> true_sensitivities(np.array([1.0, 1.0]), np.ones(2), lam=1.0)
    array([0.5, 0.5])
    """
    u = np.asarray(u, np.float64)
    return extremes(z, u, np.diag(u), lam=lam, share=0.0 if hinge_only else None).high


@implements("boundlab_svm_sensitivity")
def minimum(z: np.ndarray, u: np.ndarray, *, lam: float) -> tuple[float, float]:
    """Return (w, opt): the minimiser of an SVM in one dimension without intercept, and min F rounded down.

    Parameters
    ----------
    z, u, lam : as for ``extremes``

    Examples
    --------
    >>> w, opt = minimum(np.array([1.0, 2.0]), np.ones(2), lam=1.0)
    >>> w, round(opt, 9)
    (1.0, 0.5)
    """
    z = np.asarray(z, np.float64)
    order, breaks = _breaks(z)
    a, b = _pieces(z, weights("u", u, z.size), order, positive("lam", lam))
    start, stop = np.concatenate([[-np.inf], breaks]), np.concatenate([breaks, [np.inf]])
    w = np.clip(b, start, stop)  # the minimiser of w²/2 + a - b w on each piece
    value = w * w / 2 + a - b * w
    best = int(np.argmin(value))
    return float(w[best]), float(value[best]) * (1.0 - 1e-12)


@implements("boundlab_svm_size")
def search(
    z: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    *,
    lam: float,
    rng: np.random.Generator,
    intercept: bool = False,
    share: float | None = None,
    starts: int = 64,
    refine: int = 2,
) -> tuple[float, np.ndarray]:
    """Return (error, w): the largest |F_C/F - 1| that a search finds, and its query. A lower bound on the supremum.

    Random directions, each with its exact extremes along the line; the best ones are refined by Nelder and Mead.

    Parameters
    ----------
    z : (n, D), signed points;  u : (n,), weights > 0;  v : (n,), weights >= 0
    lam, share : as for ``extremes``
    rng : source of the directions
    intercept : whether the last coordinate is an unregularised intercept
    starts, refine : directions that are tried, and how many of them are refined

    Raises
    ------
    InvalidParameter
        If a parameter is out of range.

    Examples
    --------
    >>> rng, z = np.random.default_rng(0), np.eye(2)
    >>> error, w = search(z, np.ones(2), np.array([2.0, 0.0]), lam=1.0, rng=rng)
    >>> round(error, 6)
    0.707107
    """
    z = matrix("z", z)
    if refine < 0:
        raise InvalidParameter(f"refine must be at least 0, got refine={refine!r}.")
    slope = z.shape[1] - bool(intercept)

    def unit(direction: np.ndarray) -> np.ndarray:
        return direction / max(float(np.linalg.norm(direction[:slope])), 1e-12)

    def found(direction: np.ndarray) -> Extremes:
        return extremes(z @ unit(direction), u, v, lam=lam, share=share)

    tried = rng.normal(size=(positive_int("starts", starts), z.shape[1]))
    errors = np.array([float(found(row).error) for row in tried])
    for k in np.argsort(-errors)[:refine]:
        done = minimize(lambda row: -float(found(row).error), tried[k], method="Nelder-Mead")
        if -float(done.fun) > errors[k]:
            tried[k], errors[k] = done.x, -float(done.fun)
    best = int(np.argmax(errors))
    line = found(tried[best])
    at = line.at_high if float(line.high) - 1.0 >= 1.0 - float(line.low) else line.at_low
    return float(errors[best]), float(at) * unit(tried[best])


def _breaks(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points with a breakpoint in the order of the breakpoints 1/z, and these."""
    live = np.flatnonzero(np.abs(z) > 1e-300)
    at = 1.0 / z[live]
    order = np.argsort(at, kind="stable")
    return live[order], at[order]


def _pieces(z: np.ndarray, v: np.ndarray, order: np.ndarray, lam: float) -> tuple[np.ndarray, np.ndarray]:
    """Sums of lam v and of lam v z over the points with positive hinge, piece by piece from the left."""
    crossing = -np.sign(z[order])  # from the left, z > 0 falls silent at 1/z and z < 0 starts
    left = z >= 0
    sums = []
    for part in (v, v * z):
        steps = np.cumsum(part[..., order] * crossing, axis=-1)
        first = part[..., left].sum(axis=-1)[..., None]
        sums.append(lam * np.concatenate([first, first + steps], axis=-1))
    return sums[0], sums[1]


def _roots(x2: np.ndarray, x1: np.ndarray, x0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both real roots of x2 s² + x1 s + x0, without cancellation; not finite where there is none."""
    disc = x1 * x1 - 4.0 * x2 * x0
    q = -0.5 * (x1 + np.where(x1 >= 0, 1.0, -1.0) * np.sqrt(np.maximum(disc, 0.0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = q / x2, x0 / q
    none = disc < 0
    return np.where(none, np.inf, first), np.where(none, np.inf, second)
