"""Clopper and Pearson's one-sided limits: the inversion of a binomial test covers the truth.

Proof. U(k) = sup{u : P[Bin(n, u) <= k] >= alpha}. The cdf falls in u (its slope is -n C(n-1,k) u^k (1-u)^(n-1-k)), and
it rises in k, so that U rises in k and p > U(k) means P[Bin(n, p) <= k] < alpha. Let k* be the largest k with
U(k) < p. Then U(X) < p is the event X <= k*, whose probability is below alpha; without such a k it is empty. Just above
U(k*) the probability comes as near to alpha as one likes, so that no smaller limit will do. The lower limit is the
mirror image: n - X ~ Bin(n, 1 - p).

The same inversion prices codes, at levels ln alpha = -10^7 that no float holds. There the value is certified one by
one, by ball arithmetic: at the p returned the cdf is below the level, and just under it it is not. With t_i the
probability of i, ln P[Bin(n, p) <= k] = ln t_k + ln(1 + r_0 + r_0 r_1 + ...), r_j = (k-j)/(n-k+j+1) (1-p)/p; the r_j
fall, so that what is cut off lies between 0 and a geometric series, which is added to the ball.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.binomial import log_cdf, lower_limit, tail_inverse, upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Clopper-Pearson limits",
    source="Clopper and Pearson, Biometrika 26 (1934), the method of the paper; as we understand it, item unnumbered",
    given=("X ~ Bin(n, p), n fixed before looking", "alpha in (0, 1)"),
    claim=r"\Pr[p > U(X)] \le \alpha, \quad U(k) = \sup\{u : \Pr[\mathrm{Bin}(n,u) \le k] \ge \alpha\}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/binomial.py",
        old="return _certified_root(lambda p: log_cdf(k, n, p), log_delta, side=+1)",
        new="return _certified_root(lambda p: log_cdf(k, n, p), log_delta, side=-1)",
    ),
    Mutation(
        file="concentration/binomial.py",
        old="return _certified_root(lambda p: log_sf(k, n, p), target, side=-1)",
        new="return _certified_root(lambda p: log_sf(k + 1, n, p) if k < n else log_sf(k, n, p), target, side=-1)",
    ),
    Mutation(
        file="concentration/binomial.py",
        old="value = log_top + math.log(total)",
        new="value = log_top",
    ),
    Mutation(
        file="concentration/binomial.py",
        old="if p in (0.0, 1.0) or enclose(p)[1] < target:",
        new="if p in (0.0, 1.0) or enclose(p)[0] < target:",
    ),
    Mutation(
        file="concentration/binomial.py",
        old="return value, 8.0 * _EPS * (2.0 + weighed + abs(root)) + 3.0 * _STIRLING_SLACK",
        new="return value, 0.0",
    ),
)

N, ALPHA = 200, 0.05
EXTREME = (  # k, n, -ln alpha
    (0, 10**9, 1e7),
    (0, 60_000, 1e-3),
    (5 * 10**8, 10**9, 1e7),
    (5 * 10**8, 10**9, 1e6),
    (5 * 10**8, 10**9, 3.0),
    (10**6, 10**9, 1e6),
    (9 * 10**8, 10**9, 1e7),
    (10**9 - 1, 10**9, 1e6),
    (10**7, 10**9, 1e-3),
    (500_000, 10**7, 1e6),
    (1_554, 60_000, 2_907.2),
    (999, 1_000, 1e7),
)
"""Half of 10^9 at 10^7 nats, nothing at all, all but one, levels near 1 and far below the floats."""


def cdf(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def miss_rate(limits: list[float], p: Fraction) -> Fraction:
    """P[p > U(X)], exactly, for limits U(0..n)."""
    n = len(limits) - 1
    return sum(
        (math.comb(n, k) * p**k * (1 - p) ** (n - k) for k, u in enumerate(limits) if p > Fraction(u)), Fraction(0)
    )


def log_cdf_ball(k: int, n: int, p: float) -> flint.arb:
    """A ball around ln P[Bin(n, p) <= k], 0 < p < 1."""
    q = flint.arb(p)
    top = flint.arb(n + 1).lgamma() - flint.arb(k + 1).lgamma() - flint.arb(n - k + 1).lgamma()
    top += k * q.log() + (n - k) * (1 - q).log()
    odds = (1 - q) / q
    total = term = flint.arb(1)
    for j in range(k):
        term *= odds * (k - j) / (n - k + j + 1)
        total += term
        ratio = odds * (k - j - 1) / (n - k + j + 2) if j % 64 == 63 else flint.arb(1)
        if ratio < 1 and (rest := term * ratio / (1 - ratio)) < total * flint.arb(2) ** -120:
            total += rest * flint.arb(0.5, 0.5)  # between 0 and the whole series
            break
    return top + total.log()


def against_balls(cases: Iterable[tuple[int, int, float]]) -> tuple[int, float]:
    """Prove each inversion safe, and tight to 10^-8 of p and of 1-p; how many are below 1, and the most nats there."""
    proved, largest = 0, 0.0
    with flint.ctx.workprec(200):
        for k, n, nats in cases:
            p = tail_inverse(k, n, -nats)
            below = p - 1e-8 * min(p, 1 - p) - 2.0**-51 * p  # floats near 1 are no nearer to each other
            if p < 1:
                require(log_cdf_ball(k, n, p) < -nats, f"({k}, {n}, {nats}): {p} is below the supremum")
                proved, largest = proved + 1, max(largest, nats)
            require(log_cdf_ball(k, n, below) > -nats, f"({k}, {n}, {nats}): {p} is needlessly large")
    return proved, largest


def scattered(count: int) -> Iterable[tuple[int, int, float]]:
    """Counts and levels over all orders of magnitude: n up to 10^9, 10^-3 to 10^7 nats."""
    rng = np.random.default_rng(1934)
    for _ in range(count):
        n = round(10 ** rng.uniform(0.0, 9.0))
        k = min(n - 1, round(rng.choice([n * rng.random(), n ** rng.random(), 3 * rng.random()])))
        yield k, n, float(10 ** rng.uniform(-3.0, 7.0))


def symbolic() -> str:
    n, i = sp.symbols("n i", positive=True, integer=True)
    # d/dp of C(n,i) p^i (1-p)^(n-i) is g(i-1) - g(i) with g(i) = n C(n-1,i) p^i (1-p)^(n-1-i): the sum telescopes
    for left, right in (
        (i * sp.binomial(n, i), n * sp.binomial(n - 1, i - 1)),
        ((n - i) * sp.binomial(n, i), n * sp.binomial(n - 1, i)),
    ):
        require(sp.gammasimp((left / right).rewrite(sp.gamma)) == 1, f"{left} must be {right}")
    p = sp.symbols("p", positive=True)
    pairs = [(a, b) for b in range(1, 8) for a in range(b)]
    for a, b in pairs:
        tail = sum(sp.binomial(b, j) * p**j * (1 - p) ** (b - j) for j in range(a + 1))
        slope = -b * sp.binomial(b - 1, a) * p**a * (1 - p) ** (b - 1 - a)
        require(sp.expand(sp.diff(tail, p) - slope) == 0, f"slope of the cdf at k={a}, n={b}")
    return f"the slope telescopes to -n C(n-1,k) p^k (1-p)^(n-1-k) < 0 (and does for {len(pairs)} pairs written out)"


def exact() -> str:
    worst = Fraction(0)
    for n, alpha in itertools.product((1, 2, 5, 9), (0.05, 0.3)):
        limits = [upper_limit(k, n, alpha) for k in range(n + 1)]
        lowest = [lower_limit(k, n, alpha) for k in range(n + 1)]
        for k in range(n):
            require(cdf(k, n, Fraction(limits[k])) <= Fraction(alpha), f"U({k}) of {n} is below the exact limit")
            require(1 - cdf(k, n, Fraction(lowest[k + 1])) <= Fraction(alpha), f"L({k + 1}) of {n} is too high")
        # between two limits the event stays the same and its probability falls: the miss rate peaks just above a limit
        grid = [Fraction(u) + Fraction(d, 10**20) for u, d in itertools.product(limits, (-1, 0, 1))]
        rate = max(miss_rate(limits, p) for p in grid if p <= 1)
        require(rate <= Fraction(alpha), f"n={n}: missed with probability {float(rate)} > {alpha}")
        worst = max(worst, rate / Fraction(alpha))
    require(worst > Fraction(999, 1000), "the limit is looser than the exact one")
    low, high = log_cdf(3, N, upper_limit(3, N, ALPHA))
    require(high < math.log(ALPHA) and high - low < 1e-9, "the enclosure at n = 200 must lie below alpha")
    proved, largest = against_balls([*EXTREME, *scattered(60)])
    return (
        f"all outcomes for n <= 9: miss rate at most alpha, and up to {float(worst):.9f} alpha (rational arithmetic); "
        f"{proved} inversions at up to {largest:.0e} nats and n = 10^9 proved safe, and tight to 1e-8, by balls"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    limits = np.array([upper_limit(k, N, ALPHA) for k in range(N + 1)])
    p = limits[3] + 1e-9

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return p > limits[rng.binomial(N, p, size=n)]

    # at this p the exact rate is alpha: the claim cannot be upheld by trials, only not refuted
    return judge(trial, delta=ALPHA, trials=20_000 * effort, name="Clopper-Pearson at n = 200", expect="not violated")


def teeth() -> Evidence:
    def worst(limits: list[float]) -> Fraction:
        """The exact miss rate just above one of the sabotaged limits."""
        return miss_rate(limits, Fraction(limits[3]) + Fraction(1, 10**15))

    def caught(factor: float) -> bool:
        return worst([upper_limit(k, N, factor * ALPHA) for k in range(6)] + [1.0] * (N - 5)) > Fraction(ALPHA)

    slack = smallest_sabotage(caught, (1.01, 1.02, 1.05, 1.1))
    sabotaged = {
        "normal interval": [k / N + 1.645 * math.sqrt(k / N * (1 - k / N) / N) for k in range(N + 1)],
        "empirical rate": [k / N for k in range(N + 1)],
    }
    rates = {name: float(worst(limits)) for name, limits in sabotaged.items()}
    for name, rate in rates.items():
        require(rate > 1.5 * ALPHA, f"{name}: misses with probability {rate}, not caught")
    shown = ", ".join(f"{name} (misses {rate:.0%})" for name, rate in rates.items())
    return Evidence(text=f"refuted exactly at n = {N}: alpha x {slack:g}, {shown}", slack=slack)
