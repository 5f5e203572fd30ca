"""Some data sets have no small SVM coreset: C(d, d/2) points, total sensitivity (d² + 8 n lam)/(d² + 8 lam).

d even, n = C(d, d/2), unit vectors x_S = sqrt(2/d) 1_S for |S| = d/2, all of class +1, no intercept. The query
w_S = sqrt(d/2) 1_{not S} has the margin |T - S| at x_T: 0 at its own point, at least 1 at every other, and
|w_S|² = d²/4. So F(P, w_S) = d²/8 + lam, to which only x_S contributes its hinge:

    s_S >= (d²/(8n) + lam)/(d²/8 + lam),        sum of s >= (d² + 8 n lam)/(d² + 8 lam).

As x -> (a + x)/(b + x) rises for a < b, this is at least the published form (d² + n lam)/(d² + lam).

Size. Let v >= 0 be an eps-coreset with regulariser V/U. A long query in the direction (1, ..., 1) has no hinge at all,
so that F_C/F = V/n there, and V <= (1 + eps) n. If v_S = 0, then F_C(w_S) = (V/n) d²/8 <= (1 + eps) d²/8, and this must
be at least (1 - eps)(d²/8 + lam): eps >= 4 lam/(d² + 4 lam). Below, all n points are kept.

Two classes, with intercept: add (-x, -1) for each (x, +1), N = 2n. With w_S and b = 0 each pair has the hinge 1 twice:
sum of s >= (d² + 8 N lam)/(d² + 16 lam). With 2 w_S and b = 1 or -1 only one point of the pair has a hinge, 2, all
others none, |2 w_S|²/2 = d²/2: sum of s >= (d² + 4 N lam)/(d² + 4 lam), and no point may be missing for eps < 2 lam/(d²
+ 2 lam).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp
import z3

from boundlab.coresets.svm.lower_bound import eps_floor, hard_instance, hard_queries, total_floor
from boundlab.coresets.svm.objective import hinge, objective, regulariser, signed_points
from boundlab.coresets.svm.sampling import draw_weights
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import reals
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Lower bound on the size of SVM coresets",
    source="Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; item number not known to us; the "
    "constants, the size and the version with two classes are ours",
    given=("d even, n = C(d, d/2)", "coresets: weights v >= 0 on the points, the regulariser scaled by V/U"),
    claim=r"\sum_p s(p) \ge \frac{d^2 + 8n\lambda}{d^2 + 8\lambda};\quad \epsilon < \frac{4\lambda}{d^2 + 4\lambda} "
    r"\Rightarrow \text{every } \epsilon\text{-coreset contains all } n \text{ points}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/lower_bound.py",
        old="return reach / (float(d * d) + reach) * DOWN",
        new="return reach / float(d * d) * DOWN",
    ),
    Mutation(
        file="coresets/svm/lower_bound.py",
        old="return (square + 8.0 * points * lam) / (square + 8.0 * lam) * DOWN",
        new="return (square + 8.0 * points * lam) / (square + 4.0 * lam) * DOWN",
    ),
    Mutation(
        file="coresets/svm/lower_bound.py",
        old='reach = (2.0 if two_classes else 4.0) * positive("lam", lam)',
        new='reach = 4.0 * positive("lam", lam)',
    ),
)

LAMBDAS = (Fraction(1, 4), Fraction(1), Fraction(16), Fraction(100))


def margins(d: int) -> list[list[int]]:
    """|T - S| for all pairs, rows by the query S, in whole numbers."""
    sets = [frozenset(s) for s in itertools.combinations(range(d), d // 2)]
    return [[len(t - s) for t in sets] for s in sets]


def symbolic() -> str:
    d, n, lam, e = sp.symbols("d n lambda epsilon", positive=True)
    share = (d**2 / (8 * n) + lam) / (d**2 / 8 + lam)
    require(sp.simplify(n * share - (d**2 + 8 * n * lam) / (d**2 + 8 * lam)) == 0, "the sum of shares")
    (least,) = sp.solve(sp.Eq((1 + e) * d**2 / 8, (1 - e) * (d**2 / 8 + lam)), e)
    require(sp.simplify(least - 4 * lam / (d**2 + 4 * lam)) == 0, "one class: 4 lam/(d² + 4 lam)")
    (pair,) = sp.solve(sp.Eq((1 + e) * d**2 / 2, (1 - e) * (d**2 / 2 + 2 * lam)), e)
    require(sp.simplify(pair - 2 * lam / (d**2 + 2 * lam)) == 0, "two classes: 2 lam/(d² + 2 lam)")
    two = n * (d**2 / (8 * n) + lam) / (d**2 / 8 + 2 * lam)
    one = n * (d**2 / (2 * n) + 2 * lam) / (d**2 / 2 + 2 * lam)
    require(sp.simplify(two - (d**2 + 8 * n * lam) / (d**2 + 16 * lam)) == 0, "both points of a pair")
    require(sp.simplify(one - (d**2 + 4 * n * lam) / (d**2 + 4 * lam)) == 0, "one point of a pair")
    D, N, L = reals("D N L")  # the published form (D + N L)/(D + L), D = d²
    prove((D + 8 * N * L) * (D + L) >= (D + N * L) * (D + 8 * L), D > 0, N >= 1, L > 0)
    q, x = reals("q x")  # with V = 1 + q, whatever q: one of the two queries errs by at least the floor
    prove(z3.Or(q >= x, (1 - x) * (D / 8 + L) >= (1 + q) * D / 8), D > 0, L > 0, x * (D + 4 * L) == 4 * L)
    return "sums (d² + 8 n lam)/(d² + 8 lam) and its two-class forms; thresholds 4 lam/(d² + 4 lam), 2 lam/(d² + 2 lam)"


def exact() -> str:
    counts = []
    for d in (2, 4, 6, 8):
        known = margins(d)
        n = len(known)
        require(all(row[k] == 0 and min(row[:k] + row[k + 1 :]) >= 1 for k, row in enumerate(known)), "margins")
        x, y = hard_instance(d)
        w = hard_queries(d)
        require(np.allclose(w @ x.T, known, atol=1e-12) and np.allclose(np.sum(x * x, axis=1), 1), "the shipped data")
        require(np.allclose(regulariser(w), d * d / 8) and np.all(y == 1), "|w_S|²/2 must be d²/8")
        for lam in LAMBDAS:
            cost = Fraction(d * d, 8) + lam
            total = n * (Fraction(d * d, 8 * n) + lam) / cost
            given = Fraction(total_floor(d, float(lam)))
            require(
                total * (1 - Fraction(1, 10**11)) <= given <= total, f"total at d = {d}, lam = {lam}: {float(given)}"
            )
            least = 4 * lam / (d * d + 4 * lam)
            require(least * (1 - Fraction(1, 10**11)) <= Fraction(eps_floor(d, float(lam))) <= least, "eps")
            value = objective(x, np.ones(n), w, lam=float(lam))
            require(np.allclose(value, float(cost)), "F(P, w_S) must be d²/8 + lam")
        counts.append(str(n))
        two = _two_classes(d, n)
    return f"d = 2, 4, 6, 8: {', '.join(counts)} points, every margin |T - S|; {two}"


def _two_classes(d: int, n: int) -> str:
    x, y = hard_instance(d, two_classes=True)
    z, w = signed_points(x, y, intercept=True), hard_queries(d)
    for b in (0.0, 1.0, -1.0):
        scale = 1.0 if b == 0 else 2.0
        h = hinge(z, np.column_stack([scale * w, np.full(n, b)]))
        own = np.stack([np.diag(h[:, :n]), np.diag(h[:, n:])])
        want = {0.0: (1, 1), 1.0: (0, 2), -1.0: (2, 0)}[b]
        require(np.allclose(own, np.array(want)[:, None], atol=1e-12), f"hinges of the pair at b = {b}")
        require(abs(h.sum() - n * 2) < 1e-9, "all other hinges must be 0")
    for lam in LAMBDAS:
        both = (d * d + 16 * n * lam) / (d * d + 16 * lam)
        single = (d * d + 8 * n * lam) / (d * d + 4 * lam)
        given = Fraction(total_floor(d, float(lam), two_classes=True))
        require(given <= max(both, single) <= given * Fraction(100_001, 100_000), "two classes: total")
        least = 2 * lam / (d * d + 2 * lam)
        require(
            least * (1 - Fraction(1, 10**11)) <= Fraction(eps_floor(d, float(lam), two_classes=True)) <= least, "eps"
        )
    return f"two classes: hinges (1, 1), (0, 2), (2, 0) on {2 * n} points"


def errors(v: np.ndarray, d: int, lam: float) -> np.ndarray:
    """The largest |F_C/F - 1| over the queries w_S and one long query, for coresets v (coresets, n)."""
    x, _ = hard_instance(d)
    w = hard_queries(d)
    share = v.sum(axis=1) / len(x)
    ratio = (share[:, None] * d * d / 8 + lam * v @ hinge(x, w).T) / (d * d / 8 + lam)
    return np.maximum(np.abs(share - 1), np.abs(ratio - 1).max(axis=1))


def small_coresets(d: int, lam: float):
    """A trial: a coreset of n draws lacks a point, and errs by less than the floor."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        points = math.comb(d, d // 2)
        v = draw_weights(np.ones(points), np.ones(points), points, rng, coresets=n)
        return np.any(v == 0, axis=1) & (errors(v, d, lam) < eps_floor(d, lam))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    parts = [
        judge(small_coresets(d, lam), delta=0.01, trials=800 * effort, name=f"a point is missing, d = {d}")
        for d, lam in ((4, 1.0), (6, 36.0))
    ]
    return Evidence(text=f"missing and yet good: {parts[1].text}", trials=1600 * effort)


def teeth() -> Evidence:
    d, lam = 8, 64.0
    n = math.comb(d, d // 2)
    grid = np.linspace(0.9, 1.6, 701)[:, None] * n / (n - 1)
    least = float(
        errors(np.where(np.arange(n) > 0, grid, 0.0), d, lam).min()
    )  # all but one point, the best total weight
    slack = smallest_sabotage(lambda factor: least < factor * eps_floor(d, lam))
    require(float(errors(np.ones((1, n)), d, lam)[0]) < 1e-12, "all points are an exact coreset")
    text = f"n - 1 points err by {least:.4f} at these queries, the floor is {eps_floor(d, lam):.4f}"
    return Evidence(text=text, slack=slack)
