"""Two nets of one shape differ on a ball by at most a spectral recursion, whose bias term must not be forgotten.

Proof. Let h_l, k_l be the activations of f, g. |k_l| <= |V_l| |k_{l-1}| + |c_l| since |phi(u)| <= |u|. As phi is
1-Lipschitz, |h_l - k_l| <= |W_l (h_{l-1} - k_{l-1}) + (W_l - V_l) k_{l-1} + b_l - c_l|, at most
|W_l| |h_{l-1} - k_{l-1}| + |W_l - V_l| |k_{l-1}| + |b_l - c_l|. Induction from |x| <= C. Without |b_l - c_l| the bound
is false for nets that differ in a bias alone: the recursion then gives 0. One neuron per layer attains it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab.nets.deviation import spectral_deviation
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="The spectral deviation of two nets on a ball",
    source="ours; the recursion without biases is common in work on compression bounds",
    given=("nets of one shape, ReLU or linear layers", "|x|_2 <= C"),
    claim=r"\|f(x)-g(x)\|_2 \le \beta_L, \quad \beta_\ell = \|W_\ell\|\beta_{\ell-1} "
    r"+ \|W_\ell-V_\ell\|\alpha_{\ell-1} + \|b_\ell-c_\ell\|, \quad \alpha_\ell = \|V_\ell\|\alpha_{\ell-1}+\|c_\ell\|",
    status="holds",
)

MUTATIONS = (
    Mutation(file="nets/deviation.py", old="* alpha + shift", new="* alpha"),
    Mutation(file="nets/deviation.py", old="spectral_norm(f.weight) * beta + moved", new="beta + moved"),
    Mutation(file="nets/deviation.py", old="* alpha + spectral_norm(g.bias[:, None])", new="* alpha"),
    Mutation(file="nets/deviation.py", old="alpha = (spectral_norm(g.weight)", new="alpha = (spectral_norm(f.weight)"),
    Mutation(file="nets/deviation.py", old="beta = (spectral_norm(f.weight)", new="beta = (spectral_norm(g.weight)"),
    Mutation(file="nets/norms.py", old="_UP = 1.0 + 1e-12", new="_UP = 1.0 - 1e-12"),
    Mutation(
        file="nets/deviation.py",
        old="moved = spectral_norm(f.weight - g.weight)",
        new="moved = float(abs(f.weight - g.weight).max())",
    ),
)


def chain(*weights: float, bias: float = 0.0) -> Network:
    """One neuron per layer, ReLU but for the last; the bias in the first."""
    return Network(
        layers=tuple(
            Layer(weight=np.array([[w]]), bias=np.array([bias if k == 0 else 0.0]), relu=k < len(weights) - 1)
            for k, w in enumerate(weights)
        )
    )


def larger(a: Any, b: Any) -> Any:
    return z3.If(a > b, a, b)


def relu(v: Any) -> Any:
    return larger(v, 0 * v)


def symbolic() -> str:
    a, b, c, x = sp.symbols("a b c x", positive=True)
    p, q = sp.symbols("p q", positive=True)
    # one neuron, two layers: f = q relu(p x + b), g = (q + c) relu((p + a) x + b)
    difference = sp.expand((q + c) * ((p + a) * x + b) - q * (p * x + b))
    alpha1, beta1 = (p + a) * x + b, a * x
    require(sp.expand(difference - (q * beta1 + c * alpha1)) == 0, "the recursion is attained by one neuron per layer")
    z, w = reals("z w")
    prove(relu(z) - relu(w) <= larger(z - w, w - z))  # ReLU is 1-Lipschitz
    prove(relu(z) <= larger(z, -z))
    W, h, k, V, bf, bg = (sp.Symbol(name, commutative=False) for name in ("W", "h", "k", "V", "b", "c"))
    split = W * (h - k) + (W - V) * k + (bf - bg)
    require(sp.expand((W * h + bf) - (V * k + bg) - split) == 0, "the three terms of the recursion")
    return "z3: ReLU is 1-Lipschitz and 0 at 0; W h + b - V k - c in three terms; one neuron per layer attains beta"


def exact() -> str:
    checked = 0
    for p, q, a, c, bias in ((1, 2, 0.5, 0.25, 0.0), (3, 1, 0.125, 1, 2.0), (0.5, 4, 1, 0, 1.0)):
        f, g = chain(p, q, bias=bias), chain(p + a, q + c, bias=bias)
        want = Fraction(q) * Fraction(a) * 2 + Fraction(c) * ((Fraction(p) + Fraction(a)) * 2 + Fraction(bias))
        got = spectral_deviation(f, g, 2.0)
        require(want <= Fraction(got) <= want * Fraction(1_000_001, 1_000_000), f"{got} against {want}")
        at = abs(float(f(np.array([[2.0]]))[0, 0] - g(np.array([[2.0]]))[0, 0]))
        require(at <= got <= at * (1 + 1e-9), "attained at the border of the ball")
        checked += 1
    shifted = spectral_deviation(chain(1, 3, bias=1.0), chain(1, 3, bias=1.5), 1.0)
    require(1.5 <= shifted <= 1.5000001, f"a bias alone: |W_2| |b - c| = 3/2, got {shifted}")
    f, g = chain(2, 3, bias=1.0), chain(2, 5, bias=1.0)  # g's weights grow the deviation only through its own layer
    require(6 <= spectral_deviation(f, g, 1.0) <= 6 * (1 + 1e-9), "(5 - 3)(2 + 1) = 6")
    turn, still = np.array([[3.0, 4.0], [-4.0, 3.0]]), np.zeros((2, 2))
    wide = [Network(layers=(Layer(weight=w, bias=np.zeros(2), relu=False),)) for w in (turn, still)]
    require(5 <= spectral_deviation(wide[0], wide[1], 1.0) <= 5 * (1 + 1e-9), "|W| = 5, not its largest entry")
    return f"{checked} chains of one neuron: the bound is the exact difference at |x| = C; a moved bias alone gives 3/2"


def beyond(factor: float):
    """Random nets with moved weights and biases, at random points of the ball: is the difference above the bound?"""
    f = random_network((6, 5, 3), rng=1)
    rng = np.random.default_rng(2)
    layers = [
        Layer(
            weight=w.weight + 0.1 * rng.normal(size=w.weight.shape),
            bias=w.bias + 0.1 * rng.normal(size=w.bias.shape),
            relu=w.relu,
        )
        for w in f.layers
    ]
    g = Network(layers=tuple(layers))
    bound = spectral_deviation(f, g, 1.0) / factor

    def trial(coins: np.random.Generator, n: int) -> np.ndarray:
        x = coins.normal(size=(n, 6))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return np.linalg.norm(f(x) - g(x), axis=1) > bound

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(beyond(1.0), delta=0.01, trials=2_000 * effort, name="points of the ball")


def teeth() -> Evidence:
    f, g = chain(1.0, 2.0, bias=1.0), chain(1.5, 2.25, bias=1.25)
    at = abs(float(f(np.array([[2.0]]))[0, 0] - g(np.array([[2.0]]))[0, 0]))
    slack = smallest_sabotage(lambda factor: spectral_deviation(f, g, 2.0) / factor < at)
    require(math.isclose(spectral_deviation(f, g, 2.0), at), "attained")
    return Evidence(text=f"a bound divided by {slack:g} is exceeded at the border of the ball", slack=slack)
