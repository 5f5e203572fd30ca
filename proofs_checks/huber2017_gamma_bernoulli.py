"""Trials until k failures, smoothed by a Gamma variable: a relative error whose law does not depend on the rate.

Proof. A Geometric(p) number of trials G has sum over i <= G of Exp(1) variables ~ Exp(p): its Laplace transform is
p/(1+s) / (1 - (1-p)/(1+s)) = p/(p+s). So T ~ Gamma(sum of k runs) is Gamma(k, rate p), p T ~ Gamma(k, 1) whatever p is,
and (k-1)/T is unbiased, E[1/T] = p/(k-1). P(|estimate/p - 1| > eps) is a difference of two incomplete Gamma functions.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.relative_estimate import estimate, failures_needed, relative_miss
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="The Gamma-Bernoulli estimate of a rate",
    source="Huber (2017), arXiv:1309.5413; item numbers not known to us; as we understand the paper",
    given=("independent trials of rate p", "trials until k >= 2 failures", "T ~ Gamma(number of trials)"),
    claim=r"pT \sim \Gamma(k, 1), \quad \mathbb{E}[(k-1)/T] = p",
    status="holds",
)

MUTATIONS = (
    Mutation(file="concentration/relative_estimate.py", old="return (k - 1) / float(", new="return (k - 2) / float("),
    Mutation(
        file="concentration/relative_estimate.py",
        old="(runs - 1) / (1.0 + error)",
        new="(runs - 1) / (1.0 + 2 * error)",
    ),
    Mutation(file="concentration/relative_estimate.py", old="return above + below", new="return above"),
    Mutation(file="concentration/relative_estimate.py", old="low, high = 1, 2", new="low, high = 2, 4"),
)


def symbolic() -> str:
    p, s, t, k = sp.symbols("p s t k", positive=True)
    q = 1 / (1 + s)  # transform of one Exp(1)
    transform = p * q / (1 - (1 - p) * q)
    require(sp.simplify(transform - p / (p + s)) == 0, "a geometric sum of Exp(1) is Exp(p)")
    density = p * (p * t) ** (k - 1) * sp.exp(-p * t) / sp.gamma(k)
    mean = sp.integrate((density / t * (k - 1)).subs(k, 5), (t, 0, sp.oo))
    require(sp.simplify(mean - p) == 0, "E[(k-1)/T] = p at k = 5")
    general = (k - 1) * p * sp.gamma(k - 1) / sp.gamma(k)
    require(sp.gammasimp(general) == p, "E[(k-1)/T] = p for every k")
    return "a Geometric(p) sum of Exp(1) is Exp(p), so p T ~ Gamma(k); E[(k-1)/T] = (k-1) p Gamma(k-1)/Gamma(k) = p"


def exact() -> str:
    def lower(k: int, x: Fraction) -> float:  # P(Gamma(k) < x) = 1 - e^-x sum x^i/i!, the sum in fractions
        total = sum((x**i / math.factorial(i) for i in range(k)), Fraction(0))
        return 1.0 - math.exp(-float(x)) * float(total)

    worst = 0.0
    for k, eps in (
        (2, Fraction(1, 2)),
        (5, Fraction(1, 4)),
        (17, Fraction(1, 2)),
        (40, Fraction(1, 5)),
        (3, Fraction(2)),
    ):
        want = lower(k, (k - 1) / (1 + eps)) + (1 - lower(k, (k - 1) / (1 - eps)) if eps < 1 else 0.0)
        got = relative_miss(k, float(eps))
        worst = max(worst, abs(got - want))
        require(abs(got - want) < 1e-12, f"k={k}, eps={eps}: {got} against {want}")
    for runs in ([3, 1], [7, 2, 4, 4]):
        got = estimate(np.array(runs), np.random.default_rng(3))
        T = np.random.default_rng(3).gamma(sum(runs))
        require(math.isclose(got * T, len(runs) - 1), f"{runs}: the estimate times T must be k - 1, got {got * T}")
    needed = [failures_needed(eps, 0.05) for eps in (0.5, 0.2, 0.1)]
    require(needed == [17, 97, 385], f"failures for 50, 20, 10 percent at 5 percent: {needed}")
    require(
        all(
            relative_miss(n, e) <= 0.05 < relative_miss(n - 1, e) for n, e in zip(needed, (0.5, 0.2, 0.1), strict=True)
        ),
        "least",
    )
    require([failures_needed(eps, 0.05) for eps in (1.0, 1.5, 2.0)] == [6, 3, 2], "two failures may be enough")
    return f"incomplete Gamma sums in fractions agree to {worst:.0e}; 17, 97, 385 failures for 50, 20, 10 % at 5 %"


def off(p: float, k: int, eps: float):
    """The estimate misses p by more than eps, relatively."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        runs = rng.geometric(p, (n, k))
        return np.array([abs(estimate(row, rng) / p - 1) > eps for row in runs])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    for p in (0.3, 0.003):
        found = judge(off(p, 97, 0.2), delta=0.05, trials=1_000 * effort, name=f"p = {p}", expect="not violated")
    return Evidence(text=f"97 failures, eps = 0.2: {found.text}, the same at p = 0.3", trials=2 * found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # fewer failures than needed
        return violated(off(0.01, round(97 / factor), 0.2), delta=0.05, trials=3_000, name="fewer failures")

    slack = smallest_sabotage(caught, (1.2, 1.5, 2, 3, 4))
    return Evidence(text=f"k divided by {slack:g} is refuted", slack=slack)
