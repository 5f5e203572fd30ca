"""Draws shared out over groups in proportion, rounded up, have no larger variance than draws from all edges at once.

Statement. p is a law on the edges of a matrix, the groups partition them, P_r = sum of p over group r, q = p/P_r in the
group. For any terms x_j let z = sum x_j and z_r its part in group r. m draws from p give the estimate
(1/m) sum_j c_j x_j/p_j of z, and m_r draws from q in every group give the sum of (1/m_r) sum_j c_j x_j/q_j. Both are
unbiased where p_j > 0. If m_r >= m P_r in every group, the second has no larger a variance; m_r = ceil(c S_r) with
S_r = S P_r is such, m = c S.

Proof. One draw from p has x_j/p_j with mean z, so that Var = (sum x_j²/p_j - z²)/m. In a group, with q_j = p_j/P_r,

    (sum x_j²/q_j - z_r²)/m_r  <=  (P_r sum x_j²/p_j - z_r²)/(m P_r)  =  (sum x_j²/p_j - z_r²/P_r)/m,

and the groups are independent. Their sum is (sum x_j²/p_j - sum z_r²/P_r)/m, and (sum z_r)² <= sum z_r²/P_r by Cauchy
and Schwarz, as sum P_r = 1. An output of a layer reads one row, x_j = 0 elsewhere: it is a case of this.
"""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.compressors.baselines import EntrywiseSampling, L1Sampling, L2Sampling, MixedSampling, Uniform
from boundlab.compressors.method import draw_layer
from boundlab.network import Layer, Network
from boundlab.records import SamplePlan
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Stratified entrywise sampling",
    source="ours; proportional strata are standard in survey sampling",
    given=("p_j > 0 where x_j is not 0", "m_r >= m P_r in every group"),
    claim=r"\mathrm{Var}\Big(\sum_r \frac{1}{m_r} \sum_{j \in r} \frac{c_j x_j}{q_j}\Big) \le "
    r"\frac{1}{m} \Big(\sum_j \frac{x_j^2}{p_j} - z^2\Big)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="compressors/baselines.py",
        old="return np.clip(np.ceil(c * total), 1.0, most)",
        new="return np.clip(np.floor(c * total), 1.0, most)",
    ),
    Mutation(
        file="compressors/baselines.py",
        old="low, high = (mid, high) if plan(sizes(mid)).expected_distinct.sum() <= wanted else (low, mid)",
        new="low, high = (mid, high) if plan(sizes(mid)).expected_distinct.sum() <= 1.1 * wanted else (low, mid)",
    ),
    Mutation(
        file="compressors/baselines.py",
        old="fits = few.sum() + np.cumsum(many - few) <= wanted",
        new="fits = np.zeros(len(many), bool)",
    ),
)

METHODS = (Uniform, L1Sampling, L2Sampling, MixedSampling)
Group = tuple[list[Fraction], list[Fraction], int]  # the terms x, the law q, the draws


def planned(method: EntrywiseSampling, weight: np.ndarray) -> SamplePlan:
    """The shipped plan of one layer."""
    net = Network(layers=(Layer(weight=weight, bias=np.zeros(len(weight)), relu=False),))
    return method.plan(net, np.zeros((1, weight.shape[1])))[0]


def strata(plan: SamplePlan, x: np.ndarray) -> tuple[list[Group], list[Fraction]]:
    """Each group's terms, law and draws, from the shipped plan, and the P_r; the values as exact fractions."""
    values, ends = [Fraction(v) for v in plan.sensitivities.values], plan.groups.indptr.tolist()
    terms, found, shares = [Fraction(v) for v in x], [], []
    for r, m in enumerate(plan.draws.tolist()):
        own = values[ends[r] : ends[r + 1]]
        found.append((terms[ends[r] : ends[r + 1]], [v / sum(own) for v in own], m))
        shares.append(sum(own) / sum(values))
    return found, shares


def moments(x: list[Fraction], q: list[Fraction], m: int) -> tuple[Fraction, Fraction]:
    """Mean and variance of (1/m) sum c_j x_j/q_j, over every outcome."""
    first = second = Fraction(0)
    for c in itertools.product(range(m + 1), repeat=len(q)):
        if sum(c) == m:
            chance = Fraction(math.factorial(m))
            for p, k in zip(q, c, strict=True):
                chance *= p**k / math.factorial(k)
            z = sum((k * v / p for k, v, p in zip(c, x, q, strict=True)), Fraction(0)) / m
            first, second = first + chance * z, second + chance * z * z
    return first, second - first**2


def closed(x: list[Fraction], q: list[Fraction], m: Fraction | int) -> Fraction:
    """(sum x²/q - z²)/m."""
    return (sum((v * v / p for v, p in zip(x, q, strict=True)), Fraction(0)) - sum(x) ** 2) / m


