"""A claim inside a claim: P over coins of "the inner failure rate exceeds gamma" is at most delta (PAC claims)."""

from __future__ import annotations

from boundlab._errors import probability
from boundlab._theory import implements


@implements("boundlab_nested_claim")
def nested_thresholds(delta: float, beta_upper: float = 0.01, beta_lower: float | None = None) -> tuple[float, float]:
    """Return the thresholds at which the two e-processes judge a nested claim.

    A coin's inner rate is only seen through limits: Z^U = 1{upper limit > gamma}, missed with probability at most
    beta_upper given the coin, and Z^L = 1{lower limit > gamma}, raised wrongly with at most beta_lower. If the claim
    P(inner rate > gamma) <= delta is false, P(Z^U) > (1 - beta_upper) delta; if it is true,
    P(Z^L) <= delta + beta_lower (1 - delta). So feed Z^U to M- at the first threshold and Z^L to M+ at the second.

    Parameters
    ----------
    delta : float in (0, 1)
        The failure probability of the outer claim.
    beta_upper, beta_lower : float in (0, 1)
        Levels of the inner limits given the coin; beta_lower is delta/100 by default.

    Returns
    -------
    tuple of two floats
        The first rounded down, the second rounded up.

    Raises
    ------
    InvalidParameter
        If a level is outside (0, 1).

    Examples
    --------
    >>> low, high = nested_thresholds(0.05)
    >>> low < 0.0495, high > 0.050475
    (True, True)
    """
    d, up = probability("delta", delta), probability("beta_upper", beta_upper)
    down = d / 100.0 if beta_lower is None else probability("beta_lower", beta_lower)
    return d * (1.0 - up) * (1.0 - 2.0**-50), (d + down * (1.0 - d)) * (1.0 + 2.0**-50)
