"""Branch and bound on the signs of neurons encloses the largest difference of two ReLU nets on a ball, and closes in.

Statement. f, g ReLU nets of one shape, |x| <= r. (a) In a region where some neurons have known signs, let low <= a <=
high be affine functions of x around what a layer puts out. Then z = W a + b lies between W+ low + W- high + b and
W+ high + W- low + b; a neuron that is on passes both on, one that is off puts out 0, and one with l <= z <= u,
l < 0 < u, has c z <= ReLU(z) <= u (z - l)/(u - l), for either c of {0, 1}. (b) For all y >= 0 and all x with |x| <= r
and C x <= e: <g, x> <= r |g - C^T y| + <e, y>. So the bound of each region holds, the largest of the open and closed
regions bounds the difference on the ball, and any f - g at an input of the ball is a lower bound. (c) Where all signs
are known, low = high is f - g itself, the region is {|x| <= r, C x <= e}, and the least value of (b) is the maximum
(strong duality for a convex problem with an inner point), so that the gap closes after finitely many regions, up to
what the search for y leaves.
(d) `deviation_upper`: with a what f reads and ahat what g reads, V ahat + c - W a - b = (V - W) a + (c - b) +
V (ahat - a), entry by entry and in norm, a in a box and in a ball; ReLU is 1-Lipschitz. Behind a first layer that both
nets share, (V - W) a is a reweighted layer, and `boundlab_worst_input_sweep` bounds it.

Proof. (a) W+ >= 0 keeps and W- <= 0 turns inequalities; ReLU is convex: below its chord on [l, u], above 0 and z. A
sign that is known gives z >= 0 or z <= 0, hence the half-space high >= 0 or low <= 0, which contains the region.
(b) <g, x> = <g - C^T y, x> + <y, C x> <= |g - C^T y| r + <y, e>. (d) is the triangle inequality and Cauchy-Schwarz.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab.compressors.worst_case import deviation_upper, worst_case_error
from boundlab.coresets.worst_input import plane_sup
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="The worst input of two ReLU nets, by branch and bound",
    source="ours; relaxations and duality as they are common in the verification of neural nets",
    given=("f, g of one shape, ReLU or linear layers", "|x|_2 <= r"),
    claim=r"\underline D \le \sup_{\|x\|\le r}\max_i|f_i(x)-g_i(x)| \le \max_{\mathrm{regions}}\min_{y\ge0}"
    r"\big(r\|g-C^\top y\| + \langle e,y\rangle\big)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/branch_and_bound.py",
        old="slope * high[1] - np.where(unsure, slope * floor, 0.0)",
        new="slope * high[1]",
    ),
    Mutation(
        file="nets/branch_and_bound.py",
        old="levels += [high[1][on], -low[1][off]]",
        new="levels += [high[1][on] - 0.2, -low[1][off] - 0.2]",
    ),
    Mutation(
        file="nets/branch_and_bound.py",
        old="return r * length + float(level @ y) + rounding",
        new="return 0.95 * r * length + float(level @ y) + rounding",
    ),
    Mutation(
        file="nets/branch_and_bound.py",
        old="top, floor = high[1] + r * _norm(high[0]), low[1] - r * _norm(low[0])",
        new="top, floor = high[1] + 0.3 * r * _norm(high[0]), low[1] - 0.3 * r * _norm(low[0])",
    ),
    Mutation(
        file="nets/branch_and_bound.py",
        old="self.weight, self.bias = left - right, a.bias - b.bias",
        new="self.weight, self.bias = left - right, 0.0 * a.bias",
    ),
    Mutation(file="compressors/worst_case.py", old="entry = (own + passed) * UP", new="entry = own * UP"),
    Mutation(file="compressors/worst_case.py", old="own = (own + shift) * UP", new="own = own * UP"),
    Mutation(
        file="compressors/worst_case.py",
        old="spectral_norm(g.weight) * norm + float(np.linalg.norm(own))",
        new="float(np.linalg.norm(own))",
    ),
)

Affine = tuple[Fraction, Fraction]  # slope and level of a function of one number


def symbolic() -> str:
    reals: Any = z3.Reals("z l u")
    z, low, top = reals
    relu: Any = z3.If(z > 0, z, 0)
    inside = z3.And(low <= z, z <= top, low < 0, top > 0)
    prove(relu * (top - low) <= top * (z - low), inside)
    prove(z3.And(relu >= 0, relu >= z), inside)
    g, c, y, x = sp.symbols("g c y x", real=True)
    require(sp.expand((g - c * y) * x + y * (c * x) - g * x) == 0, "<g, x> = <g - C^T y, x> + <y, C x>")
    W, V, a, b, p, q = (sp.Symbol(name, commutative=False) for name in ("W", "V", "a", "ahat", "b", "c"))
    require(sp.expand(V * b + q - W * a - p - ((V - W) * a + (q - p) + V * (b - a))) == 0, "the three terms of (d)")
    return "z3: ReLU below its chord, above 0 and z; the dual identity; V ahat + c - W a - b in three terms"


def pieces(net: Network, radius: Fraction) -> list[Fraction]:
    """All inputs of [-r, r] at which a neuron of a net with one input switches, and both ends."""
    cuts = [-radius, radius]
    for depth in range(1, len(net.layers)):
        found = set(cuts)
        for left, right in itertools.pairwise(sorted(cuts)):
            middle = (left + right) / 2
            for slope, level in affine(net, middle, depth):
                if slope and left < -level / slope < right:
                    found.add(-level / slope)
        cuts = sorted(found)
    return cuts


def affine(net: Network, x: Fraction, depth: int) -> list[Affine]:
    """The pre-activations of layer `depth` around x, as affine functions."""
    read: list[Affine] = [(Fraction(1), Fraction(0))]
    for k in range(depth):
        layer = net.layers[k]
        z = [
            (
                sum((Fraction(w) * s for w, (s, _) in zip(row, read, strict=True)), Fraction(0)),
                sum((Fraction(w) * t for w, (_, t) in zip(row, read, strict=True)), Fraction(b)),
            )
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        if k == depth - 1:
            return z
        read = [(s, t) if not layer.relu or s * x + t > 0 else (Fraction(0), Fraction(0)) for s, t in z]
    raise AssertionError("depth must be at least 1")


def value(net: Network, x: Fraction) -> list[Fraction]:
    a = [x]
    for layer in net.layers:
        z = [
            sum((Fraction(w) * v for w, v in zip(row, a, strict=True)), Fraction(b))
            for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
        ]
        a = [max(v, Fraction(0)) for v in z] if layer.relu else z
    return a


def truth(f: Network, g: Network, radius: int) -> Fraction:
    """The exact supremum for one input: f - g is linear between switches."""
    places = set(pieces(f, Fraction(radius))) | set(pieces(g, Fraction(radius)))
    return max(abs(p - q) for x in places for p, q in zip(value(f, x), value(g, x), strict=True))


def integer_net(rng: np.random.Generator, sizes: tuple[int, ...]) -> Network:
    layers = [
        Layer(
            weight=rng.integers(-4, 5, (out, into)) / 2.0, bias=rng.integers(-4, 5, out) / 4.0, relu=k < len(sizes) - 2
        )
        for k, (into, out) in enumerate(itertools.pairwise(sizes))
    ]
    return Network(layers=tuple(layers))


def other(rng: np.random.Generator, f: Network, *, shared: bool) -> Network:
    """A net of the same shape: the same first layer with columns scaled behind it, or everything moved a little."""
    scaled = [w.weight * (1 if k == 0 else rng.integers(0, 4, w.weight.shape[1]) / 2.0) for k, w in enumerate(f.layers)]
    if shared:
        return f.with_weights(scaled)
    layers = [
        Layer(
            weight=w.weight + rng.integers(-1, 2, w.weight.shape) / 4.0,
            bias=w.bias + rng.integers(-2, 3, w.bias.shape) / 4.0,
            relu=w.relu,
        )
        for w in f.layers
    ]
    return Network(layers=tuple(layers))


def exact() -> str:
    rng, closed, loose = np.random.default_rng(310), 0, 0.0
    for k, sizes in enumerate([(1, 5, 2), (1, 3, 3, 1), (1, 3, 1), (1, 4, 3, 2), (1, 2)] * 5):
        f = integer_net(rng, sizes)
        g = other(rng, f, shared=k % 2 == 0)
        want, found = truth(f, g, 3), worst_case_error(f, g, 3.0, nodes=3000)
        require(Fraction(found.lower) <= want <= Fraction(found.upper), f"{found.lower}, {want}, {found.upper}")
        require(want == 0 or found.exact is not None, f"not closed: {found.lower} and {found.upper}, {sizes}")
        root = worst_case_error(f, g, 3.0, starts=1, steps=1, nodes=1)
        require(Fraction(root.lower) <= want <= Fraction(root.upper), "what few regions leave must hold, too")
        plain = float(deviation_upper(f, g, 3.0).max())
        require(want <= Fraction(plain), f"deviation_upper {plain} below {want}")
        loose, closed = max(loose, plain / max(1e-9, float(want))), closed + 1
    for seed in range(6):  # in the plane, without biases: the sweep over angles is exact
        f = random_network((2, 9, 2), rng=seed)
        g = f.with_weights([f.layers[0].weight, f.layers[1].weight * np.random.default_rng(seed).integers(0, 3, 9)])
        want = float(plane_sup(f.layers[0].weight, f.layers[1].weight - g.layers[1].weight, 2.0).max())
        found = worst_case_error(f, g, 2.0, nodes=3000)
        require(found.exact is not None and abs(found.exact - want) < 2e-6 * want, f"{found.exact} against {want}")
        require(float(deviation_upper(f, g, 2.0).max()) >= want, "deviation_upper below the sweep")
    wide = random_network((3, 6, 5, 2), rng=9, bias=True)
    require(worst_case_error(wide, wide, 1.0).exact == 0.0, "a net is at distance 0 from itself")
    return f"{closed} pairs of nets of one input in fractions, all closed; 6 in the plane agree with the sweep"


def beyond(factor: float):
    """A trial: at a random input of the ball two random nets of three layers differ by more than the bound/factor."""
    rng = np.random.default_rng(311)
    pairs = []
    for seed in range(8):
        f = random_network((3, 6, 5, 2), rng=seed, bias=True)
        g = other(rng, f, shared=seed % 2 == 0)
        found = worst_case_error(f, g, 2.0, nodes=40)
        pairs.append((f, g, found.upper / factor, found.x))

    def trial(coins: np.random.Generator, n: int) -> np.ndarray:
        x = coins.normal(size=(n, 3))
        x *= 2.0 * coins.random((n, 1)) ** (1 / 3) / np.linalg.norm(x, axis=1, keepdims=True)
        apart = np.stack([np.abs(f(x) - g(x)).max(axis=1) > bound for f, g, bound, _ in pairs])
        return np.asarray(apart.any(axis=0))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(beyond(1.0), delta=0.01, trials=1_000 * effort, name="points of the ball")
    return Evidence(text=f"8 pairs of nets, 40 regions each: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    f = random_network((3, 6, 5, 2), rng=3, bias=True)
    g = other(np.random.default_rng(5), f, shared=True)
    found = worst_case_error(f, g, 2.0, nodes=3000)
    at = float(np.abs(f(found.x[None]) - g(found.x[None])).max())
    require(found.exact is not None, "the pair of the teeth must close")
    slack = smallest_sabotage(lambda factor: found.upper / factor < at, factors=(1.00001, 1.001, 1.01, 1.1))
    return Evidence(text=f"refuted by the input found: an upper bound divided by {slack:g}", slack=slack)
