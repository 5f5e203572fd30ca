"""The path-norm bound: true, invariant under rescaling, exponential in depth, and vacuous.

Derivation. Rescaling a neuron's row by t and its column by 1/t changes neither the function nor the path norm phi_1; so
rows may be given l1 norm 1 from the input on, which leaves |w|_1 <= phi_1 for the output (layered nets). Then sup sum
sigma f <= phi_1 sup |sum sigma ReLU(g)| over one neuron g of the layer below; the absolute value costs a factor 2, as 0
is in the class and the law of sigma is symmetric, and ReLU nothing by Talagrand's contraction (cited, not proved here).
After d - 1 ReLU layers the last step is the class of linear functions under |w|_1 <= 1 on inputs of entries at most B:
E max over 2D signed coordinates of sum sigma x/n <= B sqrt(2 ln(2D)/n) by Massart's lemma.

K outputs. The margin's ramp and vector contraction cost sqrt 2 sqrt 2/gamma, the gap 2, and there remains the sum of K
outputs with signs of their own. If their path norms sum to phi_1, it is at most phi_1 times the largest over k, too:
the steps are the same for the values (g(x_i) 1{k = l}) at the nK pairs (i, k), as ReLU(0) = 0, with D K coordinates in
the end. The split of phi_1 over the outputs is the net's own. K times the bound of one output, with phi_1 each, is
larger.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.norm_budgets import rademacher_confidence
from boundlab.bounds.path_norm import PathNorm, path_complexity
from boundlab.nets.norms import path_norm
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.bartlett2017_spectral import digits, measured
from proofs_checks.golowich2018_frobenius import caught, memorised, two_layer_rademacher
from proofs_checks.golowich2018_l1 import linear
from proofs_checks.judging import judge

THEOREM = Theorem(
    name="The path-norm bound",
    source="Neyshabur, Tomioka and Srebro (2015), arXiv:1503.00036, as we understand the paper; item number not known",
    given=("no biases, ReLU", "a path-norm budget, of all outputs, fixed before the sample", "|x|_inf <= B"),
    claim=r"\mathrm{Rad} \le 2^{d-1}\phi_1\|x\|_\infty\sqrt{2\ln(2DK)/n}",
    status="vacuous",
    finding="above 100, at the best of six margins, on a 64-24-10 net trained on 1,100 digits, whose test error is "
    "below 3 %",
)

MUTATIONS = (
    Mutation(
        file="bounds/path_norm.py",
        old="return 2.0 ** (layers - 1) * positive",
        new="return 1.0 ** (layers - 1) * positive",
    ),
    Mutation(
        file="bounds/path_norm.py",
        old='2.0 * math.log(2.0 * positive_int("dimension", dimension))',
        new='2.0 * math.log(positive_int("dimension", dimension) + 0.01)',
    ),
    Mutation(
        file="bounds/path_norm.py",
        old="path_complexity(1.0, depth, entry, inputs * found.classes, found.n)",
        new="path_complexity(1.0, depth, entry, inputs, found.n)",
    ),
    Mutation(file="nets/norms.py", old="np.exp(p * shifted).sum(axis=1)", new="np.exp(shifted).sum(axis=1)"),
    Mutation(file="nets/norms.py", old="np.exp(p * shifted).sum(axis=1)", new="np.exp(p * shifted).max(axis=1)"),
    Mutation(
        file="nets/norms.py",
        old="np.log(np.abs(layer.weight)) + log_flow",
        new="p * np.log(np.abs(layer.weight)) + log_flow",
    ),
    Mutation(file="nets/norms.py", old="largest = float(log_flow.max())", new="largest = float(log_flow.mean())"),
    Mutation(
        file="nets/norms.py",
        old="return raised(math.exp(largest - whole * _LN2) * (1.0 + 2.0 * slack), whole)",
        new="return math.ldexp(math.exp(largest - whole * _LN2), whole)",
    ),
)


def ours(gamma: float) -> float:
    net, x, _, _, _ = digits()
    one = path_complexity(path_norm(net), len(net.layers), float(np.abs(x).max()), net.sizes[0], len(x))
    return 2.0 * 2.0 / gamma * 10.0 * one  # the gap, the ramp of the margin, and vector contraction over ten outputs


def symbolic() -> str:
    lam, B, n, D = sp.symbols("lambda B n D", positive=True)
    # Massart: E max <= (ln 2D)/lambda + lambda B² n/2, minimal at lambda = sqrt(2 ln 2D/n)/B
    value = sp.log(2 * D) / lam + lam * B**2 * n / 2
    best = sp.sqrt(2 * sp.log(2 * D) / n) / B
    require(sp.simplify(sp.diff(value, lam).subs(lam, best)) == 0, "stationary")
    require(sp.simplify(value.subs(lam, best) / n - B * sp.sqrt(2 * sp.log(2 * D) / n)) == 0, "B sqrt(2 ln(2D)/n)")
    k = sp.symbols("k", nonnegative=True)  # cosh u <= e^(u²/2), termwise: 2^k k! <= (2k)!, by induction from k = 0
    step = (2 * k + 1) * (2 * k + 2) - 2 * (k + 1)
    require(math.factorial(0) >= 2**0 and sp.factor(step) == 4 * k * (k + 1), "(2k+1)(2k+2) >= 2(k+1)")
    z, w = sp.symbols("z w", real=True)
    t = sp.symbols("t", positive=True)
    relu = sp.Max(0, t * z) * w / t - sp.Max(0, z) * w
    require(sp.simplify(relu.rewrite(sp.Abs)) == 0, "a rescaled neuron computes the same")
    return "Massart's lemma gives B sqrt(2 ln(2D)/n); cosh u <= e^(u²/2) termwise; a rescaled neuron computes the same"


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
    two = Network(layers=(Layer(weight=np.array([[3.0, -4.0], [0.0, 1.0]]), bias=np.zeros(2), relu=False),))
    require(path_norm(two) >= 7 and 5 <= path_norm(two, 2.0) <= 5 * (1 + 1e-11), "the largest output; p = 2")
    for w in np.random.default_rng(5).random(20):  # products that a float rounds down
        pair = Network(layers=tuple(Layer(weight=np.array([[w]]), bias=np.zeros(1), relu=False) for _ in range(2)))
        require(Fraction(w) ** 2 <= Fraction(path_norm(pair)), f"|{w}|² rounded down")
    low = Network(layers=(Layer(weight=np.full((1, 2), 1e-3), bias=np.zeros(1), relu=False),))
    require(1e-3 <= path_norm(low, 300.0) <= 1.01e-3, "no underflow for large p")
    halves = (np.diag([1.0, 0.5]), np.array([[0.0, 1.0], [0.0, 0.0]]))  # the larger path leads nowhere
    pair = Network(layers=tuple(Layer(weight=w, bias=np.zeros(2), relu=False) for w in halves))
    for p in (1.0, 1_000.0, 5_000.0):
        require(0.5 <= path_norm(pair, p) <= 0.5 * (1 + 1e-9), f"p = {p}: {path_norm(pair, p)}, not 1/2")
    for points in (np.ones((4, 1)), np.eye(4), np.array([[1, -2], [2, 1], [-1, -1], [2, 2]])):
        whole = [[int(v) for v in row] for row in points]
        exactly, bound = linear(whole, 1), path_complexity(1.0, 1, float(np.abs(points).max()), len(whole[0]), 4)
        require(float(exactly) <= bound, f"one layer, {points.tolist()}: {exactly} exceeds {bound}")
        worst = max(worst, float(exactly) / bound)
    for points, classes in (([[1], [1], [1]], 3), ([[1, -1], [-1, 1], [1, 1]], 2), ([[1, -1, 1], [1, 1, -1]], 3)):
        exactly, size = linear(points, classes), len(points[0]) * classes
        bound = path_complexity(1.0, 1, 1.0, size, len(points))
        require(float(exactly) <= bound, f"{classes} outputs, {points}: {exactly} exceeds {bound}")
        worst = max(worst, float(exactly) / bound)
    exactly, alone = linear([[1], [1]], 8), path_complexity(1.0, 1, 1.0, 1, 2)
    require(
        float(exactly) > alone, f"eight outputs, two points: {exactly} is not above the bound {alone} of one output"
    )
    outputs = Network(layers=(Layer(weight=np.eye(40, 1), bias=np.zeros(40), relu=False),))  # phi_1 = 1
    facts = PathNorm()(outputs, np.ones((4, 1)), np.zeros(4, int)).facts
    all_equal = 1 - Fraction(7, 8) ** 40  # the chance that the 4 signs of one of 40 outputs agree, and add up to 4
    need = 4 / facts["normalised_margin"] * float(all_equal)
    require(
        facts["published_complexity"] >= need, f"the published term {facts['published_complexity']} is below {need}"
    )
    want = 4 * 5 * 2 * math.sqrt(2 * math.log(6) / 9)
    require(want <= path_complexity(5.0, 3, 2.0, 3, 9) <= want * (1 + 1e-11), "the formula at one point")
    total, _, truth = measured(ours)
    require(total > 100, f"the bound on digits must be above 100, got {total}")
    return (
        f"tiny classes at most {worst:.2f} of the term; path norm exact and invariant; digits: bound {total:.0f}, "
        f"risk >= {truth:.3f}"
    )


def shipped() -> float:
    """Gap and confidence for the net of `memorised` with one output: |w|_1 = 8 gamma, entries of x at most 1."""
    return 2.0 * path_complexity(8.0 * (1 + 1e-9), 1, 1.0, 8, 16_000) + rademacher_confidence(16_000, 0.05)


def monte_carlo(effort: int = 1) -> Evidence:
    term = shipped()
    require(term < 0.5, f"the bound must say something at n = 16,000, the term is {term}")
    return judge(memorised(term), delta=0.05, trials=2_000 * effort, name="memorised labels, one output")


def teeth() -> Evidence:
    return caught(shipped(), ours)
