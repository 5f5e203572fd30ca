"""Keeping the m most sensitive edges of a group loses at most C times the dropped sensitivities' sum, and no more.

Statement. One neuron, one sign: z(x) = sum_j w_j u_j(x), all terms >= 0, shares g_j(x) = w_j u_j(x)/z(x). Let s_j be
fixed numbers and I a set of edges that is fixed before x is seen, such as the m largest s_j. With z_hat(x) the sum over
I, unscaled, at every x with g_j(x) <= C s_j for the dropped j (the event E, or z(x) = 0):

    0 <= z - z_hat <= C (sum over j not in I of s_j) z.

Proof. z - z_hat is the sum of the dropped terms, none of which is negative: the left side. Each dropped term is
g_j z <= C s_j z: the right side. Nothing is random but x, and the m largest s_j make the sum smallest among all sets of
m edges (exchange a kept edge with a dropped one of larger s_j: the sum falls).

What E costs. With s_j the maxima of g_j over n points and C the split-conformal factor of n2 further points,
P(E) >= 1 - delta for a fresh x, whatever the law of the points: then the error exceeds C times the dropped sum with
probability at most delta. With C = 1 and no further points a union bound gives (dropped edges)/(n+1).

The bound is attained: with S = {x} and C = 1 both sides are equal.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.concentration.conformal import conformal_factor
from boundlab.coresets.top_k import dropped_sum, keep_largest, patch_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="The error of keeping the most sensitive edges",
    source="Baykal et al. 2022, arXiv:1910.05422, deterministic method; item number not known to us; as we understand "
    "the paper",
    given=("one row, one sign, terms >= 0", "the kept set fixed before x is seen", "g_j(x) <= C s_j for dropped edges"),
    claim=r"0 \le z - \hat z \le C \Big(\sum_{j \notin I} s_j\Big) z",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/top_k.py", old="keep[order] = rank < np.asarray", new="keep[order] = rank <= np.asarray"),
    Mutation(file="coresets/top_k.py", old="np.where(lost > 0.0, K * ", new="np.where(lost > 0.0, "),
    Mutation(
        file="coresets/top_k.py",
        old="np.where(keep, 0.0, values), minlength",
        new="np.where(keep, values, 0.0), minlength",
    ),
)

ONE = np.array([0, 4])


def rows(count: int, seed: int, points: int) -> list[list[list[Fraction]]]:
    """Shares of small whole activations: one group of four edges at `points` points and a fresh one."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        a = rng.integers(0, 5, size=(points + 1, 4))
        if a.sum(axis=1).all():
            found.append([[Fraction(int(v), int(row.sum())) for v in row] for row in a])
    return found


def symbolic() -> str:
    C, z = sp.symbols("C z", nonnegative=True)
    for d in (1, 2, 5):
        s, slack = sp.symbols(f"s1:{d + 1}", nonnegative=True), sp.symbols(f"r1:{d + 1}", nonnegative=True)
        shares = [C * v - r for v, r in zip(s, slack, strict=True)]  # g_j = C s_j - r_j: what E says
        gap = sp.expand(C * sum(s) * z - sum(g * z for g in shares))
        require(gap == sp.expand(z * sum(slack)), "bound minus loss must be z times the slacks of E")
        require(gap.is_nonnegative, "and so not negative")
    high, low, rest = sp.symbols("high low rest", nonnegative=True)  # exchange: s_in = low, s_out = low + high
    require(((low + high + rest) - (low + rest)).is_nonnegative, "the largest s_j must be kept")
    return "bound - loss = z sum of (C s_j - g_j) over the dropped edges; an exchange towards larger s_j lowers the sum"


