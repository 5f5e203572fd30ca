"""Bets on values in [0, 1] give anytime evidence on their mean, and bound it at every n at once.

Proof. With E[V_i | past] >= c and 0 <= lambda <= 1/(1-c), the factor 1 + lambda (c - V_i) is at least 0, since
c - V_i >= c - 1, and its mean given the past is 1 + lambda (c - E[V_i | past]) <= 1: products are supermartingales that
start at 1, averages over fixed weights too, and Ville's inequality bounds the chance of ever reaching 1/alpha by alpha.
The mirror image uses V_i - c >= -c. For 0/1 values the factor is a likelihood ratio with q = c - lambda c (1-c).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.betting import STAKES, log_e_mean_above, log_e_mean_below
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Betting on a bounded mean",
    source="Waudby-Smith and Ramdas (2024), arXiv:2010.09686; item numbers not known to us; as we understand the paper",
    given=("V_i in [0, 1]", "E[V_i | past] >= c", "stakes fixed before the first value"),
    claim=r"\Pr\Big[\exists n: \tfrac1G\sum_\lambda \prod_{i\le n}(1+\lambda(c-V_i)) \ge 1/\alpha\Big] \le \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/betting.py",
        old="_log_wealth(bar - v, STAKES / (1.0 - bar))",
        new="_log_wealth(bar - v, 2 * STAKES / (1.0 - bar))",
    ),
    Mutation(
        file="concentration/betting.py",
        old="_log_wealth(v - bar, STAKES / bar)",
        new="_log_wealth(np.abs(v - bar), STAKES / bar)",
    ),
    Mutation(
        file="concentration/betting.py",
        old="total = logsumexp(paths, axis=0) - np.log(len(stakes))",
        new="total = logsumexp(paths, axis=0)",
    ),
)

C = Fraction(1, 4)


def wealth(values: tuple[Fraction, ...], stake: Fraction, sign: int) -> Fraction:
    """The exact product of one stake."""
    top = 1 / (1 - C) if sign > 0 else 1 / C
    return math.prod((1 + stake * top * sign * (C - v) for v in values), start=Fraction(1))


def symbolic() -> str:
    lam, c, v, q = reals("lam c v q")
    inside = [c > 0, c < 1, v >= 0, v <= 1]
    prove(1 + lam * (c - v) >= 0, *inside, lam >= 0, lam * (1 - c) <= 1)
    prove(1 + lam * (v - c) >= 0, *inside, lam >= 0, lam * c <= 1)
    prove(1 + lam * (c - q) <= 1, lam >= 0, q >= c)
    stake, rate = sp.symbols("lambda c", positive=True)
    other = rate - stake * rate * (1 - rate)
    require(sp.simplify((other / rate) - (1 + stake * (rate - 1))) == 0, "a failure's factor is q/c")
    require(sp.simplify((1 - other) / (1 - rate) - (1 + stake * rate)) == 0, "a success's factor is (1-q)/(1-c)")
    return "z3: factors are at least 0 and of mean at most 1 on both sides; for 0/1 values q = c - lambda c (1-c)"


def exact() -> str:
    worst, largest = 0.0, Fraction(0)
    stakes = [Fraction(float(s)) for s in STAKES]
    for values in itertools.product((Fraction(0), Fraction(1, 2), Fraction(1)), repeat=4):
        row = np.array([float(v) for v in values])
        for sign, shipped in ((1, log_e_mean_below), (-1, log_e_mean_above)):
            want = sum((wealth(values, s, sign) for s in stakes), Fraction(0)) / len(stakes)
            got = float(shipped(row, float(C))[-1])
            require(
                got <= float(sp.log(sp.Rational(want.numerator, want.denominator))) if want else got == -math.inf,
                f"{values}: rounded up",
            )
            worst = max(worst, math.exp(got) / float(want) if want else 0.0)
    # every path of 6 values in {0, 1/2, 1} with mean exactly c: E[evidence] <= 1 and P(ever >= 1/alpha) <= alpha
    law = {Fraction(0): Fraction(5, 8), Fraction(1, 2): Fraction(1, 4), Fraction(1): Fraction(1, 8)}
    for sign, shipped in ((1, log_e_mean_below), (-1, log_e_mean_above)):
        mean, crossed = Fraction(0), Fraction(0)
        for values in itertools.product(law, repeat=6):
            chance = math.prod((law[v] for v in values), start=Fraction(1))
            path = shipped(np.array([float(v) for v in values]), float(C))
            mean += chance * Fraction(math.exp(path[-1]))
            crossed += chance * bool(path.max() >= math.log(2))
        require(mean <= 1 and crossed <= Fraction(1, 2), f"sign {sign}: mean {float(mean)}, crossed {float(crossed)}")
        largest = max(largest, crossed)
    require(worst > 1 - 1e-9, f"the shipped evidence is within rounding of the exact one, got a ratio {worst}")
    return f"81 rows agree with the exact products, rounded down; P(ever >= 2) = {float(largest):.3f} <= 1/2"


def crossing(mean: float, scale: float = 1.0):
    """A run of 60 values, Beta-like on {0, 1/2, 1}, whose evidence against mean >= 1/4 ever reaches 10."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        values = rng.choice([0.0, 0.5, 1.0], p=[1 - 1.5 * mean, mean, mean / 2], size=(n, 60))
        return np.array([log_e_mean_below(row, float(C)).max() + math.log(scale) >= math.log(10) for row in values])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(crossing(0.25), delta=0.1, trials=1_000 * effort, name="bets at the null", expect="not violated")
    judge(crossing(0.05), delta=0.1, trials=200, name="bets with something to find", expect="violated")
    return Evidence(text=f"evidence >= 10 at the null: {found.text}; found at mean 0.05", trials=found.trials)


def teeth() -> Evidence:
    values = list(itertools.product((0.0, 0.5, 1.0), repeat=5))
    chance = [math.prod({0.0: 0.625, 0.5: 0.25, 1.0: 0.125}[v] for v in row) for row in values]

    def caught(factor: float) -> bool:  # c raised: the evidence against a mean that is not refuted
        evidence = [math.exp(log_e_mean_below(np.array(row), 0.25 * factor)[-1]) for row in values]
        return sum(p * e for p, e in zip(chance, evidence, strict=True)) > 1

    slack = smallest_sabotage(caught)
    return Evidence(text=f"evidence against a mean {slack:g} times the true one has expectation above 1", slack=slack)
