"""Compressed from the input to the output, layer by layer, a net's additive errors obey a linear recursion.

Statement. Let layer l have the weights W^l and the activation phi with Lipschitz constant Lip (none at the last layer).
Let the neurons of layer l be sampled with an l2 error |W^{l+1} phi(z) - What^{l+1} phi(z)| <= e_l for all z = What^l a
with |a| <= beta_l: the points are the rows of What^l, already reduced. Then the l2 error Delta_l of layer l's outputs
obeys Delta_1 = 0 and
    Delta_{l+1} <= Lip (|W^{l+1}|_2 Delta_l + e_l),         W^{l+1} the original matrix, Lip = 1 at a linear last layer,
    Delta_L <= sum_l e_l Lip^{L-1-l} prod_{i=l+2..L} |W^i|_2   (linear last layer),
provided that beta_l >= (norm of what layer l reads in the original net) + Delta_{l-1}.

Proof. Let z, zhat be the preactivations of layer l in the two nets. Those of layer l + 1 differ by
    W phi(z) - What phi(zhat) = W [phi(z) - phi(zhat)] + [W phi(zhat) - What phi(zhat)].
phi(z), phi(zhat) are the outputs of layer l, so the first part is at most |W|_2 Delta_l. The second is at most e_l, as
the compressed net's input a of layer l has norm at most beta_l, by the triangle inequality. Applying phi multiplies the
difference by at most Lip. Neurons that were dropped from layer l count in Delta_l, with the outputs that their rows
would have; their columns of What^{l+1} are 0. The bias of a layer is the same in both nets, or a coordinate that is not
sampled: it cancels. The recursion holds input by input, with the errors of that input. Unrolled it is a sum. Another
order is not covered: ``mussay2020_layer_order``. A chain of one neuron per layer attains it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter, PremiseViolated
from boundlab.coresets.activations import RELU, TANH, Activation
from boundlab.coresets.neuron_sampling import neuron_plan, reweight
from boundlab.nets.layerwise import check_radii, layer_deltas, norm_reach
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Additive errors, layer by layer",
    source="ours; the order from the input to the output is that of Mussay et al. 2021, arXiv:2008.08316, as we "
    "understand it",
    given=("layers compressed from the input to the output", "errors e_l on balls that hold the perturbed inputs"),
    claim=r"\Delta_{l+1} \le \mathrm{Lip}\,(\|W^{l+1}\|_2\,\Delta_l + e_l)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/layerwise.py",
        old="slope * (norm * path[-1] + error) if",
        new="slope * max(norm * path[-1], error) if",
    ),
    Mutation(
        file="nets/layerwise.py",
        old="slope = 1.0 if linear_last and k == len(w) - 1 else lipschitz",
        new="slope = 1.0 if k == len(w) - 1 else lipschitz",
    ),
    Mutation(file="nets/layerwise.py", old="(norm * path[-1] + bias)", new="(norm * path[-1])"),
    Mutation(file="nets/layerwise.py", old="float(lipschitz * (norm", new="float((norm"),
    Mutation(file="nets/layerwise.py", old="np.all(array >= 0.0)", new="True"),
    Mutation(file="nets/layerwise.py", old="np.flatnonzero(beta < r + d)", new="np.flatnonzero(beta < r)"),
)

Matrix = list[list[Fraction]]


def product(w: Matrix, v: Sequence[Fraction]) -> list[Fraction]:
    return [sum((a * b for a, b in zip(row, v, strict=True)), Fraction(0)) for row in w]


def relu(v: Sequence[Fraction]) -> list[Fraction]:
    return [max(x, Fraction(0)) for x in v]


def square(v: Sequence[Fraction]) -> Fraction:
    return sum((x * x for x in v), Fraction(0))


def root_up(value: Fraction) -> float:
    """A float at or above the square root."""
    root = math.sqrt(value)
    while Fraction(root) ** 2 < value:
        root = math.nextafter(root, math.inf)
    return root


def symbolic() -> str:
    w, u, z, y = (sp.Symbol(name, commutative=False) for name in "WUZY")
    require(sp.expand(w * z - u * y - (w * (z - y) + (w - u) * y)) == 0, "the split")
    depth, lip = 6, sp.Symbol("Lip", positive=True)
    norms, errors = sp.symbols(f"n1:{depth}", positive=True), sp.symbols(f"e1:{depth}", positive=True)
    delta = sp.Integer(0)
    for k in range(depth - 1):
        delta = (1 if k == depth - 2 else lip) * (norms[k] * delta + errors[k])
    unrolled = sum(
        (errors[k] * lip ** (depth - 2 - k) * sp.prod(norms[k + 1 :]) for k in range(depth - 1)), sp.Integer(0)
    )
    require(sp.expand(delta - unrolled) == 0, "the unrolled sum")
    values = {
        **dict(zip(norms, (3, 2, 5, 7, 1), strict=True)),
        **dict(zip(errors, (1, 4, 2, 3, 6), strict=True)),
        lip: 2,
    }
    got = layer_deltas([3, 2, 5, 7, 1], [1, 4, 2, 3, 6], lipschitz=2.0)[-1]
    want = float(unrolled.subs(values))
    require(want <= got <= want * (1 + 1e-10), f"shipped {got}, unrolled {want}")
    return "W phi(z) - What phi(zhat) split at W phi(zhat); the recursion unrolled for 6 layers, and the shipped value"


def matrices(rng: np.random.Generator, sizes: Sequence[int]) -> list[Matrix]:
    return [
        [[Fraction(int(v), 4) for v in row] for row in rng.integers(-6, 7, size=(out, into))]
        for into, out in itertools.pairwise(sizes)
    ]


def exact() -> str:
    rng, cases, sharpest = np.random.default_rng(72), 0, 0.0
    for _ in range(60):
        original = matrices(rng, (2, 3, 3, 2))
        x = [Fraction(int(v), 4) for v in rng.integers(-4, 5, size=2)]
        factors = [[Fraction(int(v), 2) for v in rng.integers(0, 5, size=3)] for _ in range(2)]
        small = [original[0]] + [
            [[a * c for a, c in zip(row, f, strict=True)] for row in w]
            for w, f in zip(original[1:], factors, strict=True)
        ]
        a = b = relu(product(original[0], x))
        errors, norms, square_of = [], [], []
        for k in (1, 2):
            own = [p - q for p, q in zip(product(original[k], b), product(small[k], b), strict=True)]
            errors.append(root_up(square(own)))
            norms.append(float(np.linalg.norm(np.array(original[k], float), 2)) * (1 + 1e-14))
            a, b = product(original[k], a), product(small[k], b)
            if k == 1:
                a, b = relu(a), relu(b)
            square_of.append(square([p - q for p, q in zip(a, b, strict=True)]))
        path = layer_deltas(norms, errors)
        for got, bound in zip(square_of, path[1:], strict=True):
            require(got <= Fraction(float(bound)) ** 2, f"an error {math.sqrt(got)} above {bound}")
            if bound > 0:
                sharpest = max(sharpest, math.sqrt(got) / float(bound))
            cases += 1
    got, bound = chain(1.0)  # 30 (2 * 3/2 * 4/3 - 1)
    require(got == 90 and 90 <= bound <= 90 * (1 + 1e-10), f"the chain has error {got}, bound {bound}")
    lone = layer_deltas([3.0, 2.0], [1.0, 4.0], lipschitz=2.0, linear_last=False)[-1]
    require(16 <= lone <= 16 * (1 + 1e-10), f"Lip at the last layer too: {lone}")  # 2 (2 * 2 + 4)
    reach = norm_reach([2.0, 3.0], [1.0, 4.0], 5.0, lipschitz=2.0)
    for got, want in zip(reach, (5, 22, 140), strict=True):  # 2 (2 * 5 + 1), 2 (3 * 22 + 4): a chain of linear neurons
        require(want <= got <= want * (1 + 1e-10), f"norms up to {got}, {want} are reached")
    for bad in ([-1.0, 4.0], [math.nan, 4.0]):
        try:
            layer_deltas([3.0, 2.0], bad)
        except InvalidParameter:
            continue
        raise AssertionError(f"errors {bad} must be refused")
    check_radii([1.0, 5.0], [1.0, 4.5], [0.0, 0.5])
    require(refused([1.0, 5.0], [1.0, 4.5], [0.0, 0.51]), "a radius without room for Delta must be refused")
    return f"{cases} layers of random nets in fractions, at most {sharpest:.3f} of the bound; a chain attains it: 90"


def refused(radii: Sequence[float], reach: Sequence[float], deltas: Sequence[float]) -> bool:
    try:
        check_radii(radii, reach, deltas)
    except PremiseViolated:
        return True
    return False


def chain(share: float) -> tuple[Fraction, float]:
    """(error, bound) of four layers of one neuron with positive weights, the errors e_l taken `share` times."""
    weights, factors, x = (1, 3, 2, 5), (Fraction(2), Fraction(3, 2), Fraction(4, 3)), Fraction(1)
    a = b = x * weights[0]
    errors = []
    for w, f in zip(weights[1:], factors, strict=True):
        errors.append(share * float(abs(w * b - w * f * b)))
        a, b = w * a, w * f * b
    bound = layer_deltas([float(w) for w in weights[1:]], errors)[-1]
    return abs(a - b), float(bound)


def errs(activation: Activation, share: float = 1.0):
    """A trial: random nets 4-6-6-6-3, all hidden layers sampled bottom-up; an output's error exceeds `share` Delta.

    e_l is the bound sum_p |W_p - What_p|_2 S(p) on the ball of the radius that norms and Delta give.
    """

    def one(rng: np.random.Generator) -> bool:
        w = [rng.normal(size=s) / 2 for s in ((6, 4), (6, 6), (6, 6), (3, 6))]
        norms = [float(np.linalg.norm(v, 2)) for v in w]
        reach = norm_reach(norms[:2], [0.0, 0.0], 1.0).tolist()
        small, deltas, read, errors = [w[0]], [0.0], [0.0], []
        for k in (1, 2, 3):  # the neurons of layer k read what errs by read[k - 1]
            plan = neuron_plan(small[-1], w[k], activation, reach[k - 1] + read[k - 1])
            live, m = np.flatnonzero(plan.probabilities), 20
            counts = np.zeros(6, int)
            counts[live] = rng.multinomial(m, plan.probabilities[live])
            small.append(reweight(w[k], counts, plan.probabilities, m))
            errors.append(float(np.linalg.norm(w[k] - small[-1], axis=0) @ plan.sup))
            deltas = layer_deltas(norms[1 : k + 1], errors, linear_last=k == 3).tolist()
            read.append(deltas[k - 1])
        check_radii([r + d for r, d in zip(reach, read[:3], strict=True)], reach, read[:3])
        x = rng.normal(size=(40, 4))
        a = b = x / np.maximum(1.0, np.linalg.norm(x, axis=1, keepdims=True))
        for k in range(4):
            a, b = a @ w[k].T, b @ small[k].T
            if k < 3:
                a, b = activation.value(a), activation.value(b)
        return bool((np.linalg.norm(a - b, axis=1) > share * deltas[-1]).any())

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array([one(rng) for _ in range(n)])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 250 * effort
    judged = [
        judge(errs(activation), delta=0.05, trials=trials, name=f"four layers, {activation.name}")
        for activation in (RELU, TANH)
    ]
    return Evidence(text=f"ReLU: {judged[0].text}; tanh: {judged[1].text}", trials=2 * trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        got, bound = chain(1.0 / factor)
        return got > Fraction(bound)

    slack = smallest_sabotage(caught)
    text = f"refuted: errors e_l understated by a factor {slack:g}, on the chain that attains the bound"
    return Evidence(text=text, slack=slack)
