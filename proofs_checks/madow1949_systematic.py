"""Systematic sampling is unbiased and keeps exactly m items, but no tail bound of independent inclusions holds for it.

Counterexample. d = 2m equal weights, calibrated at a point where all are active: s_j = 1/d and pi_j = 1/2; at the new
point every second item is active, and C = 2. In a fixed order the comb start + {0, 1, ...} takes all the even items
or all the odd ones: ẑ is 2z or 0, the error 100 % always, while boundlab_poisson_threshold's bound at eps = .99 and d
= 100 is 2.0e-4. The variance is z², against z²/m of independent inclusions.

A random order makes simple random sampling out of equal pi_j, which is negatively associated. With unequal pi_j it is
no repair: with pi = (1/4, 3/4, 1/4, 3/4) and all 24 orders equally likely, P(items 1 and 3 kept) = 1/12 > 1/16.

What remains true: a comb of unit steps meets [0, m) in m points, each stretch of length pi_j with probability pi_j.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.pivotal import pivotal_sample
from boundlab.coresets.threshold_sampling import (
    bernstein_failure,
    certified_eps,
    failure,
    inverse_weights,
    poisson_variance,
    systematic_sample,
    threshold_probabilities,
)
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Systematic sampling with the tail bound of independent inclusions",
    source="the design is Madow's (1949), as we understand the paper; the tail bound is the tempting claim, not his",
    given=("0 <= x_j <= C s_j z", "systematic inclusions with pi_j = min(1, s_j/tau)"),
    claim=r"\Pr[|\hat z - z| \ge \epsilon z] \le 2 e^{-\epsilon^2/(2 C\tau(\rho + \epsilon/3))}",
    status="refuted",
    finding="With equal weights of which every second is active the error is 100 % in every draw, where the bound says "
    "2.0e-4; a random order does not repair unequal probabilities.",
    ours="srinivasan2001_pivotal",
)

MUTATIONS = (
    Mutation(
        file="coresets/threshold_sampling.py",
        old="np.diff(steps, axis=1, prepend=0.0) > 0",
        new="np.diff(steps, axis=1, append=0.0) > 0",
    ),
)

D = 100


def plan() -> tuple[np.ndarray, float, float]:
    """(pi, tau, rest) of D equal items of which half are kept."""
    found = threshold_probabilities(np.full(D, 1 / D), np.array([0, D]), np.array([D // 2]))
    return found.probabilities, float(found.tau[0]), float(found.rest[0])


def active() -> np.ndarray:
    """Every second item, z = 1."""
    return 2.0 / D * (np.arange(D) % 2)


def symbolic() -> str:
    m = sp.symbols("m", integer=True, positive=True)
    z = m  # m active items of 1 each; both outcomes have probability 1/2
    comb = sp.Rational(1, 2) * (2 * z - z) ** 2 + sp.Rational(1, 2) * (0 - z) ** 2
    coins = m * (1 / sp.Rational(1, 2) - 1)
    require(sp.simplify(comb - z**2) == 0 and sp.simplify(comb / coins - m) == 0, "the variance is m times larger")
    d, C, tau = 2 * m, 2, sp.Rational(1, 1) / m  # tau = S/m with S = 1
    require(sp.simplify(C * (1 / d) - 1 / m) == 0, "the share 1/m of an active item is C s_j: the premise holds")
    eps = sp.Rational(99, 100)
    exponent = eps**2 / (2 * C * tau * (1 + eps / 3))
    require(sp.limit(2 * sp.exp(-exponent), m, sp.oo) == 0, "the bound tends to 0 while the error stays 100 %")
    return "error 100 %, variance m times that of coins, at C = 2; the bound tends to 0 with m"


def exact() -> str:
    pi, tau, rest = plan()
    starts = (np.arange(8) + 0.5) / 8
    kept = systematic_sample(pi, starts)
    require(np.all(kept.sum(axis=1) == D // 2), "exactly half must be kept")
    values = inverse_weights(kept, pi) @ active()
    require(np.allclose(np.sort(values), [0, 0, 0, 0, 2, 2, 2, 2]), f"the estimates must be 0 or 2, got {values}")
    told = float(bernstein_failure(tau, rest, 0.99, C=2.0))
    require(1.9e-4 < told < 2.1e-4, f"the bound is 2.0e-4, got {told}")
    require(math.isclose(float(poisson_variance(active(), pi)), 2 / D), "coins have the variance z²/m")
    unequal, both, single = np.array([0.25, 0.75, 0.25, 0.75]), Fraction(0), Fraction(0)
    orders = list(itertools.permutations(range(4)))
    for order in orders:  # ends are multiples of 1/4, so that four starts stand for all
        drawn = systematic_sample(unequal[list(order)], np.array([0.125, 0.375, 0.625, 0.875]))
        require(np.all(drawn.sum(axis=1) == 2), "exactly two must be kept")
        first, third = drawn[:, order.index(0)], drawn[:, order.index(2)]
        both += Fraction(int((first & third).sum()), 4 * len(orders))
        single += Fraction(int(first.sum()), 4 * len(orders))
    require(single == Fraction(1, 4) and both == Fraction(1, 12), f"P(1) = {single}, P(1 and 3) = {both}")
    equal: dict[tuple[int, ...], int] = {}
    for order in orders:
        for row in systematic_sample(np.full(4, 0.5), np.array([0.25, 0.75])):
            chosen = tuple(sorted(order[j] for j in np.flatnonzero(row)))
            equal[chosen] = equal.get(chosen, 0) + 1
    require(len(equal) == 6 and len(set(equal.values())) == 1, "equal pi in random order: simple random sampling")
    return f"estimates 0 and 2 only, bound {told:.1e}; random order: P(1 and 3) = 1/12 > 1/16; equal pi are repaired"


def errs(*, pivotal: bool, eps: float):
    """A trial on the counterexample: the error is at least eps."""
    pi, _, _ = plan()

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        if pivotal:
            kept = pivotal_sample(np.tile(pi, n), np.arange(n + 1) * D, rng).reshape(n, D)
        else:
            kept = systematic_sample(pi, rng.random(n))
        return np.abs(inverse_weights(kept, pi) @ active() - 1.0) >= eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    _, tau, rest = plan()
    told = float(failure(tau, rest, 0.5, C=2.0))
    name = "systematic sampling, every second item active"
    return judge(errs(pivotal=False, eps=0.5), delta=told, trials=1_000 * effort, name=name, expect="violated")


def teeth() -> Evidence:
    _, tau, rest = plan()
    delta = 0.05
    eps = float(certified_eps(tau, rest, delta, C=2.0))

    def caught(factor: float) -> bool:
        trial = errs(pivotal=True, eps=eps / factor)
        return violated(trial, delta=delta, trials=1_000, name="pivotal sampling on the counterexample")

    slack = smallest_sabotage(caught)
    text = f"pivotal sampling passes the counterexample at eps = {eps:.2f}; refuted: its eps divided by {slack:g}"
    return Evidence(text=text, slack=slack)
