"""CoreNet's estimate of Delta, a sample mean plus kappa: right under Assumption 2, and kappa alone makes m useless.

The statement. Let every X = Delta_i(x) - E Delta_i obey E e^{sX} <= e^{s² lambda²} for |s| <= 1/lambda, with
lambda <= lambda* = ln(eta eta*)/2, and let S be |S| >= 2 lambda* Lg fresh points, Lg = ln(8 eta eta*/delta). Then
max_i Delta_i(x) exceeds max_i mean_S Delta_i + kappa with probability at most delta/(4 eta) in each layer,
kappa = sqrt(2 lambda*) + 2 lambda* Lg. Needed: eta eta* >= e, that is lambda* >= 1/2, and no layer wider than eta*.

Proof. Chernoff: P(X >= t) <= e^{s² lambda² - s t}. At s = t/(2 lambda²) <= 1/lambda, for t <= 2 lambda, that is
e^{-t²/(4 lambda²)}; at s = 1/lambda, for t >= 2 lambda, it is e^{1 - t/lambda} <= e^{-t/(2 lambda)}. A mean of n
points has n times these exponents. The mean is off by t = sqrt(2 lambda*) downwards with probability at most e^{-Lg}:
n t²/(4 lambda²) >= Lg (lambda*/lambda)², or, for t > 2 lambda, n t/(2 lambda) > n >= Lg. The fresh point is off by
t = 2 lambda* Lg >= 2 lambda upwards with probability at most e^{1 - 2 Lg} <= e^{-Lg}. Two events for each of at most
eta* neurons: 2 eta* delta/(8 eta eta*).

Sharper. The single point needs t = lambda* (Lg + 1) only, and the union is over the eta neurons of all layers:
kappa = sqrt(2 lambda*) + lambda* (ln(8 eta/delta) + 1) loses delta/4 in ALL layers together. For 784-300-100-10 and
delta = 0.1 that is 70 in the place of 192.

Why it is vacuous. Delta >= 1, so that Delta-hat >= 1 + kappa > 192, and m grows with its square for every layer behind:
(1 + 192)^6 = 5e13 in the first layer. And its assumption is refuted by `baykal2019_assumption_2` wherever a neuron
changes sign; quantiles on a hold-out (Theorem A) or no Delta at all (Theorem B) take its place.
"""

from __future__ import annotations

import itertools

import numpy as np
import sympy as sp
from flint import arb, ctx

from boundlab.compressors.constants import constants
from boundlab.compressors.corenet import CoreNet
from boundlab.nets.condition import condition_numbers
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.baykal2019_assumption_2 import DIFFERENCE, with_condition
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="CoreNet's estimate of the condition number",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=(
        "E exp(s (Delta_i - E Delta_i)) <= exp(s² lambda²) for |s| <= 1/lambda, lambda <= lambda* = ln(eta eta*)/2",
        "|S| >= 2 lambda* ln(8 eta eta*/delta) i.i.d. points, independent of the net",
        "no layer wider than eta*, eta eta* >= e",
    ),
    claim=r"\Pr\left[\max_i \Delta_i^\ell(x) > \max_i \tfrac{1}{|S|}\sum_{x' \in S} \Delta_i^\ell(x') + \kappa\right] "
    r"\le \delta/(4\eta), \quad \kappa = \sqrt{2\lambda^*} + 2\lambda^* \ln(8\eta\eta^*/\delta)",
    status="vacuous",
    finding="kappa = 192 for 784-300-100-10 enters m to the power 2 (L-l+1), a factor 5e13 in the first layer, and the "
    "assumption on Delta is false wherever a neuron changes sign.",
    ours="boundlab_theorem_a",
)

MUTATIONS = (
    Mutation(
        file="compressors/constants.py",
        old="kappa = math.sqrt(2 * lambda_star) + 2 * lambda_star * union",
        new="kappa = math.sqrt(2 * lambda_star) + lambda_star * union / 2",
    ),
    Mutation(
        file="compressors/constants.py",
        old="lambda_star * (math.log(8.0 * eta / delta) + 1.0)",
        new="lambda_star * (math.log(8.0 * eta / delta) - 1.0)",
    ),
    Mutation(
        file="compressors/corenet.py",
        old="condition_numbers(layer, a).mean(axis=0).max() for",
        new="condition_numbers(layer, a).mean(axis=0).min() for",
    ),
)

REAL = ((784, 300, 100, 10), (784, 1000, 1000, 10), (3072, 1000, 10), (2, 2, 1))


