"""Stratified trials fail with different probabilities: their lower tail is at most the binomial's at the mean.

Statement (Hoeffding). For independent trials with failure probabilities p_1 ... p_n of mean p and k <= n p - 1,
P(at most k failures) <= P(Bin(n, p) <= k). For k = 0 it is the inequality of arithmetic and geometric means.

Proof of the step that we use. Fix all trials but two, with sum s = p_1 + p_2 and product t. P(at most k) is a + b t
with b = P(rest = k) - P(rest = k - 1), because the two fail 0, 1, 2 times with 1 - s + t, s - 2t, t. So the tail is
linear in t = p_1 p_2, whose maximum at fixed s is at equality: where b >= 0 averaging a pair raises the tail. The
maximum over all p of given mean is therefore attained with at most three values, 0, 1 and one in between (a pair of
others could be moved without lowering the tail); Hoeffding excludes 0 and 1 for k <= n p - 1, which we check exactly
on a lattice of probabilities.

Consequence. Let U(k) be Clopper-Pearson's upper limit at level alpha. If U(k) >= (k+1)/n for every k whose U(k) is
below the mean p, the limit of a fixed stratified design misses p with probability at most alpha: the largest such k has
n p > n U(k) >= k + 1. The condition is needed: U(n-1) = (1-alpha)^(1/n) is always below 1 = n/n, and two trials of
rates 1 and 0.9495, of mean 0.97475 > U(1) = 0.97468, have at most 1 failure with probability 0.0505 > alpha = 0.05,
although P(Bin(2, 0.97475) <= 1) = 0.0499.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.poisson_binomial import poisson_binomial
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Hoeffding's comparison of unequal trials with the binomial",
    source="Hoeffding (1956), theorem number not known to us; as we understand the paper",
    given=("independent trials of a fixed design", "mean failure probability p", "k <= n p - 1"),
    claim=r"\Pr[\textstyle\sum X_i \le k] \le \Pr[\mathrm{Bin}(n, \bar p) \le k]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/poisson_binomial.py",
        old="law = np.concatenate([law * (1.0 - rate), [0.0]]) + np.concatenate([[0.0], law * rate])",
        new="law = np.concatenate([law * (1.0 - rate / 2), [0.0]]) + np.concatenate([[0.0], law * rate / 2])",
    ),
)

LATTICE = [Fraction(i, 4) for i in range(5)]


def convolution(rates: tuple[Fraction, ...]) -> list[Fraction]:
    """Law of the failures by enumerating all outcomes."""
    law = [Fraction(0)] * (len(rates) + 1)
    for outcome in itertools.product((0, 1), repeat=len(rates)):
        chance = Fraction(1)
        for x, r in zip(outcome, rates, strict=True):
            chance *= r if x else 1 - r
        law[sum(outcome)] += chance
    return law


def symbolic() -> str:
    a, b = reals("a b")
    prove((1 - a) * (1 - b) <= (1 - (a + b) / 2) * (1 - (a + b) / 2), a >= 0, b >= 0, a <= 1, b <= 1)
    prove(a * b <= ((a + b) / 2) * ((a + b) / 2))
    p, q, r0, r1, r2 = sp.symbols("p q r0 r1 r2", nonnegative=True)  # r_j = P(rest = k - j), more below
    below = sp.symbols("below", nonnegative=True)  # P(rest <= k - 3)
    none, one, two = (1 - p) * (1 - q), p + q - 2 * p * q, p * q
    tail = none * (below + r0 + r1 + r2) + one * (below + r1 + r2) + two * (below + r2)
    s, t = sp.symbols("s t")
    linear = sp.expand(tail).subs(p * q, t)
    slope = sp.expand(sp.diff(linear, t))
    require(sp.simplify(slope - (r0 - r1)) == 0, f"the tail must be linear in p q with slope r0 - r1, got {slope}")
    require(
        sp.simplify(sp.expand(linear.subs(p, s - q)).coeff(t, 0) - (below + r0 + r1 + r2 - s * r0)) == 0, "at t = 0"
    )
    return (
        "P(<= k) is linear in p q with slope P(rest = k) - P(rest = k-1); averaging a pair maximises p q and prod(1-p)"
    )


def exact() -> str:
    checked, worst = 0, Fraction(0)
    for n in (2, 3, 4, 5):
        for rates in itertools.combinations_with_replacement(LATTICE, n):
            law = convolution(rates)
            got = poisson_binomial(np.array([float(r) for r in rates]))
            require(np.allclose(got, [float(v) for v in law], rtol=1e-14, atol=1e-17), f"law of {rates}")
            mean = sum(rates, Fraction(0)) / n
            equal = convolution((mean,) * n)
            for k in range(n + 1):
                if k <= n * mean - 1:
                    mixed, own = sum(law[: k + 1]), sum(equal[: k + 1])
                    require(mixed <= own, f"P(<= {k}) of {rates} exceeds the binomial's")
                    worst, checked = max(worst, mixed / own if own else Fraction(0)), checked + 1
    turned = convolution((Fraction(0), Fraction(1)))
    require(turned[0] + turned[1] > sum(convolution((Fraction(1, 2),) * 2)[:2]), "at k >= n p it turns: 1 > 3/4")
    for n in range(2, 41):  # the condition of the consequence holds but for k = n - 1, and there it is needed
        good = [upper_limit(k, n, 0.05) >= (k + 1) / n for k in range(n)]
        require(all(good[:-1]) and not good[-1], f"U(k) >= (k+1)/n at n = {n}: {good}")
    top = Fraction(upper_limit(1, 2, 0.05)) + Fraction(1, 10**6)  # a mean just above U(n-1)
    spread = convolution((Fraction(1), 2 * top - 1))
    require(spread[0] + spread[1] > Fraction(1, 20), "there the limit from strata must break its level")
    # the consequence: a limit from strata misses the mean no more often than alpha
    for rates in ((0.0, 0.1, 0.2), (0.01, 0.05, 0.3), (0.02, 0.02, 0.02)):
        p = np.tile(rates, 20)
        law, mean = poisson_binomial(p), float(np.mean(p))
        miss = sum(law[k] for k in range(len(p) + 1) if upper_limit(k, len(p), 0.05) < mean)
        require(miss <= 0.05, f"strata {rates}: the limit misses with {miss}")
    return f"{checked} lower tails on a lattice of probabilities, none above the binomial's; for k >= n p it turns"


def missed(spread: float, shrink: float = 1.0):
    """60 trials in three strata of mean 0.1; the shipped limit, divided by `shrink`, misses the mean."""
    rates = np.tile([0.1 * (1 - spread), 0.1, 0.1 * (1 + spread)], 20)
    limits = np.array([upper_limit(k, 60, 0.05) for k in range(61)]) / shrink

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return limits[(rng.random((n, 60)) < rates).sum(axis=1)] < 0.1

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(missed(1.0), delta=0.05, trials=2_000 * effort, name="strata", expect="upheld")
    return Evidence(text=f"strata at 0, 0.1, 0.2: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # the limit divided by a factor, at equal rates, exactly
        return sum(float(binom.pmf(k, 60, 0.1)) for k in range(61) if upper_limit(k, 60, 0.05) / factor < 0.1) > 0.05

    slack = smallest_sabotage(caught)
    return Evidence(text=f"the limit divided by {slack:g} breaks its level, exactly", slack=slack)
