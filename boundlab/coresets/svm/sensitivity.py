"""Upper bounds on the sensitivity of a point of an SVM: ours, and the published ones, kept to show where they fail.

The sensitivity of p is s(p) = sup_w u_p f(p, w)/F(P, w): the largest share that it can have in the objective. Points
of one class are clustered; B is the cluster of p, U(B) its weight, p_D the weighted mean of B minus z_p.

    ours        s(p) <= min(1, u_p [1/U(B) + lam E(|p_D|/sqrt(opt), alpha)]),   alpha = (U - U(B))/(2 lam U U(B))
                E(z, alpha) = z²/(4 alpha) where z <= 2 sqrt2 alpha,  sqrt2 z - 2 alpha beyond
    published   u_p [1/U(B) + lam max(2 alpha, (9/2)(sqrt(4 alpha² + 2 z²/9) - 2 alpha))]: false
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive
from boundlab._theory import implements
from boundlab.coresets.svm.objective import ROUNDING, weights

PUBLISHED_FLOOR = 2.0
"""The published bound is at least lam times this multiple of alpha, above 1/U(B)."""
RELEASED_FLOOR = 3.0
"""The multiple in the released code, where the published one stands in a comment."""
REPAIR = 3.0 * math.sqrt(2.0) / 4.0
"""1.0607: the published bound is valid once multiplied by this, and by nothing smaller that is a constant."""
UP = 1.0 + 1e-12


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Where the points stand among the clusters.

    u, mass, distance : (n,), weight of a point, weight U(B) of its cluster, and |p_D|, rounded up
    rest : (n,), U - U(B), rounded down
    total : U
    count : the number of clusters, over all classes
    up : a factor just above 1 that covers the rounding of sums over the points
    """

    u: np.ndarray
    mass: np.ndarray
    distance: np.ndarray
    rest: np.ndarray
    total: float
    count: int
    up: float

    @property
    def variation(self) -> float:
        """Var = sum_p u_p |p_D|."""
        return float(self.u @ self.distance)


@implements("boundlab_svm_sensitivity")
def clusters_of(z: Any, u: Any, cluster: Any, *, intercept: bool = False) -> Clusters:
    """Return the clusters' weights and the distances of points from their cluster's WEIGHTED MEAN.

    Any partition is valid, a good one makes the bounds small. The mean is what the proof needs: with a point of the
    cluster in its place, such as a seed of k-means++, the bounds are wrong (``seed_distances``).

    Parameters
    ----------
    z : (n, D), the signed points
    u : (n,), weights > 0
    cluster : (n,), whole numbers, equal for points of one cluster
    intercept : whether the last coordinate of z is that of the intercept; a cluster may then hold one class only

    Raises
    ------
    InvalidParameter
        If shapes do not fit, a weight is not positive, or a cluster holds both classes of a problem with intercept.

    Examples
    --------
    >>> c = clusters_of(np.array([[1.0], [3.0], [5.0]]), np.ones(3), [0, 0, 1])
    >>> c.mass, np.round(c.distance, 9), c.count
    (array([2., 2., 1.]), array([1., 1., 0.]), 2)
    """
    z, u, _, which = _checked(z, u, cluster)
    if intercept:
        side = z[:, -1]
        low, high = np.full(which.max() + 1, np.inf), np.full(which.max() + 1, -np.inf)
        np.minimum.at(low, which, side)
        np.maximum.at(high, which, side)
        if np.any(low != high):
            raise InvalidParameter(f"a cluster must hold one class, got both in {int(np.sum(low != high))} clusters.")
        z = z[:, :-1]
    mass = np.bincount(which, u)
    mean = np.stack([np.bincount(which, u * column) for column in z.T], axis=1) / mass[:, None]
    return _clusters(u, which, mass, np.linalg.norm(mean[which] - z, axis=1), z)


