"""A few points that stand for all in every direction: max |<p, x>| over P against that over a subset S.

Rows p are neurons, already multiplied by their weight om(p) where they have one. Everything is invariant under linear
maps, and computed in the row space. Singular values at the level of float64 rounding count as 0; where one lies between
that and 1e-10 of the largest, no rank can be told and InvalidParameter is raised.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, nnls

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab._theory import implements

ROUNDING = 1e-9
"""Relative enlargement of a factor, above the rounding of the linear algebra behind it."""
SMALLEST = 1e-10
"""Singular values from this share of the largest on are directions of the points."""


@implements("boundlab_contact_points", "tukan2022_linf_coreset")
@dataclass(frozen=True, kw_only=True)
class LinfCoreset:
    """Which rows stand for all, and how well, for every x.

    indices : (size,) rising
    factor : max over P of |<p, x>| <= factor times the max over S
    sum_factor : max over P of |<p, x>| <= sum_factor times the SUM over S
    """

    indices: np.ndarray
    factor: float
    sum_factor: float


@implements("boundlab_contact_points")
def contact_points(points: np.ndarray, *, tol: float = 1e-3) -> LinfCoreset:
    """Return at most r(r + 1)/2 points near the contact points of the smallest ellipsoid around P and -P; r the rank.

    A D-optimal design lam on P, M = sum lam p p^T, makes g(p) = p^T M^-1 p at most r(1 + tol); its support S satisfies

        factor = sqrt(max_P g sum lam) -> sqrt(r),      sum_factor = sqrt(max_P g) max_S lam sqrt(g) -> at most 1

    Both are computed from the design that was found and hold whatever its quality.

    Parameters
    ----------
    points : (n, d), not all rows 0
    tol : > 0, how far from optimal the design may be

    Raises InvalidParameter. Ours; proved in ``boundlab_contact_points``.

    Examples
    --------
    >>> found = contact_points(np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5], [-1.0, 0.25]]))
    >>> found.indices.tolist(), round(found.factor, 6), round(found.sum_factor, 6)
    ([0, 1], 1.414214, 1.0)
    """
    p = row_space(matrix("points", points), whiten=True)
    r = p.shape[1]
    if r == 1:
        one = 1.0 + ROUNDING
        return LinfCoreset(indices=np.array([int(np.argmax(np.abs(p[:, 0])))]), factor=one, sum_factor=one)
    lam = _design(p, positive("tol", tol))
    pairs = [(i, j) for i in range(r) for j in range(i, r)]
    if np.count_nonzero(lam) > len(pairs):
        lam = _fewer(p, lam, pairs)
    own = np.flatnonzero(lam)
    g = _leverages(p, (p[own] * lam[own, None]).T @ p[own])
    top = math.sqrt(float(g.max()))
    return LinfCoreset(
        indices=own,
        factor=top * math.sqrt(float(lam.sum())) * (1.0 + ROUNDING),
        sum_factor=top * float((lam[own] * np.sqrt(g[own])).max()) * (1.0 + ROUNDING),
    )


@implements("tukan2022_linf_coreset")
def axis_points(points: np.ndarray, *, symmetric: bool = False, tol: float = 1e-4) -> LinfCoreset:
    """Return the published l_inf-coreset: points whose hull holds the axes of the shrunk ellipsoid around conv(P).

    With centre c and semi-axes a_k of the smallest ellipsoid, s_k is the largest s for which c - s a_k and c + s a_k
    lie in conv(P), at least 1/r, and each is written with at most r + 1 points of P:

        factor = max(1, sqrt(sum_k 1/s_k²)) <= r^1.5
        symmetric, with conv(P and -P) for conv(P): c = 0, s_k >= 1/sqrt(r), factor <= r

    up to 1 + tol. The published factor is 2 r^1.5. At most 2 r (r + 1) points, r the dimension of the hull. The factor
    is enlarged by what the points that were found miss of the ends c - s a_k and c + s a_k: it holds for them.

    Parameters
    ----------
    points : (n, d), not all rows 0
    symmetric : bool
    tol : > 0, how far from the smallest the ellipsoid may be; it contains P all the same

    Raises InvalidParameter. Source: Tukan, Mualem and Maalouf (arXiv:2209.08554), as we understand the paper.

    Examples
    --------
    >>> corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.1, 0.2]])
    >>> axis_points(corners).indices.tolist()
    [0, 1, 2, 3]
    """
    q, tol = matrix("points", points), positive("tol", tol)
    if not np.any(q):
        raise InvalidParameter("points must not all be 0.")
    body = np.concatenate([q, -q]) if symmetric else q
    centred = body - (0.0 if symmetric else body.mean(axis=0))
    if not np.any(centred):
        return LinfCoreset(indices=np.array([0]), factor=1.0, sum_factor=1.0)
    p = row_space(centred / np.abs(centred).max())
    n, r = p.shape
    if symmetric:
        lam, c = _design(p, tol), np.zeros(r)
    else:
        lam = _design(np.column_stack([p, np.ones(n)]), tol)
        c = lam @ p
    away = p - c
    values, vectors = np.linalg.eigh((away * lam[:, None]).T @ away)
    radius = math.sqrt(float(_leverages(away, (away * lam[:, None]).T @ away).max()))
    used, inverse, missed = set[int](), 0.0, 0.0
    for k in range(r):
        axis = radius * math.sqrt(float(values[k])) * vectors[:, k]
        reach = [_reach(p, c, sign * axis) for sign in (1.0, -1.0)]
        used |= {i % len(q) for _, own, _ in reach for i in own}
        inverse += 1.0 / min(s for s, _, _ in reach) ** 2
        missed = max(missed, *(off for _, _, off in reach))
    factor = max(1.0, math.sqrt(inverse)) * (1.0 + ROUNDING)
    lost = factor * missed / (radius * math.sqrt(max(1e-300, float(values[0]))))
    if not lost < 0.5:
        raise InvalidParameter("points are too ill-conditioned for a linear program: their ellipsoid is too flat")
    factor /= 1.0 - lost
    return LinfCoreset(indices=np.array(sorted(used)), factor=factor, sum_factor=factor)


@implements("tukan2022_peeling", "boundlab_contact_points")
@dataclass(frozen=True, kw_only=True)
class Peeling:
    """In which round each point was taken away: `rounds` (n,) from 1, and the l_inf-coresets of the rounds.

    What is left at the end has the round after the last; points at 0 have the round 0.
    """

    rounds: np.ndarray
    coresets: tuple[LinfCoreset, ...]


@implements("tukan2022_peeling")
def peel(points: np.ndarray, pick: Callable[[np.ndarray], LinfCoreset], *, least: int = 1) -> Peeling:
    """Take l_inf-coresets away, one after the other, until fewer than `least` points are left.

    Parameters
    ----------
    points : (n, d), rows om(p) p
    pick : `contact_points` or `axis_points`, or what gives a `LinfCoreset` of the rows it is handed
    least : >= 1; the published algorithm stops below 2 r²

    Raises InvalidParameter. Source: Tukan, Mualem and Maalouf (arXiv:2209.08554), as we understand the paper.
    """
    p, least = matrix("points", points), positive_int("least", least)
    rounds = np.zeros(len(p), np.int64)
    left = np.flatnonzero(np.any(p != 0.0, axis=1))
    coresets: list[LinfCoreset] = []
    while len(left) >= least:
        found = pick(p[left])
        coresets.append(found)
        rounds[left[found.indices]] = len(coresets)
        left = np.delete(left, found.indices)
    rounds[left] = len(coresets) + 1
    return Peeling(rounds=rounds, coresets=tuple(coresets))


@implements("tukan2022_peeling", "boundlab_contact_points")
def peeled_sensitivities(peeling: Peeling) -> np.ndarray:
    """Return s(p) >= sup_x |<p, x>|/sum_q |<q, x>|: 1/(1 + sum of 1/F_j over the rounds before p's).

    F_j is the `sum_factor` of round j, with contact points at most 1 (up to tol): s(p) <= 1/i in round i. Rounded up;
    0 for points at 0.

    Examples
    --------
    >>> p = np.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.5], [-1.0, 0.25]])
    >>> peeled_sensitivities(peel(p, contact_points)).round(6)
    array([1. , 1. , 0.5, 0.5])
    """
    before = np.concatenate([[np.inf, 0.0], np.cumsum([1.0 / c.sum_factor for c in peeling.coresets])])
    return np.where(peeling.rounds > 0, (1.0 + ROUNDING) / (1.0 + before[peeling.rounds]), 0.0)


@implements("tukan2022_peeling")
def published_sensitivities(rounds: np.ndarray, rank: np.ndarray | int) -> np.ndarray:
    """Return the published 2 r^1.5/i for a point of round i; zeros at round 0. r is the rank of ALL points.

    With the rank of what is left when round i starts, as in released code of others, it is no bound.

    Examples
    --------
    >>> published_sensitivities(np.array([1, 2]), 4)
    array([16.,  8.])
    """
    i, r = np.asarray(rounds, np.int64), np.asarray(rank, np.float64)
    if np.any(i < 0) or np.any(r < 1):
        raise InvalidParameter("rounds must be at least 0 and the rank at least 1.")
    return np.where(i > 0, 2.0 * r**1.5 / np.maximum(i, 1), 0.0)


def row_space(points: np.ndarray, *, whiten: bool = False) -> np.ndarray:
    """Return the rows in an orthonormal basis of their span, (n, r), or in one that makes the columns orthonormal.

    InvalidParameter if all rows are 0, or if a singular value can be told neither from 0 nor from a direction: leaving
    out a direction would make every bound for all x too small.
    """
    _, values, basis = np.linalg.svd(points, full_matrices=False)
    share = values / (values[0] or 1.0)
    noise = 2.0**-50 * max(points.shape)
    r = int(np.count_nonzero(share > max(noise, SMALLEST)))
    if r == 0:
        raise InvalidParameter("points must not all be 0.")
    if np.any(share[r:] > noise):
        raise InvalidParameter(f"points must have a clear rank, got a singular value {share[r]:.3g} times the largest.")
    return points @ (basis[:r].T / values[:r] if whiten else basis[:r].T)


def _design(p: np.ndarray, tol: float) -> np.ndarray:
    """Weights of a D-optimal design: max g <= r (1 + tol), g = p^T M^-1 p; Wynn's steps, and Atwood's away from p."""
    n, r = p.shape
    if r == 1:
        return np.eye(n)[int(np.argmax(np.abs(p[:, 0])))]
    lam = np.full(n, 1.0 / n)
    inverse, g = _state(p, lam)
    for step in range(1, 20_000):
        own = np.flatnonzero(lam)
        up, down = int(np.argmax(g)), int(own[np.argmin(g[own])])
        if max(g[up] - r, r - g[down]) <= tol * r:
            break
        k = up if g[up] - r >= r - g[down] else down
        limit = -lam[k] / (1.0 - lam[k])
        tau = max(limit, (g[k] - r) / (r * (g[k] - 1.0))) if g[k] > 1.0 else limit
        lam *= 1.0 - tau
        lam[k] = 0.0 if tau == limit else lam[k] + tau
        if step % 50 == 0:
            inverse, g = _state(p, lam)
            continue
        direction = inverse @ p[k]
        scale = tau / ((1.0 - tau) + tau * g[k])
        inverse = (inverse - scale * np.outer(direction, direction)) / (1.0 - tau)
        g = (g - scale * (p @ direction) ** 2) / (1.0 - tau)
    return lam / lam.sum()


def _state(p: np.ndarray, lam: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """M^-1 and g, afresh."""
    inverse = np.linalg.inv((p * lam[:, None]).T @ p)
    return inverse, np.einsum("ij,jk,ik->i", p, inverse, p)


def _fewer(p: np.ndarray, lam: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """The same moment matrix from at most len(pairs) points (Caratheodory), by a basic non-negative solution."""
    own = np.flatnonzero(lam)
    products = np.array([p[own, i] * p[own, j] for i, j in pairs])
    weights, _ = nnls(products, products @ lam[own])
    fewer = np.zeros_like(lam)
    fewer[own] = weights
    return fewer


def _leverages(p: np.ndarray, moment: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", p, np.linalg.solve(moment, p.T).T)


def _reach(p: np.ndarray, c: np.ndarray, axis: np.ndarray) -> tuple[float, list[int], float]:
    """The largest s with c + s axis in the hull of the rows, the rows of a basic solution, and how far they miss it.

    A linear program's solution holds up to a tolerance only: what counts is where its rows really meet.
    """
    equal = np.vstack([np.column_stack([p.T, -axis]), np.append(np.ones(len(p)), 0.0)])
    goal = np.append(np.zeros(len(p)), -1.0)
    found = linprog(goal, A_eq=equal, b_eq=np.append(c, 1.0), bounds=(0, None), method="highs-ds")
    if found.x is None or not found.x[-1] > 0.0:
        raise InvalidParameter(f"points are too ill-conditioned for a linear program: {found.message}")
    share, s = np.where(found.x[:-1] > 1e-12, found.x[:-1], 0.0), float(found.x[-1])
    off = float(np.linalg.norm(share @ p / share.sum() - c - s * axis))
    return s, [int(i) for i in np.flatnonzero(share)], off
