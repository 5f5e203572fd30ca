"""A fresh point exceeds the k-th smallest of n calibration scores, k = ceil((1-delta)(n+1)), with probability <= delta.

Statement. R_1..R_n and R exchangeable (i.i.d. will do), any law, ties allowed. With R_(k) the k-th smallest of the n,
P(R <= R_(k)) >= k/(n+1) >= 1 - delta for k = ceil((1-delta)(n+1)) <= n. Without ties it is exactly k/(n+1), which is
below 1 - delta + 1/(n+1). It needs n >= 1/delta - 1; below that there is no rank, and the factor is inf.

Proof. R > R_(k) says that at least k of the other n scores lie strictly below R. Among any n+1 numbers at most n+1-k
have k or more of the others strictly below them: the k smallest, ties sorted in any way, have fewer. By exchangeability
R is each of the n+1 positions with equal probability, so that P(R > R_(k)) <= (n+1-k)/(n+1). Without ties exactly
n+1-k numbers have k others below.

For pruning. Given the net and S (both fixed before S2 is drawn), R(x) = max over edges of g_j(x)/s_j, 0/0 = 0 and
positive/0 = inf. Then C = R_(k) over S2 makes "no share exceeds C s_j" true at a fresh x with probability at least
1 - delta, for all edges, rows and layers at once: no union bound, no premise on the law. S must not be pooled with
S2 (there R <= 1 by construction), and the probability is over S2 and one x together: see vovk2012_training_conditional.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.conformal import conformal_factor, quantile_index
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Split-conformal quantile",
    source="Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, inductive conformal predictors; "
    "item number not known to us; as we understand the book",
    given=("n calibration scores and a fresh one exchangeable", "the score fixed before they are drawn"),
    claim=r"\Pr[R \le R_{(k)}] \ge \frac{k}{n+1} \ge 1-\delta, \quad k = \lceil(1-\delta)(n+1)\rceil \le n",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/conformal.py",
        old="return math.ceil((1 - level) * (n + 1))",
        new="return math.ceil((1 - level) * n)",
    ),
    Mutation(
        file="concentration/conformal.py",
        old="return np.full(values.shape[:-1], np.inf)",
        new="return values.max(axis=-1)",
    ),
    Mutation(
        file="concentration/conformal.py",
        old="return np.partition(values, k - 1, axis=-1)[..., k - 1]",
        new="return np.partition(values, k - 1, axis=-1)[..., max(k - 2, 0)]",
    ),
)

DELTAS = (0.5, 0.34, 0.25, 0.2, 0.1)


def symbolic() -> str:
    n, d = sp.symbols("n d", positive=True)
    k = sp.symbols("k", integer=True)
    level = (1 - d) * (n + 1)
    require(sp.simplify((n + 1 - level) / (n + 1) - d) == 0, "at k = (1-delta)(n+1) the bound is delta")
    require(sp.expand(n - level).equals(sp.expand(d * (n + 1) - 1)), "k <= n says delta (n+1) >= 1")
    gap = sp.diff((n + 1 - k) / (n + 1), k)
    require((-gap).simplify().is_positive, "a larger rank is exceeded less often")
    for size in range(2, 6):  # of any n+1 numbers at most n+1-k have k others strictly below: all weak orders
        for values in itertools.product(range(size), repeat=size):
            below = [sum(v < w for v in values) for w in values]
            for rank in range(1, size):
                require(sum(b >= rank for b in below) <= size - rank, f"{values} at rank {rank}")
    return "(n+1-k)/(n+1) = delta at k = (1-delta)(n+1); all weak orders of up to 5 numbers obey the count"


def failure(n: int, delta: float, law: tuple[Fraction, ...]) -> tuple[Fraction, Fraction]:
    """P(R > R_(k)) by the shipped factor for i.i.d. scores 0, 1, ... of this law; and P without ties, (n+1-k)/(n+1)."""
    lost = Fraction(0)
    for draw in itertools.product(range(len(law)), repeat=n + 1):
        if draw[-1] > conformal_factor(np.array(draw[:-1], float), delta):
            lost += math.prod((law[v] for v in draw), start=Fraction(1))
    return lost, Fraction(n + 1 - quantile_index(n, delta), n + 1)


def exact() -> str:
    coin, three = (Fraction(1, 3), Fraction(2, 3)), (Fraction(1, 2), Fraction(1, 3), Fraction(1, 6))
    cases = 0
    for law, n, delta in itertools.product((coin, three), (1, 2, 3, 4), DELTAS):
        lost, free = failure(n, delta, law)
        require(lost <= free <= Fraction(delta), f"n = {n}, delta = {delta}: {lost} above {free} or delta")
        cases += 1
    orders = 0
    for n, delta in itertools.product((1, 2, 3, 4, 5), DELTAS):  # no ties: every order equally likely
        index = quantile_index(n, delta)
        over = sum(
            bool(p[-1] > conformal_factor(np.array(p[:-1], float), delta)) for p in itertools.permutations(range(n + 1))
        )
        require(Fraction(over, math.factorial(n + 1)) == Fraction(n + 1 - index, n + 1), "without ties: equality")
        require(1 - Fraction(index, n + 1) > Fraction(delta) - Fraction(1, n + 1), "and not more than 1/(n+1) too safe")
        require((index == n + 1) == (Fraction(delta) * (n + 1) < 1), "inf exactly where n < 1/delta - 1")
        orders += 1
    for n, delta in itertools.product((9, 19, 99, 152, 10_000, 10**9), (0.05, 0.1, 0.3, 1e-3, 1e-16)):
        index = quantile_index(n, delta)
        require(index >= (1 - Fraction(delta)) * (n + 1) > index - 1, f"k at n = {n}, delta = {delta}")
    return f"{cases} laws with ties: at most (n+1-k)/(n+1) <= delta; {orders} sizes without ties: equal to it"


def scores(divide: float):
    """Trials: does a fresh max share ratio exceed the factor / `divide` of 24 calibration points, delta = 0.1?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        a = rng.pareto(1.2, size=(n, 30, 6))  # 5 points of S, 24 of S2, one fresh
        g = a / a.sum(axis=2, keepdims=True)
        ratio = (g / g[:, :5].max(axis=1, keepdims=True)).max(axis=2)
        return ratio[:, -1] > conformal_factor(ratio[:, 5:-1], 0.1) / divide

    return trial


