"""Holm's step-down on anytime p-values 1/sup e rejects a true claim with probability at most alpha, dependent or not.

Proof. Ville: P(sup e_i >= 1/u) <= u for a true claim, so p_i = min(1, 1/sup e_i) is a p-value at any stopping time. Let
K_0 claims be true. If Holm rejects a true one, consider the first that it rejects, at step i: at most K - K_0 false
claims come before, so that i - 1 <= K - K_0 and its threshold alpha/(K - i + 1) is at most alpha/K_0. Some true claim
then has p <= alpha/K_0, which by the union bound has probability at most K_0 alpha/K_0 = alpha.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from boundlab.verification.judging.many import holm
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="Holm's step-down on e-processes",
    source="Holm (1979); item number not known to us; as we understand the paper; with Ville (1939)",
    given=("K claims, any dependence", "e_i an e-process for claim i, read at any time"),
    claim=r"\Pr[\text{some true claim is rejected}] \le \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/many.py",
        old="np.log(len(e) - np.arange(len(e)))",
        new="np.log(1.0 + np.arange(len(e))) * 0",
    ),
    Mutation(
        file="verification/judging/many.py",
        old="len(e) if enough.all() else int(np.argmin(enough))",
        new="int(enough.sum())",
    ),
)

GRID = (Fraction(0), Fraction(1), Fraction(2), Fraction(4), Fraction(8), Fraction(16))


def by_hand(e: tuple[Fraction, ...], alpha: Fraction) -> list[bool]:
    """Holm's rule in fractions."""
    order, out = sorted(range(len(e)), key=lambda i: -e[i]), [False] * len(e)
    for step, i in enumerate(order):
        if e[i] * alpha < len(e) - step:
            break
        out[i] = True
    return out


def symbolic() -> str:
    K, K0, i, alpha, p, threshold = reals("K K0 i alpha p threshold")
    given = (K0 >= 1, K >= K0, i >= 1, alpha > 0, p <= threshold, threshold * (K - i + 1) == alpha)
    prove(p * K0 <= alpha, *given, p >= 0, i - 1 <= K - K0)  # some true claim has p <= alpha/K_0
    counterexample(p * K0 <= alpha, *given, p >= 0, i <= K)  # which the count of earlier false claims is needed for
    return "the first true claim rejected stands at step i <= K - K_0 + 1: its threshold is at most alpha/K_0"


def exact() -> str:
    checked = 0
    for K, alpha in itertools.product((1, 2, 3), (Fraction(1, 2), Fraction(1, 4))):
        for e in itertools.product(GRID, repeat=K):
            with np.errstate(divide="ignore"):
                got = holm(np.log(np.array([float(v) for v in e])) + 1e-12, float(alpha)).tolist()
            require(got == by_hand(e, alpha), f"e = {e}, alpha = {alpha}: {got}")
            checked += 1
    # three dependent e-values, two claims true: each is 4 with probability 1/4 and else 0, on disjoint events
    alpha, worst = Fraction(1, 2), Fraction(0)
    for overlap in (0, 1):
        wrong = Fraction(0)
        for u in range(4):
            first, second = u == 0, u == (0 if overlap else 1)
            e = (Fraction(4 * first), Fraction(4 * second), Fraction(100))
            with np.errstate(divide="ignore"):
                rejected = holm(np.log(np.array([float(v) for v in e])), float(alpha))
            wrong += Fraction(int(rejected[0] or rejected[1]), 4)
        require(wrong <= alpha, f"overlap {overlap}: {wrong}")
        worst = max(worst, wrong)
    return f"{checked} vectors of e-values as by hand; two true claims on disjoint events: wrong with {worst} = alpha"


def wrong(K: int):
    """Twenty claims of which one is false; e-values of the true ones are 1/U, the heaviest that p-values allow."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        e = -np.log(rng.random((n, K)))
        e[:, 0] = 50.0
        return np.array([holm(row, 0.05)[1:].any() for row in e])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(wrong(20), delta=0.05, trials=2_000 * effort, name="Holm on 20 claims", expect="not violated")
    return Evidence(text=f"19 true claims and a false one: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    K, alpha = 19, 0.05

    def caught(factor: float) -> bool:  # true claims with e = K/alpha on disjoint events of probability factor alpha/K
        rows = np.where(np.eye(K), math.log(K / alpha) + 1e-12, -50.0)
        return sum(factor * alpha / K for row in rows if holm(row, alpha).any()) > alpha * (1 + 1e-12)

    slack = smallest_sabotage(caught)
    require(not holm(np.log(np.array([39.0, 39.0])), 0.05).any(), "two claims at e = 39 < 40: none may be rejected")
    require(holm(np.log(np.array([41.0, 21.0])), 0.05).all(), "41 >= 40 and then 21 >= 20: both are")
    return Evidence(text=f"e-values of mean {slack:g} on disjoint events break the level, exactly", slack=slack)
