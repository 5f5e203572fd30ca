"""The ranges that the proof needs have VC-dimension above d + 1 for the sigmoid: 4 points of the plane are shattered.

Refuted: "the ranges of the query space have VC-dimension at most d + 1", used for every admissible activation.

What is needed. Sampling with pr proportional to phi(beta |p|) turns f into a mean of h_x(p) = phi(p.x)/phi(beta |p|).
The ranges are therefore {p : phi(p.x) <= r phi(beta |p|)}, |x| <= beta, r >= 0, and not {p : phi(p.x) <= r}, which for
a rising phi are half-spaces.

ReLU: at most d + 1. ReLU(p.x) <= r beta |p| iff p.x - r beta |p| <= 0, as r >= 0. Any d + 2 vectors (p_i, |p_i|) of
R^(d+1) satisfy sum lam_i (p_i, |p_i|) = 0 with some lam_i < 0, so that sum lam_i a_i = 0, a_i = p_i.x - r beta |p_i|.
If the range held exactly the points with lam_i >= 0, then lam_i a_i <= 0 for these and lam_i a_i < 0 for the others,
and the sum would be negative. So that subset is missing.

Sigmoid: in d = 2 with beta = 4, the points (-0.316, -0.299), (0.648, -0.803), (-1.392, -1.068), (-0.393, -0.547) are
shattered. For each of the 14 subsets other than none (r = 0) and all (r = 1) there is an x, |x| <= 4, given below, at
which the largest h of the subset is below the smallest of its complement; ball arithmetic proves it. The strict gaps
leave room for small moves of the points. For Lipschitz activations no VC-dimension is needed at all.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3
from flint import arb, ctx

from boundlab.coresets.activations import RELU, SIGMOID, Activation
from boundlab.coresets.neuron_sampling import sup_sensitivities
from proofs_checks import Evidence, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as number
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="VC-dimension of the query space",
    source="Mussay et al. 2020, arXiv:1907.04018, as we understand the paper; item number not known to us",
    given=("phi the sigmoid", "ranges {p : phi(p.x) <= r phi(beta |p|)} over |x| <= beta, r >= 0", "p in R^d"),
    claim=r"\mathrm{VC} \le d + 1",
    status="refuted",
    finding="For the sigmoid 4 points of the plane are shattered, more than d + 1 = 3; for ReLU d + 1 holds.",
    ours="boundlab_lipschitz_uniform",
)

BETA = 4
POINTS = ((-316, -299), (648, -803), (-1392, -1068), (-393, -547))  # thousandths
WITNESSES = {  # subset as bits -> x in thousandths
    1: (1540, -3691),
    2: (-3987, -314),
    3: (-684, -2766),
    4: (3397, -2111),
    5: (2035, -3443),
    6: (-287, 2147),
    7: (-2283, -3284),
    8: (56, -584),
    9: (216, -2093),
    10: (-2522, 3104),
    11: (-3397, 2111),
    12: (1354, 2193),
    13: (3998, 100),
    14: (-1917, 3510),
}


def Real(name: str) -> Any:
    """A real variable of z3, whose comparisons the type checker cannot follow."""
    return z3.Real(name)


def thousandths(v: tuple[int, int]) -> tuple[Fraction, Fraction]:
    return Fraction(v[0], 1000), Fraction(v[1], 1000)


def sig(z: arb) -> arb:
    return 1 / (1 + (-z).exp())


def gap(subset: int) -> arb:
    """Least h over the complement minus the largest over the subset, as a ball."""
    x = thousandths(WITNESSES[subset])
    values = []
    for p in map(thousandths, POINTS):
        size = number(p[0] ** 2 + p[1] ** 2).sqrt()
        values.append(sig(number(p[0] * x[0] + p[1] * x[1])) / sig(BETA * size))
    inside = [v for k, v in enumerate(values) if subset >> k & 1]
    outside = [v for k, v in enumerate(values) if not subset >> k & 1]
    return min((b - a for a in inside for b in outside), key=lambda v: float(v.mid()))


def shares(activation: Activation, points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return h (inputs, points) by the shipped suprema."""
    return activation.value(x @ points.T) / sup_sensitivities(points, activation, radius=float(BETA))


def realised(h: np.ndarray) -> set[int]:
    """The subsets {h <= r}, r >= 0, as bits: for each input the points in rising order of h."""
    order = np.argsort(h, axis=1)
    ordered = np.take_along_axis(h, order, axis=1)
    bits = np.cumsum(1 << order, axis=1)
    strict = np.concatenate([np.diff(ordered, axis=1) > 0, np.ones((len(h), 1), bool)], axis=1)
    found = {int(v) for v in np.unique(bits[strict])}
    return found | ({0} if np.any(ordered[:, 0] > 0) else set())


def witnesses() -> np.ndarray:
    return np.array([thousandths(x) for x in WITNESSES.values()], float)


