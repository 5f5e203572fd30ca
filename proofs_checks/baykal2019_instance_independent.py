"""The total sensitivity lies between 1 and min(|W|, |S|), which bounds a net's size without looking at its S, in vain.

The statement. 1 <= S_i^± <= |S| for every group that some point of S activates, hence S_i <= 2 |S| for both signs, and
size <= sum_l eta^l (64 (L-1)² (Delta^{l->})² |S| K ln(8 eta/delta)/eps² + 2): "instance-independent", with 64 = 32 * 2.

Proof. The shares of a group sum to 1 at each point that activates it, and a maximum is at most a sum:
sum_j max_x g_j(x) <= sum_x sum_j g_j(x) <= |S|; each maximum is at most 1, which gives |W|; and at any one active point
sum_j max g_j >= sum_j g_j = 1. All three are attained: a single point gives 1, points of disjoint supports |S|, and
one dominating point for each edge |W| (in the limit). Two signs and two ceilings make 64 and 2.

Why it is vacuous. Delta^l stays in it, and depends on the data. The cap is no help: |S| = 189 for 784-300-100-10
exceeds the fan-in 100 of the last layer, and even the least m, at S = 1 and Delta = 1, is above 10^9 there
(`baykal2019_network_compression`). Measured S is far below the cap: see the evidence of the Monte Carlo check.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3
from sklearn.datasets import load_digits

from boundlab.compressors.constants import constants
from boundlab.compressors.corenet import CoreNet
from boundlab.nets.importance import sensitivities
from boundlab.nets.propagate import downstream
from boundlab.nets.toy import random_network
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="A total sensitivity of at most the number of points",
    source="Baykal et al., arXiv:1804.05345, first version; item number not known to us; as we understand the paper",
    given=("activations >= 0", "some point of S activates the group"),
    claim=r"1 \le S_i^{\ell\pm} \le \min(|W|, |S|), \quad \mathrm{size} \le \sum_\ell \eta^\ell"
    r"\left(64 (L-1)^2 (\hat\Delta^{\ell\to})^2 |S| K \ln(8\eta/\delta)/\epsilon^2 + 2\right)",
    status="vacuous",
    finding="Delta stays in the bound, |S| = 189 exceeds the fan-in 100 of the last layer of 784-300-100-10, and the "
    "size exceeds its number of weights 10^4 times at Delta = 1, and 10^17 times with kappa.",
    ours="baykal2019_empirical_sensitivity",
)

MUTATIONS = (
    Mutation(
        file="nets/importance.py",
        old="return np.divide(1.0, z, out=np.zeros_like(z), where=z > 0).T.copy()",
        new="return np.divide(0.5, z, out=np.zeros_like(z), where=z > 0).T.copy()",
    ),
    Mutation(
        file="nets/importance.py",
        old="values = np.minimum(groups.take(np.abs(self.weight) * self.best), 1.0)",
        new="values = groups.take(self.best)",
    ),
)

SLUG = "baykal2019_instance_independent"
SIZES = (784, 300, 100, 10)


def totals(weight: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The shipped total of every group on the points."""
    return sensitivities(Layer(weight=weight, bias=np.zeros(len(weight)), relu=True), [a], theorem=SLUG).total


def log_size(sizes: tuple[int, ...], condition: float, eps: float, delta: float) -> float:
    """Natural logarithm of the bound above, for a common condition number."""
    own, depth = constants(sizes, delta), len(sizes) - 1
    chain = downstream(np.full(depth, condition))
    per = 64 * depth**2 * chain**2 * own.points * own.K * own.log_row / eps**2 + 2
    return float(np.log(np.sum(np.array(sizes[1:]) * per)))


def symbolic() -> str:
    shares: Any = [z3.Reals(f"a{x} b{x} c{x}") for x in range(2)]  # two points, three edges
    flat = [v for point in shares for v in point]
    top = [z3.If(u >= v, u, v) for u, v in zip(*shares, strict=True)]
    laws = [v >= 0 for v in flat] + [z3.Sum(*point) == 1 for point in shares]
    total: Any = z3.Sum(*top)
    prove(z3.And(total >= 1, total <= 2), *laws)
    L, D, S, K, log, e = sp.symbols("L Delta S K log epsilon", positive=True)
    per_group = 32 * (L - 1) ** 2 * D**2 * S * K * log / e**2
    require(sp.simplify(2 * per_group - 64 * (L - 1) ** 2 * D**2 * S * K * log / e**2) == 0, "64 = 32 * 2")
    big = sp.symbols("t", positive=True)  # three points (t, 1, 1), (1, t, 1), (1, 1, t)
    require(sp.limit(3 * big / (big + 2), big, sp.oo) == 3, "S tends to |W|")
    return "1 <= sum of maxima <= points (z3); two signs make 64; S -> |W| for one dominating point per edge"


