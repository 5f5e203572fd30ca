"""The mean of n independent [0, 1] variables falls short of its expectation by g with probability at most e^(-2ng²).

Proof. Chernoff's bound (`chernoff_kl_inverse`) gives exp(-n kl(p - g || p)). F(g) = kl(p - g || p) - 2 g² vanishes at 0
with its slope, and with q = p - g its second derivative is 1/(q(1-q)) - 4 = (1-2q)²/(q(1-q)) >= 0, so that F >= 0 for
g >= 0: kl >= 2 g² (Pinsker's inequality for coins; the case g < 0 is the same with 1 - X). Summands of different means
p_i have the same bound with p their average, for ln(1 - p + p e^-t) is concave in p. A width w scales g to g/w.
So r = sqrt(ln(1/delta)/(2n)) keeps delta, and Chernoff's own limit is never farther out. At p = 1/2 the rate 2 g² is
right to the leading order: kl(1/2 - g || 1/2) = 2 g² + (4/3) g^4 + ..., while at small p it is far too small.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.chernoff import kl_inverse
from boundlab.concentration.hoeffding import radius, sample_size, upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.chernoff_kl_inverse import pmf
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as enclosed

THEOREM = Theorem(
    name="Hoeffding's inequality for a mean",
    source="Hoeffding (1963), the inequality for sums of bounded variables, as we understand the paper; our proof",
    given=("X_1..X_n independent in [0, 1]", "p the average of their means", "delta in (0, 1)"),
    claim=r"\Pr[p - \bar X > \sqrt{\ln(1/\delta)/(2n)}] \le \delta, \qquad \mathrm{kl}(q\|p) \ge 2(p-q)^2",
    status="holds",
)

MUTATIONS = (
    Mutation(file="concentration/hoeffding.py", old="_UP = 1.0 + 1e-14", new="_UP = 1.0 - 1e-14"),
    Mutation(
        file="concentration/hoeffding.py",
        old='-math.log(probability("delta", delta)) / (2.0 * n)) * _UP',
        new='-math.log(probability("delta", delta)) / (4.0 * n)) * _UP',
    ),
    Mutation(
        file="concentration/hoeffding.py",
        old='-math.log(probability("delta", delta)) / 2.0 * (1.0 + 1e-13)',
        new='-math.log(probability("delta", delta)) / 8.0 * (1.0 + 1e-13)',
    ),
)

DELTA = 0.05


def symbolic() -> str:
    p, q, g = sp.symbols("p q g", positive=True)
    rate = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    gap = rate.subs(q, p - g) - 2 * g**2
    for order in range(2):
        require(sp.simplify(sp.diff(gap, g, order).subs(g, 0)) == 0, f"derivative {order} of kl - 2 g² at 0")
    second = sp.factor(sp.simplify(sp.diff(gap, g, 2).subs(g, p - q)))
    require(sp.simplify(second - (1 - 2 * q) ** 2 / (q * (1 - q))) == 0, f"its second derivative is {second}")
    t = sp.symbols("t", real=True)
    moment = sp.log(1 - p + p * sp.exp(-t))
    curvature = sp.diff(moment, p, 2) + ((1 - sp.exp(-t)) / (1 - p + p * sp.exp(-t))) ** 2
    require(sp.simplify(curvature) == 0, "ln(1 - p + p e^-t) must be concave in p: minus a square")
    return (
        "kl(p-g||p) - 2g² vanishes at 0 with its slope, second derivative (1-2q)²/(q(1-q)); ln of the mgf concave in p"
    )


def exact() -> str:
    cases = 0
    worst = Fraction(0)
    for n, delta in itertools.product((1, 2, 5, 12, 30), (0.3, 0.05, 1e-4)):
        limits = [upper_limit(k / n, n, delta) for k in range(n + 1)]
        with flint.ctx.workprec(120):
            wide = (-enclosed(Fraction(delta)).log() / (2 * n)).sqrt()
            require(bool(radius(n, delta) >= wide), f"the radius at n = {n}, delta = {delta} is rounded down")
            for k, limit in enumerate(limits):
                enough = limit == 1.0 or bool(limit >= enclosed(Fraction(k / n)) + wide)
                require(enough, f"the limit {limit} of {k} in {n} is rounded down")
        for k, limit in enumerate(limits):
            up = math.nextafter(k / n, 1.0) if k else 0.0  # k/n is rounded, and so may the inverse be
            require(
                kl_inverse(k / n, -math.log(delta) / n) <= math.nextafter(limit, 2.0) + (up - k / n), "kl dominates"
            )
            p = Fraction(limit) + Fraction(1, 10**15)
            if p < 1:  # the worst p: just above a limit
                miss = sum((w for w, u in zip(pmf(n, p), limits, strict=True) if p > Fraction(u)), Fraction(0))
                require(miss <= Fraction(delta), f"n={n}, delta={delta}: missed with probability {float(miss)}")
                worst, cases = max(worst, miss / Fraction(delta)), cases + 1
    for gap, delta in itertools.product((0.3, 0.1, 0.01, 1e-4), (0.3, 0.01, 1e-9)):
        n = sample_size(gap, delta)
        require(radius(n, delta) <= gap * (1 + 1e-13), f"n = {n} must bring the radius down to {gap}")
        require(n == 1 or radius(n - 1, delta) > gap * (1 - 1e-12), f"n = {n} is not the smallest")
        require(radius(n, delta, width=2.0) == 2 * radius(n, delta), "the radius must scale with the width")
        below = sample_size(gap / 2, delta)
        require(abs(below - sample_size(gap, delta, width=2.0)) <= 1, "the size must scale with the width")
    return f"{cases} worst cases: missed with at most {float(worst):.3f} delta; Chernoff's limit is never farther out"


def missed(mean: np.ndarray, p: float, n: int) -> np.ndarray:
    return p > np.minimum(1.0, mean + radius(n, DELTA))


def monte_carlo(effort: int = 1) -> Evidence:
    n = 60

    def unequal(rng: np.random.Generator, count: int) -> np.ndarray:
        """Coins of means 0.2 and 0.8 by turns, and uniform variables between them."""
        third = np.array([0.2, 0.5, 0.8])[np.arange(n) % 3]
        coins = rng.random((count, n)) < third
        values = np.where(np.arange(n) % 3 == 1, rng.random((count, n)), coins)
        return missed(values.mean(axis=1), 0.5, n)

    return judge(unequal, delta=DELTA, trials=2_000 * effort, name="Hoeffding, unequal means")


def teeth() -> Evidence:
    n, g = 10**6, 0.01
    tail = float(binom.logcdf(math.floor((0.5 - g) * n), n, 0.5))  # 2 n g² = 200

    def caught(factor: float) -> bool:
        """Whether the radius for `factor` times less evidence is missed too often by fair coins."""
        delta = math.exp(-2 * n * g * g)  # at which the radius is g
        require(abs(radius(n, delta) / g - 1) < 1e-9, "the radius at this delta must be g")
        return tail > factor * math.log(delta)

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"refuted on 10^6 fair coins: an exponent of {slack:g} x 2 n g² (ln P = {tail:.1f})", slack=slack
    )
