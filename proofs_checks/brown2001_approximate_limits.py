"""Wald's, Wilson's, Agresti-Coull's and Jeffreys' limits are not certificates: their true level exceeds the stated one.

A limit U(k) of nominal level alpha misses p with probability sum over k of P(Bin(n, p) = k) [U(k) < p]. For p > U(0)
at least the outcome k = 0 misses: the level is at least (1 - U(0))^n, the limit of (1 - p)^n from above. Wilson's
U(0) = z²/(n + z²) makes that (1 + z²/n)^-n >= e^(-z²), for ln(1 + x) <= x: above alpha = 0.05, where z² = 2.706, at
every n. With n = 52 trials without a failure Wilson's limit is below 0.05, and 0.95^52 = 0.069; Jeffreys' is with
n = 38, and 0.95^38 = 0.142. Wald's U(0) = 0 misses every p > 0 at k = 0. Agresti-Coull keeps its level at the first
step and breaks it further on. Clopper-Pearson's limit is the smallest that never does, by inverting the exact tail.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.approximate import agresti_coull_upper, jeffreys_upper, wald_upper, wilson_upper
from boundlab.concentration.binomial import upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Approximate limits of a failure probability",
    source="Brown, Cai and DasGupta (2001) compare them; item numbers not known to us; as we understand the paper",
    given=("k failures in n independent trials", "one-sided nominal level alpha"),
    claim=r"\Pr_p[U(k) < p] \le \alpha \text{ for all } p",
    status="refuted",
    finding="at p just above 0.05 a nominal 5 % is at least 6.9 % (Wilson, n = 52), 14.2 % (Jeffreys, n = 38) and 95 % "
    "(Wald, n = 1)",
    ours="clopper_pearson1934",
)

MUTATIONS = (
    Mutation(file="concentration/approximate.py", old="z * z / (2 * n), z", new="z * z / n, z"),
    Mutation(file="concentration/approximate.py", old="p + z * np.sqrt(p *", new="p + 1.3 * z * np.sqrt(p *"),
    Mutation(file="concentration/approximate.py", old="k + 0.5, n - k + 0.5", new="k + 1.5, n - k + 0.5"),
)

ALPHA = 0.05
Limit = Callable[[np.ndarray, int, float], np.ndarray]


def exact_limit(k: np.ndarray, n: int, alpha: float) -> np.ndarray:
    return np.array([upper_limit(int(v), n, alpha) for v in np.atleast_1d(k)])


def true_level(limit: Limit, n: int, alpha: float = ALPHA) -> float:
    """Return the sup over p of P(U(k) < p): it is taken just above one of the limits."""
    ends = limit(np.arange(n + 1), n, alpha)
    inside = np.sort(ends[ends < 1.0])
    return max((float(binom.pmf(np.arange(n + 1), n, u)[ends <= u].sum()) for u in inside), default=0.0)


def first_certifying(limit: Limit, delta: float) -> int:
    """The smallest n at which no failure gives U <= delta."""
    return next(n for n in range(1, 500) if limit(np.zeros(1), n, ALPHA)[0] <= delta)


def symbolic() -> str:
    p, z, n = sp.symbols("p z n", positive=True)
    centre, root = p + z**2 / (2 * n), z * sp.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    top = (centre + root) / (1 + z**2 / n)
    require(sp.simplify((top - p) ** 2 - z**2 * top * (1 - top) / n) == 0, "Wilson's limit must solve its equation")
    at_zero = sp.simplify(top.subs(p, 0))
    require(sp.simplify(at_zero - z**2 / (n + z**2)) == 0, "at k = 0 it must be z²/(n + z²)")
    # (1 - U(0))^n = (1 + z²/n)^-n >= e^(-z²), for x - ln(1+x) vanishes at 0 and rises: above alpha = 1/20 at every n
    x = sp.symbols("x", positive=True)
    require(sp.simplify(1 - at_zero - 1 / (1 + z**2 / n)) == 0, "1 - U(0) = 1/(1 + z²/n)")
    require(sp.factor(sp.diff(x - sp.log(1 + x), x)).is_positive, "x - ln(1+x), 0 at 0, must rise")
    quantile = sp.sqrt(2) * sp.erfinv(sp.Rational(9, 10))
    require(bool(sp.N(sp.exp(-(quantile**2)), 30) > sp.Rational(1, 20)), "e^(-z²) = 0.0668 > 0.05")
    return "Wilson's U(0) = z²/(n+z²); the miss just above it is (1 + z²/n)^-n >= e^(-z²) = 0.0668 > 0.05 for every n"


def exact() -> str:
    firsts = {f.__name__: first_certifying(f, ALPHA) for f in (wilson_upper, jeffreys_upper, agresti_coull_upper)}
    require(firsts == {"wilson_upper": 52, "jeffreys_upper": 38, "agresti_coull_upper": 63}, f"first n: {firsts}")
    require(first_certifying(wald_upper, ALPHA) == 1 and first_certifying(exact_limit, ALPHA) == 59, "1 and 59")
    chances = [float(Fraction(19, 20) ** n) for n in (52, 38, 63, 59)]
    require(np.allclose(chances, [0.0694, 0.1424, 0.0395, 0.0485], atol=5e-5), f"P(no failure) at delta: {chances}")
    n, half = 40, float(wald_upper(np.array([20]), 40, ALPHA)[0])
    require(abs((half - 0.5) / (0.25 / 40) ** 0.5 - 1.6448536269514722) < 1e-12, f"Wald's limit of 20 in 40 is {half}")
    levels = {f.__name__: true_level(f, n) for f in (wald_upper, wilson_upper, agresti_coull_upper, jeffreys_upper)}
    require(all(v > ALPHA for v in levels.values()), f"each of them must break its level at n = {n}: {levels}")
    ours = true_level(exact_limit, n)
    require(ours <= ALPHA, f"Clopper-Pearson's true level is {ours}")
    shown = ", ".join(f"{k.removesuffix('_upper')} {v:.3f}" for k, v in levels.items())
    return (
        f"true levels at n = {n}: {shown}, Clopper-Pearson {ours:.4f}; first n at 0 failures: 1, 52, 63, 38 against 59"
    )


def misses(limit: Limit, p: float, n: int):
    ends = limit(np.arange(n + 1), n, ALPHA)

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        return ends[rng.binomial(n, p, size)] < p

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    p = float(jeffreys_upper(np.zeros(1), 38, ALPHA)[0]) + 1e-9
    found = judge(misses(jeffreys_upper, p, 38), delta=ALPHA, trials=2_000 * effort, name="Jeffreys", expect="violated")
    judge(misses(exact_limit, p, 38), delta=ALPHA, trials=2_000, name="exact", expect="not violated")
    return Evidence(text=f"Jeffreys' limit, nominal 0.05, n = 38: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # Clopper-Pearson with 1 - U raised: a limit that is too low
        return true_level(lambda k, n, a: exact_limit(k, n, a) / factor, 59) > ALPHA

    slack = smallest_sabotage(caught, (1.001, 1.002, 1.005, 1.01, 1.02, 1.05, 1.1))
    return Evidence(text=f"the exact limit divided by {slack:g} breaks its level at n = 59", slack=slack)
