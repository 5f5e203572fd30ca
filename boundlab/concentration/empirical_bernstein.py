"""Upper limits for a mean in [0, 1] from N independent draws: by their variance, and by the relative entropy."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.chernoff import kl_inverse

_UP = 1.0 + 1e-13  # past the error of a mean, a variance and a few roundings


@implements("maurer2009_empirical_bernstein")
def empirical_bernstein(mean: float, variance: float, draws: int, delta: float) -> float:
    """Return mean + sqrt(2 V ln(2/delta) / N) + 7 ln(2/delta) / (3 (N-1)), rounded up; may exceed 1.

    With probability at least 1 - delta it is at least the expectation of N i.i.d. variables in [0, 1].

    Parameters
    ----------
    mean : float
        Sample mean, in [0, 1].
    variance : float
        Sample variance V with divisor N - 1, in [0, 1/2].
    draws : int
        N >= 2.
    delta : float
        In (0, 1).

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Maurer and Pontil, "Empirical Bernstein bounds and sample variance penalization" (COLT 2009), as we understand the
    paper; proved anew in ``maurer2009_empirical_bernstein``.

    Examples
    --------
    >>> f"{empirical_bernstein(0.017, 1e-5, 1_500, 0.01):.4f}"
    '0.0255'
    """
    return empirical_bernstein_nats(mean, variance, draws, -math.log(probability("delta", delta)))


@implements("maurer2009_empirical_bernstein")
def empirical_bernstein_nats(mean: float, variance: float, draws: int, nats: float) -> float:
    """`empirical_bernstein` at delta = e^-nats, which may lie far below the smallest float; nats >= 0.

    Examples
    --------
    >>> f"{empirical_bernstein_nats(0.4, 1e-3, 1_000_000, 2_000.0):.4f}"
    '0.4067'
    """
    draws = positive_int("draws", draws)
    if draws < 2:
        raise InvalidParameter(f"draws must be at least 2, got draws={draws!r}.")
    mean, variance = _within("mean", mean, 1.0), _within("variance", variance, 0.5)
    if not nats >= 0.0:
        raise InvalidParameter(f"nats must be at least 0, got nats={nats!r}.")
    level = math.log(2.0) + nats
    return (mean + math.sqrt(2.0 * variance * level / draws) + 7.0 * level / (3.0 * (draws - 1))) * _UP


@implements("maurer2009_empirical_bernstein")
def monte_carlo_limit(values: np.ndarray, delta: float) -> float:
    """An upper limit of the mean of i.i.d. draws in [0, 1]: the better of two, each at delta / 2; rounded up.

    Such as the risk r(Q) of a posterior from N sampled networks: kl^-1(mean, ln(2/delta)/N) where the draws are coins,
    `empirical_bernstein` where each is an error rate on many points and they vary little. Its delta is spent on top of
    the bound's.

    Parameters
    ----------
    values : array, shape (N,)
        In [0, 1], N >= 2 fixed beforehand.
    delta : float
        In (0, 1).

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InvalidParameter
        If a value is outside [0, 1], there are fewer than two, or delta is not in (0, 1).

    Examples
    --------
    >>> f"{monte_carlo_limit(np.full(1_500, 0.017), 0.01):.4f}"
    '0.0263'
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not (values.min() >= 0.0 and values.max() <= 1.0):
        raise InvalidParameter(f"values must be at least two numbers in [0, 1], got shape {values.shape}.")
    half = 0.5 * probability("delta", delta)
    mean = min(1.0, math.fsum(values) / len(values) * _UP)
    variance = min(0.5, math.fsum((values - mean) ** 2) / (len(values) - 1) * _UP)
    by_entropy = kl_inverse(mean, -math.log(half) / len(values) * _UP)
    return min(1.0, by_entropy, empirical_bernstein(mean, variance, len(values), half))


def _within(name: str, value: float, top: float) -> float:
    if not 0.0 <= value <= top:
        raise InvalidParameter(f"{name} must be in [0, {top:g}], got {name}={value!r}.")
    return float(value)