def exact() -> str:
    checked = sets = 0
    tightest = Fraction(0)
    for shares in rows(150, 1, points=2):
        *known, fresh = shares
        s = [max(column) for column in zip(*known, strict=True)]
        values = np.array([float(v) for v in s])
        require((patch_sensitivities(np.array(known, float)[:, None]) == values).all(), "the shipped maxima")
        for m in range(5):
            keep = keep_largest(values, ONE, np.array([m]))
            require(int(keep.sum()) == m, f"{m} edges must be kept, got {int(keep.sum())}")
            left = [v for v, k in zip(s, keep, strict=True) if not k]
            least = min(sum(c, Fraction(0)) for c in itertools.combinations(s, 4 - m))
            require(sum(left, Fraction(0)) == least, "the largest must be kept")
            sets += 1
            ratios = [g / v for g, v, k in zip(fresh, s, keep, strict=True) if not k and v]
            if any(g and not v for g, v, k in zip(fresh, s, keep, strict=True) if not k):
                continue  # an active edge with s = 0: outside E for every C
            C = max([Fraction(1), *ratios])
            bound = Fraction(float(dropped_sum(values, ONE, keep, K=float(np.nextafter(float(C), 9.0)))[0]))
            loss = sum((g for g, k in zip(fresh, keep, strict=True) if not k), Fraction(0))
            require(loss <= C * least and loss <= bound, f"loss {loss} above {float(bound)} on E, C = {C}")
            exact_sum = sum((Fraction(float(v)) for v, k in zip(values, keep, strict=True) if not k), Fraction(0))
            told = Fraction(float(dropped_sum(values, ONE, keep)[0]))
            require(exact_sum <= told <= exact_sum * (1 + Fraction(1, 10**13)), "the sum must be rounded up, a little")
            tightest, checked = max(tightest, loss / bound if bound else Fraction(0)), checked + 1
    require(tightest > 1 - Fraction(1, 10**12), "the bound must be attained somewhere")
    return f"{sets} kept sets are the best of all sets; {checked} losses on E <= the shipped bound, attained"


def error_over_bound(rng: np.random.Generator, n: int, *, calibrated: bool) -> np.ndarray:
    """Trials: s from 20 points, C from 19 others (delta = 0.1), half of 12 edges kept; (error at a fresh x)/bound."""
    edges = 12
    a = rng.pareto(1.5, size=(n, 40, edges)) * (rng.random((n, 40, edges)) < 0.6) + 1e-12
    g = a / a.sum(axis=2, keepdims=True)
    s = g[:, :20].max(axis=1)
    indptr = np.arange(n + 1) * edges
    keep = keep_largest(s.ravel(), indptr, np.full(n, 6))
    dropped = dropped_sum(s.ravel(), indptr, keep)
    C = conformal_factor((g[:, 20:39] / s[:, None]).max(axis=2), 0.1) if calibrated else 1.0
    loss = np.where(keep.reshape(n, edges), 0.0, g[:, 39]).sum(axis=1)
    return loss / (C * dropped)


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(
        lambda rng, n: error_over_bound(rng, n, calibrated=True) > 1,
        delta=0.1,
        trials=2_000 * effort,
        name="top m with a conformal factor",
    )


def teeth() -> Evidence:
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    keep = keep_largest(shares, ONE, np.array([2]))
    loss = float(shares[~keep].sum())  # S = {x}: the error is the sum itself

    def caught(factor: float) -> bool:
        return loss > float(dropped_sum(shares, ONE, keep)[0]) / factor

    slack = smallest_sabotage(caught)
    smallest = keep_largest(1 - shares, ONE, np.array([2]))
    require(float(shares[~smallest].sum()) > float(dropped_sum(shares, ONE, keep)[0]), "keep the smallest: not caught")
    for factor in (2.0, 4.0):
        if violated(
            lambda rng, n, f=factor: error_over_bound(rng, n, calibrated=False) * f > 1,
            delta=0.1,
            trials=1_000,
            name="no C",
        ):
            return Evidence(
                text=f"refuted: bound / {slack:g}, smallest kept, C = 1 and bound / {factor:g}", slack=slack
            )
    raise AssertionError("a bound without C, divided by 4, was not caught")
