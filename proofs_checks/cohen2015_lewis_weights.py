"""l1 Lewis weights bound every row's share of sum_j |<a_j, x>| at any x, and add up to the rank.

Statement. Rows a_i with span of dimension r, none 0. There is exactly one tau > 0 with tau_i² = a_i^T M^-1 a_i,
M = M(tau) = sum_j a_j a_j^T/tau_j (in coordinates of the span). It has sum tau_i = r, and for all x
    |<a_i, x>| <= tau_i sum_j |<a_j, x>|.
For ANY tau > 0, with sigma_i² = a_i^T M^-1 a_i: |<a_i, x>| <= sigma_i max_j(sigma_j/tau_j) sum_j |<a_j, x>|.

Proof. (Fixed point) Let T(tau)_i = sigma_i. If tau' <= c tau entrywise, then M(tau') >= M(tau)/c, so that T(tau') <=
sqrt(c) T(tau): T halves the distance max_i |ln tau'_i/tau_i|, and has one fixed point, reached from anywhere.
(Sum) sum_i sigma_i²/tau_i = tr(M^-1 M) = r, and sigma = tau at the fixed point. (Share) Let y = M^(1/2) x and
v_i = <a_i, x> = <M^(-1/2) a_i, y>. By Cauchy and Schwarz |v_i| <= sigma_i |y|. So v_j² <= |v_j| sigma_j |y|, and
|y|² = x^T M x = sum_j v_j²/tau_j <= |y| sum_j |v_j| sigma_j/tau_j, that is |y| <= max_j(sigma_j/tau_j) sum_j |v_j|.
The last two inequalities are the claim. No iteration has to have converged for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab._errors import InvalidParameter
from boundlab.coresets.absolute_sensitivity import lewis_sensitivities, lewis_weights
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="l1 Lewis weights as sensitivities",
    source="Cohen and Peng, arXiv:1412.0588, as we understand the paper; the form for any weights, without "
    "convergence, is ours; item number not known to us",
    given=("rows a_i, not 0", "M(tau) = sum a_j a_j^T/tau_j is invertible on their span"),
    claim=r"\sup_x \frac{|\langle a_i,x\rangle|}{\sum_j|\langle a_j,x\rangle|} \le \tau_i,\quad \sum_i\tau_i = r;\quad"
    r"\le \sigma_i\max_j\sigma_j/\tau_j\ \mathrm{for\ any}\ \tau > 0",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/absolute_sensitivity.py",
        old="sigma * float((sigma / tau).max())",
        new="sigma * float((sigma / tau).min())",
    ),
    Mutation(
        file="coresets/absolute_sensitivity.py",
        old="moment = (a / tau[:, None]).T @ a",
        new="moment = (a / tau[:, None]).T @ a * 1.1",
    ),
)

Point = tuple[int, int]


def shares(points: Sequence[Point]) -> list[Fraction]:
    """The exact sup over x of |<p, x>|/sum |<q, x>| in the plane: the ratio is largest at some x orthogonal to a point.

    The polygon sum |<q, x>| <= 1 has its corners there, and the convex |<p, x>| is largest at a corner. If all points
    are on one line, the ratio is the same everywhere.
    """
    best = [Fraction(0) for _ in points]
    for turn in [(-q[1], q[0]) for q in points] + list(points):
        values = [abs(p[0] * turn[0] + p[1] * turn[1]) for p in points]
        if sum(values):
            best = [max(b, Fraction(v, sum(values))) for b, v in zip(best, values, strict=True)]
    return best


def integer_points(rng: np.random.Generator) -> list[Point]:
    """Rows of small whole numbers, none 0; some sets lie on one line."""
    n = int(rng.integers(1, 8))
    points = [(int(a), int(b)) for a, b in rng.integers(-3, 4, (n, 2))]
    return [p for p in points if p != (0, 0)] or [(1, 2)]


def misses(share: float):
    """A trial: at a random x a row's share exceeds `share` of its sensitivity; 30 heavy-tailed rows in 4 dimensions."""
    a = np.random.default_rng(120).standard_t(2, (30, 4))
    s = share * lewis_sensitivities(a)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        own = a[rng.integers(0, 30, (n, 3))]  # half of the x are orthogonal to three rows: corners of the unit ball
        corner = np.linalg.svd(own)[2][:, 3]
        x = np.where(rng.random((n, 1)) < 0.5, rng.standard_normal((n, 4)), corner)
        values = np.abs(x @ a.T)
        return np.any(values > s * values.sum(axis=1, keepdims=True), axis=1)

    return trial


