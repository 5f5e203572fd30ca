"""ceil(3 ln(8 eta eta_*/delta)) calibration points do not cover shares that are rare: a premise is needed, K' >= 1/p.

Refuted as a statement about every law. The released code measures sensitivities on n = ceil(C ln(8 eta eta_*/delta))
points, C = 3, and treats g_j <= C s_j for all shares of a fresh point as certain up to delta (1e-16 by default). For a
300-100-10 net (eta = 410, eta_* = 300) that is n = 152, and the list 35, 42, 49, 56, 70, 83, 97, ..., 263 for
delta = 10, 1, .1, .01, 1e-4, 1e-6, 1e-8, ..., 1e-32.

What holds. With M_j the largest value of g_j, suppose P(g_j <= M_j/K) <= exp(-1/K') for every j: the premise on the
distribution functions. Then P(max over S of g_j <= M_j/K) <= exp(-n/K'), and n >= K' ln(rho/delta) makes g_j <= K s_j
certain, for rho shares together, but for a chance delta over S.

What the premise costs. A share that is 0 on a part 1-p of the inputs has P(g_j <= M_j/K) >= 1-p whatever K is, so that
K' >= 1/ln(1/(1-p)), between 1/p - 1 and 1/p. With K' = 3 it needs p >= 1 - exp(-1/3) = 0.283. For p = 0.01 the 152
points miss the share altogether with probability 0.99^152 = 0.217, and then s_j = 0 whatever C is; the promise was
1e-16. No number of points makes the premise visible: a share with p far below 1/n looks like one that is always 0.

Without a premise: 1/(n+1) for one share and C = 1 by exchangeability, or the split-conformal factor for all shares
together at any delta >= 1/(n2+1). A rate like ln(1/delta) is to be had by the premise alone.
"""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.concentration.conformal import conformal_factor, needed_constant, published_calibration_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as enclosed

THEOREM = Theorem(
    name="The number of calibration points",
    source="in the released code of Baykal et al. 2022, arXiv:1910.05422; the paper makes it under an assumption on "
    "distribution functions, as we understand it; item number not known to us",
    given=("S i.i.d.", "n = ceil(C ln(8 eta eta_*/delta)), C = 3", "any law of the inputs"),
    claim=r"\Pr_S[\exists j: \sup_x g_j(x) > C \max_{x \in S} g_j(x)] \le \delta \text{ for } "
    r"n = \lceil C \ln(8 \eta \eta_*/\delta) \rceil,\ C = 3",
    status="refuted",
    finding="A feature that is active on 1% of the inputs is missed by all n = 152 points with probability 0.22, where "
    "1e-16 is claimed; the assumption behind it needs K' >= 1/p.",
    ours="vovk2005_split_conformal",
)

MUTATIONS = (
    Mutation(
        file="concentration/conformal.py",
        old='pairs = 8 * positive_int("neurons", neurons)',
        new='pairs = 2 * positive_int("neurons", neurons)',
    ),
    Mutation(
        file="concentration/conformal.py",
        old='return -1.0 / math.log1p(-probability("active", active)) * (1.0 + 1e-15)',
        new='return 1.0 / probability("active", active) - 1.0',
    ),
)

LIST = (35, 42, 49, 56, 70, 83, 97, 111, 125, 139, 152, 166, 180, 194, 208, 221, 235, 249, 263)
DELTAS = ("10", "1", "0.1", "0.01", *(f"1e-{k}" for k in range(4, 33, 2)))
ETA, WIDEST, DELTA = 410, 300, 1e-16


def missed(active: Fraction, points: int) -> Fraction:
    """P(no point of S sees a feature that is active on this share of the inputs)."""
    return (1 - active) ** points


def symbolic() -> str:
    n, K, rho, delta, p = sp.symbols("n K rho delta p", positive=True)
    size = K * sp.log(rho / delta)
    require(
        sp.simplify(rho * sp.exp(-n / K).subs(n, size) - delta) == 0, "rho exp(-n/K') = delta at n = K' ln(rho/delta)"
    )
    least = -1 / sp.log(1 - p)
    require(sp.simplify(sp.exp(-1 / least) - (1 - p)) == 0, "exp(-1/K') = 1 - p at K' = 1/ln(1/(1-p))")
    x = sp.symbols("x", positive=True)  # p = x/(1+x) in (0, 1): ln(1/(1-p)) = ln(1+x), p <= ln(1+x) <= x = p/(1-p)
    low, high = sp.log(1 + x) - x / (1 + x), x - sp.log(1 + x)
    require(low.subs(x, 0) == 0 and high.subs(x, 0) == 0, "both gaps vanish at 0")
    require(sp.factor(sp.diff(low, x)).is_positive and sp.factor(sp.diff(high, x)).is_positive, "and rise")
    require(sp.simplify((1 + x) / x - 1 - 1 / x) == 0, "so K' lies between 1/p - 1 = 1/x and 1/p")
    return "rho exp(-n/K') = delta; K' >= 1/ln(1/(1-p)), between 1/p - 1 and 1/p"


