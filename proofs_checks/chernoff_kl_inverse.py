"""A mean of [0, 1] variables lies below the point where kl(mean || p) reaches ln(1/delta)/n with chance 1 - delta.

Proof. On [0, 1] the convex curve e^(-tx) lies below its chord, so that E e^(-tX) <= 1 - p + p e^(-t). Markov's
inequality for e^(-t sum) gives P(mean <= q) <= exp(n [q t + ln(1 - p + p e^(-t))]) for every t >= 0; at
e^t = p (1-q)/(q (1-p)), which is at least 1 for q <= p, the bracket is -kl(q || p). As p rises from q, kl(q || p) rises
from 0 (its slope is (p - q)/(p (1-p))), so that for fixed p the event "p lies beyond the inverse" is the event
"mean <= q*" with kl(q* || p) = c, up to its border. With c = ln(1/delta)/n it has probability at most e^(-nc) = delta.
For the mean 0 of coins the bound is attained: P = (1-p)^n = e^(-n kl(0||p)). The other side follows for 1 - X.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.chernoff import kl, kl_inverse, kl_inverse_lower
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import exact as rational

THEOREM = Theorem(
    name="Chernoff bound in relative-entropy form",
    source="Okamoto (1958) for coins; Hoeffding (1963), eq. (2.1), for [0, 1] variables; as we understand the papers",
    given=("X_1..X_n independent in [0, 1] with mean p each", "delta in (0, 1)"),
    claim=r"\Pr[p > \mathrm{kl}^{-1}(\bar X, \ln(1/\delta)/n)] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/chernoff.py",
        old="return kl(q, p) * (1.0 - _SLACK) > c",
        new="return kl(q, p) * (1.0 + 1e-6) > c",
    ),
    Mutation(file="concentration/chernoff.py", old="if abs(t) < 0.1:", new="if -0.9 < t < 0.1:"),
    Mutation(
        file="concentration/chernoff.py",
        old="return _bisect(q, c, inside=q, outside=0.0)",
        new="return _bisect(q, 0.5 * c, inside=q, outside=0.0)",
    ),
)

DELTA, N = 0.05, 50


def symbolic() -> str:
    p, q, a, b = sp.symbols("p q a b", positive=True)  # a = 1 - q, b = 1 - p
    odds = p * a / (q * b)  # e^t
    inside = sp.factor((b + p / odds).subs(a, 1 - q).subs(b, 1 - p))
    require(sp.simplify(inside - (1 - p) / (1 - q)) == 0, "1 - p + p e^-t must be (1-p)/(1-q)")
    exponent = q * sp.log(odds) + sp.log(b / a)
    divergence = q * sp.log(q / p) + a * sp.log(a / b)
    rest = sp.expand(sp.expand_log(exponent + divergence, force=True).subs(a, 1 - q))
    logs = sp.expand(rest.subs(sp.log(1 - q), sp.log(a)))
    require(sp.expand(logs.subs(a, 1 - q)) == 0, "the exponent at that t must be -kl(q || p)")
    gap = sp.factor((odds - 1).subs(a, 1 - q).subs(b, 1 - p))
    require(sp.simplify(gap - (p - q) / (q * (1 - p))) == 0, "e^t - 1 must have the sign of p - q")
    slope = sp.diff(q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p)), p)
    require(sp.simplify(slope - (p - q) / (p * (1 - p))) == 0, "the slope of kl in p")
    x, t = sp.symbols("x t", positive=True)
    chord = 1 - x + x * sp.exp(-t) - sp.exp(-t * x)
    require(sp.simplify(chord.subs(x, 0)) == 0 and sp.simplify(chord.subs(x, 1)) == 0, "the chord meets the curve")
    require(sp.diff(chord, x, 2).is_negative, "chord minus curve must be concave, hence >= 0 between its zeros")
    return (
        "e^(-tx) lies below its chord; at e^t = p(1-q)/(q(1-p)) >= 1 the exponent is -kl(q||p), which rises in p >= q"
    )


def pmf(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)]


def divergence(q: float, p: float) -> flint.arb:
    """kl(q || p) of two floats, enclosed."""
    Q, P = rational(Fraction(q)), rational(Fraction(p))
    first = Q * (Q / P).log() if q > 0 else flint.arb(0)
    return first + ((1 - Q) * ((1 - Q) / (1 - P)).log() if q < 1 else 0)


def enclosed() -> str:
    """Compare kl and both inverses with ball arithmetic at 200 bits, at the same doubles."""
    before, flint.ctx.prec = flint.ctx.prec, 200
    worst = loose = 0.0
    pairs = 0
    try:
        values = (1e-12, 1e-3, 0.05, 0.2, 1 / 3, 0.5, 0.50001, 0.7, 0.99, 1 - 1e-9)
        for q, p in itertools.permutations(values, 2):
            error = abs(rational(Fraction(kl(q, p))) / divergence(q, p) - 1)
            require(bool(error < 1e-12), f"kl({q} || {p}) is off by {error}")
            worst, pairs = max(worst, float(error.upper())), pairs + 1
        for q, c in itertools.product((0.0, 1e-9, 0.01, 0.3, 0.6, 0.9), (1e-9, 1e-3, 0.05, 0.5, 3.0)):
            for at, found in ((q, kl_inverse(q, c)), (1 - q, kl_inverse_lower(1 - q, c))):
                if found in (0.0, 1.0):
                    continue
                reached = divergence(at, found) / rational(Fraction(c))
                require(bool(reached >= 1), f"kl({at} || {found}) must have reached {c}")
                loose, pairs = max(loose, float(reached.mid()) - 1), pairs + 1
    finally:
        flint.ctx.prec = before
    require(loose < 1e-3, f"an inverse lies too far out: kl is {loose} above its budget")
    return f"{pairs} values enclosed: kl within {worst:.1e}, inverses beyond the root by at most {loose:.1e} in kl"


def exact() -> str:
    cases = 0
    for n, delta in itertools.product((1, 3, 7, 12), (0.3, 0.05, 1e-6)):
        for k in range(n):
            q, c = k / n, -math.log(delta) / n
            up = kl_inverse(q, c)
            require(up == 1.0 or sum(pmf(n, Fraction(up))[: k + 1]) <= Fraction(delta), f"n={n}, k={k}, delta={delta}")
            down = kl_inverse_lower(1 - q, c)
            require(down == 0.0 or sum(pmf(n, Fraction(down))[n - k :]) <= Fraction(delta), f"lower, n={n}, k={k}")
            cases += 2
    return f"binomial tail at the inverse is at most delta in {cases} cases (rational arithmetic); {enclosed()}"


def missed(mean: np.ndarray, p: float, n: int) -> np.ndarray:
    """Whether p lies above the inverse, for each observed mean."""
    values, index = np.unique(mean, return_inverse=True)
    return np.array([p > kl_inverse(float(v), -math.log(DELTA) / n) for v in values])[index]


def monte_carlo(effort: int = 1) -> Evidence:
    def spread(rng: np.random.Generator, n: int) -> np.ndarray:
        return missed(rng.choice([0.0, 0.25, 1.0], p=[0.6, 0.2, 0.2], size=(n, N)).mean(axis=1), 0.25, N)

    def coins(rng: np.random.Generator, n: int) -> np.ndarray:
        return missed(rng.binomial(N, 0.3, size=n) / N, 0.3, N)

    first = judge(coins, delta=DELTA, trials=2_000 * effort, name="kl inverse, coins")
    second = judge(spread, delta=DELTA, trials=2_000 * effort, name="kl inverse, three values")
    return Evidence(
        text=f"coins: {first.text}; values 0, 1/4 and 1: {second.text}", trials=first.trials + second.trials
    )


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        """Whether coins just above the limit of mean 0 are missed too often, exactly."""
        limits = [kl_inverse(k / N, -math.log(DELTA) / N / factor) for k in range(N + 1)]
        p = Fraction(limits[0]) + Fraction(1, 10**15)
        rate = sum(w for w, limit in zip(pmf(N, p), limits, strict=True) if p > Fraction(limit))
        return rate > Fraction(DELTA)

    slack = smallest_sabotage(caught)

    def plain(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.binomial(N, 0.3, size=n) / N < 0.3

    require(violated(plain, delta=DELTA, trials=500, name="the mean itself"), "the mean as its own limit: not caught")
    return Evidence(text=f"refuted: the budget divided by {slack:g} (exactly); the mean as its own limit", slack=slack)
