"""Prices, in nats, of the integer vectors that sampling with replacement leaves behind: -ln of a normalised prior.

Sampling m edges of one neuron with p_j proportional to |w_j| gives counts c_j and weights s sign(w_j) c_j: an integer
vector z with |z_1| + ... + |z_d| = m and one scale s. A prior over such z that is fixed before the data and sums to at
most 1 prices the draw, whatever produced it. Every price is rounded up.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gammaln

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements

_UP = 1.0 + 1e-12
_SLACK = 64 * 2.0**-52  # relative error allowed for gammaln, log and sums; for gammaln measured below 8 roundoffs


@implements("fischer1986_pyramid_code")
def log_sphere_size(d: int, m: int) -> float:
    """Return ln N(d, m), N(d, m) = sum_k C(d, k) C(m - 1, k - 1) 2^k: integer vectors of length d with |z|_1 = m.

    Parameters
    ----------
    d, m : int
        Length of the vector and its l1 norm, both at least 1.

    Returns
    -------
    float
        Rounded up; at most m ln(e (m + 2 d)/m).

    Raises
    ------
    InvalidParameter
        If d or m is below 1.

    Notes
    -----
    Source: Fischer (1986), the pyramid vector quantiser's count, as we understand the paper.

    Examples
    --------
    >>> round(math.exp(log_sphere_size(3, 2)))
    18
    """
    length, norm = positive_int("d", d), positive_int("m", m)
    k = np.arange(1, min(length, norm) + 1)
    terms = _log_choose(length, k) + _log_choose(norm - 1, k - 1) + k * math.log(2.0)
    return float(np.logaddexp.reduce(terms)) * _UP + 1e-12


@implements("fischer1986_pyramid_code")
def sphere_nats(z: np.ndarray) -> float:
    """Return ln N(d, m): the price of z under the uniform prior on integer vectors of its length and l1 norm."""
    z = _integers(z)
    return log_sphere_size(len(z), int(np.abs(z).sum()))


@implements("boundlab_support_first_code")
def support_first_nats(z: np.ndarray) -> float:
    """Return ln min(d, m) + ln C(d, k) + ln C(m - 1, k - 1) + k ln 2: how many, where, how large, which signs.

    k is the number of non-zero entries; its prior is uniform on 1 ... min(d, m), and the rest is uniform given k.
    """
    z = _integers(z)
    d, m, k = len(z), int(np.abs(z).sum()), int(np.count_nonzero(z))
    nats = math.log(min(d, m)) + float(_log_choose(d, np.array(k)) + _log_choose(m - 1, np.array(k - 1)))
    return (nats + k * math.log(2.0)) * _UP + 1e-12


@implements("krichevsky1981_count_priors")
def multinomial_nats(z: np.ndarray, prior: np.ndarray | None = None) -> float:
    """Return -ln of the multinomial probability of the counts |z_j| on the 2d signed edges.

    -ln [ m! prod_j pi_j^c_j / c_j! ], with pi uniform on the 2d signed edges unless given.

    Parameters
    ----------
    z : array (d,) of whole numbers, not all 0
    prior : array (2, d) or None
        Probabilities of the positive and of the negative edges; their sum must be 1 to within 1e-9, and they are
        divided by it.

    Raises
    ------
    InvalidParameter
        If z or the prior is malformed. A count on an edge of prior 0 costs inf.
    """
    z = _integers(z)
    pi = np.full((2, len(z)), 0.5 / len(z)) if prior is None else np.asarray(prior, np.float64)
    if pi.shape != (2, len(z)) or np.any(pi < 0) or abs(pi.sum() - 1.0) > 1e-9:
        raise InvalidParameter(f"prior must be 2 x {len(z)} probabilities of sum 1, got shape {pi.shape}.")
    counts = np.stack([np.maximum(z, 0), np.maximum(-z, 0)])
    arrangements, slack = _log_multinomial(counts)
    draws, more = _log_draws(counts, pi)
    return -arrangements - draws + slack + more + 1e-12


@implements("krichevsky1981_count_priors")
def dirichlet_nats(z: np.ndarray) -> float:
    """Return -ln of the Dirichlet(1/2)-multinomial probability of the counts on the 2d signed edges, M = 2d:

    -ln [ m!/prod c_j! Gamma(M/2)/Gamma(M/2 + m) prod_j Gamma(1/2 + c_j)/Gamma(1/2) ].
    """
    z = _integers(z)
    counts, M = np.abs(z), 2.0 * len(z)
    m = int(counts.sum())
    parts = (gammaln(M / 2), -gammaln(M / 2 + m), float((gammaln(0.5 + counts) - gammaln(0.5)).sum()))
    arrangements, slack = _log_multinomial(counts)
    sizes = sum(map(abs, parts)) + m  # + m since the terms of the last sum have both signs
    return -arrangements - float(sum(parts)) + slack + _SLACK * sizes + 1e-12


@implements("boundlab_bits_back")
def draw_log_probability(z: np.ndarray, p: np.ndarray) -> float:
    """Return ln Q(c) = ln m! - sum ln c_j! + sum c_j ln p_j, rounded up; -inf for an impossible draw."""
    z = _integers(z)
    q = np.asarray(p, np.float64)
    if q.shape != z.shape or np.any(q < 0) or abs(q.sum() - 1.0) > 1e-9:
        raise InvalidParameter(f"p must be {len(z)} probabilities of sum 1, got shape {q.shape}.")
    arrangements, slack = _log_multinomial(np.abs(z))
    draws, more = _log_draws(np.abs(z), q)
    return arrangements + draws + slack + more + 1e-12


@implements("boundlab_bits_back")
def disintegrated_nats(z: np.ndarray, p: np.ndarray, prior_nats: float) -> float:
    """Return ln Q(c)/P(z): the price of one fresh draw under the disintegrated bound, rounded up.

    Parameters
    ----------
    z : array (d,) of whole numbers
        The realised counts, with the signs of the weights.
    p : array (d,)
        The sampling law; it may depend on the data.
    prior_nats : float
        -ln P(z) under a prior fixed before the data, such as `sphere_nats(z)`.

    Returns
    -------
    float
        At most prior_nats (up to rounding), since Q(c) <= 1; the signs must be those of the weights.

    Raises
    ------
    InvalidParameter
        If z or p is malformed or prior_nats is negative.
    """
    if not prior_nats >= 0.0:
        raise InvalidParameter(f"prior_nats must be at least 0, got {prior_nats!r}.")
    return prior_nats * (1.0 + 2.0**-51) + draw_log_probability(z, p)


def _integers(z: np.ndarray) -> np.ndarray:
    whole = np.asarray(z)
    if whole.ndim != 1 or not np.issubdtype(whole.dtype, np.integer) or not np.any(whole):
        raise InvalidParameter(
            f"z must be a row of whole numbers, not all 0, got {whole.dtype} of shape {whole.shape}."
        )
    return whole.astype(np.int64)


def _log_multinomial(counts: np.ndarray) -> tuple[float, float]:
    """Return ln of m!/prod c_j! and an allowance for its rounding: the difference is far below its two terms."""
    whole, parts = float(gammaln(counts.sum() + 1.0)), float(gammaln(counts + 1.0).sum())
    return whole - parts, _SLACK * (whole + parts)


def _log_draws(counts: np.ndarray, law: np.ndarray) -> tuple[float, float]:
    """Return sum c_j ln p_j, p the law divided by its sum, and an allowance for its rounding; -inf, 0 if impossible."""
    drawn, m = counts > 0, int(counts.sum())
    if np.any(law[drawn] == 0.0):
        return -math.inf, 0.0
    logs = counts[drawn] * np.log(law[drawn])
    return float(logs.sum()) - m * math.log(math.fsum(law.ravel())), _SLACK * (float(np.abs(logs).sum()) + m)


def _log_choose(n: int, k: np.ndarray) -> np.ndarray:
    """Return ln C(n, k), rounded up: for large n the difference is far below its terms."""
    k = np.asarray(k, np.float64)
    a, b, c = gammaln(n + 1.0), gammaln(k + 1.0), gammaln(np.maximum(n - k, 0.0) + 1.0)
    return np.where((k == 0) | (k == n), 0.0, a - b - c + _SLACK * (a + b + c))
