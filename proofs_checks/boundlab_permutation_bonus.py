"""Permuting hidden units makes at least prod h!/prod m! distinct nets, m counting units with equal incoming weights.

Statement. For weights (W_1, b_1), ..., (W_L, b_L) the permutations of the units of each hidden layer make an orbit of
at least prod over hidden layers of h!/prod of m! nets, where m counts the units of the layer whose incoming weights
and bias agree. If a code's length does not change under permutations and all copies compute one function bit for bit,
the function has at least that many times the prior mass of one net.

Proof. The group has prod h! elements, the orbit |G|/|Stab|. Let (p_1, .., p_{L-1}) fix the net. p_1 fixes (W_1, b_1):
at most prod m_1! choices. Given p_1, .., p_{l-1}, any two choices p, p' of p_l satisfy p W_l p_{l-1}^-1 = W_l = p' W_l
p_{l-1}^-1 and p b = b = p' b, so that p'^-1 p exchanges equal rows of (W_l, b_l) only: at most prod m_l! choices.
Hence |Stab| <= prod of all m!. Equal weights from the union bound: the codes of the copies are disjoint parts of the
prior.

Counting only units that agree "in and out" over-counts, since permutations of two layers can cancel: W_1 with equal
rows, W_2 = [x y; y x], W_3 with equal columns has 2 distinct copies, not 2! 2!.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.bounds.length_priors import permutation_bonus
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Bonus for permuted copies of a net",
    source="ours; the symmetry gain ln h! per layer is used by Zhou et al. (2019) and by bits-back codes",
    given=("the code's length does not change under permutations of hidden units", "the copies agree bit for bit"),
    claim=r"\#\text{copies} \ge \prod_\ell h_\ell! / \prod m_{\ell j}!,\ m \text{ by incoming weights and bias}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/length_priors.py",
        old="incoming = np.column_stack([layer.weight, layer.bias])",
        new="incoming = np.arange(len(layer.weight))[:, None]",
    ),
    Mutation(file="bounds/length_priors.py", old="for layer in net.layers[:-1]:", new="for layer in net.layers:"),
)

SHAPE = (1, 2, 2, 1)  # every net with weights 0 or 1 and one bias pattern
DELTA = 0.1
Key = tuple[float, ...]


def build(flat: tuple[int, ...], shape: tuple[int, ...] = SHAPE) -> Network:
    """A net from its weights in order, without biases."""
    layers, at = [], 0
    for wide, out in itertools.pairwise(shape):
        weight = np.array(flat[at : at + wide * out], dtype=float).reshape(out, wide)
        layers.append(Layer(weight=weight, bias=np.zeros(out), relu=True))
        at += wide * out
    return Network(layers=tuple(layers))


def key(layers: list[tuple[np.ndarray, np.ndarray]]) -> Key:
    return tuple(v for w, b in layers for v in (*w.ravel().tolist(), *b.tolist()))


def copies(net: Network) -> set[Key]:
    """Every distinct net that permutations of the hidden units make, by enumeration."""
    widths = net.sizes[1:-1]
    found = set()
    for orders in itertools.product(*(itertools.permutations(range(h)) for h in widths)):
        before, layers = list(range(net.sizes[0])), []
        for layer, order in zip(net.layers, (*orders, range(net.sizes[-1])), strict=True):
            layers.append((layer.weight[list(order)][:, list(before)], layer.bias[list(order)]))
            before = list(order)
        found.add(key(layers))
    return found


def in_and_out(net: Network) -> int:
    """The over-count: only units that agree in incoming and outgoing weights count as equal."""
    total = 1
    for layer, above in itertools.pairwise(net.layers):
        units = Counter(map(tuple, np.column_stack([layer.weight, layer.bias, above.weight.T]).tolist()))
        total *= math.factorial(len(layer.weight)) // math.prod(math.factorial(m) for m in units.values())
    return total


def claimed(net: Network) -> int:
    """The shipped bonus as a number of copies: a whole number, from which it is rounded down."""
    bonus = permutation_bonus(net)
    number = round(math.exp(bonus))
    require(bonus == 0.0 if number == 1 else flint.arb(bonus) < flint.arb(number).log(), "rounded up")
    return number


def orbits() -> list[tuple[Network, int]]:
    """One net of each orbit with weights 0 or 1, and the orbit's size."""
    seen, found = set(), []
    for flat in itertools.product((0, 1), repeat=sum(a * b for a, b in itertools.pairwise(SHAPE))):
        net = build(flat)
        if key([(layer.weight, layer.bias) for layer in net.layers]) not in seen:
            orbit = copies(net)
            seen |= orbit
            found.append((net, len(orbit)))
    return found


