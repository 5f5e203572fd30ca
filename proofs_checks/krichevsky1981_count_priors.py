"""Multinomial and Dirichlet(1/2) prices of signed counts: normalised priors that do not pay for the order of draws.

Proof. Counts of m draws from 2d signed edges have the multinomial law, which sums to 1; a signed vector z uses one of
the two edges of each place only, so that the z sum to at most 1. Averaging the multinomial over pi ~ Dirichlet(1/2)
gives the closed form with Gamma functions, and an average of laws is a law. Pricing the m draws one by one, m ln(2d),
pays ln m!/prod c_j! more: the order, which nobody needs.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.counts import dirichlet_nats, multinomial_nats
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.fischer1986_pyramid_code import vectors
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="Multinomial and Dirichlet prices of counts",
    source="Krichevsky and Trofimov (1981), the Dirichlet(1/2) mixture, as we understand the paper; item number not "
    "known to us",
    given=("z of norm m; pi fixed before the data",),
    claim=r"\sum_z m!\prod_j \pi_j^{c_j}/c_j! \le 1, \quad "
    r"\sum_z \frac{m!}{\prod c_j!}\frac{\Gamma(M/2)}{\Gamma(M/2+m)}"
    r"\prod_j\frac{\Gamma(c_j+\frac12)}{\Gamma(\frac12)} \le 1",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/counts.py",
        old="return -arrangements - draws + slack + more + 1e-12",
        new="return -2 * arrangements - draws + slack + more + 1e-12",
    ),
    Mutation(
        file="codes/counts.py", old="counts, M = np.abs(z), 2.0 * len(z)", new="counts, M = np.abs(z), 1.0 * len(z)"
    ),
    Mutation(
        file="codes/counts.py",
        old="return float(logs.sum()) - m * math.log(math.fsum(law.ravel())),",
        new="return float(logs.sum()),",
    ),
    Mutation(
        file="codes/counts.py",
        old="counts = np.stack([np.maximum(z, 0), np.maximum(-z, 0)])",
        new="counts = np.stack([np.abs(z), np.zeros_like(z)])",
    ),
    Mutation(
        file="codes/counts.py",
        old="+ slack + _SLACK * sizes + 1e-12",
        new="+ 1e-12",
    ),
)


def multinomial(z: tuple[int, ...]) -> Fraction:
    """Uniform pi on 2d signed edges."""
    m, M = sum(map(abs, z)), 2 * len(z)
    return Fraction(math.factorial(m), math.prod(math.factorial(abs(v)) for v in z)) * Fraction(1, M) ** m


def dirichlet(z: tuple[int, ...]) -> Fraction:
    m, M = sum(map(abs, z)), 2 * len(z)
    rising = math.prod((Fraction(M, 2) + i for i in range(m)), start=Fraction(1))
    half = math.prod((Fraction(1, 2) + i for v in z for i in range(abs(v))), start=Fraction(1))
    return Fraction(math.factorial(m), math.prod(math.factorial(abs(v)) for v in z)) * half / rising


def given(z: tuple[int, ...], law: list[list[Fraction]]) -> Fraction:
    """Product of the probabilities of the signed edges that z uses."""
    return math.prod((law[int(v < 0)][j] ** abs(v) for j, v in enumerate(z)), start=Fraction(1))


def symbolic() -> str:
    a, b, x = sp.symbols("a b x", positive=True)
    half = sp.Rational(1, 2)
    beta = sp.integrate(x ** (a - half) * (1 - x) ** (b - half), (x, 0, 1))
    closed = sp.gamma(a + half) * sp.gamma(b + half) / sp.gamma(a + b + 1)
    require(sp.simplify(beta.rewrite(sp.gamma) - closed) == 0, "two edges: the Beta integral")
    # the mixture as a product of predictive probabilities: an edge seen c times in m draws has (c + 1/2)/(m + M/2)
    for seen in range(6):
        require(sp.gamma(seen + 1 + half) / sp.gamma(seen + half) == seen + half, "Gamma(u + 1) = u Gamma(u)")
    c = sp.symbols("c1:5", nonnegative=True)
    weights = [v + half for v in c]
    require(sp.expand(sum(weights) - (sum(c) + sp.Rational(len(c), 2))) == 0, "they sum to 1 over the M edges")
    return "Beta integral; predictive probabilities (c + 1/2)/(m + M/2) sum to 1 over the edges: a law of sequences"


def exact() -> str:
    sums = []
    for d, m in itertools.product((1, 2, 3), (1, 2, 3, 4, 5)):
        found = vectors(d, m)
        for exactly, shipped in ((multinomial, multinomial_nats), (dirichlet, dirichlet_nats)):
            total = sum((exactly(z) for z in found), Fraction(0))
            require(total <= 1, f"{exactly.__name__} at d={d}, m={m} sums to {total}")
            for z in found:
                nats = shipped(np.array(z))
                require(-math.log(exactly(z)) <= nats <= -math.log(exactly(z)) + 1e-9, f"{exactly.__name__} of {z}")
            sums.append(float(total))
    law = [[Fraction(1, 2), Fraction(1, 8)], [Fraction(1, 4), Fraction(1, 8)]]
    for z in vectors(2, 4):  # a given prior, its edges of either sign at their own probabilities
        want = math.log(Fraction(math.factorial(4), math.prod(math.factorial(abs(v)) for v in z)) * given(z, law))
        for total in (1.0, 1.0 + 9e-10):  # the sum of the given numbers may be off by 1e-9: it is divided out
            nats = multinomial_nats(np.array(z), np.array(law, float) * total)
            require(-want <= nats <= -want + 1e-9, f"{z} under a prior of sum {total}: {nats} against {-want}")
    for d in (10**5 + 3, 654_321):  # one draw of d edges: 1/(2d) under either prior
        z = np.zeros(d, int)
        z[7] = -1
        for price in (multinomial_nats, dirichlet_nats):
            require(math.log(2 * d) <= price(z) <= math.log(2 * d) + 1e-5, f"{price.__name__} at d = {d}")
    order = 3 * math.log(4) - multinomial_nats(np.array([2, 1]))
    require(abs(order - math.log(3)) < 1e-9, "pricing (2, 1) draw by draw pays ln 3!/2!1! more")
    return f"sums in [{min(sums):.3f}, {max(sums):.3f}] over {len(sums)} alphabets; the order of (2, 1) is worth ln 3"


monte_carlo = not_applicable("identities of sums; no probability is claimed")


def teeth() -> Evidence:
    found = [np.array(z) for z in vectors(1, 1)]  # there both priors sum to exactly 1

    def caught(factor: float) -> bool:
        prices = (multinomial_nats, dirichlet_nats)
        return any(math.fsum(math.exp(-price(z)) * factor for z in found) > 1 + 1e-9 for price in prices)

    slack = smallest_sabotage(caught)
    return Evidence(text=f"prices lower by ln {slack:g} break Kraft's inequality at d = m = 1", slack=slack)