def exact() -> str:
    with flint.ctx.workprec(200):
        return _enclosed()


def _enclosed() -> str:
    got = tuple(published_calibration_size(ETA, WIDEST, float(d)) for d in DELTAS)
    require(got == LIST, f"the published list of sizes, got {got}")
    pairs = 8 * ETA * WIDEST
    for d, n in zip(DELTAS, got, strict=True):  # the ceiling, by ball arithmetic
        value = 3 * (enclosed(Fraction(pairs) / Fraction(d))).log()
        require(bool(value <= n) and bool(value > n - 1), f"the ceiling at delta = {d}")
    n, enough = published_calibration_size(ETA, WIDEST, DELTA), []
    lost = missed(Fraction(1, 100), n)
    require(0.216 < lost < 0.218, f"P(missed) at p = 1%, n = {n}: {float(lost)}")
    for percent in range(1, 100):
        p = Fraction(percent, 100)
        least, truth = Fraction(needed_constant(float(p))), -1 / (1 - enclosed(Fraction(float(p)))).log()
        require(bool(enclosed(least) >= truth), f"K' at p = {p} must be rounded up, got {float(least)}")
        require(1 / p - 1 < least < 1 / p, f"K' at p = {p} must lie between 1/p - 1 and 1/p, got {float(least)}")
        fine = missed(p, n) <= Fraction(DELTA) / pairs
        require(fine == (least <= 3), f"{n} points must suffice exactly where K' <= 3, p = {p}")
        enough += [p] if fine else []
    require(min(enough) == Fraction(29, 100), f"from p = 0.29 on the points suffice, got {min(enough)}")
    return (
        f"the {len(got)} sizes; n = {n} misses p = 1% with probability {float(lost):.3f}, and suffices from p = 0.29 on"
    )


def rare(rng: np.random.Generator, n: int, points: int) -> np.ndarray:
    """Shares of two edges, the second active on 1% of the inputs and then equal to the first: (n, points, 2)."""
    active = rng.random((n, points)) < 0.01
    return np.stack([np.where(active, 0.5, 1.0), np.where(active, 0.5, 0.0)], axis=2)


def uncovered(points: int):
    """Trials: is sup g_j = 1/2 of the rare edge above C = 3 times its maximum over S?"""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return 3 * rare(rng, n, points)[:, :, 1].max(axis=1) < 0.5

    return trial


def conformal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials: does a fresh point break g_j <= C s_j, s from 30 points and C from 39 others at delta = 0.05?"""
    g = rare(rng, n, 70)
    s = g[:, :30].max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(g > 0, g / s[:, None], 0.0).max(axis=2)
    return ratio[:, -1] > conformal_factor(ratio[:, 30:-1], 0.05)


def monte_carlo(effort: int = 1) -> Evidence:
    n = published_calibration_size(ETA, WIDEST, DELTA)
    claimed = judge(uncovered(n), delta=DELTA, trials=300 * effort, name="152 points, 1% active", expect="violated")
    ours = judge(conformal, delta=0.05, trials=1_500 * effort, name="conformal factor, the same feature")
    return Evidence(text=f"published: {claimed.text}; conformal: {ours.text}", trials=claimed.trials + ours.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        """K' / factor for a feature on 1%: do the points that it asks for miss more often than promised?"""
        size = published_calibration_size(ETA, WIDEST, DELTA, constant=needed_constant(0.01) / factor)
        return missed(Fraction(0.01), size) > Fraction(DELTA) / (8 * ETA * WIDEST)

    slack = smallest_sabotage(caught)
    require(caught(needed_constant(0.01) / 3), "the code's C = 3 was not caught")
    size = math.ceil(needed_constant(0.01) * math.log(1 / DELTA))  # no union bound
    require(missed(Fraction(0.01), size) > Fraction(DELTA) / (8 * ETA * WIDEST), "a dropped union bound was not caught")
    return Evidence(text=f"K' = 99.5 holds for 1%; refuted: K' / {slack:g}, K' = 3, no union bound", slack=slack)
