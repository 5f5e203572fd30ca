"""The total sensitivity of a group lies between 1 and min(edges, vectors); the numerator is the edge's own activation.

Statement. One row, one sign class, s_j = max over n vectors u >= 0 of g_j(u) = w_j u_j/sum_k w_k u_k, 0/0 = 0 (a vector
is a point, or a patch of one). Then 0 <= s_j <= 1 and, if some sum is positive,

    1 <= S = sum_j s_j <= min(number of edges, number of vectors).

A signed activation counts as two vectors, u^+ and u^-, so that nP becomes 2nP for n points of P patches. Both signs of
a row together have at most twice as much. The computation factors: s_j = w_j max_u u_j/z(u), a product in the (max, x)
algebra of the activations with 1/z, without a loop over edges and points together.

Proof. At a vector with a positive sum the shares add up to 1, and S is at least the sum at that vector. Each s_j is at
most 1, so S <= edges; and a maximum over vectors is at most the sum over vectors, so that S <= sum over vectors of
sum_j g_j <= vectors. Both ends are attained: one vector gives S = 1, unit vectors give S = edges = vectors. w_j >= 0
does not depend on the vector and may be taken out of the maximum.

The printed formula has a_i for a_j in the numerator: s_ij = max_x w_ij a_i/(sum_k w_ik a_k). That is no share of edge
j: at a = (1, 3) and w = (1, 1) both edges of neuron i = 1 get 1/4, although the second one carries 3/4 of the sum, so
that the bound g_j <= s_j fails on the very point that was measured, and S = 1/2 < 1.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.nets.groups import parts
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Bounds on the total sensitivity",
    source="Baykal et al. 2022, arXiv:1910.05422; the formula as printed in a figure beside the released code; the "
    "bounds are ours",
    given=("one row, one sign", "vectors >= 0: activations, their patches, or their two parts"),
    claim=r"s_{ij} = \max_{x \in S} \frac{w_{ij} a_i(x)}{\sum_k w_{ik} a_k(x)}, \quad 1 \le \sum_j s_{ij} \le "
    r"\min(\#\text{edges}, \#\text{vectors})",
    status="corrected",
    finding="The printed numerator has a_i for a_j: at a = (1, 3), w = (1, 1) the total falls to 1/2, and the second "
    "edge's share 3/4 exceeds its value 1/4.",
    ours="baykal2019_empirical_sensitivity",
)

MUTATIONS = (
    Mutation(
        file="nets/importance.py",
        old="share = point[j] * (up if side[j] else down)",
        new="share = point[i] * (up if side[j] else down)",
    ),
    Mutation(
        file="nets/importance.py",
        old="np.minimum(groups.take(np.abs(self.weight) * self.best), 1.0)",
        new="np.minimum(groups.take(self.best), 1.0)",
    ),
    Mutation(file="nets/groups.py", old="[np.maximum(a, 0.0), np.maximum(-a, 0.0)]", new="[np.maximum(a, 0.0)]"),
)

SLUG = "baykal2022_sensitivity_bounds"


def shipped(weight: np.ndarray, a: np.ndarray):
    """The shipped sensitivities of a layer at signed or unsigned activations."""
    layer = Layer(weight=np.asarray(weight, float), bias=np.zeros(len(weight)), relu=True)
    return sensitivities(layer, parts(np.asarray(a, float)), theorem=SLUG)


def by_hand(w: list[int], vectors: list[list[int]]) -> list[Fraction]:
    """s_j of one row of positive weights, in fractions."""
    sums = [sum(x * y for x, y in zip(w, u, strict=True)) for u in vectors]
    return [
        max((Fraction(x * u[j], z) for u, z in zip(vectors, sums, strict=True) if z), default=Fraction(0))
        for j, x in enumerate(w)
    ]


def symbolic() -> str:
    g = [sp.symbols(f"g{x}_1:4", nonnegative=True) for x in range(2)]
    top = [sp.Max(*column) for column in zip(*g, strict=True)]
    for j in range(3):  # Max(a, b) is a + (b-a)^+ and b + (a-b)^+, and a + b - min(a, b)
        a, b = g[0][j], g[1][j]
        require(sp.simplify((top[j] + sp.Min(a, b) - a - b).rewrite(sp.Abs)) == 0, "maximum = sum - minimum <= sum")
        require((top[j] - a).rewrite(sp.Abs).equals((sp.Abs(a - b) + b - a) / 2), "maximum >= each")
    w, u, z = sp.symbols("w u z", positive=True)
    require(sp.simplify(w * (u / z) - (w * u) / z) == 0, "w comes out of the maximum")
    a1, a2, w1, w2 = sp.symbols("a1 a2 w1 w2", positive=True)
    printed = (w1 * a1 + w2 * a1) / (w1 * a1 + w2 * a2)  # the printed shares of neuron 1, one point
    require(sp.simplify(printed - 1 - w2 * (a1 - a2) / (w1 * a1 + w2 * a2)) == 0, "they add up to 1 only if a1 = a2")
    return "max = sum - min, and >= each; printed shares add up to 1 + w2 (a1 - a2)/z, below 1 where a1 < a2"


def exact() -> str:
    rng, rows, low, high = np.random.default_rng(110), 0, Fraction(99), 0
    for _ in range(150):
        edges, points = int(rng.integers(1, 6)), int(rng.integers(1, 5))
        w, a = rng.integers(1, 5, edges).tolist(), rng.integers(-3, 4, size=(points, edges))
        if _ % 2:
            a = np.abs(a)
        vectors = [v.tolist() for part in parts(a.astype(float)) for v in part.astype(int)]
        if not np.any(vectors):
            continue
        s, own = by_hand(w, vectors), shipped(np.array([w]), a)
        for told, value in zip(own.values.tolist(), s, strict=True):
            require(abs(Fraction(told) - value) <= value * Fraction(1, 10**15), f"s is {told} for {value}")
        total, limit = sum(s, Fraction(0)), min(edges, len(vectors))
        require(1 <= total <= limit, f"S = {total} must be in [1, {limit}]")
        rows, low, high = rows + 1, min(low, total), high + (total == limit)
    require(low == 1 and high > 10, "both ends must be attained")
    for n in (1, 4, 9):
        require(float(shipped(np.ones((1, n)), np.eye(n)).total[0]) == n, "unit vectors must give S = edges = vectors")
        signed = np.kron(np.eye(n), np.array([1.0, -1.0]))  # n points, 2n edges, two signs: 2n vectors
        require(float(shipped(np.ones((1, 2 * n)), signed).total[0]) == 2 * n, "a sign split must double the vectors")
        both = np.concatenate([np.ones((1, n)), -np.ones((1, n))], axis=1)
        require(shipped(both, np.tile(np.eye(n), 2)).total.tolist() == [n, n], "both signs: twice as much")
    w, a = [1, 1], [1, 3]
    printed = [Fraction(x * a[0], 4) for x in w]
    truth = by_hand(w, [a])
    require(sum(printed) == Fraction(1, 2) and truth == [Fraction(1, 4), Fraction(3, 4)], "the printed formula")
    require(truth[1] > printed[1], "breaks g <= s on the point itself")
    require(shipped(np.array([w]), np.array([a])).values.tolist() == [0.25, 0.75], "the shipped one is right")
    return f"{rows} rows: s in fractions, 1 <= S <= min(edges, vectors), both attained; printed: S = 1/2, 3/4 > 1/4"


def totals(rng: np.random.Generator, n: int) -> np.ndarray:
    """S of n rows of eight edges with inputs of their own, at five points with heavy tails; fifty rows make a layer."""
    found = []
    for first in range(0, n, 50):
        rows = min(50, n - first)
        a = rng.pareto(0.5, size=(5, 8 * rows)) * (rng.random((5, 8 * rows)) < 0.7) + 1e-9
        found.append(shipped(np.kron(np.eye(rows), rng.random(8) + 1e-6), a).total)
    return np.concatenate(found)


def outside(low: float, high: float):
    """Trials: is S outside [low, 5 high]?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        total = totals(rng, n)
        return (total < low * (1 - 1e-12)) | (total > 5 * high * (1 + 1e-12))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(outside(1.0, 1.0), delta=0.005, trials=2_000 * effort, name="S of 8 edges at 5 points")


def teeth() -> Evidence:
    unit, single = shipped(np.ones((1, 4)), np.eye(4)), shipped(np.ones((1, 4)), np.ones((1, 4)))

    def caught(factor: float) -> bool:
        return float(unit.total[0]) > 4 / factor and float(single.total[0]) < factor

    slack = smallest_sabotage(caught)
    for name, limits in {"S >= 3": (3.0, 1.0), "S <= 4": (1.0, 0.8)}.items():
        require(violated(outside(*limits), delta=0.005, trials=2_000, name=name), f"{name} was not caught")
    halved = float(shipped(np.ones((1, 2)), np.array([[1.0, -1.0]])).total[0])
    require(halved == 2 > 1, "one signed point as one vector, S <= 1, was not caught")
    text = f"refuted: both ends tightened by {slack:g}; S >= 3, S <= 4 of 5; a signed point as one vector"
    return Evidence(text=text, slack=slack)