def symbolic() -> str:
    s, t, lam, star, Lg = sp.symbols("s t lambda lambda* Lg", positive=True)
    exponent = s**2 * lam**2 - s * t
    require(
        sp.simplify(exponent.subs(s, t / (2 * lam**2)) + t**2 / (4 * lam**2)) == 0, "the interior s: -t²/(4 lambda²)"
    )
    require(sp.simplify(exponent.subs(s, 1 / lam) - (1 - t / lam)) == 0, "the border s: 1 - t/lambda")
    above = sp.symbols("r", nonnegative=True)  # t = 2 lambda + r
    gap = (t / (2 * lam) - (t / lam - 1)).subs(t, 2 * lam + above)
    require(sp.simplify(gap + above / (2 * lam)) == 0, "1 - t/lambda <= -t/(2 lambda) from t = 2 lambda on")
    n, mean = 2 * star * Lg, sp.sqrt(2 * star)
    less = sp.symbols("d", nonnegative=True)  # lambda* = lambda + d
    quadratic = (n * mean**2 / (4 * lam**2) - Lg).subs(star, lam + less)
    require(sp.factor(quadratic - Lg * less * (2 * lam + less) / lam**2) == 0, "the mean: exponent at least Lg")
    half = sp.symbols("h", nonnegative=True)  # lambda* = 1/2 + h
    require(
        sp.expand((n - Lg).subs(star, sp.Rational(1, 2) + half) - 2 * half * Lg) == 0, "n >= Lg from lambda* = 1/2 on"
    )
    single = (2 * star * Lg / lam - 1).subs(star, lam + less) - Lg  # exponent of the point, less Lg; Lg = 1 + r
    single = sp.expand(single.subs(Lg, 1 + above))
    require(sp.simplify(single - (above + 2 * less * (1 + above) / lam)) == 0, "the point: exponent at least Lg")
    sharp = sp.expand(((star * (Lg + 1)) / lam - 1 - Lg).subs(star, lam + less))
    require(sp.simplify(sharp - less * (Lg + 1) / lam) == 0, "the sharp point: exponent at least Lg")
    return (
        "Chernoff at s = t/(2 lambda²) and 1/lambda; both exponents at least Lg for lambda <= lambda*, lambda* >= 1/2"
    )


def exponent(t: arb, lam: arb) -> arb:
    """The exponent of the tail of one X at t, for a given lambda."""
    return t * t / (4 * lam * lam) if t < 2 * lam else t / lam - 1


def exact() -> str:
    old, ctx.prec = ctx.prec, 100
    cases = 0
    try:
        for sizes, delta, k in itertools.product((*REAL, (300, 300, 300)), (0.9, 0.1, 1e-3), (1, 2, 7)):
            for variant in ("published", "repaired", "sharp"):
                own = constants(sizes, delta, variant=variant)
                star = arb(own.lambda_star)
                lam, mean = star * k / 7, (2 * star).sqrt()
                count = own.eta if variant == "sharp" else own.eta * own.eta_star
                Lg = (8 * count / arb(delta)).log()
                slack = arb("1e-12")
                low = own.points * exponent(mean, lam)
                high = exponent(arb(own.kappa) - mean, lam)
                require(bool(low >= Lg - slack), f"{sizes}, {variant}: the mean's exponent {low} against {Lg}")
                require(bool(high >= Lg - slack), f"{sizes}, {variant}: the point's exponent {high} against {Lg}")
                cases += 1
    finally:
        ctx.prec = old
    net, x = random_network((6, 5, 3), rng=1), np.random.default_rng(2).random((400, 6))
    own = constants(net.sizes, 0.1)
    for plan, layer, a in zip(CoreNet(delta=0.1).plan(net, x), net.layers, net.inputs(x[: own.points]), strict=True):
        ratios = condition_numbers(layer, a)
        want = max(float(sum(column) / len(column)) for column in ratios.T.tolist()) + own.kappa
        require(abs(plan.condition / want - 1) < 1e-12, f"the shipped estimate {plan.condition} against {want}")
    told = []
    for sizes in REAL:
        kappa, depth = constants(sizes, 0.1).kappa, len(sizes) - 1
        told.append(f"{kappa:.0f} -> {(1 + kappa) ** (2 * depth):.0e}")
        require((1 + kappa) ** (2 * depth) > 1e4, "kappa alone must be out of proportion")
    return f"{cases} pairs of exponents at least Lg, in ball arithmetic; kappa and its factor in m: {', '.join(told)}"


SIZES, DELTA = (4, 2), 0.1  # two neurons, each the difference of two inputs of its own


def exceeds(factor: float):
    """A trial: a fresh Delta exceeds the sharp estimate; Delta = 1 + exponential of scale 0.84 lambda* times factor."""
    own = constants(SIZES, DELTA, variant="sharp")
    layer = Layer(weight=np.kron(np.eye(2), DIFFERENCE.weight), bias=np.zeros(2), relu=False)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        delta = 1 + factor * 0.84 * own.lambda_star * rng.exponential(size=(n, own.points + 1, 2))
        x = with_condition(delta.ravel()).reshape(-1, 4)
        ratio = condition_numbers(layer, x).reshape(n, own.points + 1, 2)
        return ratio[:, 0].max(axis=1) > ratio[:, 1:].mean(axis=1).max(axis=1) + own.kappa

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(exceeds(1.0), delta=DELTA / 4, trials=2_000 * effort, name="Delta above the sharp estimate")
    known = constants(SIZES, DELTA, variant="sharp")
    text = f"4-2, |S| = {known.points}, sharp kappa = {known.kappa:.2f}, exponential Delta: {own.text}"
    return Evidence(text=text, trials=own.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(exceeds(factor), delta=DELTA / 4, trials=3_000, name=f"scale {factor}")

    slack = smallest_sabotage(caught)
    net = Network(layers=(DIFFERENCE,))
    x = np.abs(np.random.default_rng(3).normal(size=(1_000, 2)))  # Delta with a 1/t tail
    plan = CoreNet(eps=1.0, delta=0.1).plan(net, x)[0]
    fresh = condition_numbers(DIFFERENCE, np.abs(np.random.default_rng(4).normal(size=(4_000, 2))))
    rate = float(np.mean(fresh > plan.condition))
    require(rate > 2 * 0.1 / 4, f"a neuron that changes sign must break the estimate, rate {rate}")
    text = (
        f"caught: an exponential tail {slack:g} times too wide; a neuron that changes sign exceeds it with {rate:.3f}"
    )
    return Evidence(text=text, slack=slack)
