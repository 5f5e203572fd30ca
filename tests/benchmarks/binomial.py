"""Inverting a binomial tail at a level that floats hold, and at up to ten million nats, where SciPy answers 1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.special import gammaln
from scipy.stats import beta

from boundlab.concentration.binomial import tail_inverse
from tests.benchmarks.timing import Pair, best_of

ORDINARY = (450, 10_000, 3.0)
DEEP = ((1_554, 60_000, 2_907.2), (500_000, 10_000_000, 1e6), (500_000_000, 1_000_000_000, 1e7))


def log_cdf(k: int, n: int, p: float) -> float:
    """The 2,000 terms from k down, which are enough here, as logarithms; no account of rounding."""
    i = np.arange(k, max(-1, k - 2_000), -1, dtype=float)
    logs = gammaln(n + 1) - gammaln(i + 1) - gammaln(n - i + 1) + i * math.log(p) + (n - i) * math.log1p(-p)
    return float(np.logaddexp.reduce(logs))


def bisected(k: int, n: int, nats: float) -> float:
    """Sixty halvings between k/n and 1."""
    low, high = k / n, 1 - 2.0**-53
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if log_cdf(k, n, middle) < -nats else (middle, high)
    return high


def pairs() -> Iterator[Pair]:
    """Ours, which is certified, beside what is not."""
    k, n, nats = ORDINARY
    yield Pair(
        what=f"binomial inverse, {k:,} of {n:,}, {nats:g} nats",
        ours=best_of(50, partial(tail_inverse, k, n, -nats)),
        peer="SciPy beta.isf",
        theirs=best_of(50, partial(beta.isf, math.exp(-nats), k + 1, n - k)),
    )
    for k, n, nats in DEEP:
        ours = best_of(50, partial(tail_inverse, k, n, -nats))
        what = f"binomial inverse, {k:,} of {n:,}, {nats:g} nats: {1e3 * ours:.2f} ms"
        yield Pair(what=what, ours=ours, peer="bisection of a sum", theirs=best_of(1, partial(bisected, k, n, nats)))
