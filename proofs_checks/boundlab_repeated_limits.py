"""Clopper-Pearson at many looks keeps its level if look j spends alpha/(j (j+1)): a union bound over fixed looks.

Proof. At a look fixed in advance the limit misses with probability at most its level; the levels alpha/(j (j+1)) =
alpha (1/j - 1/(j+1)) telescope to at most alpha over all looks: by the union bound P(some look misses) <= alpha.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.verification.judging.lattice import absorption
from boundlab.verification.judging.repeated import look_level, looks, repeated_upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Clopper-Pearson limits at many looks",
    source="ours; a union bound over looks",
    given=("independent trials of rate p", "looks fixed before the first trial"),
    claim=r"\Pr[\exists j: U_{n_j} < p] \le \sum_j \alpha/(j(j+1)) = \alpha",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="verification/judging/repeated.py",
        old='probability("alpha", alpha) / (j * (j + 1))',
        new='probability("alpha", alpha) / (j + 1)',
    ),
    Mutation(
        file="verification/judging/repeated.py",
        old="return upper_limit(failures, trials, look_level(alpha, look))",
        new="return upper_limit(failures, trials, alpha)",
    ),
)

ALPHA, P, HORIZON = 0.2, 0.2, 120


def smallest_counts(scale: float = 1.0) -> dict[int, int]:
    """At each look, the largest count whose limit misses P; -1 where none does."""
    plan = {}
    for j, n in enumerate(looks(5, HORIZON), 1):
        miss = [k for k in range(n + 1) if repeated_upper_limit(k, n, j, min(0.999, ALPHA * scale)) < P]
        plan[n] = max(miss, default=-1)
    return plan


def level(scale: float = 1.0) -> float:
    """P(some look misses), by the exact recursion."""
    plan = smallest_counts(scale)
    ends = np.array([plan.get(n, -1) for n in range(HORIZON + 1)])
    return absorption(lambda n, k: k <= ends[n], lambda n, k: np.zeros(len(k), bool), P, HORIZON).low


def symbolic() -> str:
    j, J = sp.symbols("j J", positive=True, integer=True)
    require(sp.simplify(1 / (j * (j + 1)) - (1 / j - 1 / (j + 1))) == 0, "partial fractions")
    require(sp.simplify(sp.summation(1 / j - 1 / (j + 1), (j, 1, J)) - (1 - 1 / (J + 1))) == 0, "the sum telescopes")
    require(sp.summation(1 / (j * (j + 1)), (j, 1, sp.oo)) == 1, "to 1")
    return "sum over j <= J of 1/(j(j+1)) = 1 - 1/(J+1) < 1"


def exact() -> str:
    total = sum((Fraction(look_level(ALPHA, j)) for j in range(1, 2_001)), Fraction(0))
    require(total < Fraction(ALPHA), "the shipped levels sum to less than alpha")
    require(looks(60, 150) == [60, 75, 94, 118, 148] and looks(1, 4, 1.01) == [1, 2, 3, 4], "looks rise by at least 1")
    got = level()
    require(0 < got <= ALPHA, f"P(some look misses) = {got}")
    single = max(float(binom.cdf(k, n, P)) for n, k in smallest_counts().items() if k >= 0)
    return (
        f"{len(smallest_counts())} looks up to {HORIZON} trials: P(a miss) = {got:.4f} <= 0.2; one alone {single:.4f}"
    )


def missed(rng: np.random.Generator, n: int) -> np.ndarray:
    plan = smallest_counts()
    failures = np.cumsum(rng.random((n, HORIZON)) < P, axis=1)
    return np.asarray(np.any([failures[:, m - 1] <= k for m, k in plan.items()], axis=0))


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(missed, delta=ALPHA, trials=1_000 * effort, name="repeated limits")
    return Evidence(text=f"level 0.2: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: level(factor) > ALPHA)
    require(math.isclose(look_level(0.05, 4), 0.0025), "look 4 spends alpha/20")
    return Evidence(text=f"levels {slack:g} times too large break the level, exactly", slack=slack)
