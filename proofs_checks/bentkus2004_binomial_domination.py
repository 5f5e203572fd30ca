"""A sum of n independent [0, 1] variables of mean p has a tail of at most e times the binomial one, interpolated.

Statement. P(X_1 + ... + X_n >= x) <= e G(x), where G(k) = P(Bin(n, p) >= k) and ln G is linear between whole numbers.
Without the factor e it is false: a sum can exceed x more often than the binomial with the same n and p does.

Proof. (1) For convex f, f(c + X) lies below its chord, so that E f(c + X) <= (1-p) f(c) + p f(c + 1); exchanging one
variable after the other for a coin, E f(sum) <= E f(B), B ~ Bin(n, p). (2) With f = (. - h)+ and h < x Markov's
inequality gives P(sum >= x) <= E (B - h)+ / (x - h). (3) E (B - h)+ is the integral of P(B >= t) over t >= h. P(B >= t)
is G at the next whole number, hence at most G(t), which falls. (4) G is log-concave: the terms of the binomial are, and
the ratio P(B >= k+1)/P(B >= k) falls with them. So G(t) <= G(x) e^(-b (t-x)) for all t, with -b a slope of ln G at x.
(5) The integral is at most G(x) e^(b (x-h))/b; at h = x - 1/b the quotient is e G(x). If b = 0, G(x) = 1 (x <= 0).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.binomial import log_sf
from boundlab.concentration.chernoff import kl
from boundlab.concentration.hoeffding import log_binomial_tail
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.chernoff_multiplicative_kl import Law, totals
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Bentkus' comparison with the binomial tail",
    source="Bentkus, Annals of Probability 32 (2004), the bound for bounded summands, as we understand the paper; item "
    "number not known to us; our proof",
    given=("X_1..X_n independent in [0, 1], of mean p each",),
    claim=r"\Pr[X_1 + \dots + X_n \ge x] \le e\, G(x), \quad \ln G \text{ linear between } k \in \mathbb Z, "
    r"\ G(k) = \Pr[\mathrm{Bin}(n,p) \ge k]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/hoeffding.py",
        old="return min(0.0, high + 1.0 + 4e-15 * abs(high)) if high > -math.inf else high",
        new="return min(0.0, high + 4e-15 * abs(high)) if high > -math.inf else high",
    ),
    Mutation(
        file="concentration/hoeffding.py",
        old="high = (x - k) * log_sf(k + 1, n, p)[1] + (k + 1 - x) * high",
        new="high = log_sf(k + 1, n, p)[1]",
    ),
)


def survival(n: int, p: Fraction) -> list[Fraction]:
    """P(Bin(n, p) >= k) for k = 0..n."""
    law = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    return [sum(law[k:], Fraction(0)) for k in range(n + 1)]


def laws(count: int, seed: int) -> list[Law]:
    """Laws on three points of [0, 1] with small denominators."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        points = rng.choice(9, size=3, replace=False)
        weights = rng.integers(1, 8, size=3)
        found.append(
            {Fraction(int(x), 8): Fraction(int(w), int(weights.sum())) for x, w in zip(points, weights, strict=True)}
        )
    return found


def symbolic() -> str:
    a, b, c, k, n = sp.symbols("a b c k n", positive=True)
    h, x, slope, G = sp.symbols("h x b G", positive=True)
    t = sp.symbols("t", real=True)
    area = sp.integrate(G * sp.exp(-slope * (t - x)), (t, h, sp.oo))
    require(sp.simplify((area / (x - h)).subs(h, x - 1 / slope) - sp.E * G) == 0, "at h = x - 1/b the bound is e G")
    # log-concave terms: t_k² >= t_{k-1} t_{k+1}, as t_{k+1}/t_k = (n-k)/(k+1) p/(1-p) falls with k
    j, rest = sp.symbols("j rest", nonnegative=True)
    ratio = (n - k) / (k + 1)
    fall = sp.factor((ratio.subs(k, j) - ratio.subs(k, j + 1)).subs(n, j + 1 + rest))
    require(fall.is_positive, f"the ratio of neighbouring terms must fall, by {fall}")
    # with a = t_k, b = S_{k+1}, c = S_{k+2}, so that t_{k+1} = b - c: S_k S_{k+2} <= S_{k+1}² is t_k S_{k+2} <=
    # t_{k+1} S_{k+1}, which holds term by term: t_k t_{j+1} <= t_{k+1} t_j for j > k, as the ratios fall
    require(sp.expand((a + b) * c - b**2 - (a * c - (b - c) * b)) == 0, "S_k S_{k+2} - S_{k+1}² in terms")
    return "E (B-h)+/(x-h) <= e G(x) at h = x - 1/b; binomial terms, and so their tails, are log-concave"


