"""The Euclidean error over ALL outputs, at all inputs of a ball, is free of the number of outputs; ReLU.

Statement. ReLU neurons p with outgoing weights w(p) in R^k, S(p) = beta |p|, pr proportional to s(p) = S(p) |w(p)|_2
with sum t2. After m draws, with probability at least 1 - delta, for all |x| <= beta
    |f(x) - fhat(x)|_2 <= (t2/sqrt(m)) (4 + sqrt(2 ln(1/delta))).

Proof. Write x = beta y, u = p/|p|, a = w(p)/|w(p)|, both unit vectors. The norm is a supremum over unit vectors v:
the error over t2 is Z = sup over v, y of the mean minus the sample mean of h(q) = <v, a_q> ReLU(<u_q, y>), |h| <= 1.
v -> -v gives the other sign, so that there is one event. One other draw moves Z by at most 2/m; McDiarmid:
P(Z >= E Z + 2 sqrt(L/(2m))) <= e^(-L), L = ln(1/delta), and 2 sqrt(L/2) = sqrt(2 L).
E Z <= 4/sqrt(m), with R(g) = E sup (1/m) sum xi_i g(q_i) for random signs xi:
 (1) ReLU(z) = z/2 + |z|/2. The half <v, a><u, y>/2 adds half the operator norm of the matrix (mean - sample mean) of
     a u^T, at most half its Frobenius norm: in the mean at most 1/(2 sqrt(m)).
 (2) The other half, after symmetrisation, adds at most R(<v, a> r) with r = |<u, y>| in [0, 1].
 (3) <v, a> r = <v, a>(r - 1/2) + <v, a>/2, and R(<v, a>) = E|(1/m) sum xi a| <= 1/sqrt(m); R(r) <= 1/sqrt(m) by
     contraction.
 (4) c(r - 1/2) = ((c + r - 1/2)² - (c - r + 1/2)²)/4 with |c ± (r - 1/2)| <= 3/2, where z²/4 has slope at most 3/4. By
     contraction each square has R at most (3/4)(R(c) + R(r)); together 2 (3/4) 2/sqrt(m) = 3/sqrt(m).
Sum: 1/2 + 3 + 1/2 = 4. (Without the split and the centring the same steps give 8.)
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab.concentration.binomial import log_sf
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.uniform_error import vector_error, vector_sensitivities, vector_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_fixed_inputs import TINY, agrees, log_events, multinomial
from proofs_checks.boundlab_relu_uniform import root, size
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="The Euclidean error of all outputs, at all inputs of a ball",
    source="ours, from McDiarmid's inequality, symmetrisation and contraction",
    given=("ReLU; the bias, if any, is one more input", "|x| <= beta", "pr proportional to beta |p| |w(p)|_2"),
    claim=r"\Pr\Big[\exists |x|\le\beta: \|f-\hat f\|_2 > \frac{t_2}{\sqrt m}\big(4+\sqrt{2\ln(1/\delta)}\big)\Big]"
    r" \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/uniform_error.py", old="(4.0 + math.sqrt(", new="(0.4 + math.sqrt("),
    Mutation(
        file="coresets/uniform_error.py",
        old="math.sqrt(2.0 * -math.log(probability(",
        new="math.sqrt(0.5 * -math.log(probability(",
    ),
    Mutation(
        file="coresets/uniform_error.py",
        old="largest * np.linalg.norm(w, axis=0)",
        new="largest * np.abs(w).max(axis=0)",
    ),
)

OUTGOING = ((3, 4), (-4, 3), (5, 0), (0, -5), (-3, -4), (8, -6))  # Euclidean lengths 5 and 10


def tiny_line(rng: np.random.Generator) -> tuple[list[int], list[tuple[int, int]]]:
    """Neurons ±1, ±2 on a line, and outgoing weights of whole length."""
    n = int(rng.integers(2, 5))
    return [int(v) for v in rng.choice([-2, -1, 1, 2], n)], [OUTGOING[int(i)] for i in rng.integers(0, 6, n)]


def worst_square(points: list[int], c: list[tuple[Fraction, Fraction]]) -> Fraction:
    """The square of sup over |x| <= 1 of |sum_p c_p ReLU(p x)|_2 on the line: at x = 1 or x = -1."""
    squares = []
    for x in (1, -1):
        total = [sum((v[i] * max(0, p * x) for p, v in zip(points, c, strict=True)), Fraction(0)) for i in (0, 1)]
        squares.append(total[0] ** 2 + total[1] ** 2)
    return max(squares)


def line_fails(share: float) -> bool:
    """Whether an exact tail refutes `share` of the bound at delta = 1e-200: one output, weights ±1, 10^6 draws."""
    m = 1_000_000
    error = share * vector_error(1.0, m, TINY)
    return log_sf(math.floor(m * (1 + error) / 2) + 1, m, 0.5)[0] + math.log(2) > math.log(TINY)


def orthogonal_misses(share: float, m: int = 50, n: int = 1_000):
    """A trial: n orthogonal neurons with one outgoing vector err by more than `share` of the bound; delta = 0.9."""
    bound = share * vector_error(float(n), m, 0.9)

    def trial(rng: np.random.Generator, trials: int) -> np.ndarray:
        indptr = np.arange(trials + 1, dtype=np.int64) * n
        counts = draw_counts(np.full(trials * n, 1 / n), indptr, np.full(trials, m), rng).reshape(trials, n)
        over = np.minimum(1.0 - counts * (n / m), 0.0)
        return np.asarray(np.sqrt((over * over).sum(axis=1)) > bound)

    return trial


def plane_misses(share: float, m: int = 100):
    """A trial: at some input of a disc 5 outputs err by more than `share` of the bound, rounded up from 720 angles."""
    fixed, delta = np.random.default_rng(100), 0.2
    p, w = fixed.standard_normal((20, 2)), fixed.standard_normal((5, 20))
    length = np.linalg.norm(p, axis=1)
    s = vector_sensitivities(length, w)
    bound = share * vector_error(float(s.sum()), m, delta)
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    values = np.maximum(p @ np.stack([np.cos(angle), np.sin(angle)]), 0.0)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        q = s / s.sum()
        indptr = np.arange(n + 1, dtype=np.int64) * 20
        counts = draw_counts(np.tile(q, n), indptr, np.full(n, m), rng).reshape(n, 1, 20)
        c = w * (1.0 - counts / (m * q))  # (n, 5, 20)
        sup = np.sqrt(((c @ values) ** 2).sum(axis=1)).max(axis=1)
        slope = np.sqrt((c * c).sum(axis=1)) @ length
        return np.asarray(sup + slope * np.pi / 720 > bound)

    return trial


def symbolic() -> str:
    reals: Any = z3.Reals("z y")
    z, y = reals
    near = z3.And(size(z) <= z3.Q(3, 2), size(y) <= z3.Q(3, 2))
    prove(size(z * z - y * y) <= 3 * size(z - y), near)  # z²/4 has slope at most 3/4
    c, r = sp.symbols("c r", real=True)
    half = sp.Rational(1, 2)
    squares = ((c + r - half) ** 2 - (c - r + half) ** 2) / 4
    require(sp.expand(squares + c / 2 - c * r) == 0, "c r must be the difference of squares plus c/2")
    pair: Any = z3.Reals("c r")
    prove(
        z3.And(size(pair[0] + pair[1] - z3.Q(1, 2)) <= z3.Q(3, 2), size(pair[0] - pair[1] + z3.Q(1, 2)) <= z3.Q(3, 2)),
        z3.And(size(pair[0]) <= 1, pair[1] >= 0, pair[1] <= 1),
    )
    linear, unit = half, sp.Integer(1)
    product = 2 * sp.Rational(3, 4) * (unit + unit) + unit / 2
    require(linear + product == 4, "the constants must add up to 4")
    plain = 2 * 2 * (unit + unit)  # symmetrisation, two squares of slope 1, R_u + R_v
    require(plain == 8, "without the split it is 8")
    big_l, m = sp.symbols("L m", positive=True)
    require(sp.simplify(2 * sp.sqrt(big_l / (2 * m)) - sp.sqrt(2 * big_l) / sp.sqrt(m)) == 0, "McDiarmid's term")
    return "z²/4 has slope 3/4 on |z| <= 3/2 (z3); c r as squares; 1/2 + 3 + 1/2 = 4; 2 sqrt(L/2m) = sqrt(2L/m)"


def exact() -> str:
    rng, worst, cases, failing = np.random.default_rng(101), 0.0, 0, Fraction(0)
    for _ in range(20):
        points, weights = tiny_line(rng)
        s = [Fraction(abs(p) * math.isqrt(a * a + b * b)) for p, (a, b) in zip(points, weights, strict=True)]
        shipped = vector_sensitivities(np.abs(np.array(points, float)), np.array(weights, float).T)
        for got, want in zip(shipped, s, strict=True):
            require(want <= Fraction(float(got)) <= want * (1 + Fraction(1, 10**9)), f"s is {got}, not {want}")
        q = [v / sum(s) for v in s]
        for m in (1, 2, 4):
            mean, far = Fraction(0), {0.9: Fraction(0), 0.5: Fraction(0)}
            for p, counts in multinomial(q, m):
                left = [1 - n / (m * v) for n, v in zip(counts, q, strict=True)]
                square = worst_square(points, [(a * v, b * v) for (a, b), v in zip(weights, left, strict=True)])
                mean += p * root(square)
                for delta in far:
                    far[delta] += p * (square > Fraction(vector_error(float(shipped.sum()), m, delta)) ** 2)
            ratio = float(mean / sum(s)) * math.sqrt(m) / 4
            require(ratio <= 1, f"E sup is {ratio} times 4 t2/sqrt(m): {points}, {weights}, m={m}")
            require(all(p <= Fraction(d) for d, p in far.items()), f"exact failure {far}: {points}, {weights}, m={m}")
            worst, cases, failing = max(worst, ratio), cases + 1, max(failing, *far.values())
    require(not line_fails(1.0), "a coin's exact tail exceeds delta")
    for delta in (0.9, 0.01, TINY):
        agrees(vector_error(30.0, 900, delta), 4 + (2 * log_events(delta, 1)).sqrt(), "the bound at t = 30, m = 900")
    m = vector_size(30.0, 2.0, 0.01)
    require(
        vector_error(30.0, m, 0.01) <= 2.0 * (1 + 1e-11) and vector_error(30.0, m - 1, 0.01) > 2.0, "size and error"
    )
    return f"{cases} layers with 2 outputs, all draws: E sup at most {worst:.2f} of 4 t2/sqrt(m), P(fail) <= {failing}"


def monte_carlo(effort: int = 1) -> Evidence:
    runs = [
        judge(orthogonal_misses(1.0), delta=0.9, trials=200 * effort, name="orthogonal neurons, one vector", block=200),
        judge(plane_misses(1.0), delta=0.2, trials=200 * effort, name="plane, 5 outputs", block=100),
    ]
    return Evidence(text="; ".join(run.text for run in runs), trials=sum(run.trials for run in runs))


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: line_fails(1 / factor))
    deviation = math.sqrt(-2 * math.log(0.9))
    cut = (0.4 + deviation) / (4 + deviation)
    require(violated(orthogonal_misses(cut), delta=0.9, trials=200, name="0.4 for 4"), "0.4 for 4 must be caught")
    require(violated(plane_misses(0.05), delta=0.2, trials=200, name="a twentieth"), "a twentieth must be caught")
    text = f"refuted: bound divided by {slack:g} (exact, delta = {TINY:g}), 0.4 for 4 (delta = 0.9), by 20 in the plane"
    return Evidence(text=text, slack=slack)
