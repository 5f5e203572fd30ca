"""The released code's error u + sqrt(u² + 3u) is too small by up to sqrt(2): exact binomial tails exceed its delta.

Refuted. The code computes, with alpha = 2 A L, A = C S, L its logarithm of (number of events)/delta,

    eps_code(m) = (1/2) [sqrt(v² + 6 v) + v],   v = alpha/(3m).

With u = A L/(3m) = v/2 this is u + sqrt(u² + 3u). Bernstein's inequality gives u + sqrt(u² + 6u): the factors 1/2 and 2
cancel everywhere except inside the root, and the variance term comes out halved. Put into Bernstein's equation
m eps² = (6 + 2 eps) A L/3 it leaves the residual -A L = -alpha/2, for every u. The number of draws that it asks
for at a given eps is too small by the factor (6 + 2 eps)/(3 + 2 eps): 2 for small eps.

That no other proof can save it is shown by a row. Edges 1..A with equal weights, S the A unit vectors: s_j = 1, S = A,
C = 1, q_j = 1/A. At the first unit vector, which is one of S, the estimate is A/m times a Bin(m, 1/A) variable. For
A = 24, m = 5000, delta = 1e-8 the exact probability of an error above eps_code is 1.1e-6.

Dropping the 1/2 and the 2 gives the formula that holds: baykal2022_sipp_rand.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.error_functions import bernstein_eps, published_eps
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The error function of the released code",
    source="in the released code of Baykal et al. 2022, arXiv:1910.05422 (allocation of sampling budgets)",
    given=("one row, one sign, terms >= 0", "m independent draws from q_j = s_j/S", "g_j <= C s_j; A = C S"),
    claim=r"\Pr[|\hat z - z| > \epsilon z] \le \delta \text{ for } "
    r"\epsilon = \tfrac12\Big(\sqrt{v^2+6v}+v\Big),\ v = \frac{2 A \ln(2/\delta)}{3m}",
    status="refuted",
    finding="half of the variance term is missing: at A = 24, m = 5000 and delta = 1e-8 the chance is 1.1e-6.",
    ours="baykal2022_sipp_rand",
)

MUTATIONS = (
    Mutation(file="coresets/error_functions.py", old="np.sqrt(u * u + 6.0 * u)", new="np.sqrt(u * u + 3.0 * u)"),
    Mutation(file="coresets/error_functions.py", old="np.sqrt(u * u + 3.0 * u)", new="np.sqrt(u * u + 6.0 * u)"),
)

COUNTEREXAMPLES = ((24, 5_000, 1e-8), (8, 5_000, 1e-4), (24, 5_000, 1e-3), (100, 5_000, 1e-12))


def beyond(A: int, m: int, eps: float) -> Fraction:
    """P(|Bin(m, 1/A) A/m - 1| > eps) exactly, but for upper terms beyond 400 past the threshold: a lower bound."""
    limit = Fraction(eps)
    high = math.floor((1 + limit) * Fraction(m, A)) + 1
    low = math.ceil((1 - limit) * Fraction(m, A)) - 1
    return Fraction(_terms(A, m, high, min(m, high + 400)) + _terms(A, m, 0, low), A**m)


def _terms(A: int, m: int, first: int, last: int) -> int:
    """Sum of C(m, k) (A-1)^(m-k) over k = first..last; each term follows from the one before."""
    term, total = math.comb(m, first) * (A - 1) ** (m - first), 0
    for k in range(first, last + 1):
        total += term
        term = term * (m - k) // ((k + 1) * (A - 1))
    return total


def eps_of(formula, A: int, m: int, delta: float) -> float:
    return float(formula(np.array([float(A)]), m, delta)[0])


def symbolic() -> str:
    m, A, L, u = sp.symbols("m A L u", positive=True)
    alpha = 2 * A * L
    v = alpha / (3 * m)
    coded = (sp.sqrt(v**2 + 6 * v) + v) / 2
    mine = (u + sp.sqrt(u**2 + 3 * u)).subs(u, A * L / (3 * m))
    require(sp.simplify(coded - mine) == 0, "the coded formula must be u + sqrt(u² + 3u)")
    residual = sp.simplify(m * coded**2 - (6 + 2 * coded) * A * L / 3)
    require(sp.simplify(residual + alpha / 2) == 0, f"the residual in Bernstein's equation is -alpha/2, got {residual}")
    ratio = ((u + sp.sqrt(u**2 + 6 * u)) / (u + sp.sqrt(u**2 + 3 * u))) ** 2
    require(sp.limit(ratio, u, 0, "+") == 2, "for many draws it is too small by sqrt(2)")
    require(sp.limit(ratio, u, sp.oo) == 1, "for few by nothing")
    e = sp.symbols("e", positive=True)
    needed = (3 + 2 * e) * A * L / (3 * e**2)  # what eps_code = e asks for; Bernstein's is (6 + 2e) A L/(3 e²)
    require(sp.simplify(e**2 - (A * L / (3 * needed)) * (3 + 2 * e)) == 0, "eps² = u (3 + 2 eps)")
    require(sp.simplify(mine**2 - A * L / (3 * m) * (3 + 2 * mine)) == 0, "is what the coded error solves")
    return "eps_code = u + sqrt(u² + 3u); residual -alpha/2 in Bernstein's equation; too small by up to sqrt(2)"


def exact() -> str:
    told = []
    for A, m, delta in COUNTEREXAMPLES:
        coded = beyond(A, m, eps_of(published_eps, A, m, delta))
        require(coded > 2 * Fraction(delta), f"A = {A}, m = {m}: {float(coded)} against delta = {delta}")
        ours = beyond(A, m, eps_of(bernstein_eps, A, m, delta))
        require(ours < Fraction(delta), f"the corrected error must hold at A = {A}, m = {m}, got {float(ours)}")
        v = 2 * A * math.log(2 / delta) / (3 * m)
        quoted = (math.sqrt(v * v + 6 * v) + v) / 2
        require(abs(eps_of(published_eps, A, m, delta) / quoted - 1) < 1e-11, "the shipped form must be the coded one")
        told.append(f"A = {A}, m = {m}: {float(coded):.2g} > {delta:g}, corrected {float(ours):.1g}")
    return "; ".join(told)


def misses(formula):
    """Trials: do 20000 draws of 24 equal edges err by more than the formula's eps at the first unit vector?"""
    A, m = 24, 20_000
    eps = eps_of(formula, A, m, 1e-3)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        indptr, q = np.arange(n + 1, dtype=np.int64) * A, np.full(n * A, 1 / A)
        counts = draw_counts(q, indptr, np.full(n, m), rng).reshape(n, A)
        return np.abs(counts[:, 0] * (A / m) - 1) > eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    coded = judge(misses(published_eps), delta=1e-3, trials=8_000 * effort, name="coded, A = 24", expect="violated")
    ours = judge(misses(bernstein_eps), delta=1e-3, trials=14_000 * effort, name="corrected, A = 24")
    return Evidence(text=f"coded: {coded.text}; corrected: {ours.text}", trials=coded.trials + ours.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return any(
            beyond(A, m, eps_of(bernstein_eps, A, m, delta) / factor) > Fraction(delta)
            for A, m, delta in COUNTEREXAMPLES[:2]
        )

    slack = smallest_sabotage(caught)
    A, m, delta = COUNTEREXAMPLES[0]
    u = A * math.log(2 / delta) / (3 * m)
    for variance in (3, 4):  # the coded 3u, and one nearer to Bernstein's 6u
        lost = beyond(A, m, u + math.sqrt(u * u + variance * u))
        require(lost > Fraction(delta), f"u + sqrt(u² + {variance}u) was not caught: {float(lost)}")
    return Evidence(text=f"the corrected eps survives; refuted: eps / {slack:g}, 3u and 4u for 6u (exact)", slack=slack)
