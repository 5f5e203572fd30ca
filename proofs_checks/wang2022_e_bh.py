"""e-BH controls the false discovery rate for e-values of any dependence; suprema of e-processes are no e-values.

Proof. Let R be the number rejected; every rejected claim has e_i >= K/(alpha R), that is, 1{i rejected}/R is at most
alpha e_i/K. Summing over the true claims and taking means, FDR = E[sum_true 1{rejected}/R] <= alpha/K sum_true E e_i <=
alpha K_0/K. It needs E e_i <= 1. The supremum of an e-process only has P(sup >= x) <= 1/x: its mean may be infinite,
and the calibrator sqrt(s) - 1 repairs it: the integral of P(sqrt(s) - 1 > y) = min(1, (1+y)^-2) over y >= 0 is 1.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.verification.judging.many import calibrated, e_bh
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The Benjamini-Hochberg procedure on e-values",
    source="Wang and Ramdas (2022), arXiv:2009.02824; item numbers not known to us; as we understand the paper",
    given=("K claims, any dependence", "E e_i <= 1 for every true claim: e-values at one stopping time, or calibrated"),
    claim=r"\mathrm{FDR} = \mathbb{E}[V/\max(R,1)] \le \alpha K_0/K",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/many.py",
        old="level + np.log(len(e)) - np.log(np.arange(1, len(e) + 1))",
        new="level - np.log(np.arange(1, len(e) + 1))",
    ),
    Mutation(file="verification/judging/many.py", old="half = 0.5 * _row(log_sup)", new="half = 1.0 * _row(log_sup)"),
)

GRID = (Fraction(0), Fraction(1), Fraction(2), Fraction(4), Fraction(9))


def by_hand(e: tuple[Fraction, ...], alpha: Fraction) -> list[bool]:
    order = sorted(range(len(e)), key=lambda i: -e[i])
    count = max((i for i in range(1, len(e) + 1) if e[order[i - 1]] * i * alpha >= len(e)), default=0)
    return [i in order[:count] for i in range(len(e))]


def symbolic() -> str:
    y, K, R, alpha = sp.symbols("y K R alpha", positive=True)
    e = K / (alpha * R)
    require(sp.simplify(alpha * e / K - 1 / R) == 0, "1/R <= alpha e/K for every rejected claim")
    require(sp.integrate((1 + y) ** -2, (y, 0, sp.oo)) == 1, "the calibrated supremum has mean at most 1")
    x = sp.symbols("x", positive=True)
    require(sp.integrate(1 / x, (x, 1, sp.oo)) == sp.oo, "the supremum itself may have an infinite mean")
    return "1{rejected}/R <= alpha e/K; int min(1, (1+y)^-2) dy = 1 for sqrt(s) - 1, and int min(1, 1/x) dx = oo for s"


def exact() -> str:
    checked = 0
    for K, alpha in itertools.product((1, 2, 3), (Fraction(1, 2), Fraction(3, 4))):
        for e in itertools.product(GRID, repeat=K):
            with np.errstate(divide="ignore"):
                got = e_bh(np.log(np.array([float(v) for v in e])) + 1e-12, float(alpha)).tolist()
            require(got == by_hand(e, alpha), f"e = {e}: {got}")
            checked += 1
    # two dependent true e-values, (4, 0), (0, 4), (4, 4), (0, 0): the false discovery rate by enumeration
    alpha = Fraction(1, 2)
    for both in (Fraction(0), Fraction(1, 8), Fraction(1, 4)):
        law = {
            (4, 0): Fraction(1, 4) - both,
            (0, 4): Fraction(1, 4) - both,
            (4, 4): both,
            (0, 0): Fraction(1, 2) + both,
        }
        with np.errstate(divide="ignore"):
            fdr = sum(p for e, p in law.items() if e_bh(np.log(np.array(e, float)), float(alpha)).any())
        require(fdr <= alpha, f"joint {both}: FDR {fdr}")
    for s in (1.0, 4.0, 9.0, 1e6):
        got = math.exp(float(calibrated(np.log(np.array([s])))[0]))
        require(abs(got - (math.sqrt(s) - 1)) <= 1e-9 * s, f"sqrt({s}) - 1, got {got}")
    return f"{checked} vectors as by hand; FDR of dependent pairs at most {alpha}; sqrt(s) - 1 at four points"


def heavy(rng: np.random.Generator, n: int, calibrate: bool) -> np.ndarray:
    """Ten suprema whose joint law is worst for e-BH: exactly i of them reach K/(i alpha), for a random i."""
    K, alpha = 10, 0.1
    levels = K / (alpha * np.arange(1, K + 1))  # K/(i alpha)
    chance = 1.0 / levels  # P(sup >= level_i) allowed
    out = np.empty(n, bool)
    gaps = np.diff(np.concatenate([[0.0], chance]))  # P(sup = level_i) of one claim, from the rarest up
    groups = gaps * K / np.arange(1, K + 1)  # P(exactly i claims sit at level_i)
    picked = np.searchsorted(np.cumsum(groups), rng.random(n))
    for t, i in enumerate(picked):
        row = np.zeros(K)
        if i < K:
            row[rng.permutation(K)[: i + 1]] = math.log(levels[i]) + 1e-9
        out[t] = e_bh(calibrated(row) if calibrate else row, alpha).any()
    return out


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(lambda rng, n: heavy(rng, n, True), delta=0.1, trials=1_000 * effort, name="calibrated suprema")
    judge(lambda rng, n: heavy(rng, n, False), delta=0.1, trials=2_000 * effort, name="raw suprema", expect="violated")
    return Evidence(
        text=f"10 true claims, worst joint law: calibrated {found.text}; raw suprema violate it",
        trials=3 * found.trials,
    )


def teeth() -> Evidence:
    K, alpha = 10, 0.1

    def caught(factor: float) -> bool:  # ten true claims, e = K/alpha on disjoint events: means of `factor`
        chance = factor * alpha / K
        rows = np.where(np.eye(K), math.log(K / alpha) + 1e-12, -50.0)
        return sum(chance for row in rows if e_bh(row, alpha).any()) > alpha * (1 + 1e-12)

    slack = smallest_sabotage(caught)
    return Evidence(text=f"e-values of mean {slack:g} on disjoint events break the rate, exactly", slack=slack)