def symbolic() -> str:
    d = 3
    x, r = sp.symbols(f"x1:{d + 1}", real=True), sp.Symbol("r", nonnegative=True)
    lam = sp.symbols(f"l1:{d + 3}", real=True)
    p = [sp.symbols(f"p{i}_1:{d + 1}", real=True) for i in range(d + 2)]
    size = sp.symbols(f"s1:{d + 3}", positive=True)
    whole = sum(
        v * (sum(c * y for c, y in zip(row, x, strict=True)) - r * s) for v, row, s in zip(lam, p, size, strict=True)
    )
    columns = [sum(v * row[k] for v, row in zip(lam, p, strict=True)) for k in range(d)]
    last = sum(v * s for v, s in zip(lam, size, strict=True))
    split = sum(c * y for c, y in zip(columns, x, strict=True)) - r * last
    require(sp.expand(whole - split) == 0, "sum lam_i a_i is linear in sum lam_i (p_i, |p_i|)")
    a, b, u, v = (Real(name) for name in "abuv")
    prove(u * a + v * b < 0, u >= 0, a <= 0, v < 0, b > 0)
    return "ReLU: sum lam_i (p_i.x - r |p_i|) is 0 for dependent (p_i, |p_i|), yet negative on the subset lam_i >= 0"


def pythagorean(rng: np.random.Generator) -> tuple[Fraction, Fraction, Fraction]:
    """A point of the plane with a rational norm: (x, y, norm)."""
    k, scale = Fraction(int(rng.integers(-9, 10)), 5), Fraction(int(rng.integers(1, 9)), 4)
    c = 1 + k * k
    return scale * (1 - k * k) / c, scale * 2 * k / c, scale


def missing(rows: list[tuple[Fraction, Fraction, Fraction]]) -> int:
    """The subset lam_i >= 0 of a dependence between four vectors of R^3, as bits."""
    kernel = sp.Matrix([[sp.Rational(v.numerator, v.denominator) for v in row] for row in rows]).T.nullspace()[0]
    signs = [sp.sign(v) for v in kernel]
    signs = signs if -1 in signs else [-s for s in signs]
    return sum(1 << k for k, s in enumerate(signs) if s >= 0)


def exact() -> str:
    before, ctx.prec = ctx.prec, 120
    try:
        for x in map(thousandths, WITNESSES.values()):
            require(x[0] ** 2 + x[1] ** 2 <= BETA**2, f"{x} is outside of the ball")
        gaps = {subset: gap(subset) for subset in WITNESSES}
        for subset, value in gaps.items():
            require(bool(value > 0), f"subset {subset:04b} is not separated: {value}")
        rest = sorted(float(v.mid()) for v in gaps.values())
    finally:
        ctx.prec = before
    shipped = realised(shares(SIGMOID, np.array([thousandths(p) for p in POINTS], float), witnesses()))
    require(shipped == set(range(16)), f"the shipped suprema give {len(shipped)} of 16 subsets")
    rng = np.random.default_rng(65)
    for _ in range(20):
        rows = [pythagorean(rng) for _ in range(4)]
        subset, r, x, y = missing(rows), Real("r"), Real("x"), Real("y")
        a = [z3.RealVal(str(p[0])) * x + z3.RealVal(str(p[1])) * y - z3.RealVal(str(p[2])) * r for p in rows]
        cut = z3.And(*(v <= 0 if subset >> k & 1 else v > 0 for k, v in enumerate(a)))
        prove(z3.Not(cut), r >= 0)  # no range of ReLU holds exactly this subset
    return (
        f"sigmoid: 4 points, 14 subsets by balls, least gaps {rest[0]:.1e} and {rest[1]:.1e}; ReLU: one always missing"
    )


def moved(activation: Activation, spread: float):
    """A trial: the four points, moved at random, are shattered."""
    rng = np.random.default_rng(66)
    x = np.concatenate([witnesses(), rng.normal(size=(300, 2))])
    x[14:] *= BETA / np.linalg.norm(x[14:], axis=1, keepdims=True)
    base = np.array([thousandths(p) for p in POINTS], float)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        spots = base + spread * rng.uniform(-1, 1, size=(n, 4, 2))
        return np.array([len(realised(shares(activation, p, x))) == 16 for p in spots])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 200 * effort
    name = "four points near the stored ones, shattered"
    bad = judge(moved(SIGMOID, 1e-4), delta=0.01, trials=trials, name=name, expect="violated")
    good = judge(moved(RELU, 1.0), delta=0.05, trials=trials, name="ReLU on random points")
    return Evidence(text=f"sigmoid: {bad.text}; ReLU: {good.text}", trials=2 * trials)


def teeth() -> Evidence:
    points = np.array([thousandths(p) for p in POINTS], float)

    def caught(factor: float) -> bool:
        return realised(shares(SIGMOID, points, witnesses() / factor)) != set(range(16))

    slack = smallest_sabotage(caught)
    half_spaces = SIGMOID.value(witnesses() @ points.T)  # not rescaled: {p : phi(p.x) <= r}
    plain = realised(half_spaces)
    require(len(plain) < 16, "without the rescaling the ranges are half-spaces and must not shatter four points")
    text = f"not shattered: by witnesses shrunk by {slack:g}, by the half-spaces without rescaling ({len(plain)} of 16)"
    return Evidence(text=text, slack=slack)
