"""Threshold sampling errs by eps with probability at most 2 exp(-eps²/(2 C tau (rho + eps/3))), and by a Chernoff form.

Statement. Let z = sum x_j, 0 <= x_j <= C s_j z, and ẑ = sum x_j I_j/pi_j with independent I_j, pi_j = min(1,
s_j/tau). With rho = min(1, C (S - S_k)), S - S_k the sum of the s_j with pi_j < 1, b = C tau and h(u) = (1+u) ln(1+u)
- u,

    P(ẑ - z >= eps z) <= exp(-(rho/b) h(eps/rho)),     P(z - ẑ >= eps z) <= exp(-(rho/b) h(-eps/rho)),

the latter being 0 for eps > rho; either exponent is at least eps²/(2b (rho + eps/3)), which is Bernstein's.

Proof. Let z = 1. Certain items cancel. A sampled term t_j = x_j/pi_j = x_j tau/s_j is in [0, b], and sum x_j = r over
the sampled items is at most rho. By convexity e^{ct} <= 1 + (t/b)(e^{cb} - 1) on [0, b], for both signs of c; hence E
e^{c t_j I_j} <= 1 + pi_j (t_j/b)(e^{cb} - 1) <= exp((x_j/b)(e^{cb} - 1)), and the sum's generating function is at
most that of b times a Poisson variable of mean r/b. Chernoff's bound for it is exp(-(r/b) h(±eps/r)). r h(u), with u
= ±eps/r, falls with r: its derivative is ln(1+u) - u <= 0; so that r = rho is the worst. Below, the sum is never
under 0, and no r < eps is missed by eps. h(u) >= u²/(2 + 2u/3) for u > 0 and h(-u) >= u²/2 (bernstein_multiplicative)
give the rest.

Against m draws with replacement: tau <= S/m (boundlab_threshold_probabilities) and rho <= 1 make the exponent at
least m eps²/(2 C S (1 + eps/3)): never a worse BOUND at the same m. The estimate itself can be worse, because the
number of items kept is random: if x_j is proportional to s_j, draws with replacement make no error at all, while d
equal terms have the variance z² (1/m - 1/d). Pivotal sampling keeps exactly m, with the same bound.
"""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import sympy as sp
import z3
from scipy.stats import binom

from boundlab.concentration.multiplicative import bernstein_rate
from boundlab.coresets.threshold_sampling import (
    Threshold,
    bernstein_failure,
    certified_eps,
    failure,
    inverse_weights,
    poisson_sample,
    poisson_variance,
    smallest_nnz,
    threshold_probabilities,
)
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_threshold_probabilities import smallest_ratio
from proofs_checks.horvitz1952_unbiased import law
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import exact as enclosed
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="The tail of threshold sampling with independent inclusions",
    source="ours; Bernstein's and Chernoff's inequalities applied to threshold sampling",
    given=("0 <= x_j <= C s_j z", "independent inclusions with pi_j = min(1, s_j/tau)", "eps > 0"),
    claim=r"\Pr[|\hat z - z| \ge \epsilon z] \le 2 e^{-\frac{\rho}{C\tau} \min(h(\epsilon/\rho), h(-\epsilon/\rho))} "
    r"\le 2 e^{-\epsilon^2/(2 C\tau(\rho + \epsilon/3))} \le 2 e^{-m\epsilon^2/(2CS(1+\epsilon/3))}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/threshold_sampling.py",
        old="e * e / (2.0 * b * (rho + e / 3.0))",
        new="e * e / (b * (rho + e / 3.0))",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="np.minimum(1.0, r * C * (1.0 + SLACK))",
        new="np.minimum(1.0, 0.5 * r)",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="tails = np.exp(-up * (1.0 - ROUNDING)) + np.exp(-down * (1.0 - ROUNDING))",
        new="tails = np.exp(-down * (1.0 - ROUNDING))",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="safe * excess_entropy(-np.where(inside, e / safe, 1.0)) / b",
        new="2.0 * safe * excess_entropy(-np.where(inside, e / safe, 1.0)) / b",
    ),
    Mutation(file="coresets/threshold_sampling.py", old="inside = e <= safe", new="inside = e <= 0.5 * safe"),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="good = failure(plan.tau, plan.rest, eps, C=C) <= delta",
        new="good = failure(plan.tau, plan.rest, eps, C=C) <= 2 * delta",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="    high = np.where(np.isfinite(b), high, np.inf)\n",
        new="    high = np.where(np.isfinite(b), 0.8 * high, np.inf)\n",
    ),
)

Instance = tuple[list[Fraction], list[Fraction], int, int]  # shares x_j, values s_j, C, expected number kept


