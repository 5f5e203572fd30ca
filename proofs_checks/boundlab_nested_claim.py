"""A PAC claim, "the inner failure rate exceeds gamma with probability at most delta", judged through inner limits.

Proof. Let R be a coin's inner rate, Z = 1{R > gamma}, p = P(Z = 1). Given the coin, an inner upper limit misses R with
probability at most beta_U: Z^U = 1{upper limit > gamma} is 1 whenever R > gamma and the limit holds, so that
P(Z^U = 1) >= (1 - beta_U) p. Z^L = 1{lower limit > gamma} is 1 at R <= gamma only when the limit fails, so that
P(Z^L = 1) <= p + beta_L (1 - p). If p > delta the first exceeds (1 - beta_U) delta; if p <= delta the second is at most
delta + beta_L (1 - delta), increasing in p. The two e-processes at these thresholds keep their levels. The claim is not
the joint one: P over coins and inputs of a failure may be delta while every coin fails at rate delta > gamma.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
from scipy.stats import binom

from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated
from boundlab.verification.nested import nested_thresholds
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Nested claims through inner limits",
    source="ours",
    given=("coins i.i.d., inner inputs fresh for each coin", "inner limits of levels beta_U and beta_L given the coin"),
    claim=r"p > \delta \Rightarrow \Pr[Z^U] > (1-\beta_U)\delta, \qquad p \le \delta \Rightarrow "
    r"\Pr[Z^L] \le \delta + \beta_L(1-\delta)",
    status="holds",
)

MUTATIONS = (
    Mutation(file="verification/nested.py", old="return d * (1.0 - up)", new="return d * (1.0 + up)"),
    Mutation(file="verification/nested.py", old="(d + down * (1.0 - d))", new="(d - down * (1.0 - d))"),
    Mutation(file="verification/nested.py", old=" * (1.0 + 2.0**-50)", new=""),
    Mutation(file="verification/nested.py", old="down = d / 100.0 if", new="down = d / 10000.0 if"),
)

GAMMA, DELTA, INNER = 0.1, 0.2, 200


def rates(p: Fraction, n: int, gamma: float, beta: float, low: Fraction, high: Fraction) -> tuple[Fraction, Fraction]:
    """P(Z^U), P(Z^L) exactly, for coins of inner rate `high` > gamma with probability p and `low` otherwise."""
    up = [upper_limit(k, n, beta) > gamma for k in range(n + 1)]
    down = [lower_limit(k, n, beta) > gamma for k in range(n + 1)]
    total = [Fraction(0), Fraction(0)]
    for share, rate in ((p, high), (1 - p, low)):
        for k in range(n + 1):
            chance = share * math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
            total[0] += chance * up[k]
            total[1] += chance * down[k]
    return total[0], total[1]


def symbolic() -> str:
    p, delta, up, down, hit, false = reals("p delta up down hit false")
    inside = [p >= 0, p <= 1, delta > 0, delta < 1, up > 0, up < 1, down > 0, down < 1]
    prove(hit > (1 - up) * delta, *inside, p > delta, hit >= (1 - up) * p)
    prove(false <= delta + down * (1 - delta), *inside, p <= delta, false <= p + down * (1 - p))
    return "z3: both implications, for all p, delta and levels in (0, 1)"


def exact() -> str:
    checked, loosest = 0, 0.0
    for n, gamma, beta, p in itertools.product((5, 12, 30), (0.1, 0.3), (0.01, 0.1), (0.05, 0.2, 0.5)):
        low, high = Fraction(gamma), Fraction(gamma) + Fraction(1, 1000)  # on either side of gamma, as hard as it gets
        upper, lower = nested_thresholds(p, beta, beta)
        z_up, z_down = rates(Fraction(p) + Fraction(1, 10**9), n, gamma, beta, low, high)
        require(z_up > Fraction(upper), f"n={n}, gamma={gamma}: P(Z^U) = {float(z_up)} under {upper}")
        _, z_down = rates(Fraction(p), n, gamma, beta, low, Fraction(1))
        require(z_down <= Fraction(lower), f"n={n}, gamma={gamma}: P(Z^L) = {float(z_down)} over {lower}")
        checked, loosest = checked + 2, max(loosest, float(z_down) / lower)
    for d, up, down in itertools.product((0.05, 0.3, 1e-6), (0.01, 0.07), (None, 1e-3, 0.2)):
        upper, lower = nested_thresholds(d, up, down)
        level = Fraction(d) / 100 if down is None else Fraction(down)
        require(Fraction(upper) <= Fraction(d) * (1 - Fraction(up)), f"rounded down at {d}, {up}")
        require(Fraction(lower) >= Fraction(d) + level * (1 - Fraction(d)), f"rounded up at {d}, {down}")
    return f"{checked} exact worlds keep both thresholds; P(Z^L) reaches {loosest:.4f} of its one"


def judged(p: float, alpha: float = 0.05, coins: int = 60, sabotage: float = 1.0):
    """A whole run on a claim that is false by a hair or true: is the verdict wrong?"""
    upper, lower = nested_thresholds(DELTA, 0.01)
    up = np.array([upper_limit(k, INNER, 0.01) > GAMMA for k in range(INNER + 1)])
    down = np.array([lower_limit(k, INNER, DELTA / 100) > GAMMA for k in range(INNER + 1)])
    false = p > DELTA

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rate = np.where(rng.random((n, coins)) < p, 0.13, 0.06)
        counts = rng.binomial(INNER, rate)
        if false:
            return log_e_upheld(coins, up[counts].sum(axis=1), min(0.99, upper * sabotage)) >= math.log(1 / alpha)
        return log_e_violated(coins, down[counts].sum(axis=1), lower / sabotage) >= math.log(1 / alpha)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(judged(DELTA + 1e-9), delta=0.05, trials=1_000 * effort, name="false by a hair", expect="upheld")
    judge(judged(DELTA), delta=0.05, trials=1_000 * effort, name="true by a hair", expect="upheld")
    return Evidence(
        text=f"wrong verdicts at p = delta, 60 coins, 200 inputs each: {found.text}", trials=2 * found.trials
    )


def teeth() -> Evidence:
    # every coin just above gamma: the joint claim at delta = 0.2 holds, the nested one fails, and Z^U says so
    inner = Fraction(GAMMA) * Fraction(101, 100)
    seen, _ = rates(Fraction(1), INNER, GAMMA, 0.01, Fraction(0), inner)
    require(inner < Fraction(DELTA) and seen >= Fraction(99, 100), f"P(Z^U) = {float(seen)} where every coin fails")

    def caught(factor: float) -> bool:  # the upper threshold raised: at p = delta the wrong verdict appears too often
        rate = sum(
            float(binom.pmf(k, 40, DELTA))
            * bool(log_e_upheld(40, k, min(0.99, nested_thresholds(DELTA)[0] * factor)) >= math.log(20))
            for k in range(41)
        )
        return rate > 0.05

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"a threshold {slack:g} times too high breaks the level, exactly; joint and nested differ", slack=slack
    )
