"""Two signs and a bias turn a relative error eps of each part into eps Delta(x) of the neuron, and Delta has no bound.

Statement. z = z+ - z- + b with z+, z- >= 0, the bias kept. If |z_hat+ - z+| <= eps z+ and |z_hat- - z-| <= eps z-, then

    |z_hat - z| <= eps (z+ + z-) = eps Delta(x) |z|,      Delta(x) = (z+ + z-)/|z+ - z- + b|,

and no smaller factor will do: z_hat+ = (1 + eps) z+ and z_hat- = (1 - eps) z- attain it. Delta is unbounded, because z
can be as near to 0 as the parts let it: z+ = 1 + t, z- = 1, b = 0 have Delta = (2 + t)/t. A bias can also push Delta
below 1. So a promise relative to |z| needs a bound on Delta, as a premise or from data; the promise relative to
z+ + z- needs none.

Proof. The bias cancels in z_hat - z = (z_hat+ - z+) - (z_hat- - z-); the triangle inequality gives the first step, and
the definition of Delta the second. With both parts sampled at delta/2 each, the union bound gives delta for the neuron.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import z3

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import sample_size
from boundlab.nets.condition import condition_numbers
from boundlab.nets.propagate import relative_error
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="From the parts of a neuron to its value",
    source="Baykal et al. 2022, arXiv:1910.05422, and Baykal et al. 2019, arXiv:1804.05345; item numbers not known to "
    "us; as we understand the papers",
    given=("each part within eps of itself", "the bias kept", "z not 0"),
    claim=r"|\hat z - z| \le \epsilon (z^+ + z^-) = \epsilon\,\Delta(x)\,|z|, \quad "
    r"\Delta(x) = \frac{z^+ + z^-}{|z^+ - z^- + b|}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/condition.py",
        old="size = np.abs(a) @ np.abs(layer.weight).T",
        new="size = np.abs(a @ layer.weight.T)",
    ),
    Mutation(
        file="nets/condition.py",
        old="value = np.abs(layer.preactivation(a))",
        new="value = np.abs(a @ layer.weight.T)",
    ),
)

ROWS = 400


def instances(seed: int) -> list[tuple[list[int], list[int], int]]:
    """(weights, activations, bias), small whole numbers, with z not 0."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < ROWS:
        w, a, b = rng.integers(-4, 5, 4).tolist(), rng.integers(0, 5, 4).tolist(), int(rng.integers(-3, 4))
        if sum(x * y for x, y in zip(w, a, strict=True)) + b:
            found.append((w, a, b))
    return found


def shipped(w: list[int], a: list[int], b: int) -> float:
    """Delta of one neuron at one point, by the shipped function."""
    layer = Layer(weight=np.array([w], float), bias=np.array([b], float), relu=True)
    return float(condition_numbers(layer, np.array([a], float))[0, 0])


def symbolic() -> str:
    up, down, b, eps, p, m, delta = reals("up down b eps p m delta")
    z, z_hat = up - down + b, p - m + b
    parts = (
        up >= 0,
        down >= 0,
        eps >= 0,
        z3.And(p - up <= eps * up, up - p <= eps * up),
        z3.And(m - down <= eps * down, down - m <= eps * down),
    )
    for side in (z_hat - z, z - z_hat):
        prove(side <= eps * (up + down), *parts)
        prove(side <= eps * delta * z, *parts, z > 0, delta * z == up + down)
        prove(side <= -eps * delta * z, *parts, z < 0, -delta * z == up + down)
    counterexample(z_hat - z <= eps * z, *parts, z > 0, eps < 1)  # without Delta it is false
    counterexample(up + down <= 1_000 * z, up >= 0, down >= 0, up <= 2, z > 0, b == 0)  # Delta has no bound
    prove(up + down >= z, up >= 0, down >= 0, b == 0)  # without a bias Delta >= 1
    counterexample(up + down >= z, up >= 0, down >= 0)
    return "triangle inequality and Delta's definition for both signs of z; false without Delta; Delta without a bound"


