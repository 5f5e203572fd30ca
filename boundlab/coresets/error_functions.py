"""Which relative error N draws of a group certify in closed form, as published and as coded, and the better of two.

Group of total sensitivity S: with A = max(1, K S), N draws from q_j = s_j/S and u = A ln(2/delta)/(3 N), Bernstein's
bound gives eps = u + sqrt(u² + 6 u), the inverse of N = (6 + 2 eps) A ln(2/delta)/(3 eps²).
"""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, probability
from boundlab._theory import implements

ROUNDING = 1e-12


@implements("baykal2022_sipp_rand")
def bernstein_eps(total: np.ndarray, size: np.ndarray | float, delta: float, *, K: float = 1.0) -> np.ndarray:
    """Return u + sqrt(u² + 6u), u = max(1, K S) ln(2/delta)/(3 N), rounded up: the relative error that N draws certify.

    Parameters
    ----------
    total : array (R,), total sensitivities S >= 0; 0 where S = 0, for such a group has nothing to draw
    size : array (R,) or float, N >= 0 draws with replacement from q_j = s_j/S; inf where N = 0
    delta : float in (0, 1), failure probability of one group, both tails together
    K : float >= 1, by how much a share may exceed its sensitivity

    Returns
    -------
    (R,) float64. `boundlab.coresets.sensitivity_sampling.certified_eps` is never larger; this one has a closed form.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, randomised method, as we understand the paper; the inverse is ours.

    Examples
    --------
    >>> f"{bernstein_eps(np.array([8.0]), 5000, 1e-8)[0]:.4f}"
    '0.2577'
    """
    s, u = _exponent(total, size, delta, K)
    return np.where(s > 0, u + np.sqrt(u * u + 6.0 * u), 0.0)


@implements("baykal2022_error_function_in_code")
def published_eps(total: np.ndarray, size: np.ndarray | float, delta: float, *, K: float = 1.0) -> np.ndarray:
    """Return u + sqrt(u² + 3u), the error function of the released code; refuted, kept to show.

    Too small by up to a factor sqrt(2): half of the variance term is missing. Parameters, returns and errors as in
    `bernstein_eps`.

    Notes
    -----
    The released code of Baykal et al. (2022): alpha = 2 A L and [sqrt(v² + 6 v) + v]/2 at v = alpha/(3 N) = 2 u.

    Examples
    --------
    >>> f"{published_eps(np.array([8.0]), 5000, 1e-8)[0]:.4f}"
    '0.1854'
    """
    s, u = _exponent(total, size, delta, K)
    return np.where(s > 0, u + np.sqrt(u * u + 3.0 * u), 0.0)


@implements("baykal2022_hybrid")
def hybrid_error(dropped: np.ndarray, sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (deterministic, eps): which groups keep their largest edges instead of sampling, and the smaller error.

    Both errors are functions of the calibration points alone. A choice that looks at the draws has no such guarantee.

    Parameters
    ----------
    dropped : (R,) what `boundlab.coresets.top_k.dropped_sum` certifies
    sampled : (R,) what `bernstein_eps` or a sharper rule certifies, with probability 1 - delta

    Returns
    -------
    deterministic : (R,) bool, ties included
    eps : (R,) float64, the minimum

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, hybrid method, as we understand the paper.

    Examples
    --------
    >>> [v.tolist() for v in hybrid_error(np.array([0.1, 0.9]), np.array([0.4, 0.4]))]
    [[True, False], [0.1, 0.4]]
    """
    return dropped <= sampled, np.minimum(dropped, sampled)


def _exponent(total: np.ndarray, size: np.ndarray | float, delta: float, K: float) -> tuple[np.ndarray, np.ndarray]:
    """S, and u = max(1, K S) ln(2/delta)/(3 N), rounded up."""
    s, n = np.asarray(total, np.float64), np.asarray(size, np.float64)
    if not ((s >= 0).all() and (n >= 0).all() and K >= 1.0):
        raise InvalidParameter(f"total >= 0, size >= 0 and K >= 1 are needed, got K={K!r}.")
    with np.errstate(divide="ignore"):
        return s, np.maximum(1.0, K * s) * -np.log(0.5 * probability("delta", delta)) / (3.0 * n) * (1.0 + ROUNDING)
