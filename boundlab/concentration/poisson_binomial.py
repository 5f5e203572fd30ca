"""Independent trials with different failure probabilities: their failures against the binomial of the mean."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements


@implements("hoeffding1956_unequal_trials")
def poisson_binomial(p: np.ndarray) -> np.ndarray:
    """Return P(k failures), k = 0 ... n, for independent trials that fail with p_1 ... p_n.

    Computed by the exact convolution; all terms are at least 0, so that the relative error stays below 4 n 2^-52. For
    k <= n mean(p) - 1 the lower tail is at most that of Bin(n, mean(p)): a Clopper-Pearson limit of the mean that is
    computed from stratified trials keeps its level wherever it lies above (k + 1)/n.

    Parameters
    ----------
    p : array (n,), in [0, 1]

    Returns
    -------
    array (n + 1,)

    Raises
    ------
    InvalidParameter
        If a probability is outside [0, 1], or p is empty.

    Notes
    -----
    Source: Hoeffding (1956), as we understand the paper; ``proofs_checks/hoeffding1956_unequal_trials.py``.

    Examples
    --------
    >>> poisson_binomial([0.5, 0.25]).tolist()
    [0.375, 0.5, 0.125]
    """
    rates = np.asarray(p, np.float64)
    if rates.ndim != 1 or not len(rates) or not np.all((rates >= 0.0) & (rates <= 1.0)):
        raise InvalidParameter(f"p must be a row of probabilities in [0, 1], got shape {rates.shape}.")
    law = np.ones(1)
    for rate in rates:
        law = np.concatenate([law * (1.0 - rate), [0.0]]) + np.concatenate([[0.0], law * rate])
    return law
