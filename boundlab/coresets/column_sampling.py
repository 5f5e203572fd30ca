"""Sampling whole columns of a weight matrix, that is the neurons that it reads: one draw for all rows."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size


@implements("baykal2019_corenet_plus")
def column_size(
    sensitivities: np.ndarray, eps: float, delta: float, sums: int, *, K: float = 1.0, rule: Rule = Rule.KL
) -> float:
    """Return how many draws of columns keep every signed sum of a layer within (1 ± eps), at a fixed good point.

    The m of `sample_size` for S = sum of the sensitivities, at delta / sums: a union over the sums. By Bernstein's rule
    that is ⌈(2 + 2 eps/3) K S ln(2 sums/delta)/eps²⌉.

    Parameters
    ----------
    sensitivities : (in,) from `neuron_sensitivities`; at a good point no share exceeds K times its column's
    eps : above 0
    delta : in (0, 1), failure probability of the whole layer
    sums : how many signed sums there are: the groups of neuron and sign, at most twice the reading neurons
    K, rule : as for `sample_size`

    Returns
    -------
    A whole number as float64, rounded up; 0 where all sensitivities are 0.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> column_size(np.array([0.5, 0.5]), 0.5, 0.1, 2, rule=Rule.BERNSTEIN)
    35.0
    """
    probability("delta", delta)
    sums = positive_int("sums", sums)
    total = np.array([_checked(sensitivities).sum()])
    return float(sample_size(total, eps, delta / sums, K=K, rule=rule)[0])


@implements("baykal2019_corenet_plus")
def column_scales(sensitivities: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return the factor c_j / (m q_j) of each column, c ~ Multinomial(m, q) and q = s/S; its mean is 1 where s_j > 0.

    Multiply column j of the reading layer by it; behind a ReLU, row j of the layer before (with its bias) will do as
    well. A neuron of factor 0 can be removed, with its row and its column.

    Parameters
    ----------
    sensitivities : (in,), >= 0
    size : m >= 1
    rng : numpy Generator

    Returns
    -------
    (in,) float64, >= 0; all 0 where all sensitivities are 0

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> column_scales(np.array([1.0, 0.0]), 7, np.random.default_rng(0)).tolist()
    [1.0, 0.0]
    """
    s, m = _checked(sensitivities), positive_int("size", size)
    total = s.sum()
    if total == 0:
        return np.zeros_like(s)
    q = s / total
    counts = draw_counts(q, np.array([0, len(s)]), np.array([m]), rng)
    return np.divide(counts, m * q, out=np.zeros_like(s), where=counts > 0)


def _checked(sensitivities: np.ndarray) -> np.ndarray:
    s = np.asarray(sensitivities, np.float64)
    if s.ndim != 1 or s.size == 0 or not (np.isfinite(s).all() and (s >= 0).all()):
        raise InvalidParameter(f"sensitivities must be a row of finite numbers >= 0, got shape {s.shape}.")
    return s