def instances(count: int, seed: int) -> list[Instance]:
    """Shares that add up to 1, and sensitivities as small as C allows, or larger; half are near the extreme case."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        d, C = rng.randint(3, 6), rng.choice([1, 1, 2, 4])
        x = [Fraction(rng.choice([0, 1, 1, 1, 4])) for _ in range(d)]
        if not sum(x):
            continue
        x = [v / sum(x) for v in x]
        s = [max(v / C * rng.choice([1, 1, 1, 2]), Fraction(1, 64)) for v in x]
        found.append((x, s, C, rng.randint(1, d - 1)))
    return found


def plan_of(s: list[Fraction], m: int) -> Threshold:
    return threshold_probabilities(np.array([float(v) for v in s]), np.array([0, len(s)]), np.array([m]))


def chances(s: list[Fraction], m: int) -> list[Fraction]:
    """The inclusion probabilities in rational arithmetic."""
    if m >= sum(v > 0 for v in s):
        return [Fraction(v > 0) for v in s]
    tau = smallest_ratio(s, m)
    return [min(Fraction(1), v / tau) for v in s]


def missed(x: list[Fraction], s: list[Fraction], m: int, eps: Fraction) -> Fraction:
    """P(|ẑ - 1| >= eps) exactly, all outcomes enumerated."""
    pi = chances(s, m)
    total = Fraction(0)
    for kept, chance in law(pi):
        z = sum((v / p for v, p, on in zip(x, pi, kept, strict=True) if on), Fraction(0))
        total += chance if abs(z - 1) >= eps else 0
    return total


def symbolic() -> str:
    r, b, e = sp.symbols("r b epsilon", positive=True)
    for sign, name in ((1, "up"), (-1, "down")):
        h = (1 + sign * e / r) * sp.log(1 + sign * e / r) - sign * e / r
        slope = sp.diff(r * h, r) - (sp.log(1 + sign * e / r) - sign * e / r)
        require(sp.simplify(slope) == 0, f"d/dr of r h({name}) must be ln(1+u) - u")
    v = sp.symbols("v", real=True)  # ln(1+v) - v on v > -1: 0 at 0, and the derivative -v/(1+v) has the sign of -v
    require(sp.simplify(sp.diff(sp.log(1 + v) - v, v) + v / (1 + v)) == 0, "ln(1+v) <= v")
    c, lam, t = sp.symbols("c lambda t", positive=True)
    best = sp.log(1 + t / lam)  # of c t - lambda (e^c - 1 - c), concave in c
    gain = c * t - lam * (sp.exp(c) - 1 - c)
    require(sp.simplify(sp.diff(gain, c).subs(c, best)) == 0, "the best c is ln(1 + t/lambda)")
    rate = lam * ((1 + t / lam) * sp.log(1 + t / lam) - t / lam)
    require(sp.simplify(gain.subs(c, best) - rate) == 0, "the Poisson rate is lambda h(t/lambda)")
    bernstein = r / b * (e / r) ** 2 / (2 + 2 * (e / r) / 3)  # h(u) >= u²/(2 + 2u/3)
    require(sp.simplify(bernstein - e**2 / (2 * b * (r + e / 3))) == 0, "Bernstein's exponent")
    x, p, tau, s = sp.symbols("x pi tau s", positive=True)
    spread = (x**2 * (1 / p - 1)).subs(p, s / tau)
    require(sp.simplify(x * (tau * x / s) - spread - x**2) == 0, "variance <= x (x tau/s), and x tau/s <= C tau")
    letters: Any = z3.Reals("S m eps rho C tau")
    total, m, eps, rho, factor, threshold = letters
    least = threshold * m - total <= 0
    positive = (m > 0, eps > 0, factor >= 1, rho >= 0, rho <= 1, threshold >= 0, least)
    prove(m * threshold * factor * (rho + eps / 3) - total * factor * (1 + eps / 3) <= 0, *positive)
    return "slope ln(1+u) - u; rate lambda h(t/lambda); eps²/(2b(rho+eps/3)) below it; z3: tau <= S/m suffices"


def exact() -> str:
    tightest, replaced = 0.0, 0
    for x, s, C, m in instances(48, seed=3):
        plan = plan_of(s, m)
        for eps in (Fraction(1, 4), Fraction(3, 4), Fraction(3, 2)):
            truth = missed(x, s, m, eps)
            sharp = float(failure(plan.tau, plan.rest, float(eps), C=C)[0])
            plain = float(bernstein_failure(plan.tau, plan.rest, float(eps), C=C)[0])
            require(truth <= Fraction(sharp), f"{float(truth)} > {sharp} for {x}, {s}, C = {C}, m = {m}, eps = {eps}")
            require(sharp <= plain * (1 + 1e-9), f"Chernoff {sharp} above Bernstein {plain}")
            rate = bernstein_rate(np.array(1.0 / (C * float(sum(s)))), np.array(float(eps)))
            require(plain <= 2 * math.exp(-m * float(rate)) * (1 + 1e-6), "worse than with replacement")
            replaced += plain < 1
            tightest = max(tightest, float(truth) / sharp if 0 < sharp < 1 else 0.0)
        told = float(certified_eps(plan.tau, plan.rest, 0.3, C=C)[0])
        if told:
            require(missed(x, s, m, Fraction(told)) <= Fraction(3, 10), f"eps = {told} does not hold with 0.3")
            require(failure(plan.tau, plan.rest, told, C=C)[0] <= 0.3, f"eps = {told} is not certified with 0.3")
            require(failure(plan.tau, plan.rest, told * (1 - 1e-6), C=C)[0] > 0.3, f"eps = {told} is not the smallest")
    require(replaced > 30, "most bounds were 1 and said nothing")
    coins = (0.02, 1.0, 0.9)  # 500 items at C = 1: Bin(500, 1/10)/50, far above its mean
    tail = float(binom.sf(94, 500, 0.1))
    require(tail <= failure(*coins) < 1e-6, f"the long run of coins has the tail {tail}, above {failure(*coins)}")
    x = np.full(8, 1 / 8)  # x proportional to s: draws with replacement make no error, independent inclusions do
    require(math.isclose(float(poisson_variance(x, np.full(8, 0.25))), 1 / 2 - 1 / 8), "variance z² (1/m - 1/d)")
    told = f"at most {tightest:.2f} of the bound; eps of a given m holds; 500 coins; {formula()}"
    return f"48 instances x 3 eps, all outcomes: {told}"


def formula() -> str:
    """The shipped numbers against the proved expressions in balls: not below them, and not far above."""
    cases = list(itertools.product((1e-4, 0.01, 0.3), (0.03, 0.4, 1.0, 5.0), (0.01, 0.2, 0.39, 0.9, 2.0), (1, 3)))
    with flint.ctx.workprec(120):
        for tau, rest, eps, C in cases:
            b, r, e = (
                C * enclosed(Fraction(tau)),
                enclosed(min(Fraction(1), C * Fraction(rest))),
                enclosed(Fraction(eps)),
            )
            up = -((r + e) * (1 + e / r).log() - e) / b
            tails = up.exp() + ((-((r - e) * (1 - e / r).log() + e) / b).exp() if r > e else 0)
            plain = 2 * (-e * e / (2 * b * (r + e / 3))).exp()
            for wanted, told in (
                (tails, failure(tau, rest, eps, C=C)),
                (plain, bernstein_failure(tau, rest, eps, C=C)),
            ):
                got = flint.arb(float(told))
                require(bool(got >= wanted) or told == 1.0, f"{told} is below {wanted} at {tau, rest, eps, C}")
                require(bool(got <= wanted * flint.arb(1.001)) or told < 1e-300, f"{told} is far above {wanted}")
    values, at, rng = 1.0 / np.arange(1, 301), np.array([0, 300]), np.random.default_rng(8)
    for eps, delta, C in ((0.5, 0.1, 1.0), (0.8, 1e-4, 2.0), (1.5, 0.01, 4.0), (float(rng.random()), 0.3, 1.5)):
        m = smallest_nnz(values, at, eps, delta, C=C)
        enough, less = (threshold_probabilities(values, at, m - k) for k in (0, 1))
        require(failure(enough.tau, enough.rest, eps, C=C)[0] <= delta, f"m = {m} does not keep delta = {delta}")
        require(failure(less.tau, less.rest, eps, C=C)[0] > delta, f"m = {m} is not the smallest for {delta}")
    return f"{len(cases)} bounds above the proved ones in balls; the smallest m keeps delta"


def field() -> tuple[np.ndarray, np.ndarray, float]:
    """(x, s, C): 2000 items in two sizes, seven of eight silent at this point, so that C = 8 is needed."""
    s = np.repeat([8.0, 1.0], [16, 1984])
    s /= s.sum()
    x = 8.0 * s * (np.arange(2000) % 8 == 0)
    return x, s, 8.0


def errs(share: float):
    """A trial: `share` of the advertised number of items errs by more than eps."""
    x, s, C = field()
    at, eps, delta = np.array([0, len(s)]), 0.6, 0.1
    nnz = np.ceil(share * smallest_nnz(s, at, eps, delta, C=C)).astype(int)
    p = threshold_probabilities(s, at, nnz).probabilities

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.abs(inverse_weights(poisson_sample(p, rng, draws=n), p) @ x - 1.0) >= eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(errs(1.0), delta=0.1, trials=1_000 * effort, name="threshold sampling, C = 8, eps = .6")


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda f: violated(errs(1 / f), delta=0.1, trials=1_000, name="fewer items"))
    # 10^5 items of which each is kept with 1/1000: a Poisson variable of mean 100 decides by the exponent alone
    b, eps = 0.01, 1.0
    tail = float(binom.logsf(199, 100_000, 1e-3))
    told = math.log(float(failure(b, 1.0, eps)))
    require(tail <= told, f"the shipped bound {told} is below the tail {tail}")
    require(tail > 1.2 * told, f"an exponent of 1.2 times the shipped one was not caught: {tail}, {told}")
    return Evidence(text=f"refuted: {slack:g} times fewer items, the exponent times 1.2", slack=slack)
