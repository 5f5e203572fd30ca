"""How many, where, how large, which signs: the support-first price of counts is a normalised prior.

Proof. Given d and m, the number k of non-zero entries lies in 1 ... min(d, m); there are C(d, k) supports,
C(m-1, k-1) ordered sums of m into k positive parts and 2^k signs, each taken uniformly. The product of the four
probabilities sums to 1 over all z of norm m. Against the uniform prior 1/N(d, m) it is cheaper on sparse z.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.counts import sphere_nats, support_first_nats
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.fischer1986_pyramid_code import vectors
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="The support-first price of sampled counts",
    source="ours; the usual two-part code for sparse integer vectors",
    given=("integer vectors z of length d with |z|_1 = m, both known to the decoder",),
    claim=r"\sum_{|z|_1=m} \frac{1}{\min(d,m)\binom dk\binom{m-1}{k-1}2^k} = 1",
    status="holds",
)

MUTATIONS = (
    Mutation(file="codes/counts.py", old="nats = math.log(min(d, m)) + float(", new="nats = float("),
    Mutation(
        file="codes/counts.py", old="return (nats + k * math.log(2.0)) * _UP + 1e-12", new="return nats * _UP + 1e-12"
    ),
    Mutation(
        file="codes/counts.py",
        old="float(_log_choose(d, np.array(k)) + _log_choose(m - 1, np.array(k - 1)))",
        new="float(_log_choose(d, np.array(k)))",
    ),
    Mutation(file="codes/counts.py", old="a - b - c + _SLACK * (a + b + c)", new="a - b - c"),
)


def prior(z: tuple[int, ...]) -> Fraction:
    d, m, k = len(z), sum(map(abs, z)), sum(v != 0 for v in z)
    return Fraction(1, min(d, m) * math.comb(d, k) * math.comb(m - 1, k - 1) * 2**k)


def symbolic() -> str:
    m, k = sp.symbols("m k", positive=True, integer=True)
    # ordered sums of m into k positive parts: put k - 1 bars into m - 1 gaps; the generating function is (t/(1-t))^k
    t = sp.symbols("t")
    for parts in (1, 2, 3, 4):
        poly = sp.series((t / (1 - t)) ** parts, t, 0, 9).removeO()
        require(all(poly.coeff(t, n) == math.comb(n - 1, parts - 1) for n in range(parts, 9)), f"{parts} parts")
    pascal = sp.binomial(m, k) - sp.binomial(m - 1, k - 1) - sp.binomial(m - 1, k)
    require(sp.simplify(sp.gammasimp(pascal.rewrite(sp.gamma))) == 0, "the induction on m is Pascal's rule")
    return "C(m-1,k-1) ordered sums, from (t/(1-t))^k; each stage uniform: the product sums to 1"


def exact() -> str:
    checked, cheaper = 0, 0
    for d, m in itertools.product(range(1, 5), range(1, 6)):
        found = vectors(d, m)
        require(sum((prior(z) for z in found), Fraction(0)) == 1, f"Kraft's sum at d={d}, m={m}")
        shipped = [support_first_nats(np.array(z)) for z in found]
        for z, nats in zip(found, shipped, strict=True):
            require(-math.log(prior(z)) <= nats <= -math.log(prior(z)) + 1e-10, f"price of {z}")
            cheaper += nats < sphere_nats(np.array(z)) - 1e-9
        require(math.fsum(math.exp(-v) for v in shipped) <= 1, "the shipped prices satisfy Kraft")
        checked += len(found)
    for d in (10**5 + 3, 654_321, 3_000_001):  # differences of large gammaln
        z = np.zeros(d, int)
        z[[3, 17]] = (5, -2)
        want = math.log(7 * math.comb(d, 2) * 6 * 2**2)
        got = support_first_nats(z)
        require(want <= got <= want + 1e-5, f"d = {d}: {got} against {want}")
    return f"{checked} vectors: sums are exactly 1; cheaper than the uniform price on {cheaper}"


monte_carlo = not_applicable("a counting identity; no probability is claimed")


def teeth() -> Evidence:
    found = [np.array(z) for z in vectors(3, 4)]

    def caught(factor: float) -> bool:
        return math.fsum(math.exp(-support_first_nats(z)) * factor for z in found) > 1 + 1e-9

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a price lower by ln {slack:g} breaks Kraft's inequality", slack=slack)
