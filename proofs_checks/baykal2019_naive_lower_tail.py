"""With the variance's factor S C - 1 in Bernstein's bound the lower tail is false for S C < 2, and true from 2 on.

The statement. A row estimate is a mean of m terms T in [0, 1/p] with mean 1, p = 1/(S C), whose variance is at most
v = 1/p - 1 = S C - 1 (`baykal2019_unbiased_reweighting`). It is tempting to write both tails at once as
2 exp(-m eps²/(2 (S C - 1)(1 + eps/3))).

Refutation. Bernstein's bound has the largest deviation b beside the variance: upwards T - 1 <= v, but downwards
1 - T <= 1, which is larger than v where S C < 2. At S C = 33/32, eps = 0.3, m = 3 one draw that misses is one too many:
the lower tail alone is 1 - (32/33)^3 = 8.8 %, and the bound says 3.9 %.

What holds. If X has mean 0, variance at most v and X <= b, then for s >= 0 E e^{sX} <= 1 + E (e^{sX} - 1 - sX) and
(e^x - 1 - x)/x² = integral of (1-t) e^{tx} dt rises in x, so that E e^{sX} <= exp((v/b²)(e^{sb} - 1 - sb)). Chernoff's
bound at s = ln(1 + b eps/v)/b gives exp(-m (v/b²) h(b eps/v)) with h(u) = (1+u) ln(1+u) - u, and h(u)(2 + 2u/3) >= u²
turns the rate into eps²/(2 (v + b eps/3)). Upwards b = v, downwards b = 1, and max(v, 1) serves both: it is v, and the
tempting form is true, from S C = 2 on.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.concentration.variance import variance_rate
from boundlab.coresets.alias import draw_counts
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.bernstein_multiplicative import EPSILONS, coin, naive, row
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Bernstein's bound with S C - 1 on both sides",
    source="the form that the variance of the estimator of Baykal et al. 2019, arXiv:1804.05345, suggests; stated by "
    "no paper that we know of",
    given=("T_1..T_m independent, in [0, 1/p], mean 1", "p = 1/(S C), where no share exceeds C s_j"),
    claim=r"\Pr[|\bar T - 1| \ge \epsilon] \le 2 \exp\left(-\frac{m\epsilon^2}{2(SC-1)(1+\epsilon/3)}\right)",
    status="refuted",
    finding="For S C < 2 the lower tail exceeds it: 8.8 % against 3.9 % at S C = 33/32, eps = 0.3, m = 3; with "
    "S C - 1 + max(S C - 1, 1) eps/3 in the denominator it holds.",
    ours="bernstein_multiplicative",
)

MUTATIONS = (
    Mutation(
        file="concentration/variance.py",
        old="np.maximum(v, 1.0) * eps / 3.0",
        new="v * eps / 3.0",
    ),
    Mutation(
        file="concentration/variance.py",
        old="rate = eps * eps / (2.0 * (v + np.maximum(v, 1.0) * eps / 3.0))",
        new="rate = eps * eps / (2.0 * v)",
    ),
)

P, M, EPS = Fraction(32, 33), 3, Fraction(3, 10)
DELTA = naive(P, M, EPS) * 2


def two_sided(law: dict[Fraction, Fraction], m: int, eps: Fraction) -> Fraction:
    """P(|mean - 1| >= eps), exactly, of m draws from a law with two values."""
    (low, w), (top, v) = law.items()
    sums = {low * (m - k) + top * k: math.comb(m, k) * v**k * w ** (m - k) for k in range(m + 1)}
    return sum((q for t, q in sums.items() if abs(t / m - 1) >= eps), Fraction(0))


def worst_ratio(factor: float, count: int = 30, seed: int = 31) -> float:
    """Largest exact two-sided tail over twice the shipped bound, at `factor` times the rate."""
    rng, worst = np.random.default_rng(seed), 0.0
    laws = [row(rng) for _ in range(count)] + [
        (p, {Fraction(0): 1 - p, 1 / p: p}) for p in (P, Fraction(17, 19), Fraction(9, 10), Fraction(1, 3))
    ]
    for (p, law), m, eps in itertools.product(laws, (1, 2, 3, 5, 12), EPSILONS):
        rate = float(variance_rate(np.array(float(p)), np.array(float(eps))))
        worst = max(worst, float(two_sided(law, m, eps) / Fraction(2 * math.exp(-factor * m * rate))))
    return worst


def symbolic() -> str:
    x, t = sp.symbols("x t", real=True)
    whole = sp.exp(t * x) * ((1 - t) / x + 1 / x**2)
    require(sp.simplify(sp.diff(whole, t) - (1 - t) * sp.exp(t * x)) == 0, "the antiderivative of (1-t) e^{tx}")
    part = whole.subs(t, 1) - whole.subs(t, 0)
    require(sp.simplify(part - (sp.exp(x) - 1 - x) / x**2) == 0, "(e^x - 1 - x)/x² is the integral of (1-t) e^{tx}")
    require(sp.diff((1 - t) * sp.exp(t * x), x) == t * (1 - t) * sp.exp(t * x), "which rises in x")
    v, b, e = sp.symbols("v b epsilon", positive=True)
    s = sp.log(1 + b * e / v) / b
    exponent = v / b**2 * (sp.exp(s * b) - 1 - s * b) - s * e
    u = b * e / v
    bennett = v / b**2 * ((1 + u) * sp.log(1 + u) - u)
    require(sp.simplify(exponent + bennett) == 0, "Chernoff's bound at that s is Bennett's")
    require(sp.simplify(v / b**2 * u**2 / (2 + 2 * u / 3) - e**2 / (2 * (v + b * e / 3))) == 0, "and Bernstein's")
    y = sp.symbols("y", nonnegative=True)
    f = ((1 + y) * sp.log(1 + y) - y) * (2 + 2 * y / 3) - y**2
    require(all(sp.simplify(sp.diff(f, y, k).subs(y, 0)) == 0 for k in range(3)), "f vanishes with f' and f'' at 0")
    require(sp.simplify(sp.diff(f, y, 3) - 4 * y / (3 * (1 + y) ** 2)) == 0, "f''' = 4y/(3(1+y)²) >= 0")
    tempting = e**2 / (2 * v * (1 + e / 3))
    require(sp.simplify(tempting - e**2 / (2 * (v + v * e / 3))) == 0, "b = v is the tempting form")
    return "Bennett from (e^x-1-x)/x² rising, Bernstein from f''' = 4y/(3(1+y)²); b = v upwards, b = 1 downwards"


def exact() -> str:
    up, down = coin(M, P, EPS)
    require(up == 0 and down == 1 - P**3, f"one miss of three is too many, {down}")
    require(float(down) > 2 * float(DELTA), f"the lower tail {float(down)} against {DELTA}")
    more = coin(5, Fraction(17, 19), Fraction(3, 4))[1]
    require(float(more) > 2 * naive(Fraction(17, 19), 5, Fraction(3, 4)), "and at S C = 19/17, m = 5, eps = 3/4")
    worst = worst_ratio(1.0)
    require(worst <= 1, f"an exact tail is {worst} times the shipped bound")
    for top, size, eps in itertools.product(range(2, 8), (1, 3, 10, 30), EPSILONS):  # S C >= 2, where it is valid
        require(sum(coin(size, Fraction(1, top), eps)) <= 2 * naive(Fraction(1, top), size, eps), "S C >= 2")
        rate = float(variance_rate(np.array(1 / top), np.array(float(eps))))
        true = Fraction(eps * eps) / (2 * (top - 1) * (1 + eps / 3))
        require(Fraction(rate) <= true and float(true) <= rate * (1 + 1e-11), "the shipped rate, rounded down")
    grid = np.linspace(0.01, 0.99, 99)[:, None]
    e = np.logspace(-3, 1, 60)
    kl = np.minimum(upper_rate(grid, e), lower_rate(grid, e))
    require(np.all(variance_rate(grid, e) <= kl * (1 + 1e-11)), "a shipped rate exceeds the kl rate")
    return (
        f"S C = 33/32, m = 3, eps = 0.3: lower tail {float(down):.4f} > {DELTA:.4f}; exact tails at most {worst:.3f} "
        "of the shipped bound"
    )


def misses(m: int):
    """A trial: m shipped draws of a row with S C = 33/32, at an input that sees the first of two edges alone."""
    q = np.array([float(P), 1 - float(P)])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        counts = draw_counts(np.tile(q, n), np.arange(n + 1, dtype=np.int64) * 2, np.full(n, m), rng)
        return np.abs(counts[::2] / (m * q[0]) - 1) >= float(EPS)

    return trial


def enough(share: float = 1.0) -> int:
    """The size by the shipped rate at DELTA, times a share."""
    rate = float(variance_rate(np.array(float(P)), np.array(float(EPS))))
    return math.ceil(share * math.log(2 / DELTA) / rate)


def monte_carlo(effort: int = 1) -> Evidence:
    bad = judge(misses(M), delta=DELTA, trials=1_000 * effort, name="m by S C - 1", expect="violated")
    good = judge(misses(enough()), delta=DELTA, trials=2_000 * effort, name="m by the repaired rate")
    text = f"m = {M} by S C - 1: {bad.text}; m = {enough()} by the shipped rate: {good.text}"
    return Evidence(text=text, trials=bad.trials + good.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: worst_ratio(factor, count=6) > 1)
    require(sum(coin(M, P, EPS)) > Fraction(DELTA), "S C - 1 on both sides was not caught")
    half = Fraction(1, 2)  # S C = 2: the counterexample ends where the theorem begins
    require(sum(coin(M, half, EPS)) <= 2 * naive(half, M, EPS), "S C = 2 must not be refuted")
    return Evidence(text=f"refuted: the rate times {slack:g}, S C - 1 on both sides; S C = 2 is not", slack=slack)