def exact() -> str:
    cases = beyond = below_chernoff = 0
    worst = 0.0
    for law in laws(12, 2004):
        mean = sum((x * w for x, w in law.items()), Fraction(0))
        above = math.nextafter(float(mean), 1.0)  # a larger p has the larger tail
        for n in (1, 2, 4, 6):
            sums = totals(law, n)
            tail = survival(n, mean)
            for x in sorted(sums):
                truth = sum((w for y, w in sums.items() if y >= x), Fraction(0))
                bound = log_binomial_tail(math.nextafter(float(x), 0.0), n, above)
                require(
                    truth <= Fraction(math.exp(bound) * (1 + 1e-15)), f"P = {float(truth)} at n={n}, x={x} of {law}"
                )
                beyond += truth > tail[math.ceil(x)]
                if bound < 0:
                    worst = max(worst, float(truth) / math.exp(bound))
                cases += 1
    for n, p, x in itertools.product((50, 1000), (0.01, 0.3), (0.02, 0.1, 0.5, 0.9)):
        if x > p:
            chernoff = -n * kl(x, p)
            below_chernoff += log_binomial_tail(x * n, n, p) < chernoff
    require(beyond > 0, "some sum must exceed the plain binomial tail")
    require(below_chernoff >= 6, f"the bound must beat Chernoff's far out, it does in {below_chernoff} cases")
    kept = 0
    for n, p, f in itertools.product((3, 20), (Fraction(1, 4), Fraction(2, 3)), (0.0, 0.25, 0.5)):
        tail = survival(n, p)
        for k in range(1, n):
            shipped = log_binomial_tail(k + f, n, float(p))
            truth = (1 - f) * math.log(tail[k]) + f * math.log(tail[k + 1]) + 1
            require(
                -1e-12 <= shipped - min(0.0, truth) < 1e-9, f"ln e G({k + f}) of {n}, {p} is {truth}, got {shipped}"
            )
            kept += 1
    return (
        f"{cases} exact tails <= e G, up to {worst:.2f} of it; {beyond} above the binomial tail; {kept} values of ln G"
    )


def uniforms(factor: float, n: int = 12, delta: float = 0.02):
    """A trial: a sum of n draws from {0, 1/2, 1} reaches the x at which the bound, divided by `factor`, is delta."""
    p = 0.3
    grid = np.arange(2 * n + 1) / 2
    x = next(float(v) for v in grid if log_binomial_tail(float(v), n, p) - math.log(factor) <= math.log(delta))

    def trial(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.choice([0.0, 0.5, 1.0], p=[0.5, 0.4, 0.1], size=(count, n)).sum(axis=1) >= x

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(uniforms(1.0), delta=0.02, trials=2_000 * effort, name="a tail of at most e G")


def teeth() -> Evidence:
    n = 10
    certain: Law = {Fraction(89, 250): Fraction(1)}  # no spread at all: the sum is n p always

    def claim(x: Fraction, p: Fraction, factor: float) -> float:
        """min(1, e G(x) / factor), from the shipped enclosures."""
        k = math.floor(x)
        log_g = float(k + 1 - x) * log_sf(k, n, float(p))[1] + float(x - k) * log_sf(k + 1, n, float(p))[1]
        return min(1.0, math.exp(1 + log_g) / factor)

    def caught(factor: float) -> bool:
        """Whether an exact tail exceeds what a constant of e / factor would promise."""
        for law in (certain, *laws(6, 7)):
            mean, sums = sum((x * w for x, w in law.items()), Fraction(0)), totals(law, n)
            for x in sums:
                truth = sum((w for y, w in sums.items() if y >= x), Fraction(0))
                if x < n and float(truth) > claim(x, mean, factor) * (1 + 1e-9):
                    return True
        return False

    slack = smallest_sabotage(caught, (1.5, 1.6, 1.75, 2, 2.5, math.e))
    halves: Law = {Fraction(0): Fraction(1, 2), Fraction(1, 2): Fraction(1, 2)}  # of mean 1/4
    truth, plain = totals(halves, 1)[Fraction(1, 2)], survival(1, Fraction(1, 4))[1]
    require(truth > plain, "the plain binomial tail was not caught")
    text = f"refuted exactly: e/{slack:.3g} in the place of e; the binomial tail itself, {plain} where P = {truth}"
    return Evidence(text=text, slack=slack)
