"""A prior from a part of the data is allowed, but at an equal error the test-set bound on the rest is always smaller.

Statement. Split S = S_p + S_b, let P depend on S_p only and Q on both. The PAC-Bayes-kl bound holds with n = |S_b| and
r(Q) measured on S_b. For every r = k/n, KL >= 0 and delta: Bin+(k, n, delta) <= kl^-1(r, ln(1/delta)/n) <= kl^-1(r,
(KL + ln(xi(n)/delta))/n), where Bin+ is the test-set bound of a net trained on S_p alone and tested on S_b.

Proof. Given S_p, P is fixed and S_b is i.i.d.: maurer2004_kl applies conditionally. The first inequality is Chernoff's
bound on the binomial tail (langford2005_occam_forms), the second holds because xi(n) >= 1 and KL >= 0. So a posterior
that uses S_b has to win by a smaller error, and `break_even_risk` says by how much.

Numbers. n = 30 000, delta = 0.025, 354 errors (1.18 %): the test-set bound is 1.31 %; the PAC-Bayes-kl bound with 2
sqrt(n), as published, is 1.55 %, 1.73 % and 2.35 % at KL = 5, 20 and 100. To break even at KL = 5 the posterior may
err on 0.98 %. A prior that has seen S_b spoils the premise: the best of 4096 guesses, as prior and posterior, has KL =
0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.informed_priors import break_even_risk
from boundlab.bounds.pac_bayes import pac_bayes_kl
from boundlab.concentration.binomial import upper_limit
from boundlab.concentration.chernoff import kl_inverse
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import xi_by_abel

THEOREM = Theorem(
    name="Data-dependent prior against the test-set bound",
    source="ours; the certificates compared are those of Perez-Ortiz et al., JMLR 22 (2021), as we understand it",
    given=(
        "P depends on S_p only",
        "r(Q) and the rival's errors are counted on S_b",
        "the rival is trained on S_p alone",
    ),
    claim=r"\mathrm{Bin}^+(k, n, \delta) \le \mathrm{kl}^{-1}(\tfrac kn, \tfrac{\ln(1/\delta)}{n}) \le "
    r"\mathrm{kl}^{-1}(\tfrac kn, \tfrac{\mathrm{KL} + \ln(\xi(n)/\delta)}{n})",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/informed_priors.py",
        old="rival = upper_limit(rival_errors, n, delta)",
        new="rival = 1.2 * upper_limit(rival_errors, n, delta)",
    ),
    Mutation(
        file="bounds/informed_priors.py",
        old="pac_bayes_kl(middle, divergence, n,",
        new="pac_bayes_kl(middle, 0.0, n,",
    ),
)

N, DELTA, WORDS = 200, 0.05, 4_096


def symbolic() -> str:
    divergence = sp.symbols("KL", nonnegative=True)
    x = sp.symbols("x", nonnegative=True)  # xi = 1 + x: its first term is 1 and all are positive
    gap = divergence + sp.log(1 + x)
    require(gap.subs({divergence: 0, x: 0}) == 0, "nothing is paid at KL = 0, xi = 1")
    require(sp.diff(gap, x).is_positive and sp.diff(gap, divergence) == 1, "the complexity rises in both")
    require(min(xi_by_abel(size) for size in range(1, 30)) >= 2, "xi >= 2")
    return "KL + ln xi(n) >= 0, rising in both, and xi(n) >= 2: the PAC-Bayes complexity exceeds ln(1/delta)"


def exact() -> str:
    cases = 0
    for n, delta in itertools.product((1, 10, 60), (0.5, 0.025)):
        for k in range(n):
            test, chernoff = upper_limit(k, n, delta), kl_inverse(k / n, -math.log(delta) / n)
            informed = [pac_bayes_kl(k / n, divergence, n, delta) for divergence in (0.0, 0.1, 30.0)]
            require(
                test <= chernoff * (1 + 1e-12) and chernoff <= min(informed), f"order at {k}/{n}: {test}, {informed}"
            )
            cases += 1
    for k, divergence, n in ((354, 5.0, 30_000), (100, 0.0, 10_000), (40, 2.0, 500), (0, 1.0, 500)):
        even, rival = break_even_risk(k, divergence, n, 0.025), upper_limit(k, n, 0.025)
        require(even == 0.0 or pac_bayes_kl(even, divergence, n, 0.025) <= rival, f"not even at {k}, {n}")
        require(pac_bayes_kl(even + 1e-9, divergence, n, 0.025) > rival, f"more is possible at {k}, {n}")
        require(Fraction(even) < Fraction(k, n) or k == even == 0, "the posterior has to err less")
    rows = [kl_inverse(0.0118, (d + math.log(2 * math.sqrt(30_000) / 0.025)) / 30_000) for d in (5, 20, 100)]
    test = upper_limit(354, 30_000, 0.025)
    shown = [f"{100 * v:.2f}" for v in (test, *rows)]
    require(shown == ["1.31", "1.55", "1.73", "2.35"], f"{shown}")
    return f"{cases} counts in order; at 1.18 % of 30000: test set {shown[0]} %, PAC-Bayes {', '.join(shown[1:])} %"


def certified(limit: Callable[[float], float], *, peeks: bool) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial: prior and posterior are the best of 4096 guesses on S_p, or on S_b where it peeks; R = 1/2."""
    limits = np.array([limit(k / N) for k in range(N + 1)])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        held = rng.binomial(N, 0.5, size=(n, WORDS)).min(axis=1) if peeks else rng.binomial(N, 0.5, size=n)
        return limits[held] < 0.5

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    trial = certified(lambda r: pac_bayes_kl(r, 0.0, N, DELTA), peeks=False)
    return judge(trial, delta=DELTA, trials=20_000 * effort, name="prior from the other half", block=100_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = certified(lambda r: kl_inverse(r, math.log(1 / DELTA) / factor / N), peeks=False)
        return violated(trial, delta=DELTA, trials=40_000, name="confidence divided")

    slack = smallest_sabotage(caught)
    peeking = certified(lambda r: pac_bayes_kl(r, 0.0, N, DELTA), peeks=True)
    require(violated(peeking, delta=DELTA, trials=60, name="peeks"), "a prior that has seen S_b was not caught")
    return Evidence(text=f"refuted: a prior that has seen S_b; ln(1/delta) alone, divided by {slack:g}", slack=slack)
