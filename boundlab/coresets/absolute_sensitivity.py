"""What one neuron can contribute to sum_q om(q) |<q, x>| at any x of the whole space: l1 Lewis weights, and a ratio.

ReLU is homogeneous, so that no ball is needed where the error is measured against F(x) = sum_q om(q) |<q, x>|.
Rows are om(p) p: neurons already multiplied by their largest outgoing weight. Points without a clear rank are refused,
since a direction that is left out would make the bounds too small (``linf.row_space``).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linprog

from boundlab._errors import InvalidParameter, matrix, positive_int
from boundlab._theory import implements
from boundlab.coresets.linf import row_space

ROUNDING = 1e-9
"""Relative enlargement of a sensitivity and absolute allowance for a share, above the rounding of what is behind."""


@implements("cohen2015_lewis_weights", "boundlab_homogeneous_sensitivity")
def lewis_weights(points: np.ndarray, *, steps: int = 40) -> np.ndarray:
    """Return the l1 Lewis weights: tau_i = (a_i^T (sum_j a_j a_j^T/tau_j)^-1 a_i)^(1/2), with sum the rank.

    Each step halves the largest |ln| of the ratio to the fixed point. Zeros for rows at 0.

    Parameters
    ----------
    points : (n, d), not all rows 0
    steps : >= 1

    Raises InvalidParameter. Source: Cohen and Peng (arXiv:1412.0588), as we understand the paper.

    Examples
    --------
    >>> lewis_weights(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])).round(9)
    array([0.25, 0.75, 1.  ])
    """
    a, moving = _rows(points)
    tau = np.ones(len(a))
    for _ in range(positive_int("steps", steps)):
        tau = _next(a, tau)
    weights = np.zeros(len(moving))
    weights[moving] = tau
    return weights


@implements("cohen2015_lewis_weights", "boundlab_homogeneous_sensitivity")
def lewis_sensitivities(points: np.ndarray, *, steps: int = 40) -> np.ndarray:
    """Return s(p) >= sup over x of |<p, x>|/sum_q |<q, x>|, rounded up, with sum close to the rank.

        sigma_i max_j sigma_j/tau_j,    sigma_i = (a_i^T (sum_j a_j a_j^T/tau_j)^-1 a_i)^(1/2)

    holds for ANY positive tau; at the fixed point it is tau. Parameters and errors as for `lewis_weights`.

    Examples
    --------
    >>> lewis_sensitivities(np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])).round(6)
    array([0.25, 0.75, 1.  ])
    """
    a, moving = _rows(points)
    tau = lewis_weights(points, steps=steps)[moving]
    sigma = _next(a, tau)
    s = np.zeros(len(moving))
    s[moving] = sigma * float((sigma / tau).max()) * (1.0 + ROUNDING)
    return s


@implements("tukan2022_multiplicative")
def multiplicative_share(points: np.ndarray) -> float:
    """Return kappa <= inf over x of sum_p ReLU(<p, x>)/sum_p |<p, x>|, rounded down: (1 - rho)/2 by a linear program.

        rho = max {<sum_p p, x> : sum_p |<p, x>| <= 1} = min {max_p |y_p| : sum_p y_p p = sum_p p}

    An error eps sum om |<p, x>| is one of (eps/kappa) sum om ReLU(<p, x>). 0 if some x switches every neuron off or on
    its border, as in a pointed cone: no relative error is then implied. The y found is a certificate of kappa.

    Parameters
    ----------
    points : (n, d), rows om(p) p, not all 0

    Raises InvalidParameter. Ours; proved in ``tukan2022_multiplicative``.

    Examples
    --------
    >>> [round(multiplicative_share(np.array(p)), 6) for p in ([[1.0], [-1.0]], [[3.0], [-1.0]], [[1.0], [2.0]])]
    [0.5, 0.25, 0.0]
    """
    a, _ = _rows(points)
    a = a / np.abs(a).max()
    n, r = a.shape
    goal = a.sum(axis=0)
    bound = np.concatenate([np.eye(n), -np.eye(n)])
    found = linprog(
        np.append(np.zeros(n), 1.0),
        A_ub=np.column_stack([bound, -np.ones(2 * n)]),
        b_ub=np.zeros(2 * n),
        A_eq=np.column_stack([a.T, np.zeros(r)]),
        b_eq=goal,
        bounds=[(None, None)] * n + [(0, None)],
        method="highs",
    )
    if found.x is None:
        raise InvalidParameter(f"points are too ill-conditioned for a linear program: {found.message}")
    y = found.x[:n]
    y = y + np.linalg.lstsq(a.T, goal - a.T @ y, rcond=None)[0]  # the solver's residual
    return max(0.0, 0.5 * (1.0 - float(np.abs(y).max())) - ROUNDING)


def _rows(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = matrix("points", points)
    moving = np.any(p != 0.0, axis=1)
    return row_space(p, whiten=True)[moving], moving


def _next(a: np.ndarray, tau: np.ndarray) -> np.ndarray:
    moment = (a / tau[:, None]).T @ a
    sigma = np.sqrt(np.einsum("ij,ij->i", a, np.linalg.solve(moment, a.T).T))
    if not np.all(sigma > 0.0):
        raise InvalidParameter("points must not hold rows so short beside the others that their squares vanish.")
    return sigma