def exact() -> str:
    one, apart = totals(np.ones((1, 5)), np.ones((1, 5))), totals(np.ones((1, 6)), np.eye(6)[:4])
    require(float(one[0]) == 1.0, f"a single point has S = 1, got {one}")
    require(float(apart[0]) == 4.0, f"four points of disjoint supports have S = 4, got {apart}")
    near = totals(np.ones((1, 3)), np.array([[2.0**40, 1, 1], [1, 2.0**40, 1], [1, 1, 2.0**40], [1, 1, 1]]))
    require(3 - 1e-11 < float(near[0]) <= 3.0, f"a dominating point for each edge gives |W| = 3, got {near}")
    silent = totals(np.ones((1, 3)), np.zeros((2, 3)))
    require(float(silent[0]) == 0.0, "a group that no point activates has S = 0")
    both = totals(np.array([[1.0, 1.0, -1.0, -1.0]]), np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]]))
    require(both.sum() == 4.0, "two points of disjoint supports in both signs give S_i = 2 |S|")
    checked = 0
    for points in (1, 2):  # every 0/1 sample of a row of three edges
        for cells in itertools.product((0, 1), repeat=3 * points):
            a = np.array(cells, float).reshape(points, 3)
            w = np.array([[1.0, 2.0, 4.0]])
            S = float(totals(w, a)[0])
            exact_shares = [[Fraction(int(v * u)) for v, u in zip(row, w[0], strict=True)] for row in a if row.any()]
            want = sum(max(r[j] / sum(r) for r in exact_shares) for j in range(3)) if exact_shares else Fraction(0)
            require(abs(S - float(want)) < 1e-15, f"S = {S} against {want}")
            require(not exact_shares or 1 <= want <= min(3, points), f"S = {want} of {points} points")
            checked += 1
    weights, told = sum(a * b for a, b in itertools.pairwise(SIZES)), []
    for condition in (1.0, 1.0 + constants(SIZES, 0.1).kappa):
        size = log_size(SIZES, condition, 1.0, 0.1)
        require(size > math.log(1e3 * weights), "the bound must exceed the number of weights")
        told.append(f"10^{size / math.log(10):.1f}")
    return f"{checked} samples in fractions; 1, |S|, |W| attained; size {told[0]} at Delta = 1, {told[1]} at 1 + kappa"


def outside(cap: float):
    """A trial: a random sparse group has S outside [1, cap min(|W|, |S|)]."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        rows, width, points = n, 8, int(rng.integers(1, 12))
        a = rng.pareto(0.5, size=(points, width)) * (rng.random((points, width)) < 0.5)
        a[0, 0] = 1.0
        S = totals(rng.pareto(0.5, size=(rows, width)) + 1e-3, a)
        low, high = 1 - 1e-12, cap * min(width, points) * (1 + 1e-12)
        return (low > S) | (high < S)

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(outside(1.0), delta=0.01, trials=2_000 * effort, name="1 <= S <= min(|W|, |S|)", block=100)
    x = np.asarray(load_digits(return_X_y=True)[0]) / 16
    net = random_network((64, 32, 10), rng=0)
    known = constants(net.sizes, 0.1)
    plans = CoreNet(eps=1.0, delta=0.1).plan(net, x)
    means = [float(p.sensitivities.total.mean()) for p in plans]
    require(max(means) < known.points / 4, f"measured S {means} must be far below |S| = {known.points}")
    text = f"{own.text}; 64-32-10 on digits, |S| = {known.points}: mean S {means[0]:.1f} and {means[1]:.1f} of a group"
    return Evidence(text=text, trials=own.trials)


def teeth() -> Evidence:
    disjoint = totals(np.ones((1, 6)), np.eye(6)[:4])
    slack = smallest_sabotage(lambda factor: bool(disjoint[0] > 4 / factor))
    require(outside(0.5)(np.random.default_rng(9), 200).any(), "half of the cap was not caught")
    return Evidence(text=f"refuted: the cap divided by {slack:g}", slack=slack)
