"""The path-norm bound: true for one output, invariant under rescaling, exponential in depth, and vacuous.

Derivation. Peeling one ReLU layer under an l1 budget costs a factor 2 (contraction with absolute values), the last step
is the class of linear functions under |w|_1 <= 1 on inputs of entries at most B: E max over 2D signed coordinates of
sum sigma x/n <= B sqrt(2 ln(2D)/n) by Massart's lemma. The path norm phi_1 collects the budgets of all layers:
rescaling a neuron's row by t and its column by 1/t changes neither the function nor phi_1.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.norms import path_complexity
from boundlab.nets.norms import path_norm
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.bartlett2017_spectral import digits, measured, too_small
from proofs_checks.golowich2018_frobenius import two_layer_rademacher

THEOREM = Theorem(
    name="The path-norm bound",
    source="Neyshabur, Tomioka and Srebro (2015), arXiv:1503.00036, as we understand the paper; item number not known",
    given=("no biases, ReLU, one output", "a path-norm budget fixed before the sample", "|x|_inf <= B"),
    claim=r"\mathrm{Rad} \le 2^{d-1}\phi_1\|x\|_\infty\sqrt{2\ln(2D)/n}",
    status="vacuous",
    finding="above 50 on a 64-24-10 net trained on 1,347 digits, at the best of six margins; its test error is 3 %",
)

MUTATIONS = (
    Mutation(
        file="bounds/norms.py", old="return 2.0 ** (layers - 1) * positive", new="return 0.1 ** (layers - 1) * positive"
    ),
    Mutation(
        file="nets/norms.py",
        old="flow = np.abs(layer.weight) ** p @ flow",
        new="flow = np.abs(layer.weight @ flow) ** p",
    ),
)


def ours(gamma: float) -> float:
    net, x, _, _, _ = digits()
    one = path_complexity(path_norm(net), len(net.layers), float(np.abs(x).max()), net.sizes[0], len(x))
    return 2.0 * 2.0 / gamma * math.sqrt(10.0) * one  # two-sided gap, margin of ten outputs


def symbolic() -> str:
    lam, B, n, D = sp.symbols("lambda B n D", positive=True)
    # Massart: E max <= (ln 2D)/lambda + lambda B² n/2, minimal at lambda = sqrt(2 ln 2D/n)/B
    value = sp.log(2 * D) / lam + lam * B**2 * n / 2
    best = sp.sqrt(2 * sp.log(2 * D) / n) / B
    require(sp.simplify(sp.diff(value, lam).subs(lam, best)) == 0, "stationary")
    require(sp.simplify(value.subs(lam, best) / n - B * sp.sqrt(2 * sp.log(2 * D) / n)) == 0, "B sqrt(2 ln(2D)/n)")
    u = sp.symbols("u", real=True)  # cosh u <= e^(u²/2), termwise: 1/(2k)! <= 1/(2^k k!)
    for k in range(12):
        require(math.factorial(2 * k) >= 2**k * math.factorial(k), "cosh u <= e^(u²/2), termwise")
    k = sp.symbols("k", positive=True)
    require(
        sp.expand((2 * k + 1) * (2 * k + 2) - 2 * (k + 1)) == sp.expand((k + 1) * 4 * k), "the ratio of terms, k+1 on k"
    )
    t, a, b = sp.symbols("t a b", positive=True)
    require(sp.simplify((t * a) * (b / t) - a * b) == 0 and u.is_real, "a rescaled neuron keeps every path")
    return "Massart's lemma gives B sqrt(2 ln(2D)/n); cosh u <= e^(u²/2) termwise; rescaling keeps every path product"


def exact() -> str:
    worst = 0.0
    for x in ((1, 2, 3), (1, 1, 1, 1, 1), (3, -1, 2, 2, 1, 1, -2)):
        exactly = two_layer_rademacher(x)  # a unit path norm in 1-d puts all weight on one neuron, too
        bound = path_complexity(1.0, 2, float(max(map(abs, x))), 1, len(x))
        require(float(exactly) <= bound, f"x = {x}: {exactly} exceeds {bound}")
        worst = max(worst, float(exactly) / bound)
    W1, W2 = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[2.0, -1.0]])
    paths = sum((abs(Fraction(a) * Fraction(b)) for i, b in enumerate(W2[0]) for a in W1[i]), Fraction(0))
    for t in (1.0, 4.0, 0.125):
        scaled = [W1 * np.array([[t], [1.0]]), W2 / np.array([[t, 1.0]])]
        net = Network(layers=tuple(Layer(weight=w, bias=np.zeros(len(w)), relu=k == 0) for k, w in enumerate(scaled)))
        require(
            float(paths) <= path_norm(net) <= float(paths) * (1 + 1e-9), f"t = {t}: {path_norm(net)} against {paths}"
        )
    signs = itertools.product((-1, 1), repeat=4)
    linear = sum(Fraction(max(abs(sum(s)), 0), 4 * 16) for s in signs)
    require(float(linear) <= path_complexity(1.0, 1, 1.0, 1, 4), "one layer, one coordinate, four points")
    total, _, truth = measured(ours)
    require(total > 50, f"the bound on digits must be above 50, got {total}")
    return (
        f"1-d classes at most {worst:.2f} of the term; path norm exact and invariant; digits: bound {total:.0f}, "
        f"risk >= {truth:.3f}"
    )


monte_carlo = not_applicable("the bound exceeds 1 at every size that can be simulated: no trial could fail")


def teeth() -> Evidence:
    slack = too_small(ours)
    return Evidence(text=f"on digits the complexity term divided by {slack:.3g} is caught", slack=slack)