def pooled(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same with 20 points of S, where no ratio exceeds 1, among the calibration points."""
    a = rng.pareto(1.2, size=(n, 30, 6))
    g = a / a.sum(axis=2, keepdims=True)
    ratio = (g / g[:, :20].max(axis=1, keepdims=True)).max(axis=2)
    return ratio[:, -1] > conformal_factor(ratio[:, :-1], 0.1)


def monte_carlo(effort: int = 1) -> Evidence:
    require(quantile_index(24, 0.1) == 23, "24 points at delta = 0.1: the second largest, rate 2/25")
    return judge(scores(1.0), delta=0.1, trials=5_000 * effort, name="max ratio of a group, n2 = 24")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(scores(factor), delta=0.1, trials=3_000, name="C divided")

    slack = smallest_sabotage(caught)
    require(violated(pooled, delta=0.1, trials=3_000, name="S pooled with S2"), "pooling S with S2 was not caught")
    lost = Fraction(sum(p[-1] > sorted(p[:-1])[3] for p in itertools.permutations(range(6))), 720)
    require(lost == Fraction(1, 3) > Fraction(1, 4), "k = ceil((1-delta) n) = 4 of 5 at delta = 1/4 was not caught")
    return Evidence(text=f"refuted: C / {slack:g}; S pooled with S2; k = ceil((1-delta) n): {lost} > 1/4", slack=slack)