def attained(w: list[int], a: list[int], b: int, eps: Fraction) -> tuple[Fraction, Fraction]:
    """(largest |z_hat - z|/|z| over the corners of the two parts' intervals, Delta), exactly."""
    terms = [x * y for x, y in zip(w, a, strict=True)]
    plus, minus = sum(t for t in terms if t > 0), -sum(t for t in terms if t < 0)
    z = plus - minus + b
    corners = itertools.product((-1, 1), repeat=2)
    worst = max(abs((1 + r * eps) * plus - (1 + s * eps) * minus + b - z) for r, s in corners)
    return worst / abs(z), Fraction(plus + minus, abs(z))


def exact() -> str:
    largest, small = Fraction(0), 0
    for w, a, b in instances(70):
        own = shipped(w, a, b)
        for eps in (Fraction(1, 4), Fraction(1), Fraction(1, 2**20)):
            worst, condition = attained(w, a, b, eps)
            require(worst == eps * condition, "the bound must be attained at a corner")
            require(
                abs(Fraction(own) - condition) <= condition * Fraction(1, 10**15), f"Delta is {own} for {condition}"
            )
            told = float(relative_error(np.array([float(eps)]), np.array([own]))[0])
            require(Fraction(told) >= worst, f"the promise {told} is below the error {float(worst)}")
        largest, small = max(largest, condition), small + (condition < 1)
    require(small > 10, "a bias must push Delta below 1 somewhere")
    rising = [shipped([2**k + 1, -(2**k)], [1, 1], 0) for k in (5, 20, 50)]
    require(rising == [2.0 ** (k + 1) + 1 for k in (5, 20, 50)], f"Delta must grow without bound, got {rising}")
    require(shipped([1, -1], [1, 1], 0) == np.inf, "Delta is inf where only z vanishes")
    return f"{ROWS} neurons: attained at a corner, Delta up to {largest}, below 1 in {small}; 2^(k+1) + 1 without bound"


def sampled(factor: float):
    """Trials: does a neuron with both parts sampled err by more than eps Delta |z| / factor at a point of S?"""
    edges, eps, delta = 16, 0.5, 0.1
    rng = np.random.default_rng(71)
    a = rng.random((6, 2, edges)) ** 3  # (points, signs, edges); all weights are +1 or -1
    parts = a.sum(axis=2)
    g = a / parts[:, :, None]
    s = g.max(axis=0)
    total = s.sum(axis=1)
    size = sample_size(total, eps, delta / 2).astype(np.int64)
    weight = np.concatenate([np.ones(edges), -np.ones(edges)])[None]
    layer = Layer(weight=weight, bias=np.array([0.5]), relu=True)
    x = a[0].reshape(1, 2 * edges)
    z, condition = float(layer.preactivation(x)[0, 0]), float(condition_numbers(layer, x)[0, 0])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        q, indptr = np.tile((s / total[:, None]).ravel(), n), np.arange(2 * n + 1, dtype=np.int64) * edges
        counts = draw_counts(q, indptr, np.tile(size, n), rng).reshape(n, 2, edges)
        kept = (counts * a[0] * total[:, None] / (s * size[:, None])).sum(axis=2)
        return np.abs(kept[:, 0] - kept[:, 1] + 0.5 - z) > eps * condition * abs(z) / factor

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(sampled(1.0), delta=0.1, trials=2_000 * effort, name="two sampled parts and a bias")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return any(
            attained(w, a, b, Fraction(1, 2))[0]
            > Fraction(shipped(w, a, b)) * (1 + Fraction(1, 10**12)) / 2 / Fraction(factor)
            for w, a, b in instances(72)
        )

    slack = smallest_sabotage(caught)
    blind = sum(attained(w, a, b, Fraction(1, 2))[0] > Fraction(1, 2) for w, a, b in instances(72))
    require(blind > 100, f"eps without Delta was caught in only {blind} of {ROWS}")
    unbiased = sum(
        attained(w, a, b, Fraction(1, 2))[0] > Fraction(shipped(w, a, 0)) / 2
        for w, a, b in instances(73)
        if sum(x * y for x, y in zip(w, a, strict=True))
    )
    require(unbiased > 20, f"Delta without the bias was caught in only {unbiased}")
    require(violated(sampled(8.0), delta=0.1, trials=2_000, name="Delta / 8"), "an eighth of Delta was not caught")
    text = f"refuted: Delta / {slack:g}; Delta = 1 ({blind} of {ROWS}); Delta without the bias ({unbiased})"
    return Evidence(text=text, slack=slack)
