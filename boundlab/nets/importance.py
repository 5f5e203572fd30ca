"""Empirical sensitivities: the largest share of a group's sum that an edge takes on a set of points.

    s_ij = max_x  |w_ij| a_j(x) / z_i^±(x),      z_i^±(x) = sum of |w_ik| a_k(x) over the edges k of the same sign

This is a (max, x) matrix product of the activations with 1/z. A compiled kernel runs it in blocks of points; no tensor
of shape points x out x in exists, and memory is O(points (in + out) + in out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit, prange

from boundlab._theory import implements
from boundlab.nets.groups import side_sums, sign_groups
from boundlab.nets.passes import Pass, look
from boundlab.network import Layer
from boundlab.records import Sensitivities

BLOCK = 64

VECTORS = 4096
"""So many points are seen at once, between which a pass can be interrupted."""


@implements(
    "baykal2019_empirical_sensitivity",
    "baykal2019_instance_independent",
    "baykal2019_scale_invariance",
    "baykal2022_sensitivity_bounds",
)
def sensitivities(layer: Layer, vectors: Sequence[np.ndarray], *, theorem: str) -> Sensitivities:
    """Return s_j for every edge of a layer, as the maximum over all given non-negative vectors.

    Parameters
    ----------
    layer : weight (out, in)
    vectors : arrays (points, in), all entries >= 0: activations, or their two parts, or error envelopes
    theorem : slug of the theorem that uses them

    Notes
    -----
    A point with z_i^±(x) = 0 is skipped for that group (0/0 := 0): it loses nothing there.
    Source: CoreNet (arXiv:1804.05345), Algorithm 2 line 1, as we understand the paper.
    """
    blocks = (a[start : start + VECTORS] for a in vectors for start in range(0, len(a), VECTORS))
    return look(LargestShares(layer.weight), blocks).sensitivities(points=len(vectors[0]), theorem=theorem)


@implements("baykal2019_empirical_sensitivity")
class LargestShares(Pass):
    """The largest share of each edge on all vectors seen so far: any split of them into blocks gives the same."""

    def __init__(self, weight: np.ndarray) -> None:
        """Nothing is seen yet of a layer with this weight matrix, (out, in)."""
        self.weight = weight
        self.best = np.zeros_like(weight)

    def see(self, a: np.ndarray) -> None:
        """Take vectors (points, in) into account; all entries must be >= 0."""
        plus, minus = side_sums(self.weight, a)
        _max_times(np.ascontiguousarray(a), _inverse(plus), _inverse(minus), self.weight > 0, self.best)

    def state(self) -> dict[str, np.ndarray]:
        """The largest a_j/z_i^± of each edge."""
        return {"best": self.best}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take over what was seen."""
        self.best[...] = state["best"]

    def sensitivities(self, *, points: int, theorem: str) -> Sensitivities:
        """What was seen, as sensitivities; `points` tells from how many inputs."""
        groups = sign_groups(self.weight)
        values = np.minimum(groups.take(np.abs(self.weight) * self.best), 1.0)
        return Sensitivities(values=values, groups=groups, points=points, theorem=theorem)


def exceeds(layer: Layer, a: np.ndarray, bound: Sensitivities, K: float, exact: np.ndarray) -> np.ndarray:
    """Return which points break the premise |w_ij| a_j(x) <= K s_ij z_i^±(x) in some sampled group; (points,) bool.

    Groups marked in `exact` (R,) are not sampled and need no premise. An edge with s = 0 that is active breaks it.
    """
    groups = bound.groups
    limit = np.full_like(layer.weight, np.inf)
    share = np.where(groups.spread(exact), np.inf, K * (1.0 + 1e-10) * bound.values)
    limit[groups.spread(groups.neuron), groups.columns] = share
    plus, minus = side_sums(layer.weight, a)
    return _exceeds(np.ascontiguousarray(a), plus, minus, layer.weight, limit)


def _inverse(z: np.ndarray) -> np.ndarray:
    """1/z with 1/0 := 0, as (out, points); inf for the smallest z, whose shares then count as 1."""
    with np.errstate(over="ignore"):
        return np.divide(1.0, z, out=np.zeros_like(z), where=z > 0).T.copy()


@njit(cache=True, parallel=True)
def _max_times(a, inverse_plus, inverse_minus, positive, best):
    """best[i, j] = max(best[i, j], max_x a[x, j] / z_i^±(x)), the sign being that of weight (i, j)."""
    points, width = a.shape
    chunk = 8
    for c in prange((best.shape[0] + chunk - 1) // chunk):
        for start in range(0, points, BLOCK):
            for i in range(c * chunk, min((c + 1) * chunk, best.shape[0])):
                row, side = best[i], positive[i]
                for x in range(start, min(start + BLOCK, points)):
                    up, down, point = inverse_plus[i, x], inverse_minus[i, x], a[x]
                    for j in range(width):
                        share = point[j] * (up if side[j] else down)
                        row[j] = share if share > row[j] else row[j]


@njit(cache=True, parallel=True)
def _exceeds(a, plus, minus, weight, limit):
    points, width = a.shape
    broken = np.zeros(points, np.bool_)
    for x in prange(points):
        for i in range(weight.shape[0]):
            hit = False
            for j in range(width):
                w = weight[i, j]
                share = a[x, j] * abs(w)
                total = plus[x, i] if w > 0 else minus[x, i]
                if share > 0.0 and limit[i, j] < 1.0:
                    hit |= share > limit[i, j] * total
            if hit:
                broken[x] = True
                break
    return broken