def cancelling() -> Network:
    """W_1 with equal rows, W_2 = [2 3; 3 2], W_3 with equal columns."""
    return build((1, 1, 2, 3, 3, 2, 1, 1))


def symbolic() -> str:
    x, y = sp.symbols("x y")
    swap, middle = sp.Matrix([[0, 1], [1, 0]]), sp.Matrix([[x, y], [y, x]])
    require(swap * middle * swap == middle and swap * middle != middle, "exchanging both layers cancels, one does not")
    first, last = sp.Matrix([[1], [1]]), sp.Matrix([[1, 1]])
    require(swap * first == first and last * swap == last, "equal rows and equal columns")
    h = sp.symbols("h", positive=True, integer=True)
    require(sp.simplify(sp.factorial(h) / (sp.factorial(h) / sp.factorial(2)) - 2) == 0, "orbit = group / stabiliser")
    return "S M S = M for M = [x y; y x] though S M != M: permutations of two layers cancel"


def exact() -> str:
    tight = over = 0
    for net, size in orbits():
        require(claimed(net) <= size, f"claims {claimed(net)} copies of {size}")
        tight, over = tight + (claimed(net) == size), over + (in_and_out(net) > size)
    trick = cancelling()
    require((len(copies(trick)), claimed(trick), in_and_out(trick)) == (2, 2, 4), "the cancelling net")
    rng = np.random.default_rng(3)
    for _ in range(12):
        net = build(tuple(rng.integers(0, 3, size=2 * 3 + 3 * 3 + 3).tolist()), (2, 3, 3, 1))
        require(claimed(net) <= len(copies(net)), "a random net of two hidden layers of 3")
    channels = [
        Layer(weight=rng.normal(size=(o, i)), bias=np.zeros(o), relu=True)
        for i, o in ((4, 6), (6, 12), (12, 16), (16, 10))
    ]
    bits = permutation_bonus(Network(layers=tuple(channels))) / math.log(2)
    require(f"{bits:.1f}" == "82.6", f"6, 12, 16 distinct units: {bits} bits")
    return f"{len(orbits())} orbits, never above, {tight} times equal; in-and-out above {over} times; {bits:.1f} bits"


def levels(count) -> np.ndarray:
    """Level of each function: delta times the mass that `count` claims for it under a uniform prior on nets."""
    found = orbits()
    total = sum(size for _, size in found)
    return np.array([DELTA * count(net) / total for net, _ in found])


def unions(level: np.ndarray):
    """A trial: each function fails independently exactly as often as its level permits; does one fail?"""
    return lambda rng, n: (rng.random((n, len(level))) < level).any(axis=1)


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(unions(levels(claimed)), delta=DELTA, trials=8_000 * effort, name="copies")


def teeth() -> Evidence:
    own, over = levels(claimed), levels(in_and_out)
    require(
        Fraction(float(own.sum())) <= Fraction(DELTA) < Fraction(float(over.sum())), "the over-count was not caught"
    )

    def caught(factor: float) -> bool:
        return violated(unions(own * factor), delta=DELTA, trials=20_000, name="copies multiplied")

    slack = smallest_sabotage(caught)
    text = (
        f"refuted: {slack:g} times the copies; units equal in and out claim {over.sum() / DELTA:.3f} of the prior mass"
    )
    return Evidence(text=text, slack=slack)
