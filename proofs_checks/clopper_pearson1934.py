"""Clopper and Pearson's one-sided limits: the inversion of a binomial test covers the truth."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.binomial import log_cdf, lower_limit, upper_limit
from proofs_checks import Theorem, require

THEOREM = Theorem(
    name="Clopper-Pearson limits",
    source="Clopper and Pearson, Biometrika 26 (1934), the method of the paper; as we understand it, item unnumbered",
    given=("X ~ Bin(n, p), n fixed before looking", "alpha in (0, 1)"),
    claim=r"\Pr[p > U(X)] \le \alpha, \quad U(k) = \sup\{u : \Pr[\mathrm{Bin}(n,u) \le k] \ge \alpha\}",
    status="holds",
)


def cdf(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def miss_rate(limits: list[float], p: Fraction) -> Fraction:
    """P[p > U(X)], exactly, for limits U(0..n)."""
    n = len(limits) - 1
    return sum(
        (math.comb(n, k) * p**k * (1 - p) ** (n - k) for k, u in enumerate(limits) if p > Fraction(u)), Fraction(0)
    )


def refuted(failures: int, trials: int, delta: float) -> bool:
    """Exact one-sided binomial test of P(failure) <= delta at level 1e-6."""
    return bool(binom.sf(failures - 1, trials, delta) < 1e-6)


def symbolic() -> str:
    p = sp.symbols("p", positive=True)
    pairs = [(k, n) for n in range(1, 8) for k in range(n)]
    for k, n in pairs:
        tail = sum(sp.binomial(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
        slope = -n * sp.binomial(n - 1, k) * p**k * (1 - p) ** (n - 1 - k)
        require(sp.expand(sp.diff(tail, p) - slope) == 0, f"slope of the cdf at k={k}, n={n}")
    return f"d/dp P[Bin(n,p) <= k] = -n C(n-1,k) p^k (1-p)^(n-1-k) < 0 for {len(pairs)} pairs: the supremum is a root"


def exact() -> str:
    worst = Fraction(0)
    for n in (1, 2, 5, 9):
        for alpha in (0.05, 0.3):
            limits = [upper_limit(k, n, alpha) for k in range(n + 1)]
            lowest = [lower_limit(k, n, alpha) for k in range(n + 1)]
            for k in range(n):
                require(cdf(k, n, Fraction(limits[k])) <= Fraction(alpha), f"U({k}) of {n} is below the exact limit")
                require(1 - cdf(k, n, Fraction(lowest[k + 1])) <= Fraction(alpha), f"L({k + 1}) of {n} is too high")
            # the miss rate peaks just above a limit, or anywhere: both are tried
            grid = [Fraction(i, 97) for i in range(98)] + [Fraction(u) + Fraction(1, 10**20) for u in limits if u < 1]
            rate = max(miss_rate(limits, p) for p in grid)
            require(rate <= Fraction(alpha), f"n={n}: missed with probability {float(rate)} > {alpha}")
            worst = max(worst, rate / Fraction(alpha))
    require(worst > Fraction(999, 1000), "the limit is looser than the exact one")
    return f"all outcomes for n <= 9: miss rate at most alpha, and up to {float(worst):.9f} alpha (rational arithmetic)"


def simulated(limits: np.ndarray, n: int, p: float, trials: int = 20_000) -> int:
    k = np.random.default_rng(19340).binomial(n, p, size=trials)
    return int(np.count_nonzero(p > limits[k]))


def monte_carlo() -> str:
    n, alpha = 200, 0.05
    limits = np.array([upper_limit(k, n, alpha) for k in range(n + 1)])
    p = limits[3] + 1e-9
    failures = simulated(limits, n, p)
    require(not refuted(failures, 20_000, alpha), f"{failures} misses in 20000 at alpha={alpha}")
    return f"{failures} misses in 20000 at alpha=0.05, n=200, p={p:.4f}, where the exact rate is alpha"


def teeth() -> str:
    n, alpha = 200, 0.05
    p = upper_limit(3, n, alpha) + 1e-9
    k = np.arange(n + 1)
    sabotaged = {
        "alpha x 10": np.array([upper_limit(int(i), n, 10 * alpha) for i in k]),
        "alpha x 1.5": np.array([upper_limit(int(i), n, 1.5 * alpha) for i in k]),
        "normal interval": k / n + 1.645 * np.sqrt(k / n * (1 - k / n) / n),
        "empirical rate": k / n,
    }
    for name, limits in sabotaged.items():
        # at the sabotage's own worst p: just above one of its limits
        q = p if name == "normal interval" else float(limits[3]) + 1e-9
        failures = simulated(limits, n, q)
        require(refuted(failures, 20_000, alpha), f"{name}: {failures} misses were not caught")
    low, high = log_cdf(3, n, p)
    require(high < math.log(alpha) and high - low < 1e-9, "the enclosure is not below alpha")
    return f"refuted: {', '.join(sabotaged)}"
