"""The reweighted row w_j c_j/(m q_j) with c ~ Multinomial(m, q) has mean w, and a known variance at every input.

Proof. E c_j = m q_j. With z = sum w_j a_j, g_j = w_j a_j/z and q_j = s_j/S, one draw's term has the second moment
sum (w_j a_j)²/q_j = z² S sum g_j²/s_j; m independent draws divide the variance by m. To keep a row as it was whenever
its draw touches every edge would be tempting, as such a draw saves nothing; but it moves the mean where m >= |W|.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from unittest import mock

import numpy as np
import sympy as sp

from boundlab.compressors import method
from boundlab.nets.groups import sign_groups
from boundlab.records import SamplePlan, Sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Reweighting by counts is unbiased",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us"
    " (the estimator is that of Hansen and Hurwitz 1943)",
    given=("c ~ Multinomial(m, q), q_j = s_j/S, m >= 1", "s_j > 0"),
    claim=r"E[\hat w_j] = w_j, \quad \mathrm{Var}(\hat z) = (z^2/m)(S \sum_j g_j^2/s_j - 1)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="compressors/method.py",
        old="mean = groups.spread(m) * q",
        new="mean = groups.spread(m) * np.sqrt(q)",
    ),
    Mutation(file="compressors/method.py", old="if counts[j] > 0:", new="if counts[j] > 1:"),
    Mutation(file="compressors/method.py", old="= counts[j] * worth[j]", new="= worth[j]"),
)


def plan(weight: np.ndarray, values: np.ndarray, size: int) -> SamplePlan:
    """Sample every group of a matrix with the same number of draws."""
    groups = sign_groups(weight)
    count = len(groups)
    return SamplePlan(
        layer=2,
        sensitivities=Sensitivities(values=values, groups=groups, points=1, theorem="baykal2019_unbiased_reweighting"),
        size=np.full(count, float(size)),
        exact=np.zeros(count, bool),
        eps=np.ones(count),
        K=1.0,
        parts=1,
        condition=math.nan,
        theorem="baykal2019_unbiased_reweighting",
    )


def outcomes(m: int, q: list[Fraction]) -> Iterator[tuple[list[int], Fraction]]:
    """Every count vector of positive probability, and that probability exactly."""
    if len(q) == 1:
        if q[0] > 0 or m == 0:
            yield [m], q[0] ** m
        return
    for k in range(m + 1 if q[0] > 0 else 1):
        for rest, p in outcomes(m - k, q[1:]):
            yield [k, *rest], math.comb(m, k) * q[0] ** k * p


def exact_moments(w: list[int], s: list[Fraction], m: int, a: list[int]) -> tuple[list[float], float, float]:
    """E of every weight, E and Var of z_hat: the shipped reweighting at every count vector, exact probabilities."""
    total = sum(s, Fraction(0))
    weight, values = np.array([w], float), np.array([float(v) for v in s])
    rows, probabilities = [], []
    for counts, p in outcomes(m, [v / total for v in s]):
        with mock.patch.object(method.Multinomials, "draw", return_value=np.array(counts)):
            drawn = method.draw_layer(weight, plan(weight, values, m), np.random.default_rng(0))
        rows.append(drawn[0])
        probabilities.append(float(p))
    table, p = np.array(rows), np.array(probabilities)
    z = table @ np.array(a, float)
    mean = float(p @ z)
    return list(p @ table), mean, float(p @ (z - mean) ** 2)


def symbolic() -> str:
    m, S = sp.symbols("m S", positive=True)
    s, g = sp.symbols("s1:5", positive=True), sp.symbols("g1:5", positive=True)
    z = sp.symbols("z", positive=True)
    q = [v / S for v in s]
    terms = [z * share / p for share, p in zip(g, q, strict=True)]  # one draw's estimate
    first = sum(p * t for p, t in zip(q, terms, strict=True))
    second = sum(p * t**2 for p, t in zip(q, terms, strict=True))
    require(sp.simplify(first - z * sum(g)) == 0, "the mean of one draw must be z sum g = z")
    claim = z**2 / m * (S * sum(share**2 / v for share, v in zip(g, s, strict=True)) - 1)
    require(sp.simplify((second - z**2) / m - claim) == 0, "the variance identity")
    cap = sp.symbols("C", positive=True)  # at g_j = C s_j wherever g_j > 0: S C - 1
    attained = claim.subs({v: share / cap for v, share in zip(s, g, strict=True)})
    require(sp.simplify(attained.subs(g[3], 1 - sum(g[:3])) - z**2 / m * (S * cap - 1)) == 0, "(S C - 1) z²/m")
    return "mean z; Var = (z²/m)(S sum g²/s - 1), which is (S C - 1) z²/m where g = C s on the support of g"


def exact() -> str:
    rng = np.random.default_rng(50)
    cases, worst = 0, 0.0
    for _ in range(25):
        edges = int(rng.integers(2, 5))
        w = [int(v) for v in rng.integers(1, 9, size=edges) * rng.choice([-1, 1])]
        s = [Fraction(int(v), 7) for v in rng.integers(1, 8, size=edges)]
        a = [int(v) for v in rng.integers(0, 4, size=edges)]
        a[0] += 1
        for m in (1, edges - 1, edges + 1):
            means, mean, variance = exact_moments(w, s, m, a)
            parts = [x * y for x, y in zip(w, a, strict=True)]
            z, S = sum(parts), sum(s, Fraction(0))
            want = Fraction(z * z, m) * (S * sum(Fraction(x, z) ** 2 / v for x, v in zip(parts, s, strict=True)) - 1)
            require(np.allclose(means, w, rtol=1e-12, atol=0), f"E w_hat is {means}, w is {w}")
            require(abs(mean - z) < 1e-11 * abs(z), f"E z_hat is {mean}, z is {z}")
            gap = abs(variance - float(want)) / max(1.0, float(want))
            require(gap < 1e-11, f"Var is {variance}, the identity says {float(want)}")
            cases, worst = cases + 1, max(worst, gap)
    means, *_ = exact_moments([2, 5, 7], [Fraction(1), Fraction(1, 2), Fraction(0)], 9, [1, 1, 1])
    require(np.allclose(means[:2], [2, 5]) and means[2] == 0, "one s_j = 0: unbiased where s_j > 0")
    return f"every count vector through draw_layer, {cases} rows, m above |W| too: E w_hat = w, Var to {worst:.0e}"


BLOCK, M, LOSS = 400, 4, 0.25
W = np.array([3.0, -1.0, 2.0, 0.5, -4.0, 6.0, 1.0])
S = np.array([0.3, 0.9, 0.05, 0.6, 0.2, 1.0, 0.4])


def strays(factor: float = 1.0):
    """A trial: the mean of 400 shipped draws of z+ is off by two standard errors of the claimed variance.

    Chebyshev's inequality allows it a quarter of the time, whatever the law. The mean is multiplied by `factor`.
    """
    positive = W > 0
    values = np.concatenate([S[positive], S[~positive]])
    a = np.where(positive, 1.0, 0.0)
    z, parts = float(W @ a), (W * a)[positive]
    variance = (S[positive].sum() * float(((parts / z) ** 2 / S[positive]).sum()) - 1) * z * z / M

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        weight, own = np.tile(W, (n * BLOCK, 1)), np.tile(values, n * BLOCK)
        drawn = method.draw_layer(weight, plan(weight, own, M), rng) @ a
        means = drawn.reshape(n, BLOCK).mean(axis=1)
        return np.abs(factor * means - z) >= math.sqrt(variance / BLOCK / LOSS)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(strays(), delta=LOSS, trials=150 * effort, name="mean of 400 draws", block=50)
    return Evidence(text=f"mean of 400 shipped draws beyond two claimed standard errors: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    w, s, m = [2, 5, 7], [Fraction(1), Fraction(1, 2), Fraction(1, 4)], 2
    uniform = plan(np.array([w], float), np.array([1.0, 1.0, 1.0]), m)  # weighs by 1/|W|, draws by s
    mean = np.zeros(3)
    for counts, p in outcomes(m, [v / sum(s, Fraction(0)) for v in s]):
        with mock.patch.object(method.Multinomials, "draw", return_value=np.array(counts)):
            mean += float(p) * method.draw_layer(np.array([w], float), uniform, np.random.default_rng(0))[0]
    require(np.abs(mean / w - 1).max() > 0.1, "weights by the wrong q were not caught")
    # a row kept as it was where its draw touches every edge: 1/4 and 3/4, two draws
    q = [Fraction(1, 4), Fraction(3, 4)]
    kept = sum((p * (1 if all(c) else c[0] / (2 * q[0])) for c, p in outcomes(2, q)), Fraction(0))
    require(kept == Fraction(5, 8), f"keeping full rows must have mean 5/8 of the weight, got {kept}")
    shipped, *_ = exact_moments([1, 1], q, 2, [1, 1])
    require(abs(shipped[0] - 1) < 1e-12, f"the shipped row must not do so: mean {shipped[0]}")

    def caught(factor: float) -> bool:
        return violated(strays(factor), delta=LOSS, trials=60, name=f"weights times {factor}")

    slack = smallest_sabotage(caught)
    text = (
        f"refuted: weights times {slack:g}; weights by the wrong q (means {np.round(mean / w, 2)}); full rows kept "
        f"(mean {kept} of w)"
    )
    return Evidence(text=text, slack=slack)
