"""Draws without replacement from many groups at once: each item is kept once or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._theory import implements
from boundlab.coresets.pivotal import pivotal_sample
from boundlab.coresets.threshold_sampling import poisson_sample


@implements("horvitz1952_unbiased", "srinivasan2001_pivotal")
@dataclass(frozen=True, eq=False)
class Inclusions:
    """0/1 counts with P(count_j = 1) = pi_j, by a coin for each item or with a fixed number in each group.

    What `Multinomials` is for draws with replacement.

    Parameters
    ----------
    probabilities : (edges,) pi_j in [0, 1]
    indptr : (R + 1,) int64, group r stands at ``indptr[r]:indptr[r + 1]``; no group is empty
    fixed : True keeps exactly sum pi_j items of each group if that is whole, by pivotal sampling

    Examples
    --------
    >>> half = Inclusions(np.full(10, 0.5), np.array([0, 4, 10]), fixed=True)
    >>> np.add.reduceat(half.draw(np.random.default_rng(0)), half.indptr[:-1])
    array([2, 3])
    """

    probabilities: np.ndarray
    indptr: np.ndarray
    fixed: bool

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return fresh counts, shape (edges,) int64."""
        if self.fixed:
            return pivotal_sample(self.probabilities, self.indptr, rng).astype(np.int64)
        return poisson_sample(self.probabilities, rng)[0].astype(np.int64)

    def draw_sums(self, worth: np.ndarray, columns: np.ndarray, a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return sum_j c_j worth_j a[columns_j] in each group, shape (R,), with the counts c that `draw` would give."""
        return np.add.reduceat(self.draw(rng) * worth * a[columns], self.indptr[:-1])