def ratio(plan: SamplePlan, x: np.ndarray) -> Fraction:
    """The variance of the plan, over that of m = min_r m_r/P_r draws from the whole matrix; at most 1 is claimed."""
    groups, shares = strata(plan, x)
    m = min(Fraction(n) / share for (_, _, n), share in zip(groups, shares, strict=True))
    whole = [p * share for (_, q, _), share in zip(groups, shares, strict=True) for p in q]
    together = closed([v for own, _, _ in groups for v in own], whole, m)
    return sum((closed(own, q, n) for own, q, n in groups), Fraction(0)) / together


def symbolic() -> str:
    a, b, p = sp.symbols("z_1 z_2 P", real=True)
    gap = a**2 / p + b**2 / (1 - p) - (a + b) ** 2
    require(sp.simplify(gap - (a * (1 - p) - b * p) ** 2 / (p * (1 - p))) == 0, "Cauchy-Schwarz with two groups")
    x, q, P, m = sp.symbols("x q P m", positive=True)
    require(sp.simplify(x**2 / (q / P) / (m * P) - x**2 / q / m) == 0, "m P draws from p/P weigh a term as m from p")
    return "z_1²/P + z_2²/(1-P) - (z_1+z_2)² is a square over P (1-P); more groups by induction"


def exact() -> str:
    rng, cases, worst = random.Random(3), 0, Fraction(0)
    weight = np.array([[0.5, -1.0, 2.0], [0.25, 1.5, -0.75]])
    for method, nnz in itertools.product(METHODS, (4, 5)):
        plan = planned(method(nnz=nnz), weight)
        x = np.array([rng.randint(-4, 4) for _ in range(6)], float)
        for own, q, m in strata(plan, x)[0]:
            mean, variance = moments(own, q, m)
            require(mean == sum(own), "a group's estimate is unbiased")
            require(variance == closed(own, q, m), "its variance is (sum x²/q - z²)/m")
            cases += 1
    draws = np.random.default_rng(4)
    for method, nnz in itertools.product(METHODS, (12, 40, 90, 140)):
        plan = planned(method(nnz=nnz), draws.normal(size=(5, 30)))
        for x in draws.normal(size=(3, 150)):
            worst = max(worst, ratio(plan, x))
        require(worst <= 1, f"the variance is {float(worst)} times that of draws from the whole matrix")
        total, m = plan.sensitivities.total, plan.size
        require(((m - 1) / total).max() <= (m / total).min() * (1 + 1e-9), "m_r = ceil(c S_r) for one c")
        mean = plan.expected_distinct.sum()
        require(nnz - 1 <= mean <= nnz, f"{mean} non-zeros in the mean where {nnz} are allowed")
    alike = planned(Uniform(nnz=95), np.ones((10, 20))).expected_distinct.sum()  # ten groups that differ in nothing
    require(94 <= alike <= 95, f"{alike} non-zeros in the mean where 95 are allowed")
    return f"{cases} groups over all outcomes; 48 sums over 10 groups: at most {float(worst):.3f} of the variance"


def monte_carlo(effort: int = 1) -> Evidence:
    rng = np.random.default_rng(5)
    weight, a = rng.normal(size=(1, 40)), rng.normal(size=40)
    plan, delta = planned(L1Sampling(nnz=12), weight), 0.1
    x = plan.groups.take(weight * a)
    groups, shares = strata(plan, x)
    m = min(Fraction(n) / share for (_, _, n), share in zip(groups, shares, strict=True))
    whole = [p * share for (_, q, _), share in zip(groups, shares, strict=True) for p in q]
    limit = math.sqrt(float(closed([v for own, _, _ in groups for v in own], whole, m)) / delta)

    def trial(coins: np.random.Generator, n: int) -> np.ndarray:
        return np.array([abs(float(draw_layer(weight, plan, coins)[0] @ a) - x.sum()) >= limit for _ in range(n)])

    return judge(trial, delta=delta, trials=1_000 * effort, name="Chebyshev with the variance of unstratified draws")


def teeth() -> Evidence:
    weight = np.ones((2, 4))  # two groups that are alike, equal sums: the two variances are equal
    plan = planned(Uniform(nnz=4), weight)
    x = np.array([1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0])
    slack = smallest_sabotage(lambda factor: float(ratio(plan, x)) * factor > 1)
    starved = [Fraction(1), Fraction(3)]  # draws; in proportion both groups would get two
    groups = strata(plan, x)[0]
    apart = sum((closed(own, q, n) for (own, q, _), n in zip(groups, starved, strict=True)), Fraction(0))
    together = closed([Fraction(v) for v in x], [Fraction(1, 8)] * 8, 4)
    require(apart > together, "draws that are not shared out in proportion must be able to do worse")
    return Evidence(text=f"refuted: a variance smaller by {slack:g}; draws out of proportion", slack=slack)
