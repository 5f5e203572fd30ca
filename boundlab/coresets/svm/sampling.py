"""Draw an SVM coreset: independent draws with replacement, reweighted so that every weight is right on average."""

from __future__ import annotations

from typing import Any

import numpy as np

from boundlab._errors import positive_int
from boundlab._theory import implements
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.svm.objective import weights


@implements("tukan2021_code_loops", "boundlab_svm_size")
def draw_weights(u: Any, bounds: Any, size: int, rng: np.random.Generator, *, coresets: int = 1) -> np.ndarray:
    """Return the weights v_p = u_p count_p/(size q_p), q_p = bounds_p/sum(bounds), of independent coresets.

    The counts are multinomial, `size` draws with replacement, so that E v = u. A point that was not drawn has v = 0.

    Parameters
    ----------
    u : (n,), weights > 0
    bounds : (n,), sensitivity bounds > 0
    size : m, the number of draws of one coreset, at least 1
    rng : source of randomness
    coresets : how many independent coresets to draw, at least 1

    Returns
    -------
    ndarray (coresets, n), float64

    Raises
    ------
    InvalidParameter
        If shapes do not fit, a weight or a bound is not positive, or size or coresets is no whole number from 1.

    Examples
    --------
    >>> draw_weights([1.0], [1.0], 5, np.random.default_rng(0))
    array([[1.]])
    """
    u = weights("u", u, np.size(u))
    bounds = weights("bounds", bounds, len(u))
    size, coresets = positive_int("size", size), positive_int("coresets", coresets)
    q = bounds / bounds.sum()
    indptr = np.arange(coresets + 1, dtype=np.int64) * len(q)
    counts = draw_counts(np.tile(q, coresets), indptr, np.full(coresets, size, np.int64), rng)
    return counts.reshape(coresets, len(q)) * (u / (size * q))
