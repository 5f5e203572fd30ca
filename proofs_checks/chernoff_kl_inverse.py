"""Chernoff's bound for means of [0, 1] variables, inverted through the binary relative entropy."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.chernoff import kl, kl_inverse, kl_inverse_lower
from proofs_checks import Theorem, require

THEOREM = Theorem(
    name="Chernoff bound in relative-entropy form",
    source="Okamoto (1958) for coins; Hoeffding (1963), eq. (2.1), for [0, 1] variables; as we understand the papers",
    given=("X_1..X_n independent in [0, 1] with mean p each", "delta in (0, 1)"),
    claim=r"\Pr[p > \mathrm{kl}^{-1}(\bar X, \ln(1/\delta)/n)] \le \delta",
    status="holds",
)

DELTA = 0.05
SHAPE = (4_000, 50)  # trials, n


def refuted(failures: int, trials: int, delta: float) -> bool:
    """Exact one-sided binomial test of P(failure) <= delta at level 1e-6."""
    return bool(binom.sf(failures - 1, trials, delta) < 1e-6)


def symbolic() -> str:
    p, q, t = sp.symbols("p q t", positive=True)
    divergence = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    exponent = q * t + sp.log(1 - p + p * sp.exp(-t))  # ln of the moment bound, per variable
    best = sp.log(p * (1 - q) / (q * (1 - p)))
    slope = sp.simplify(sp.diff(exponent, t).subs(t, best))
    require(slope == 0, "the stationary point of the exponent")
    gap = sp.expand_log(sp.simplify(exponent.subs(t, best)) + divergence, force=True)
    for a, b in ((sp.Rational(1, 5), sp.Rational(1, 2)), (sp.Rational(1, 7), sp.Rational(3, 4))):
        require(abs(sp.N(gap.subs({q: a, p: b}), 50)) < 1e-45, "the exponent at its minimum is -kl")
    x = sp.symbols("x", real=True)
    chord = 1 - x + x * sp.exp(-t) - sp.exp(-t * x)
    require(sp.simplify(chord.subs(x, 0)) == 0 and sp.simplify(chord.subs(x, 1)) == 0, "the chord meets the curve")
    require(sp.simplify(sp.diff(chord, x, 2) + t**2 * sp.exp(-t * x)) == 0, "chord minus curve is concave")
    return "min_t [q t + ln(1 - p + p e^-t)] = -kl(q||p), and e^(-tx) lies below its chord on [0, 1]"


def tail(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


def exact() -> str:
    cases = 0
    for n in (1, 3, 7, 12):
        for k in range(n):
            for delta in (0.3, 0.05, 1e-6):
                q, c = k / n, -math.log(delta) / n
                up = kl_inverse(q, c)
                require(up == 1.0 or tail(k, n, Fraction(up)) <= Fraction(delta), f"n={n}, k={k}, delta={delta}")
                down = kl_inverse_lower(1 - q, c)
                require(
                    down == 0.0 or 1 - tail(n - k - 1, n, Fraction(down)) <= Fraction(delta), f"lower, n={n}, k={k}"
                )
                cases += 2
    a, b = Fraction(1, 3), Fraction(2, 5)
    want = math.log((a / b) ** 5 * ((1 - a) / (1 - b)) ** 10) / 15
    require(abs(kl(1 / 3, 2 / 5) / want - 1) < 1e-12, "kl at a rational point")
    return f"binomial tail at the inverse is at most delta in {cases} cases (rational arithmetic)"


def failures(scale: float, p: float) -> int:
    """Failures of the inverse at `scale` times its budget, for variables that take the values 0 and 1 only."""
    trials, n = SHAPE
    k = np.random.default_rng(19630).binomial(n, p, size=trials)
    limit = np.array([kl_inverse(i / n, scale * -math.log(DELTA) / n) for i in range(n + 1)])
    return int(np.count_nonzero(p > limit[k]))


def monte_carlo() -> str:
    trials, n = SHAPE
    coins = failures(1.0, 0.3)
    values = np.random.default_rng(19631).choice([0.0, 0.25, 1.0], p=[0.6, 0.2, 0.2], size=SHAPE).mean(axis=1)
    spread = sum(kl_inverse(float(v), -math.log(DELTA) / n) < 0.25 for v in values)
    for count in (coins, spread):
        require(not refuted(count, trials, DELTA), f"{count} failures in {trials}")
    return f"{coins} (coins) and {spread} (three values) failures in {trials} at delta={DELTA}, n={n}"


def teeth() -> str:
    trials, _ = SHAPE
    caught = {scale: failures(scale, 0.3) for scale in (0.4, 0.25, 0.0)}
    for scale, count in caught.items():
        require(refuted(count, trials, DELTA), f"{scale} of the budget: {count} failures were not caught")
    return "refuted: " + ", ".join(f"{scale:g} of the budget ({count} failures)" for scale, count in caught.items())