def symbolic() -> str:
    reals: Any = z3.Reals("v sigma tau y")
    v, sigma, tau, y = reals
    size = z3.If(v >= 0, v, -v)
    prove(v * v / tau <= y * size * sigma / tau, z3.And(sigma > 0, tau > 0, y > 0, size <= sigma * y))
    a = sp.Matrix([[1, 0], [2, 1], [-1, 3]])
    t = sp.symbols("t1:4", positive=True)
    moment = sp.zeros(2, 2)
    for i in range(3):
        moment += a.row(i).T * a.row(i) / t[i]
    inverse = moment.inv()
    trace = sp.Add(*((a.row(i) * inverse * a.row(i).T)[0] / t[i] for i in range(3)))
    require(sp.simplify(trace - 2) == 0, "sum sigma²/tau must be the rank, for any tau")
    c = sp.symbols("c", positive=True)
    scaled = moment.subs({t[i]: c * t[i] for i in range(3)}, simultaneous=True)
    require((scaled - moment / c).applyfunc(sp.simplify) == sp.zeros(2, 2), "M(c tau) = M(tau)/c")
    return "v²/tau <= |y||v| sigma/tau (z3); sum sigma²/tau = rank for any tau; M(c tau) = M(tau)/c"


def exact() -> str:
    known = (
        ([[1.0], [2.0], [-5.0]], [1 / 8, 2 / 8, 5 / 8]),
        ([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, -5.0]], [1 / 4, 3 / 4, 1 / 2, 1 / 2]),
        ([[2.0, 1.0], [1.0, 5.0]], [1.0, 1.0]),
        ([[1.0, 2.0], [2.0, 4.0]], [1 / 3, 2 / 3]),  # rank 1
        ([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]], [1.0, 0.0, 1.0]),
    )
    for rows, want in known:
        require(np.allclose(lewis_weights(np.array(rows)), want, atol=1e-9), f"the weights of {rows} must be {want}")
    angle = np.arange(7) * np.pi / 7
    polygon = lewis_weights(np.stack([np.cos(angle), np.sin(angle)], axis=1))
    require(np.allclose(polygon, 2 / 7), "seven equal rows at equal angles: 2/7 each")
    rng, layers, total, nearest = np.random.default_rng(121), 60, 0.0, 0.0
    for k, steps in itertools.product(range(layers), (1, 3, 40)):
        points = integer_points(np.random.default_rng([122, k]))
        true, s = shares(points), lewis_sensitivities(np.array(points, float), steps=steps)
        bad = [i for i, (got, want) in enumerate(zip(s, true, strict=True)) if Fraction(float(got)) < want]
        require(not bad, f"after {steps} steps the sensitivities {s} of {points} are below the exact {true}")
        rank = np.linalg.matrix_rank(np.array(points))
        if steps == 40:
            require(s.sum() <= rank * (1 + 1e-6), f"the sum {s.sum()} exceeds the rank {rank}")
            total, nearest = max(total, float(s.sum())), max(nearest, float(max(map(float, true)) / s.max()))
    for small in (1e-11, 1e-12, 1e-14):  # a direction that is there, but might be rounding, must not be left out
        flat = np.array([[1.0, 0.0], [1.0, small], [1.0, 3 * small]])
        true = shares([(int(p[0] * 2**100), int(p[1] * 2**100)) for p in flat])
        try:
            s = lewis_sensitivities(flat)
        except InvalidParameter:
            continue
        require(all(Fraction(float(g)) >= w for g, w in zip(s, true, strict=True)), f"{s} below {true}: {flat}")
    a = rng.standard_t(2, (40, 5))
    fixed = lewis_weights(a)
    require(abs(fixed.sum() - 5) < 1e-9, "the sum must be the rank")
    halving = [np.abs(np.log(lewis_weights(a, steps=n) / fixed)).max() for n in range(1, 12)]
    require(all(later <= earlier / 2 + 1e-9 for earlier, later in itertools.pairwise(halving)), "halving")
    return (
        f"{len(known)} known cases and a polygon; {layers} sets of whole numbers, 1, 3 and 40 steps: never below the "
        f"exact share, sum at most the rank; the distance halves with each step"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.01, trials=1_500 * effort, name="rows in 4 dimensions, corners and random x")


def teeth() -> Evidence:
    sets = [integer_points(np.random.default_rng([122, k])) for k in range(20)]
    known = [(shares(p), lewis_sensitivities(np.array(p, float))) for p in sets]

    def caught(factor: float) -> bool:
        return any(Fraction(float(g) / factor) < w for true, s in known for g, w in zip(s, true, strict=True))

    slack = smallest_sabotage(caught)
    a = np.array([[1.0], [2.0]])  # leverage scores, the l2 shares, in the place of Lewis weights
    leverage = (a[:, 0] ** 2) / (a[:, 0] ** 2).sum()
    require(leverage[0] < 1 / 3, "leverage scores must be caught on rows 1 and 2")
    require(violated(misses(0.5), delta=0.01, trials=1_000, name="half"), "half of the sensitivities must be caught")
    text = f"refuted: sensitivities divided by {slack:g} (exact), x 0.5 (4 dimensions), leverage scores (1/5 for 1/3)"
    return Evidence(text=text, slack=slack)
