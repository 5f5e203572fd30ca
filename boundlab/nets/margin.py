"""Margins of a classifier's outputs, and how much of one an error of the outputs can cost."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix
from boundlab._theory import implements

ROUNDING = 1e-14


def margins(f: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return f_y - max_{i != y} f_i for each point: above 0 where the class y wins without a tie.

    Parameters
    ----------
    f : array (points, classes), outputs; at least two classes
    y : array (points,), labels 0..classes-1

    Returns
    -------
    array (points,)

    Raises
    ------
    InvalidParameter
        If f is not finite with two classes or more, or a label does not fit.

    Examples
    --------
    >>> margins(np.array([[3.0, 1.0, 2.0]]), np.array([0]))
    array([1.])
    """
    f = _outputs(f)
    y = labels("y", y, points=len(f), classes=f.shape[1], present=1)
    rows = np.arange(len(f))
    others = f.copy()
    others[rows, y] = -np.inf
    return f[rows, y] - others.max(axis=1)


@implements("boundlab_margin_lemma")
def lost_margin(f: np.ndarray, eps: float) -> np.ndarray:
    """Return by how much an error |f̂_i - f_i| <= eps |f_i| of every output can lower a margin, for the worst label.

        eps (|f|_(1) + |f|_(2)),    the two largest |f_i|;   at most 2 eps max_i |f_i| and sqrt(2) eps ||f||_2.

    Parameters
    ----------
    f : array (points, classes), outputs of the original net; at least two classes
    eps : float >= 0

    Returns
    -------
    array (points,), rounded up; where a margin of f exceeds it, the decision stays

    Raises
    ------
    InvalidParameter
        If f is not finite with two classes or more, or eps is below 0 or not finite.

    Notes
    -----
    ``proofs_checks/boundlab_margin_lemma.py``.

    Examples
    --------
    >>> lost_margin(np.array([[3.0, -1.0, 2.0]]), 0.1).round(3)
    array([0.5])
    """
    f = _outputs(f)
    if not 0.0 <= eps < np.inf:
        raise InvalidParameter(f"eps must be finite and at least 0, got eps={eps!r}.")
    largest = np.partition(np.abs(f), -2, axis=1)[:, -2:]
    return eps * (largest[:, 0] + largest[:, 1]) * (1.0 + ROUNDING)


def _outputs(f: np.ndarray) -> np.ndarray:
    f = matrix("f", f)
    if f.shape[1] < 2:
        raise InvalidParameter(f"f must have at least two classes, got shape {f.shape}.")
    return f