@implements("tukan2021_seed_as_centre")
def seed_distances(z: Any, u: Any, cluster: Any, seeds: Any, *, intercept: bool = False) -> Clusters:
    """Return the clusters with distances from given points instead of the means: REFUTED, kept to show.

    The released code takes the seeds of k-means++, which are data points. A point that is its cluster's seed gets
    distance 0, and a sensitivity of about u/U(B) however far it lies from the others.

    Parameters
    ----------
    z, u, cluster, intercept : as for ``clusters_of``
    seeds : (n,), for each point the index of the point that stands as its centre

    Source: released code of Tukan et al. 2021, arXiv:2002.06469.
    """
    z, u, _, which = _checked(z, u, cluster)
    z = z[:, :-1] if intercept else z
    return _clusters(u, which, np.bincount(which, u), np.linalg.norm(z[np.asarray(seeds)] - z, axis=1), z)


@implements("boundlab_svm_sensitivity")
def excess(z: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return E(z, alpha) = max over v >= 0 of (z v - alpha v²)/max(1, v²/2): by how much a point may exceed its mean.

    z²/(4 alpha) where z <= 2 sqrt2 alpha, sqrt2 z - 2 alpha beyond; at most sqrt2 z.

    Parameters
    ----------
    z : array, >= 0, |p_D|/sqrt(opt)
    alpha : array, >= 0

    Examples
    --------
    >>> excess(np.array([1.0, 4.0]), np.array([1.0, 1.0]))
    array([0.25      , 3.65685425])
    """
    z, alpha = np.broadcast_arrays(np.asarray(z, np.float64), np.asarray(alpha, np.float64))
    near = z <= 2.0 * math.sqrt(2.0) * alpha
    inner = z * z / np.where(near & (alpha > 0), 4.0 * alpha, 1.0)
    return np.where(near, inner, math.sqrt(2.0) * z - 2.0 * alpha)


@implements("boundlab_svm_sensitivity", "boundlab_svm_hinge_only", "tukan2021_clip", "tukan2021_sensitivity")
def sensitivities(clusters: Clusters, *, lam: float, opt: float, hinge_only: bool = False) -> np.ndarray:
    """Return valid upper bounds on all sensitivities, rounded up.

        s(p) <= min(1, u_p [1/U(B) + lam E(|p_D|/sqrt(opt), alpha)]),    alpha = (U - U(B))/(2 lam U U(B))

    With `hinge_only` they bound sup_w u_p lam h(p, w)/F(P, w), for a coreset that keeps |w|²/2 as it is and samples
    the hinge losses alone: alpha = 1/(2 lam U(B)) then, which is larger, and the bounds are smaller.

    Parameters
    ----------
    clusters : from ``clusters_of``
    lam : positive, the SVM's C; at an inner node of merge and reduce ``coreset_lam(...)``
    opt : positive, a LOWER bound on min F, such as ``dual_value(...)``: an upper estimate makes the result wrong
    hinge_only : whether the regulariser is kept exactly

    Returns
    -------
    ndarray (n,), in (0, 1]

    Raises
    ------
    InvalidParameter
        If lam or opt is not positive.

    Notes
    -----
    Ours; ``proofs_checks/boundlab_svm_sensitivity.py`` and ``boundlab_svm_hinge_only.py``. The cut at 1 is taken
    after the weight is multiplied in.

    Examples
    --------
    >>> c = clusters_of(np.array([[1.0], [1.2], [3.0], [3.0]]), np.ones(4), [0, 0, 1, 1])
    >>> np.round(sensitivities(c, lam=1.0, opt=0.5), 3)
    array([0.54, 0.54, 0.5 , 0.5 ])
    """
    z = clusters.distance / math.sqrt(positive("opt", opt)) * clusters.up
    rest = clusters.total if hinge_only else clusters.rest
    alpha = rest / (2.0 * positive("lam", lam) * clusters.total * clusters.mass) / clusters.up
    return np.minimum(1.0, clusters.u * (1.0 / clusters.mass + lam * excess(z, alpha)) * clusters.up)


@implements("tukan2021_sensitivity", "tukan2021_code_alpha")
def published_sensitivities(
    clusters: Clusters, *, lam: float, opt: float, floor: float = PUBLISHED_FLOOR
) -> np.ndarray:
    """Return gamma(p), the published bound: REFUTED, kept to show. Multiplied by ``REPAIR`` it is valid.

        gamma(p) = u_p [1/U(B) + lam max(floor alpha, (9/2)(sqrt(4 alpha² + 2 z²/9) - 2 alpha))],  z = |p_D|/sqrt(opt)

    It is below the supremum that it should bound where 2 sqrt2 < z/alpha < 4 sqrt2 (floor 2, the published one), or
    5/sqrt2 < z/alpha < 4 sqrt2 (floor 3, in the released code); not rounded, not cut at 1.

    Parameters
    ----------
    clusters, lam, opt : as for ``sensitivities``
    floor : positive, 2 in the paper and 3 in its code

    Source: Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; item number not known to us.

    Examples
    --------
    >>> c = clusters_of(np.array([[1.0], [1.2], [3.0], [3.0]]), np.ones(4), [0, 0, 1, 1])
    >>> np.round(published_sensitivities(c, lam=1.0, opt=0.5), 3)
    array([0.75, 0.75, 0.75, 0.75])
    """
    z = clusters.distance / math.sqrt(positive("opt", opt))
    alpha = clusters.rest / (2.0 * positive("lam", lam) * clusters.total * clusters.mass)
    tail = 4.5 * (np.sqrt(4.0 * alpha * alpha + 2.0 * z * z / 9.0) - 2.0 * alpha)
    return clusters.u * (1.0 / clusters.mass + lam * np.maximum(positive("floor", floor) * alpha, tail))


@implements("tukan2021_total_sensitivity")
def total_bound(clusters: Clusters, *, lam: float, opt: float) -> float:
    """Return K + sqrt2 lam Var/sqrt(opt), rounded up: an upper bound on the sum of ``sensitivities``.

    K is the number of clusters over all classes, Var = sum_p u_p |p_D|. It also bounds the sum for hinges only.

    Parameters
    ----------
    clusters, lam, opt : as for ``sensitivities``

    Examples
    --------
    >>> c = clusters_of(np.array([[1.0], [1.2], [3.0], [3.0]]), np.ones(4), [0, 0, 1, 1])
    >>> round(total_bound(c, lam=1.0, opt=0.5), 9)
    2.4
    """
    tail = math.sqrt(2.0) * positive("lam", lam) * clusters.variation / math.sqrt(positive("opt", opt))
    return (clusters.count + tail) * clusters.up**3


@implements("tukan2021_total_sensitivity")
def published_total_bound(clusters: Clusters, *, lam: float, opt: float) -> float:
    """Return 2 K + 3 lam Var/sqrt(2 opt), the published bound on the total (4k + ... with k clusters per class).

    Source: Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; item number not known to us.
    """
    tail = 3.0 * positive("lam", lam) * clusters.variation / math.sqrt(2.0 * positive("opt", opt))
    return 2.0 * clusters.count + tail


@implements("tukan2021_clip")
def released_clip(u: np.ndarray, term: np.ndarray) -> np.ndarray:
    """Return u min(term, 1), as the released code cuts: REFUTED, kept to show; min(1, u term) is the valid cut.

    A point of weight u < 1 gets at most u, although its sensitivity can be close to 1.
    """
    return np.asarray(u, np.float64) * np.minimum(np.asarray(term, np.float64), 1.0)


def _checked(z: Any, u: Any, cluster: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    z = matrix("z", z)
    u = weights("u", u, len(z))
    cluster = np.asarray(cluster)
    if cluster.shape != (len(z),) or u.shape != (len(z),):
        raise InvalidParameter(f"u and cluster must have shape ({len(z)},), got {u.shape} and {cluster.shape}.")
    names, which = np.unique(cluster, return_inverse=True)
    return z, u, names, which.reshape(-1)


def _clusters(u: np.ndarray, which: np.ndarray, mass: np.ndarray, distance: np.ndarray, z: np.ndarray) -> Clusters:
    total, step = float(u.sum()), (len(u) + 16) * ROUNDING
    longest = np.zeros(len(mass))
    np.maximum.at(longest, which, np.linalg.norm(z, axis=1))
    own = mass[which]
    return Clusters(
        u=u,
        mass=own,
        distance=distance * (1.0 + step) + 2.0 * step * longest[which] * (own > u),
        rest=np.where(own < total, np.maximum(0.0, total - own - 2.0 * step * total), 0.0),
        total=total,
        count=len(mass),
        up=UP + 4.0 * step,
    )
