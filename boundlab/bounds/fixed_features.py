"""Bounds for a linear head on features that were fixed before the data."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements


@implements("lei2015_gaussian_complexity")
def linear_head_complexity(
    features: np.ndarray, classes: int, budget: float, lipschitz: float, delta: float, *, largest_loss: float = 1.0
) -> float:
    """Return (2 L sqrt(2 pi)/n) Lambda sqrt(c sum |phi_i|²) + 3 B sqrt(ln(2/delta)/(2n)).

    The Gaussian complexity of the heads {x -> W phi(x): |W|_F <= Lambda} with c classes is E |sum_i g_i phi_i^T|_F
    Lambda, at most Lambda sqrt(c sum |phi_i|²) by Jensen; the loss is L-Lipschitz in the margin and at most B.

    Parameters
    ----------
    features : array (n, p)
        phi(x_i); phi must be fixed before the sample. On learned features the value is a measure, not a bound.
    classes : int
        c, at least 2.
    budget : float
        Lambda, fixed before the sample.
    lipschitz : float
        L: 1/gamma for the ramp loss of margin gamma.
    delta : float in (0, 1)
    largest_loss : float
        B.

    Returns
    -------
    float
        Rounded up.

    Raises
    ------
    InvalidParameter
        If a value is out of range or the features are not a finite matrix.

    Notes
    -----
    Source: Lei, Dogan, Binder and Kloft (2015), arXiv:1506.04359, as we understand the paper; the evaluation of the
    Gaussian complexity is ours, ``proofs_checks/lei2015_gaussian_complexity.py``.
    """
    phi = np.asarray(features, np.float64)
    if phi.ndim != 2 or not phi.size or not np.all(np.isfinite(phi)):
        raise InvalidParameter(f"features must be a finite matrix (n, p), got shape {phi.shape}.")
    n, c = len(phi), positive_int("classes - 1", classes - 1) + 1
    gaussian = positive("budget", budget) * math.sqrt(c * float((phi**2).sum()))
    slope, top = positive("lipschitz", lipschitz), positive("largest_loss", largest_loss)
    confidence = 3.0 * top * math.sqrt(math.log(2.0 / probability("delta", delta)) / (2.0 * n))
    return (2.0 * slope * math.sqrt(2.0 * math.pi) / n * gaussian + confidence) * (1.0 + 1e-12)
