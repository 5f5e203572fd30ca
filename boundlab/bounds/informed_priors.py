"""Priors learned from a part of the data: what they must beat, and how a chain of them is certified."""

from __future__ import annotations

import math
from collections.abc import Sequence

from boundlab._errors import InvalidParameter, positive_int, probability, share
from boundlab._theory import implements
from boundlab.bounds.pac_bayes import nats, pac_bayes_kl, raised
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.chernoff import kl_inverse

_UP = 1.0 + 1e-14  # past the error of a handful of roundings


@implements("boundlab_data_dependent_prior")
def break_even_risk(
    rival_errors: int, divergence: float, n: int, delta: float, *, delta_sample: float | None = None
) -> float:
    """The largest r(Q) at which the PAC-Bayes-kl bound on n held-out examples is at most the test-set bound on them.

    The rival is trained on the prior's examples alone and errs on `rival_errors` of the n. At an equal error the
    test-set bound is always smaller, whatever the divergence; this is how much better the posterior has to be.

    Parameters
    ----------
    rival_errors : int
        In 0..n.
    divergence : float
        KL(Q||P) in nats, >= 0.
    n : int
        Examples that the prior has not seen.
    delta : float
        In (0, 1), the same for both.
    delta_sample : float, optional
        What is left of delta for the PAC-Bayes bound, where some of it went into an estimate of r(Q).

    Returns
    -------
    float
        In [0, 1), rounded down; 0 also where even r(Q) = 0 does not suffice.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Examples
    --------
    >>> f"{break_even_risk(354, 5.0, 30_000, 0.025):.4f}"
    '0.0098'
    """
    rival = upper_limit(rival_errors, n, delta)
    low, high = 0.0, 1.0  # the bound at `high` is above the rival's, at `low` not, unless low = 0
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high) or high - low < 1e-12:
            return low
        if pac_bayes_kl(middle, divergence, n, delta_sample or delta) <= rival:
            low = middle
        else:
            high = middle


@implements("wu2024_recursive")
def recursive_step(
    previous: float,
    shares: Sequence[float],
    divergence: float,
    n: int,
    delta: float,
    *,
    steps: int,
    gamma: float = 0.5,
) -> float:
    """Return B_t = E_t + gamma B_{t-1}, an upper bound on R(Q_t) from one on R(Q_{t-1}); rounded up, at most 1.

    E_t = -gamma + sum_{j=1..3} (b_j - b_{j-1}) kl^-1(F_j, (KL(Q_t||Q_{t-1}) + ln(6 T sqrt(n)/delta)) / n) with
    b = (-gamma, 0, 1 - gamma, 1) bounds the excess loss of a draw from Q_t over gamma times that of one from Q_{t-1}.

    Parameters
    ----------
    previous : float
        B_{t-1} in [0, 1].
    shares : sequence of 3 floats
        F_j: how often loss(h) - gamma loss(h') >= b_j, j = 1, 2, 3, in the mean over h ~ Q_t, h' ~ Q_{t-1} and n
        examples on which Q_{t-1} does not depend.
    divergence : float
        KL(Q_t||Q_{t-1}) in nats, >= 0.
    n : int
        Those examples, >= 1.
    delta : float
        In (0, 1), for all T steps together.
    steps : int
        T >= 1. The first step is ``pac_bayes_kl`` at delta / T.
    gamma : float
        In (0, 1], fixed before the n examples.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Wu, Zhang, Chérief-Abdellatif and Seldin, "Recursive PAC-Bayes" (2024), as we understand the paper; proved in
    ``wu2024_recursive``.

    Examples
    --------
    >>> f"{recursive_step(0.05, (0.98, 0.03, 0.01), 20.0, 30_000, 0.025, steps=2):.4f}"
    '0.0447'
    """
    n, gamma = positive_int("n", n), share("gamma", gamma)
    if len(shares) != 3:
        raise InvalidParameter(f"shares must hold 3 numbers, one for each of b_1, b_2, b_3, got {len(shares)}.")
    widths = (gamma, 1.0 - gamma, gamma)  # b = (-gamma, 0, 1 - gamma, 1)
    level = math.log(6.0 * positive_int("steps", steps)) + 0.5 * math.log(n) - math.log(probability("delta", delta))
    budget = (nats("divergence", divergence) + level) / n * _UP
    limits = [width * kl_inverse(raised(f), budget) for width, f in zip(widths, shares, strict=True)]
    excess = math.fsum(limits) * _UP - gamma
    return min(1.0, max(0.0, excess + gamma * raised(previous)) + 1e-15)
