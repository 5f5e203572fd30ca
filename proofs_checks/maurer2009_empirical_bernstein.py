"""The empirical Bernstein bound holds with its published constants; its variance step has a short proof by pairing.

Statement. X_1..X_N i.i.d. in [0, 1] with mean mu, V their sample variance (divisor N - 1), L = ln(2/delta). With
probability at least 1 - delta, mu <= mean + sqrt(2 V L/N) + 7 L/(3(N-1)).

Proof. (1) Bernstein: mu - X <= 1, so P[mu - mean > sqrt(2 s^2 L/N) + L/(3N)] <= delta/2, s^2 the variance. (2)
Pairing: V is the average over all permutations of the mean W of m = floor(N/2) i.i.d. Y = (X - X')^2/2 in [0, 1/2], E
Y = s^2. By convexity E e^{-tV} <= E e^{-tW}, and e^-y <= 1 - y + y^2/2 for y >= 0 with E Y^2 <= E Y/2 gives ln E
e^{-tW} <= -t s^2 + t^2 s^2/(4m). The best t gives P[s^2 - V > u] <= e^{-m u^2/s^2} <= e^{-(N-1) u^2/(2 s^2)}, as m >=
(N-1)/2. So with probability 1 - delta/2, s^2 - s sqrt(2L/(N-1)) <= V, hence s <= sqrt(V) + sqrt(2L/(N-1)). (3) Put
together: sqrt(2L/N) (sqrt(V) + sqrt(2L/(N-1))) + L/(3N) <= sqrt(2VL/N) + 2L/(N-1) + L/(3(N-1)), and 2 + 1/3 = 7/3.

Use. The risk r(Q) of a posterior from N drawn networks: the better of this and kl^-1(mean, ln(1/delta')/N), each at
delta'/2, and delta' is added to the delta of the bound. 1500 draws of an error rate 0.017 at delta' = 0.01 give 0.0292
by the entropy (0.0302 with ln(2/delta')), and 0.026 where the draws hardly vary.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.chernoff import kl_inverse
from boundlab.concentration.empirical_bernstein import empirical_bernstein, monte_carlo_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.perezortiz2021_quadratic import reals
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Empirical Bernstein bound",
    source="Maurer and Pontil, 'Empirical Bernstein bounds and sample variance penalization' (2009), arXiv 0907.3740; "
    "item number not known to us; as we understand the paper; the proof by pairing is ours",
    given=("X_1..X_N i.i.d. in [0, 1], N >= 2 fixed", "delta in (0, 1)"),
    claim=r"\Pr[\mu > \bar X + \sqrt{2 V \ln(2/\delta)/N} + 7\ln(2/\delta)/(3(N-1))] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/empirical_bernstein.py", old="math.sqrt(2.0 * variance", new="math.sqrt(0.5 * variance"
    ),
    Mutation(file="concentration/empirical_bernstein.py", old="7.0 * level / (3.0 *", new="level / (3.0 *"),
    Mutation(
        file="concentration/empirical_bernstein.py", old="half = 0.5 * probability", new="half = 1.0 * probability"
    ),
    Mutation(file="concentration/empirical_bernstein.py", old="(len(values) - 1) * _UP", new="(len(values) + 1) * _UP"),
    Mutation(file="concentration/empirical_bernstein.py", old="len(values), half))", new="len(values), 2.0 * half))"),
)

VALUES = (Fraction(0), Fraction(1, 2), Fraction(1))
LAWS = ((1, 1, 2), (1, 0, 3), (0, 1, 19), (1, 8, 1), (1, 0, 39))  # parts of the values 0, 1/2, 1


def outcomes(parts: tuple[int, ...], n: int):
    """Probability, mean and sample variance of every composition of n draws."""
    mass = [Fraction(p, sum(parts)) for p in parts]
    for a in range(n + 1):
        for b in range(n + 1 - a):
            c = n - a - b
            weight = math.comb(n, a) * math.comb(n - a, b) * mass[0] ** a * mass[1] ** b * mass[2] ** c
            mean = (Fraction(b, 2) + c) / n
            spread = sum((k * (v - mean) ** 2 for k, v in zip((a, b, c), VALUES, strict=True)), Fraction(0))
            yield weight, mean, spread / (n - 1)


def symbolic() -> str:
    y, t, s, m, u = sp.symbols("y t s m u", positive=True)
    bend = 1 - y + y**2 / 2 - sp.exp(-y)
    require(bend.subs(y, 0) == 0 and sp.diff(bend, y).subs(y, 0) == 0, "a double zero at 0")
    require(sp.simplify(sp.diff(bend, y, 2) - (1 - sp.exp(-y))) == 0, "e^-y <= 1 - y + y²/2")
    exponent = -t * (u - s**2) + (-t * s**2 + t**2 * s**2 / (4 * m))  # Markov at s² - V > u
    best = sp.solve(sp.diff(exponent, t), t)[0]
    require(sp.simplify(exponent.subs(t, best) + m * u**2 / s**2) == 0, "the best t gives -m u²/s²")
    z_s, z_v, z_w = reals("s v w")  # w = sqrt(2L/(N-1)), v = sqrt(V)
    prove(z_s <= z_v + z_w, z_s >= 0, z_v >= 0, z_w >= 0, z_s * z_s - z_s * z_w <= z_v * z_v)
    n, rest = reals("n rest")
    prove(rest / (3 * n) <= rest / (3 * (n - 1)), n >= 2, rest >= 0)
    prove(1 / (n * (n - 1)) <= 1 / ((n - 1) * (n - 1)), n >= 2)
    require(2 + sp.Rational(1, 3) == sp.Rational(7, 3), "the last constant")
    x = sp.symbols("x1:5", real=True)
    mean = sum(x) / 4
    pairs = sum((a - b) ** 2 / 2 for a, b in itertools.combinations(x, 2)) / 6
    require(sp.expand(sum((a - mean) ** 2 for a in x) / 3 - pairs) == 0, "V is the average of (X - X')²/2 over pairs")
    return "V is the mean of (X - X')²/2 over pairs; min over t is -m u²/s²; z3: s <= sqrt(V) + sqrt(2L/(N-1))"


def exact() -> str:
    cases = 0
    for parts, n, delta in itertools.product(LAWS, (12, 24), (0.9, 0.5)):
        mu = sum((Fraction(p, sum(parts)) * v for p, v in zip(parts, VALUES, strict=True)), Fraction(0))
        sigma = sum((Fraction(p, sum(parts)) * (v - mu) ** 2 for p, v in zip(parts, VALUES, strict=True)), Fraction(0))
        steps = [sigma * Fraction(j, 8) for j in (1, 3, 5, 7)]
        fail, lower = Fraction(0), [Fraction(0)] * len(steps)
        for weight, mean, variance in outcomes(parts, n):
            limit = empirical_bernstein(float(mean), min(0.5, float(variance)), n, delta)
            fail += weight * (mu > Fraction(limit))
            level, top = math.log(2 / delta), Fraction(limit)
            want = float(mean) + math.sqrt(2 * float(variance) * level / n) + 7 * level / (3 * (n - 1))
            require(want <= top and top <= want * (1 + 1e-12), f"formula at {mean}, {variance}")
            lower = [p + weight * (sigma - variance > u) for p, u in zip(lower, steps, strict=True)]
        require(fail <= Fraction(delta), f"{parts}, n={n}: {float(fail)} > {delta}")
        for p, u in zip(lower, steps, strict=True):  # step (2) alone
            require(p <= math.exp(-(n - 1) * u * u / (2 * sigma)), f"variance too small by {u} with probability {p}")
        cases += 1
    entropy = [kl_inverse(0.017, math.log(k / 0.01) / 1_500) for k in (1, 2)]
    require([f"{v:.4f}" for v in entropy] == ["0.0292", "0.0302"], f"{entropy}")
    still = monte_carlo_limit(np.full(1_500, 0.017), 0.01)
    require(still < 0.0265, f"{still}")
    for n in (50, 400, 4_000):  # the variance is small: empirical Bernstein is the better of the two
        values = np.where(np.arange(n) % 2, 0.25, 0.375)
        variance, level = Fraction(n, 256 * (n - 1)), math.log(4 / 0.1)
        want = 0.3125 + math.sqrt(2 * float(variance) * level / n) + 7 * level / (3 * (n - 1))
        limit, entropy_limit = monte_carlo_limit(values, 0.1), kl_inverse(0.3125, math.log(2 / 0.1) / n)
        better = min(want, entropy_limit)
        require(better <= limit <= better * (1 + 1e-12), f"the better of {want} and {entropy_limit} is not {limit}")
        require(n < 400 or want < entropy_limit, f"by the variance {want}, by the entropy {entropy_limit}")
    return f"{cases} worlds: failure at most delta, also of step (2); 1500 draws: {entropy[0]:.4f} or {still:.4f}"


def misses(factor: float, n: int = 2_000, share: float = 0.02, delta: float = 0.1):
    """A trial: n coins of a small bias, the limit with both terms divided by `factor`."""
    k = np.arange(n + 1)
    mean, variance = k / n, np.minimum(0.5, k * (n - k) / (n * (n - 1.0)))
    limit = np.array(
        [m + (empirical_bernstein(m, v, n, delta) - m) / factor for m, v in zip(mean, variance, strict=True)]
    )
    return lambda rng, trials: share > limit[rng.binomial(n, share, size=trials)]


def error_rates(limit):
    """A trial: 100 drawn networks whose error rates scatter around 0.3; does limit(values) miss their mean?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        values = rng.beta(30.0, 70.0, size=(n, 100))
        return np.array([limit(row) < 0.3 for row in values])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    coins = judge(misses(1.0), delta=0.1, trials=20_000 * effort, name="coins", block=100_000)
    rates = judge(
        error_rates(lambda row: monte_carlo_limit(row, 0.1)), delta=0.1, trials=2_000 * effort, name="error rates"
    )
    return Evidence(text=f"coins: {coins.text}; error rates: {rates.text}", trials=coins.trials + rates.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(misses(factor), delta=0.1, trials=40_000, name="terms divided")

    slack = smallest_sabotage(caught)
    values = np.linspace(0.0, 1.0, 50)
    paid = min(
        kl_inverse(0.5 + 1e-12, math.log(2 / 0.1) / 50), empirical_bernstein(0.5, float(values.var(ddof=1)), 50, 0.05)
    )
    require(
        monte_carlo_limit(values, 0.1) >= paid * (1 - 1e-9), "the better of two limits must be paid with delta/2 each"
    )
    return Evidence(
        text=f"refuted: both terms divided by {slack:g}; the better of two without delta/2 each", slack=slack
    )
