"""What rounding the weights to the code's grid adds to a relative error."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.codes.log_grid import LogGrid

ROUNDING = 1e-14
LOG_ROUNDING = 1e-11
"""Share of rho by which the float64 logarithm of a very large or small weight may mistake the nearest level."""


@implements("boundlab_rounding_containment")
def grid_error(steps: int) -> float:
    """Return rho = 2^(1/(2 steps)) - 1, by which share `LogGrid.round` moves a weight at most; rounded up.

    It holds for weights of a size in [2^-1022, 2^1023]; smaller ones become 0, and above there may be no nearer level.

    Parameters
    ----------
    steps : int
        Grid points for each factor of 2, as `LogGrid` takes them.

    Returns
    -------
    float in (0, 0.42)

    Raises
    ------
    InvalidParameter
        If `steps` is no grid of `LogGrid`.

    Examples
    --------
    >>> round(grid_error(1), 6), round(grid_error(16), 6)
    (0.414214, 0.021897)
    """
    return float(np.expm1(np.log(2.0) / (2 * LogGrid(steps).steps))) * (1.0 + LOG_ROUNDING)


@implements("boundlab_rounding_containment")
def rounded_error(eps: np.ndarray | float, rho: float) -> np.ndarray:
    """Return eps + rho + eps rho: the relative error of a group's sum once each of its weights has moved by rho.

    If a group of non-negative terms is kept within (1 ± eps) of its sum, and each term then moves within (1 ± rho) of
    itself, the sum ends within 1 ± this. Rounded up.

    Parameters
    ----------
    eps : float or array, >= 0
    rho : float >= 0

    Returns
    -------
    ndarray of the shape of eps

    Raises
    ------
    InvalidParameter
        If eps or rho is negative or NaN.

    Notes
    -----
    ``proofs_checks/boundlab_rounding_containment.py``.

    Examples
    --------
    >>> float(rounded_error(0.5, 0.1).round(6))
    0.65
    """
    eps = np.asarray(eps, np.float64)
    if not (np.all(eps >= 0) and rho >= 0):
        raise InvalidParameter(f"eps and rho must be at least 0, got eps={eps!r} and rho={rho!r}.")
    return (eps + rho + eps * rho) * (1.0 + ROUNDING)
