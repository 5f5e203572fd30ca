"""At most r(r+1)/2 contact points stand for all: maxima within sqrt(r), sums without loss, so that peeling gives 1/i.

Statement. Rows p of rank r, weights lam >= 0 with support S, M = sum lam p p^T invertible on the span,
g(p) = p^T M^-1 p, G = max_P g. For all x
    max_P |<p, x>| <= sqrt(G sum lam) max_S |<q, x>|,     max_P |<p, x>| <= sqrt(G) max_S(lam sqrt(g)) sum_S |<q, x>|.
The D-optimal lam (sum 1) has G = r, g = r on S, and some such lam has |S| <= r(r+1)/2: the factors are sqrt(r), and
r max_S lam <= 1. So if P is peeled in rounds, S_1 from P, S_2 from the rest, ..., a point p of round i has
    |<p, x>| <= sum_q |<q, x>|/(1 + sum_{j<i} 1/F_j) <= sum_q |<q, x>|/i,     F_j the second factor of round j,
and these sensitivities add up to at most max |S_j| (1 + ln(number of rounds)).

Proof. |<p, x>| <= sqrt(g(p)) |y| with |y|² = x^T M x (Cauchy and Schwarz in M). First factor: |y|² = sum lam <q, x>² is
at most (sum lam) max_S <q, x>². Second: |y|² = sum lam |<q, x>||<q, x>| <= sum lam |<q, x>| sqrt(g(q)) |y|, so that
|y| <= max_S(lam sqrt(g)) sum_S |<q, x>|. Both hold for any lam.
D-optimal (Kiefer and Wolfowitz): at the maximum of ln det M over sum lam = 1 its derivatives g(p) are equal on S and no
larger elsewhere, and sum lam g = tr(M^-1 M) = r: G = r. The ellipsoid x^T M^-1 x <= r is the smallest around P and -P,
S its contact points. M lies in a space of dimension r(r+1)/2; by Caratheodory for cones as many points give the same
M, with the same sum lam = r/r. M - lam q q^T >= 0 means lam g(q) <= 1, so r lam <= 1.
Peeling: p is in the rest of every round j < i, so |<p, x>| <= F_j sum over S_j; the S_j are disjoint and p is in none:
sum_q |<q, x>| >= |<p, x>|(1 + sum 1/F_j). Sum over rounds: sum_i |S_i|/i.
Compare Lewis weights, which add up to r at no more work (`cohen2015_lewis_weights`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab._errors import InvalidParameter
from boundlab.coresets.linf import contact_points, peel, peeled_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.cohen2015_lewis_weights import Point, integer_points, shares
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Contact points as an l_inf-coreset, and peeling by them",
    source="ours; from the equivalence theorem of Kiefer and Wolfowitz and John's theorem, as we understand them; it "
    "replaces the construction of Tukan, Mualem and Maalouf (arXiv:2209.08554)",
    given=("rows p of rank r", "weights lam >= 0 with invertible moment matrix; optimal ones for sqrt(r) and 1"),
    claim=r"\max_P|\langle p,x\rangle| \le \sqrt r\,\max_S|\langle q,x\rangle|,\quad "
    r"\max_P|\langle p,x\rangle| \le \sum_S|\langle q,x\rangle|,\quad |S| \le \tfrac{r(r+1)}2;\quad s(p) \le 1/i",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/linf.py",
        old="float((lam[own] * np.sqrt(g[own])).max())",
        new="float((lam[own] * np.sqrt(g[own])).min())",
    ),
    Mutation(
        file="coresets/linf.py",
        old="factor=top * math.sqrt(float(lam.sum())) * (1.0 + ROUNDING)",
        new="factor=math.sqrt(top) * math.sqrt(float(lam.sum())) * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="coresets/linf.py",
        old="np.concatenate([[np.inf, 0.0], np.cumsum(",
        new="np.concatenate([[np.inf], np.cumsum(",
    ),
    Mutation(
        file="coresets/linf.py",
        old="top = math.sqrt(float(g.max()))",
        new="top = math.sqrt(float(g[own].min()))",
    ),
    Mutation(
        file="coresets/linf.py",
        old="if np.any(share[r:] > noise):",
        new="if np.any(share[r:] > 1.0):",
    ),
)


def maximum_ratio(points: Sequence[Point], chosen: Sequence[int]) -> Fraction:
    """The exact sup over x of max_P |<p, x>|/max_S |<q, x>| in the plane: at a corner of {|<q, x>| <= 1 for q in S}."""
    own = [points[i] for i in chosen]
    worst = Fraction(0)
    for a, b in itertools.combinations(own, 2):
        det = a[0] * b[1] - a[1] * b[0]
        if det == 0:
            continue
        for s in (1, -1):  # <a, x> = 1, <b, x> = s
            x = (Fraction(b[1] - s * a[1], det), Fraction(s * a[0] - b[0], det))
            if all(abs(q[0] * x[0] + q[1] * x[1]) <= 1 for q in own):
                worst = max(worst, *(abs(p[0] * x[0] + p[1] * x[1]) for p in points))
    return worst


def sum_ratio(points: Sequence[Point], chosen: Sequence[int]) -> Fraction:
    """The exact sup over x of max_P |<p, x>|/sum_S |<q, x>| in the plane: at some x orthogonal to a point of S."""
    own = [points[i] for i in chosen]
    worst = Fraction(0)
    for q in own:
        total = sum(abs(s[1] * q[0] - s[0] * q[1]) for s in own)
        worst = max([worst] + [Fraction(abs(p[1] * q[0] - p[0] * q[1]), total) for p in points])
    return worst


def plane_points(rng: np.random.Generator) -> list[Point]:
    """Small whole rows that span the plane."""
    points = integer_points(rng)
    return points if any(p[0] * q[1] != p[1] * q[0] for p in points for q in points) else [*points, (1, 0), (0, 1)]


def misses(share: float):
    """A trial: at a random x one of the three promises fails, each made smaller by `share`; 60 rows in 4 dimensions."""
    a = np.random.default_rng(130).standard_t(3, (60, 4))
    found, s = contact_points(a), share * peeled_sensitivities(peel(a, contact_points))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        values = np.abs(rng.standard_normal((n, 4)) @ a.T)
        top, chosen = values.max(axis=1), values[:, found.indices]
        large = top > share * found.factor * chosen.max(axis=1)
        summed = top > share * found.sum_factor * chosen.sum(axis=1)
        return large | summed | np.any(values > s * values.sum(axis=1, keepdims=True), axis=1)

    return trial


def spikes(r: int) -> np.ndarray:
    """The unit vectors of r dimensions and their normalised sum: the ratio of the maxima is sqrt(r)."""
    return np.vstack([np.eye(r), np.full(r, 1 / math.sqrt(r))])


def symbolic() -> str:
    reals: Any = z3.Reals("v lam h y")
    v, lam, h, y = reals  # v = <q, x>, h = sqrt(g(q)), y = |y|
    size = z3.If(v >= 0, v, -v)
    prove(lam * v * v <= y * lam * h * size, z3.And(lam >= 0, h > 0, y > 0, size <= h * y))
    l1, l2, c = sp.symbols("lambda_1 lambda_2 c", positive=True)
    moment = sp.Matrix([[l1, 0], [0, l2]])
    p = sp.Matrix([[c, 1]])
    g = (p * moment.inv() * p.T)[0]
    slope = sp.diff(sp.log((moment + sp.Symbol("h") * p.T * p).det()), sp.Symbol("h")).subs(sp.Symbol("h"), 0)
    require(sp.simplify(slope - g) == 0, "the derivative of ln det M in lam(p) must be g(p)")
    inner = moment - l1 * sp.Matrix([[1, 0], [0, 0]])
    require(inner.eigenvals() == {sp.Integer(0): 1, l2: 1}, "M - lam q q^T must stay non-negative")
    u = sp.symbols("u", positive=True)  # u = 1/i: 1/i <= ln i - ln(i - 1) = -ln(1 - u), and the sum telescopes
    step = -sp.log(1 - u) - u
    require(step.subs(u, 0) == 0 and sp.simplify(sp.diff(step, u) - u / (1 - u)) == 0, "1/i <= ln i - ln(i - 1)")
    return "lam v² <= |y| lam sqrt(g)|v| (z3); d ln det M/d lam(p) = g(p); 1/2 + ... + 1/I <= ln I"


def exact() -> str:
    sets, largest, sums = 40, 0.0, 0.0
    for k in range(sets):
        points = plane_points(np.random.default_rng([131, k]))
        a = np.array(points, float)
        found = contact_points(a)
        chosen = found.indices.tolist()
        require(len(chosen) <= 3, f"{len(chosen)} contact points in the plane")
        ratio, total = maximum_ratio(points, chosen), sum_ratio(points, chosen)
        require(ratio <= Fraction(found.factor), f"max ratio {ratio} exceeds {found.factor}: {points}, {chosen}")
        require(total <= Fraction(found.sum_factor), f"sum ratio {total} exceeds {found.sum_factor}: {points}")
        require(found.factor <= math.sqrt(2) * 1.002 and found.sum_factor <= 1.002, f"near sqrt(2) and 1: {found}")
        peeling = peel(a, contact_points)
        s, true = peeled_sensitivities(peeling), shares(points)
        require(all(Fraction(float(g)) >= w for g, w in zip(s, true, strict=True)), f"{s} below {true}: {points}")
        require(np.all(s <= 1.003 / peeling.rounds), "s must be at most 1/i")
        most = max(len(c.indices) for c in peeling.coresets)
        require(s.sum() <= 1.003 * most * (1 + math.log(len(peeling.coresets))), "the total")
        largest, sums = max(largest, float(ratio) / found.factor), max(sums, float(total) / found.sum_factor)
        rough = contact_points(a, tol=2.0)  # a bad design: the factors must hold all the same
        chosen = rough.indices.tolist()
        require(maximum_ratio(points, chosen) <= Fraction(rough.factor), f"max ratio at tol = 2: {points}, {rough}")
        require(sum_ratio(points, chosen) <= Fraction(rough.sum_factor), f"sum ratio at tol = 2: {points}, {rough}")
    for r in (2, 4, 9):
        found = contact_points(spikes(r), tol=1e-6)
        values = np.abs(spikes(r) @ np.ones(r))
        need = values.max() / values[found.indices].max()
        require(need <= found.factor <= math.sqrt(r) * 1.001, f"rank {r}: {need} against {found.factor}")
    many = np.random.default_rng(132).standard_normal((300, 4))
    require(len(contact_points(many).indices) <= 10, "at most r(r+1)/2 contact points")
    for small in (1e-11, 1e-12, 1e-14):  # a direction that is there, but might be rounding, must not be left out
        flat = np.array([[1.0, 0.0], [1.0, small], [1.0, 3 * small]])
        true = shares([(int(p[0] * 2**100), int(p[1] * 2**100)) for p in flat])
        try:
            s = peeled_sensitivities(peel(flat, contact_points))
        except InvalidParameter:
            continue
        require(all(Fraction(float(g)) >= w for g, w in zip(s, true, strict=True)), f"{s} below {true}: {flat}")
    close = np.array([[1000.0, 0.0], [999.0, 0.0], [0.0, 1.0]])
    s = peeled_sensitivities(peel(close, contact_points))
    require(s[1] >= 999 / 1999 and s[1] <= 0.5 + 1e-6, f"the second of two near equals needs a half, got {s[1]}")
    return (
        f"{sets} sets of whole rows in the plane: exact ratios at most {largest:.3f} (maximum) and {sums:.3f} (sum) of "
        "the factors, at most 3 points, shares at most 1/i; unit vectors and their mean reach sqrt(r)"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(misses(1.0), delta=0.01, trials=1_000 * effort, name="60 rows in 4 dimensions")


def teeth() -> Evidence:
    four = spikes(4)
    found = contact_points(four, tol=1e-6)
    need = float(np.abs(four @ np.ones(4)).max() / np.abs(four[found.indices] @ np.ones(4)).max())
    pair: list[Point] = [(1000, 0), (999, 0), (0, 1)]
    s, true = peeled_sensitivities(peel(np.array(pair, float), contact_points)), shares(pair)
    slack = smallest_sabotage(lambda factor: need > found.factor / factor)
    shrunk = smallest_sabotage(lambda f: any(Fraction(float(g) / f) < w for g, w in zip(s, true, strict=True)))
    require(violated(misses(0.4), delta=0.01, trials=500, name="x 0.4"), "40% of the factors must be caught")
    long = np.array([[9.0, 0.0], [8.0, 0.0], [0.0, 1.0]]) @ np.array([0.0, 1.0])
    require(long.max() > 0 and not np.any(long[:2]), "the two longest rows must miss a direction")
    text = (
        f"refuted: sqrt(r) divided by {slack:g} (rank 4), 1/i divided by {shrunk:g} (exact), 40% of all (4 "
        "dimensions), the two longest rows for the contact points"
    )
    return Evidence(text=text, slack=max(slack, shrunk))
