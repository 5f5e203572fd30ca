"""The original net inherits the bound of its compression through unlabelled points that neither net has seen.

Proof. If sqrt(2) |f(x) - g(x)|_2 <= t and g has margin above t at (x, y), then f classifies x as y: margins move by at
most sqrt(2) |f - g|_2. So R_0(f) <= R_t(g) + P_x(sqrt(2) |f - g|_2 > t). The first term is bounded on n labelled
examples by Occam's bound for the [0, 1] loss 1{margin(g) <= t}, at the price of g; the second by Clopper-Pearson on u
fresh points, f, g and t being fixed. A choice among G thresholds costs a factor G on either side. Each side gets
delta/2. Points used to train f or to choose g are not fresh, and the second term is then wrong.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.compressed_class import original_risk
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.chernoff import kl_inverse
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="From the compressed net to the original, through unlabelled data",
    source="ours; the form with a worst case over the domain is Suzuki et al. (2019), as we understand the paper",
    given=("n labelled examples, g priced before them", "u fresh unlabelled points, used for neither f, g nor t"),
    claim=r"R_0(f) \le \mathrm{kl}^{-1}\Big(\hat r_t(g), \tfrac{\ln 1/P(g)+\ln 2G/\delta}{n}\Big) "
    r"+ \mathrm{Bin}^+(k_u, u, \tfrac{\delta}{2G})",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/compressed_class.py",
        old='/ (2.0 * positive_int("grid", grid))',
        new='* (2.0 * positive_int("grid", grid))',
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="(first + upper_limit(deviating, unlabelled, share))",
        new="(first + 0.0 * upper_limit(deviating, unlabelled, share))",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats, share)",
        new="first = compressed_risk(0, margin_errors, n, 0.0 * nats, share)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="first = compressed_risk(margin_errors, 0, n, nats, share)",
        new="first = compressed_risk(margin_errors, 0, n, nats, delta)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="(first + upper_limit(deviating, unlabelled, share))",
        new="(first + upper_limit(deviating, unlabelled, delta))",
    ),
)


def symbolic() -> str:
    fy, fj, gy, gj, t = reals("fy fj gy gj t")
    moved = 2 * ((fy - gy) * (fy - gy) + (fj - gj) * (fj - gj)) <= t * t
    prove(fy > fj, t >= 0, moved, gy - gj > t)
    delta, G = sp.symbols("delta G", positive=True)
    require(sp.simplify(2 * G * (delta / (2 * G)) - delta) == 0, "G thresholds, two events each, spend delta")
    return "z3: sqrt 2 |f - g| <= t and margin(g) > t keep f's class; 2G events of delta/(2G) spend delta"


def exact() -> str:
    # a world of 4 points: f and g given by tables; all samples of n = 3 labelled and u = 3 unlabelled points
    wrong_f = (1, 0, 1, 0)  # f errs
    small_g = (0, 0, 1, 0)  # g has a margin of at most t
    far = (1, 0, 0, 1)  # |f - g| large; consistent: f errs only where g's margin is small or the nets are far
    require(all(w <= s + d for w, s, d in zip(wrong_f, small_g, far, strict=True)), "the premise of the world")
    risk, worst = Fraction(sum(wrong_f), 4), 0.0
    for delta in (0.9, 0.6, 0.3):
        fail = Fraction(0)
        for k, j in itertools.product(range(4), repeat=2):
            p = Fraction(math.comb(3, k)) * Fraction(1, 4) ** k * Fraction(3, 4) ** (3 - k)
            q = Fraction(math.comb(3, j)) * Fraction(1, 2) ** j * Fraction(1, 2) ** (3 - j)
            fail += p * q * (original_risk(k, 3, 0.0, j, 3, delta) < risk)
        require(fail <= Fraction(delta), f"delta = {delta}: fails with {fail}")
        worst = max(worst, float(fail) / delta)
    for k, j, nats, grid in ((5, 2, 1.0, 1), (0, 0, 3.0, 7), (40, 11, 0.0, 16)):  # either side apart, at delta/(2 G)
        got, part = original_risk(k, 100, nats, j, 150, 0.05, grid=grid), Fraction(5, 100) / (2 * grid)
        left, right = kl_inverse(k / 100, (nats - math.log(part)) / 100), upper_limit(j, 150, float(part))
        require(left + right <= got <= (left + right) * (1 + 1e-9), f"{got} against {left} + {right}")
    one, many = original_risk(5, 100, 1.0, 2, 100, 0.05), original_risk(5, 100, 1.0, 2, 100, 0.05, grid=16)
    require(one < many <= 1, "a grid of thresholds must cost")
    return f"all samples of a 4-point world: P(fail)/delta <= {worst:.2f}; 16 thresholds cost {many - one:.3f}"


def fails(shrink: float, fresh: bool = True):
    """Risk of f 0.05: a small margin of g has rate 0.02, the nets differ on 0.03; 300 labelled, 300 unlabelled."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        k, j = rng.binomial(300, 0.02, n), rng.binomial(300, 0.03 if fresh else 0.0, n)
        table: dict[tuple[int, int], bool] = {}
        for pair in set(zip(k.tolist(), j.tolist(), strict=True)):
            table[pair] = original_risk(pair[0], 300, 0.0, pair[1], 300, 0.05) / shrink < 0.05
        return np.array([table[pair] for pair in zip(k.tolist(), j.tolist(), strict=True)])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(fails(1.0), delta=0.05, trials=1_000 * effort, name="fresh unlabelled points")


def teeth() -> Evidence:
    # points that chose g are not fresh: no deviation on them although the nets differ
    judge(fails(1.0, fresh=False), delta=0.05, trials=1_000, name="points that chose g", expect="violated")

    def caught(factor: float) -> bool:  # the second side alone, r = 0: its limit divided by a factor
        p = upper_limit(0, 300, 0.025) / factor * (1 + 1e-9)
        return (1 - p) ** 300 > 0.025

    slack = smallest_sabotage(caught)
    return Evidence(text=f"points that chose g violate it; a second term divided by {slack:g} is caught", slack=slack)
