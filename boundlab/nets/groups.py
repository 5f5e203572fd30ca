"""The groups that CoreNet samples: one for each neuron and each sign of its incoming weights."""

from __future__ import annotations

import numpy as np
from numba import njit

from boundlab.records import Groups


def sign_groups(weight: np.ndarray) -> Groups:
    """Split each row of an (out, in) matrix into its positive and its negative entries; zeros belong to neither.

    Groups come in the order of neurons, the positive group first; empty groups are left out.
    """
    sides = np.stack([weight > 0, weight < 0], axis=1)  # (out, 2, in)
    columns = np.nonzero(sides)[2]
    counts = sides.sum(axis=2).ravel()
    kept = np.flatnonzero(counts)
    return Groups(
        neuron=kept // 2,
        sign=np.where(kept % 2 == 0, 1, -1).astype(np.int8),
        indptr=np.concatenate([[0], np.cumsum(counts[kept])]).astype(np.int64),
        columns=columns.astype(np.int64),
    )


def per_side(groups: Groups, values: np.ndarray, out: int, *, empty: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Lay one value per group out by neuron: (R,) -> two arrays (out,), for the positive and the negative groups."""
    sides = np.full((2, out), empty)
    sides[(groups.sign < 0).astype(np.int64), groups.neuron] = values
    return sides[0], sides[1]


def side_sums(weight: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return z^+ and z^-, the sums over positive and over negative weights of |w_ij| a_j; each (points, out)."""
    if len(a) == 1:  # the two copies of the weights would cost 90 times what the sums do
        sums = np.empty((2, 1, len(weight)))
        _side_sums(weight, np.ascontiguousarray(a[0], np.float64), sums[0, 0], sums[1, 0])
        return sums[0], sums[1]
    return a @ np.maximum(weight, 0.0).T, a @ np.maximum(-weight, 0.0).T


def parts(a: np.ndarray) -> list[np.ndarray]:
    """The non-negative parts that stand for an activation: [a], or [a^+, a^-] where some entry is negative."""
    return [a] if (a >= 0).all() else [np.maximum(a, 0.0), np.maximum(-a, 0.0)]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _side_sums(weight, a, plus, minus):
    for i in range(weight.shape[0]):
        above = below = 0.0
        for j in range(weight.shape[1]):
            above += max(weight[i, j], 0.0) * a[j]
            below += max(-weight[i, j], 0.0) * a[j]
        plus[i], minus[i] = above, below
