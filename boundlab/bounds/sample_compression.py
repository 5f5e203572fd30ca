"""Sample compression: a classifier rebuilt from k of the n examples is tested on the other n - k.

The dataset coreset is such a scheme. What the k examples do not determine - weights, preprocessing from all examples -
is a message, and is paid for.
"""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.pac_bayes import nats
from boundlab.concentration.binomial import tail_inverse


@implements("floyd1995_sample_compression")
def sample_compression(
    errors: int, kept: int, n: int, delta: float, *, message: float = 0.0, ordered: bool = False
) -> float:
    """R <= Bin+(errors, n - k, delta w(k) P(message) / C(n, k)), w(k) = 6 / (pi^2 (k+1)^2), for all k at once.

    Parameters
    ----------
    errors : int
        Errors on the n - k examples that were not kept, ties included.
    kept : int
        k in 0..n-1. Rebuilding must ignore the order of the k examples, else `ordered`.
    n : int
        All examples, >= 1, i.i.d.
    delta : float
        In (0, 1).
    message : float
        ln 1/P(message) in nats, >= 0, for a prior on messages that may depend on the k examples; 0 if there is none.
        Weights computed from all examples belong here.
    ordered : bool
        Whether rebuilding may use the order of the k examples: n! / (n-k)! for C(n, k).

    Returns
    -------
    float
        In (0, 1], rounded up.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Littlestone and Warmuth (1986), Floyd and Warmuth (1995), in Langford's binomial-tail form, as we understand the
    papers; proved in ``floyd1995_sample_compression``.

    Examples
    --------
    >>> f"{sample_compression(1_000, 300, 60_000, 0.05):.4f}"
    '0.0712'
    """
    n = positive_int("n", n)
    k = _count("kept", kept, n - 1)
    errors = _count("errors", errors, n - k)
    choices = log_choices(n, k, ordered=ordered)
    paid = nats("message", message) + choices + size_nats(k) - math.log(probability("delta", delta))
    return tail_inverse(errors, n - k, -paid * (1.0 + 1e-14))


@implements("floyd1995_sample_compression")
def log_choices(n: int, k: int, *, ordered: bool = False) -> float:
    """Return ln C(n, k), or ln n!/(n-k)! where `ordered`; rounded up.

    Examples
    --------
    >>> f"{log_choices(60_000, 300):.1f}"
    '1885.0'
    """
    n = positive_int("n", n)
    k = _count("k", k, n)
    if min(k, n - k) <= 64 and not ordered:
        return math.log(math.comb(n, k)) * (1.0 + 1e-15)
    parts = [math.lgamma(n + 1), math.lgamma(n - k + 1)] + ([] if ordered else [math.lgamma(k + 1)])
    return max(0.0, parts[0] - sum(parts[1:]) + 1e-14 * sum(parts))


@implements("floyd1995_sample_compression")
def size_nats(k: int) -> float:
    """Return ln(pi^2 (k+1)^2 / 6), the price of the size k >= 0; rounded up."""
    return (math.log(math.pi**2 / 6.0) + 2.0 * math.log1p(_count("k", k))) * (1.0 + 1e-14)


def _count(name: str, value: int, top: int | None = None) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 0 or (top is not None and value > top):
        limit = "of at least 0" if top is None else f"in 0..{top}"
        raise InvalidParameter(f"{name} must be a whole number {limit}, got {name}={value!r}.")
    return int(value)
