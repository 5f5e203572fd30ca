"""An entrywise deviation of gamma moves a margin by up to 2 gamma: the published framework needs the margin 2 gamma.

Proof. g_y - g_j >= f_y - f_j - |f_y - g_y| - |f_j - g_j| >= margin(f) - 2 gamma, attained by f_y - gamma, f_j + gamma.
For a Euclidean deviation, (e_y - e_j) has norm sqrt 2, so that margins move by at most sqrt 2 gamma (Cauchy-Schwarz),
also attained. With k margins at most 2 gamma, g errs on at most k of the n examples, and the binomial tail with a union
over the codes of g gives R_0(g) <= Bin+(k, n, delta P(g)). One gamma for all points is not needed: each point has its
own move, max_j d_j - min_j d_j for d = f - g, at most 2 gamma. With gamma in the place of 2 gamma the premise "g is
within gamma of f" certifies nets that err on every point: f = (3/2 gamma, 0) and g = (gamma/2, gamma).
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from scipy.stats import binom

from boundlab.bounds.arora_margin import margin_losses
from boundlab.bounds.compressed_class import compressed_risk, margin_radius, margin_shift
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="Compression implies generalization, with the margin that it needs",
    source="Arora, Ge, Neyshabur and Zhang (2018), arXiv:1802.05296, Theorem 2.1, as we understand the paper",
    given=("|f(x)_j - g(x)_j| <= gamma for every x of the sample and every class j", "P(g) fixed before the sample"),
    claim=r"R_0(g) \le \hat R_\gamma(f) + O\big(\sqrt{q\ln r/n}\big)",
    status="corrected",
    finding="the margin must be 2 gamma (sqrt 2 gamma for a Euclidean deviation): within gamma of a net of margin "
    "1.5 gamma lies one that errs everywhere",
    ours="boundlab_margin_lemma",
)

MUTATIONS = (
    Mutation(file="bounds/compressed_class.py", old='factors = {"entrywise": 2.0,', new='factors = {"entrywise": 1.0,'),
    Mutation(
        file="bounds/compressed_class.py",
        old="total = nats - math.log(probability",
        new="total = nats + math.log(probability",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="math.sqrt(2.0) * (1.0 + 2.0**-52)",
        new="math.sqrt(2.0) * (1.0 - 2.0**-52)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="min(size, margin_errors + failed)",
        new="min(size, failed)",
    ),
    Mutation(
        file="bounds/compressed_class.py",
        old="size, -total * _UP)",
        new="size, -total / 2)",
    ),
    Mutation(file="bounds/arora_margin.py", old="~((own > moved) &", new="~((own > 0.5 * moved) &"),
)


def symbolic() -> str:
    fy, fj, gy, gj, gamma = reals("fy fj gy gj gamma")
    close = [gy - fy <= gamma, fy - gy <= gamma, gj - fj <= gamma, fj - gj <= gamma, gamma > 0]
    prove(gy > gj, *close, fy - fj > 2 * gamma)
    counterexample(gy > gj, *close, fy - fj > gamma)
    dy, dj = reals("dy dj")
    prove((dy - dj) * (dy - dj) <= 2 * (dy * dy + dj * dj))  # |e_y - e_j|² = 2
    counterexample(gy > gj, *close, fy - fj == 2 * gamma)  # and 2 is the smallest factor
    return "z3: margin > 2 gamma keeps the class, 2 gamma or gamma does not; (d_y - d_j)² <= 2 |d|²"


def exact() -> str:
    # f = (1.5 gamma, 0) on every point, g = (gamma/2, gamma) with the class lost
    gamma = Fraction(1)
    f, g = (gamma * 3 / 2, Fraction(0)), (gamma / 2, gamma)
    require(max(abs(a - b) for a, b in zip(f, g, strict=True)) == gamma and g[0] < g[1], "within gamma, and wrong")
    require(gamma < f[0] - f[1] < Fraction(margin_radius(float(gamma))), "the margin lies between gamma and 2 gamma")
    outputs, after = (np.array([[float(v) for v in own]]) for own in (f, g))
    lost = margin_losses(np.array([1.5]), margin_shift(outputs, after), np.array([1.0]))
    require(bool(lost[0]), "the lost class is counted by the margin of f alone")
    for deviation in (0.1, 0.7, 1 / 3, 5.0):
        euclid = Fraction(margin_radius(deviation, norm="euclidean"))
        require(euclid**2 >= 2 * Fraction(deviation) ** 2, f"sqrt 2 x {deviation} rounded down")
    # published: r_gamma(f) = 0 although g errs on every point; ours: r_(2 gamma)(f) = 1
    n, nats, delta = 1_000, 20.0, 0.05
    published = compressed_risk(0, 0, n, nats, delta)
    ours = compressed_risk(n, 0, n, nats, delta)
    require(published < 0.05 and ours == 1.0, f"published {published}, ours {ours}, truth 1")
    # the bound itself against every sample of a world: 3 classifiers of known risk, exact probability of failure
    prior, risks = (0.5, 0.3, 0.2), (0.3, 0.2, 0.1)
    worst, size = 0.0, 12
    for alpha in (0.5, 0.2, 0.05):
        fail = 0.0
        for w, r in zip(prior, risks, strict=True):
            law = [float(binom.pmf(k, size, r)) for k in range(size + 1)]
            fail += sum(p for k, p in enumerate(law) if compressed_risk(k, 0, size, -math.log(w), alpha) < r)
        require(fail <= alpha, f"delta = {alpha}: fails with {fail}")
        worst = max(worst, fail / alpha)
    return (
        f"f = (1.5, 0), g = (.5, 1), gamma = 1: published bound {published:.3f}, truth 1, ours 1; three known risks: "
        f"P(fail)/delta <= {worst:.2f}"
    )


def fails(share: float):
    """Four classifiers of known risk on 60 examples, the best bound is shown: is it below the risk?"""
    risks, prior = np.array([0.25, 0.2, 0.2, 0.15]), 0.25

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        table = np.array([compressed_risk(k, 0, 60, -math.log(prior), 0.1) for k in range(61)]) * share
        counts = rng.binomial(60, risks, size=(n, 4))
        return np.asarray((table[counts] < risks).any(axis=1))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(fails(1.0), delta=0.1, trials=2_000 * effort, name="all four bounds at once")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # margins of 2 gamma/factor: is there a g within gamma that loses the class?
        gamma, margin = 1.0, margin_radius(1.0) / factor
        return margin - 2 * gamma < 0  # f = (margin, 0), g = (margin - gamma, gamma)

    slack = smallest_sabotage(caught)
    euclid = margin_radius(1.0, norm="euclidean")
    require(euclid**2 >= 2.0 and (euclid / 1.01) ** 2 < 2.0, "sqrt 2 is needed: d = (-1, 1)/sqrt 2")
    return Evidence(text=f"a margin of 2 gamma/{slack:g} is lost by g = (f_y - gamma, f_j + gamma)", slack=slack)
