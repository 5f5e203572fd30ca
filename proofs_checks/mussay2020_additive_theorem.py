"""No constant c makes c t (d ln t + ln(1/delta))/eps^2 draws enough for an additive error eps: the units do not fit.

Refuted: "m >= (c t/eps^2)(d ln t + ln(1/delta)) draws give |f(x) - fhat(x)| <= eps for all |x| <= beta with probability
1 - delta", t = sum_p w(p) phi(beta |p|), with some universal c.

Proof. (Scale) Replace w by K w and eps by K eps: pr, the draws and the event |f - fhat| <= eps stay the same, but
t/eps^2 is divided by K; only ln t grows. For large K the rule asks for one draw. Take d = 1, ReLU, beta = 1, half of
the weight on neurons at +1 and half at -1: t is the sum of the weights, f(1) = t/2, and one draw gives 0 or t. With
t = 10^9, eps = 5*10^5 and c = 1 the rule says m = 1, and the error is t/2 = 1000 eps with certainty.
(Every c, growing m) fhat(1) = (t/m) B, B ~ Binomial(m, 1/2), so that |f - fhat| <= eps iff |B - m/2| <= m eps/t: at
most 2 m eps/t + 1 values, each of probability at most sqrt(2/(3m)): C(2k, k)/4^k <= 1/sqrt(3k + 1) by induction, and
for odd m the middle terms are those of m + 1. With m = c t L/eps^2, L = d ln t + ln(1/delta), the chance of success is
at most 2 sqrt(2 c L/(3 t)) + sqrt(2/(3 m)), which vanishes for t -> inf: L grows like ln t. Splitting each neuron into
copies with parts of its weight changes neither t nor f nor the law of fhat: n may be as far above m as one likes.

What is behind it: fhat is t times a mean of values in [0, 1], and the samples that the proof uses, as we understand it,
have the mixed error eps (1 + f + fhat). That holds with explicit constants. A purely additive eps takes t^2/eps^2.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.activations import RELU
from boundlab.coresets.neuron_sampling import neuron_plan, published_size, reweight
from boundlab.coresets.uniform_error import fixed_inputs_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Additive coreset size of order t/eps^2",
    source="Mussay et al. 2020, arXiv:1907.04018, main theorem as we understand the paper; item number not known to us",
    given=("w >= 0, phi >= 0 non-decreasing", "t = sum_p w(p) phi(beta |p|)", "c a universal constant"),
    claim=r"m \ge \frac{ct}{\epsilon^2}\Big(d\ln t + \ln\frac1\delta\Big) \Rightarrow "
    r"\Pr[\exists \|x\|\le\beta: |f(x)-\hat f(x)| > \epsilon] \le \delta",
    status="refuted",
    finding="The size does not scale with the weights: for large t it asks for one draw where t^2/eps^2 are needed; "
    "what it can give is a mixed error eps max(1, f).",
    ours="boundlab_layer_cake",
)

MUTATIONS = (
    Mutation(
        file="coresets/neuron_sampling.py",
        old="inner = d * math.log(t) + math.log(1.0 / probability(",
        new="inner = d * math.log(t) - math.log(1.0 / probability(",
    ),
)

EPS, DELTA = 0.5, 0.01


def success(m: int, t: int) -> Fraction:
    """P(|(t/m) Bin(m, 1/2) - t/2| <= 1/2), exactly."""
    low = math.ceil(Fraction(m, 2) - Fraction(m, 2 * t))
    term, total = math.comb(m, low), 0
    for b in range(low, m - low + 1):
        total += term
        term = term * (m - b) // (b + 1)
    return Fraction(total, 2**m)


def limit(c: float, t: float) -> float:
    """The bound of the proof on the chance of success at the published size."""
    m = published_size(t, EPS, DELTA, dimension=1, constant=c)
    return (2 * m * EPS / t + 1) * math.sqrt(2 / (3 * m))


def symbolic() -> str:
    t, e, L, c, k, K = sp.symbols("t e L c k K", positive=True)
    m = c * t * L / e**2
    require(sp.simplify(2 * m * e / t * sp.sqrt(2 / (3 * m)) - 2 * sp.sqrt(2 * c * L / (3 * t))) == 0, "the limit")
    require(sp.limit(sp.log(t) / t, t, sp.oo) == 0, "L/t vanishes")
    step = (3 * k + 1) * (2 * k + 2) ** 2 - (3 * k + 4) * (2 * k + 1) ** 2  # >= 0: the step of the induction
    require(sp.expand(step) == k, "((2k+1)/(2k+2))^2 <= (3k+1)/(3k+4)")
    require(
        sp.simplify(m.subs({t: K * t, e: K * e}, simultaneous=True) - m / K) == 0, "the published m is divided by K"
    )
    additive = t**2 / e**2
    require(
        sp.simplify(additive.subs({t: K * t, e: K * e}, simultaneous=True) - additive) == 0, "t^2/eps^2 is free of K"
    )
    return "success <= 2 sqrt(2 c L/(3 t)) + sqrt(2/(3 m)) -> 0 for every c; (w, eps) -> K (w, eps) divides m by K"


def exact() -> str:
    points = np.array([[1.0], [-1.0]])
    whole = neuron_plan(points, np.full((1, 2), 500.0), RELU, 1.0)
    split = neuron_plan(np.repeat(points, 50, axis=0), np.full((1, 100), 10.0), RELU, 1.0)
    require(abs(whole.total - 1000) < 1e-8 and abs(split.total - whole.total) < 1e-8, "t = 1000, split or not")
    require(whole.c0 == 1.0 and np.allclose(whole.probabilities, 0.5), "one sign, even chances")
    # the scale alone: m = 1 at eps = t/2000, and the error is t/2 at both outcomes
    t, eps = 1e9, 5e5
    require(published_size(t, eps, DELTA, dimension=1) == 1, "the published rule must ask for one draw")
    for counts in ([1, 0], [0, 1]):
        u = reweight(np.full((1, 2), t / 2), np.array(counts), whole.probabilities, 1)
        require(abs(u[0, 0] - t / 2) == t / 2 == 1000 * eps, "one draw errs by t/2")
    require(
        fixed_inputs_size(t, eps, DELTA, c0=1.0) == fixed_inputs_size(2000.0, 1.0, DELTA, c0=1.0), "ours has no scale"
    )
    # c = 1, t = 1000: more draws, and still 83 % failures
    m = int(published_size(1000.0, EPS, DELTA, dimension=1))
    require(m == math.ceil(4000 * (math.log(1000) + math.log(100))), f"the published size is {m}")
    chance = success(m, 1000)
    require(Fraction(17, 100) < chance < Fraction(18, 100), f"success has probability {float(chance)}")
    require(float(chance) <= limit(1.0, 1000.0), "the limit of the proof must cover the exact chance")
    rare = [limit(c, t) for c, t in ((10.0, 1e6), (100.0, 1e8), (1e6, 1e14))]
    require(max(rare) < 0.08, f"limits {rare}")
    return (
        f"one draw asked for, 1000 eps missed with certainty; c = 1, t = 1000, m = {m}: success {float(chance):.3f} "
        f"instead of 0.99; at most {rare[0]:.3f}, {rare[1]:.3f}, {rare[2]:.3f} at c = 10, 100, 10^6"
    )


def errs(t: float, m: int, *, mixed: bool = False):
    """A trial: the error at x = 1 exceeds eps, or eps max(1, f) where mixed."""
    plan = neuron_plan(np.array([[1.0], [-1.0]]), np.full((1, 2), t / 2), RELU, 1.0)
    allowed = EPS * max(1.0, t / 2) if mixed else EPS

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = rng.multinomial(m, plan.probabilities, size=n)
        weights = np.full((1, 2), t / 2)
        return np.array([abs(reweight(weights, c, plan.probabilities, m)[0, 0] - t / 2) > allowed for c in rows])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    m = int(published_size(1000.0, EPS, DELTA, dimension=1))
    large = int(published_size(1e6, EPS, DELTA, dimension=1, constant=10.0))
    repaired = int(fixed_inputs_size(1000.0, EPS, DELTA, c0=1.0))
    trials = 500 * effort
    bad = judge(errs(1000.0, m), delta=DELTA, trials=trials, name="published size, c = 1", expect="violated")
    judge(errs(1e6, large), delta=DELTA, trials=trials, name="published size, c = 10", expect="violated")
    good = judge(errs(1000.0, repaired), delta=DELTA, trials=2_000, name="t^2/eps^2")
    return Evidence(text=f"m = {m}: {bad.text}; c = 10 too; m = {repaired}: {good.text}", trials=2 * trials)


def teeth() -> Evidence:
    m = int(published_size(1000.0, EPS, DELTA, dimension=1))
    mixed = errs(1000.0, m, mixed=True)
    require(not violated(mixed, delta=DELTA, trials=500, name="mixed error"), "eps max(1, f) must survive at this m")

    def caught(factor: float) -> bool:
        size = int(fixed_inputs_size(1000.0, EPS, DELTA, c0=1.0) / factor)
        return violated(errs(1000.0, size), delta=DELTA, trials=2_000, name="fewer draws than t^2/eps^2")

    slack = smallest_sabotage(caught)
    text = (
        f"eps max(1, f) survives the counterexample; our additive m, of order t^2/eps^2, divided by {slack:g} does not"
    )
    return Evidence(text=text, slack=slack)
