"""T coins on N inputs are not T N trials: a pooled Clopper-Pearson test upholds a false claim far above its level.

With intra-coin correlation r, the variance of the pooled rate is p (1-p)/(T N) (1 + (N-1) r) for independent inputs:
the design effect 1 + (N-1) r is 11 at r = 0.01, N = 1000. A coin that fails on every input makes it N, and then T N
pooled outcomes carry exactly T bits: P(no failure) = (1-p)^T, however large N is. The pooled test at level 0.05 then
upholds p <= delta at p just above delta with probability (1-delta)^T. Hoeffding's two-sample limit counts min(T, N).
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.two_sample import cross_upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Pooling outcomes that share a coin",
    source="common practice in experiments on randomised compression; no paper is known to us that claims it",
    given=("T coins, N inputs, all T N outcomes counted as independent trials",),
    claim=r"\Pr[\text{CP}_{TN}(k) \le \delta] \le \alpha \text{ for } p > \delta",
    status="refuted",
    finding="at correlation 0.01, T = 50, N = 1000, p = delta = 0.05, a 5 % test upholds falsely in 30 % of runs",
    ours="hoeffding1963_two_sample",
)

MUTATIONS = (
    Mutation(
        file="concentration/two_sample.py",
        old='positive_int("min(T, N)", min(table.shape))',
        new='positive_int("min(T, N)", max(table.shape))',
    ),
)


def symbolic() -> str:
    p, r, T, N = sp.symbols("p r T N", positive=True)
    # one coin: rate R with mean p, variance r p (1-p); N outcomes given R are independent
    within = (p - (p**2 + r * p * (1 - p))) / N  # E[R (1-R)]/N
    variance = (within + r * p * (1 - p)) / T
    require(sp.simplify(variance - p * (1 - p) / (T * N) * (1 + (N - 1) * r)) == 0, "the design effect is 1 + (N-1) r")
    require((1 + (N - 1) * r).subs({r: sp.Rational(1, 100), N: 1000}) == sp.Rational(1099, 100), "10.99 at r = 0.01")
    return "variance of the pooled rate = p(1-p)/(TN) (1 + (N-1) r): 10.99 times the binomial's at r = 0.01, N = 1000"


def exact() -> str:
    # coins that fail on all inputs or none: the pooled count is N Bin(T, p)
    T, N, delta, alpha = 12, 100, Fraction(1, 20), 0.05
    limits = [upper_limit(k * N, T * N, alpha) for k in range(T + 1)]
    p = float(delta)
    wrong = sum(
        float(Fraction(1, 20) ** sum(c) * Fraction(19, 20) ** (T - sum(c)))
        for c in itertools.product((0, 1), repeat=T)
        if limits[sum(c)] <= p
    )
    require(wrong > 0.5 > alpha, f"pooled: upheld falsely with probability {wrong}")
    ours = [cross_upper_limit(np.full((T, N), k / T), alpha) for k in range(T + 1)]
    fair = sum(float(binom.pmf(k, T, p)) for k in range(T + 1) if ours[k] <= p)
    require(fair <= alpha, f"the two-sample limit upholds it falsely with {fair}")
    return f"12 coins that fail everywhere or nowhere: a pooled 5 % test errs with {wrong:.3f}, two-sample {fair:.3f}"


def pooled(correlation: float, T: int = 50, N: int = 1000, p: float = 0.05):
    """Upheld falsely: the pooled limit is at most p, at p itself."""
    a = p * (1 / correlation - 1)
    enough = int(binom.ppf(0.05, T * N, p)) - 1  # the largest k with P(Bin <= k) <= 0.05 or one less

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rates = rng.beta(a, a * (1 - p) / p, size=(n, T))
        return np.asarray(rng.binomial(N, rates).sum(axis=1) <= enough)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(pooled(0.01), delta=0.05, trials=1_000 * effort, name="pooled outcomes", expect="violated")
    return Evidence(text=f"a test of level 0.05 at correlation 0.01: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    judge(pooled(1e-7), delta=0.05, trials=1_000, name="independent outcomes", expect="not violated")

    def caught(factor: float) -> bool:  # how little correlation is enough: r = (factor - 1)/(N - 1)
        correlation = max((factor - 1) / 999, 1e-7)
        failures = int(np.count_nonzero(pooled(correlation)(np.random.default_rng(5), 2_000)))
        return bool(binom.sf(failures - 1, 2_000, 0.05) < 1e-6)

    slack = smallest_sabotage(caught, (1.35, 1.5, 2, 3, 4))
    return Evidence(text=f"independent outcomes pass; a design effect of {slack:g} is caught", slack=slack)
