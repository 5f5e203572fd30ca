"""The mean of m independent terms in [0, 1/p] with mean 1 leaves 1 +- eps no more often than Chernoff's kl form says.

Proof. On [0, 1/p] the curve e^(tx) lies below its chord, so that E e^(tX) <= 1 - p + p e^(t/p), the value of the
two-point law {0, 1/p}. Markov's inequality for e^(t sum) at t = p ln(u (1-p)/(1-up)), which has the sign of u - 1,
gives P(mean beyond u) <= exp(-m kl(up || p)), for u = 1 + eps from above and for u = 1 - eps from below. The rate
rises with p: its slope is u ln v - (u-1)/(1-p) with v = u (1-p)/(1-up), and ln v >= 1 - 1/v = (u-1)/(u (1-p)). So a
larger S K, hence a smaller p, is the safe side. Where (1 + eps) p = 1 the upper bound is p^m, at eps = 1 the lower one
is (1-p)^m: both are attained by the two-point law, and no larger rate holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import sympy as sp
from flint import arb, ctx, fmpq

from boundlab.concentration.multiplicative import binomial_failure, lower_rate, upper_rate
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, certified_eps, sample_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.bernstein_multiplicative import coin
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Chernoff's bound for a relative error, in kl form",
    source="Chernoff (1952) and Hoeffding (1963), eq. (2.1), as we understand the papers; scaled to mean 1 by us",
    given=("T_1..T_m independent, in [0, 1/p], mean 1", "p = 1/(S K), where no share exceeds K s_j", "eps > 0"),
    claim=r"\Pr[\bar T \ge 1+\epsilon] \le e^{-m\,\mathrm{kl}((1+\epsilon)p\|p)}, \quad "
    r"\Pr[\bar T \le 1-\epsilon] \le e^{-m\,\mathrm{kl}((1-\epsilon)p\|p)}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/multiplicative.py",
        old="return np.maximum(0.0, exponent) * (1.0 - ROUNDING)",
        new="return np.maximum(0.0, exponent) * (1.0 + 1e-9)",
    ),
    Mutation(
        file="concentration/multiplicative.py", old="over = (1.0 + eps) * p > 1.0", new="over = (1.0 + eps) * p >= 1.0"
    ),
    Mutation(
        file="coresets/sensitivity_sampling.py",
        old="tail = upper * np.exp(-m * up) + lower * np.exp(-m * down)",
        new="tail = upper * np.exp(-m * up)",
    ),
    Mutation(
        file="coresets/sensitivity_sampling.py",
        old="fails = upper * np.exp(-m * upper_rate(p, mid)) + lower * np.exp(-m * lower_rate(p, mid))",
        new="fails = upper * np.exp(-m * upper_rate(p, mid))",
    ),
)

EPSILONS = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1), Fraction(2))
Law = dict[Fraction, Fraction]  # value -> probability


def instances(count: int, seed: int, width: int = 4) -> Iterator[tuple[Fraction, Fraction, Law]]:
    """(S, C, law of one term): a row of at most `width` positive edges, two or three points, and a fresh point."""
    rng = np.random.default_rng(seed)
    while count:
        edges, points = int(rng.integers(2, width + 1)), int(rng.integers(1, 4))
        a = rng.integers(0, 5, size=(points + 1, edges)) * rng.integers(1, 4, size=edges)
        if not a.sum(axis=1).all():
            continue
        g = [[Fraction(int(v), int(row.sum())) for v in row] for row in a]
        s = [max(column) for column in zip(*g[1:], strict=True)]
        if any(v > 0 and t == 0 for v, t in zip(g[0], s, strict=True)):
            continue  # a share above K s for every K: outside the premise
        S, law = sum(s, Fraction(0)), {}
        for share, t in zip(g[0], s, strict=True):
            if t > 0:
                law[S * share / t] = law.get(S * share / t, Fraction(0)) + t / S
        yield S, max(law) / S, law
        count -= 1


def totals(law: Law, m: int) -> Law:
    """Law of the sum of m independent terms."""
    here: Law = {Fraction(0): Fraction(1)}
    for _ in range(m):
        following: Law = {}
        for (x, a), (y, b) in itertools.product(here.items(), law.items()):
            following[x + y] = following.get(x + y, Fraction(0)) + a * b
        here = following
    return here


def tails(law: Law, m: int, eps: Fraction, *, strict: bool = False) -> tuple[Fraction, Fraction]:
    """P(mean >= 1 + eps) and P(mean <= 1 - eps), exactly; with strict inequalities where asked."""
    sums = totals(law, m)
    up = sum((p for x, p in sums.items() if x > m * (1 + eps) or (not strict and x == m * (1 + eps))), Fraction(0))
    down = sum((p for x, p in sums.items() if x < m * (1 - eps) or (not strict and x == m * (1 - eps))), Fraction(0))
    return up, down


def bounds(p: Fraction, m: int, eps: Fraction, factor: float = 1.0) -> tuple[float, float]:
    """The two shipped bounds at `factor` times the shipped rates; p is rounded down, at which the rates are smaller."""
    below = np.nextafter(np.array(float(p)), 0.0)
    up, down = (float(rate(below, np.array(float(eps)))) for rate in (upper_rate, lower_rate))
    return math.exp(-factor * m * up), math.exp(-factor * m * down)


def broken(factor: float, count: int = 40) -> tuple[int, int, int]:
    """(tails, tails above `factor` times the rate, upper tails above the binomial's) over tiny rows, exactly."""
    cases = above = beyond_binomial = 0
    for S, C, law in instances(count, 20):
        p = 1 / (S * C)
        two = {Fraction(0): 1 - p, 1 / p: p}
        for m, eps in itertools.product((1, 2, 3, 5), EPSILONS):
            truth = tails(law, m, eps)
            cases += 2
            above += sum(t > Fraction(b) for t, b in zip(truth, bounds(p, m, eps, factor), strict=True))
            beyond_binomial += truth[0] > tails(two, m, eps)[0]
    return cases, above, beyond_binomial


def symbolic() -> str:
    x, t, p, u, b = sp.symbols("x t p u b", positive=True)
    gap = 1 + x / b * (sp.exp(t * b) - 1) - sp.exp(t * x)
    require(sp.simplify(gap.subs(x, 0)) == 0 and sp.simplify(gap.subs(x, b)) == 0, "the chord must meet the curve")
    require(sp.simplify(sp.diff(gap, x, 2) + t**2 * sp.exp(t * x)) == 0, "chord minus curve must be concave")
    odds = u * (1 - p) / (1 - u * p)  # e^(t/p) at the chosen t
    exponent = sp.log(sp.factor(1 - p + p * odds)) - u * p * sp.log(odds)
    kl = u * p * sp.log(u) + (1 - u * p) * sp.log((1 - u * p) / (1 - p))
    logs = {sp.log(1 - p): sp.Symbol("l1"), sp.log(1 - u * p): sp.Symbol("l2"), sp.log(u): sp.Symbol("l3")}
    rest = sp.expand_log((exponent + kl).subs(sp.log((p - 1) / (p * u - 1)), sp.log((1 - p) / (1 - u * p))), force=True)
    require(sp.expand(rest.subs(logs)) == 0, "the exponent at that t must be -kl(up || p)")
    require(sp.simplify((odds - 1) * (1 - u * p) - (u - 1)) == 0, "t must have the sign of u - 1")
    s = u - 1
    parts = p * (u * sp.log(u) - s) + (1 - u * p) * sp.log((1 - u * p) / (1 - p)) + s * p
    require(sp.expand(parts - kl) == 0, "kl must be p h(s) + (1 - p) h(-sp/(1 - p))")
    slope = u * sp.log(u) - u * sp.log((1 - u * p) / (1 - p)) - (u - 1) / (1 - p)  # u ln v - (u-1)/(1-p)
    require(sp.simplify(sp.diff(kl, p) - slope) == 0, "the slope of the rate in p")
    v = sp.symbols("v", positive=True)
    base = sp.log(v) - 1 + 1 / v  # zero at v = 1, falling before it and rising behind it
    require(base.subs(v, 1) == 0 and sp.simplify(sp.diff(base, v) - (v - 1) / v**2) == 0, "ln v >= 1 - 1/v")
    require(sp.simplify(u * (1 - 1 / odds) - (u - 1) / (1 - p)) == 0, "u (1 - 1/v) must be (u-1)/(1-p)")
    return (
        "chord bound on the mgf; at t = p ln(u(1-p)/(1-up)) the exponent is -kl(up||p) = -p h(s) - (1-p) h(-sp/(1-p)), "
        "which falls as p grows"
    )


def exact() -> str:
    cases, above, beyond = broken(1.0)
    require(above == 0, f"{above} exact tails exceed the shipped bound")
    require(beyond > 0, "some row must have a heavier upper tail than the binomial of the same p")
    half = {Fraction(0): Fraction(1, 2), Fraction(2): Fraction(1, 2)}  # S = 2, shares (1, 0); K = 2, so that p = 1/4
    quarter = {Fraction(0): Fraction(3, 4), Fraction(4): Fraction(1, 4)}
    pair = (tails(half, 1, Fraction(1))[0], tails(quarter, 1, Fraction(1))[0])
    require(pair == (Fraction(1, 2), Fraction(1, 4)), f"the tails at m=1, SC=4, eps=1 must be 1/2 > 1/4, got {pair}")
    require(bounds(Fraction(1, 4), 1, Fraction(1))[0] >= 0.5, "kl must cover the 1/2 that the binomial misses")
    plans = 0
    for S, C, law in instances(15, 21, width=3):
        K, total = max(1.0, float(C) * (1 + 1e-15)), np.array([float(S)])
        for eps, delta in itertools.product((0.75, 1.0, 2.0), (0.3, 0.6)):
            m = int(sample_size(total, eps, delta, K=K, rule=Rule.KL)[0])
            if m <= 14:
                require(sum(tails(law, m, Fraction(eps), strict=True)) <= Fraction(delta), f"m={m} is too small")
                got = float(certified_eps(total, np.array([m]), delta, K=K)[0])
                require(got <= eps * (1 + 1e-9), f"m={m} draws must certify eps={eps}, got {got}")
                require(sum(tails(law, m, Fraction(got), strict=True)) <= Fraction(delta), f"eps={got} is too small")
                back = sample_size(total, np.array([got]), delta, K=K)[0]
                require(back <= m, f"eps={got} must need at most {m} draws, got {back}")
                if got < float(S) * K - 1 - 1e-6:  # below the jump at which the upper tail ends
                    require(sample_size(total, got * (1 - 1e-6), delta, K=K)[0] > m, f"eps={got} is not the smallest")
                plans += 1
    return f"{cases} exact tails <= bound ({beyond} above the binomial's); {plans} plans suffice; {enclosed()}"


def enclosed() -> str:
    """Compare the shipped rates with ball arithmetic at 200 bits, at the same doubles."""
    old, ctx.prec = ctx.prec, 200
    worst, points = 0.0, 0
    try:
        for p, eps in itertools.product((1e-9, 1e-3, 0.1, 0.3, 0.9, 1 - 1e-9), (1e-6, 5e-3, 0.02, 0.5, 0.999, 8.5)):
            for sign, shipped in ((1, upper_rate), (-1, lower_rate)):
                value = float(shipped(np.array(p), np.array(eps)))
                if math.isinf(value):
                    require((1 + sign * Fraction(eps)) * Fraction(p) > 1 or eps > 1, f"inf at p={p}, eps={eps}")
                    continue
                P, E = (arb(fmpq(*v.as_integer_ratio())) for v in (p, eps))
                u = 1 + sign * E
                kl = u * P * u.log() + (1 - u * P) * ((1 - u * P) / (1 - P)).log()
                lost = 1 - arb(fmpq(*value.as_integer_ratio())) / kl
                require(bool(lost > 0), f"the rate at p={p}, eps={sign * eps} is above kl")
                worst, points = max(worst, float(lost.mid())), points + 1
    finally:
        ctx.prec = old
    require(worst < 3e-12, f"a rate loses {worst}")
    return f"rates below kl by at most {worst:.1e} at {points} points"


def misses(share: float):
    """A trial: `share` of the shipped m errs by more than eps at a fresh point, in the row that needs most."""
    edges, eps, delta, K = 60, 0.4, 0.1, 3.0  # equal shares on S, a fresh point active on a third of the edges
    m = math.ceil(share * float(sample_size(np.array([1.0]), eps, delta, K=K)[0]))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr, q = np.arange(n + 1, dtype=np.int64) * edges, np.full(n * edges, 1 / edges)
        counts = draw_counts(q, indptr, np.full(n, m), rng).reshape(n, edges)
        return np.abs(counts[:, : edges // 3].sum(axis=1) * K / m - 1) > eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.1, trials=2_000 * effort, name="the kl size, extremal row")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        """Whether `factor` times the shipped rates is beyond an exact tail of the two-point law."""
        p, m = Fraction(1, 4), 3
        full, none = coin(m, p, Fraction(3))[0], coin(m, p, Fraction(1))[1]  # p^m and (1-p)^m
        rates = upper_rate(np.array(0.25), np.array(3.0)), lower_rate(np.array(0.25), np.array(1.0))
        return any(t > Fraction(math.exp(-factor * m * float(r))) for t, r in zip((full, none), rates, strict=True))

    slack = smallest_sabotage(caught)
    require(violated(misses(0.25), delta=0.1, trials=1_000, name="a quarter of the draws"), "m/4 was not caught")
    m = sample_size(np.array([1.0]), 0.4, 0.1)[0]  # K = 3 forgotten
    lost = float(binomial_failure(m, np.array(1 / 3), np.array(0.4)))
    require(lost > 0.1, f"a forgotten K: failure probability {lost} was not caught")
    return Evidence(
        text=f"refuted: rates times {slack:g} (exactly), m/4, K dropped (fails with {lost:.2f})", slack=slack
    )
