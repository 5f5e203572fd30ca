"""The counts of m draws are one of N(d, m) = sum_k C(d,k) C(m-1,k-1) 2^k integer vectors on a sphere of the l1 norm.

Proof. Choose the k places that are not 0, write m as an ordered sum of k positive parts, choose k signs. The last entry
gives the recursion N(d, m) = N(d-1, m) + N(d, m-1) + N(d-1, m-1): it is 0; or moving it one step to 0 leaves a vector
of norm m - 1 whose last entry has the same sign, or is 0, in which case two signs were possible. Since a signed vector
determines counts on 2d signed edges, N(d, m) <= C(m+2d-1, m) <= (e (m+2d)/m)^m. The uniform prior 1/N(d, m) sums to 1.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.counts import log_sphere_size, sphere_nats
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="The pyramid code: integer vectors on an l1 sphere",
    source="Fischer (1986), the number of points of a pyramid vector quantiser, as we understand the paper; "
    "item number not known to us",
    given=("m draws of d edges with fixed signs, or any signed counts",),
    claim=r"N(d,m) = \sum_k \binom dk \binom{m-1}{k-1} 2^k \le (e(m+2d)/m)^m, \quad \sum_z 1/N(d,m) = 1",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="codes/counts.py",
        old="_log_choose(norm - 1, k - 1) + k * math.log(2.0)",
        new="_log_choose(norm - 1, k - 1)",
    ),
    Mutation(
        file="codes/counts.py", old="k = np.arange(1, min(length, norm) + 1)", new="k = np.arange(1, min(length, norm))"
    ),
    Mutation(file="codes/counts.py", old="a - b - c + _SLACK * (a + b + c)", new="a - b - c"),
)


def vectors(d: int, m: int) -> list[tuple[int, ...]]:
    """Every integer vector of length d with l1 norm m."""
    return [z for z in itertools.product(range(-m, m + 1), repeat=d) if sum(map(abs, z)) == m]


def count(d: int, m: int) -> int:
    return sum(math.comb(d, k) * math.comb(m - 1, k - 1) * 2**k for k in range(1, min(d, m) + 1))


def symbolic() -> str:
    # generating function: sum_m N(d, m) t^m = ((1+t)/(1-t))^d, of which the recursion is (1-t) F_d = (1+t) F_{d-1}
    t, d = sp.symbols("t d", positive=True)
    F = ((1 + t) / (1 - t)) ** d
    require(sp.simplify(sp.powsimp(F / F.subs(d, d - 1)) - (1 + t) / (1 - t)) == 0, "(1-t) F_d = (1+t) F_{d-1}")
    one = sp.series((1 + t) / (1 - t), t, 0, 6).removeO()
    require(one == 1 + 2 * t + 2 * t**2 + 2 * t**3 + 2 * t**4 + 2 * t**5, "one entry: 0, or +-v for each v >= 1")
    for length in (2, 3, 4):
        poly = sp.series(F.subs(d, length), t, 0, 6).removeO()
        require(all(poly.coeff(t, m) == count(length, m) for m in range(1, 6)), f"coefficients at d = {length}")
    # C(m+r, m) x^m (1-x)^r <= (x + 1 - x)^(m+r) = 1 at x = m/(m+r): C(m+r, m) <= ((m+r)/m)^m ((m+r)/r)^r, and
    # ((m+r)/r)^r = (1 + m/r)^r <= e^m by ln(1+u) <= u
    u, m_, r = sp.symbols("u m r", positive=True)
    x = m_ / (m_ + r)
    require(sp.simplify(x**m_ * (1 - x) ** r * ((m_ + r) / m_) ** m_ * ((m_ + r) / r) ** r) == 1, "at x = m/(m+r)")
    gap = u - sp.log(1 + u)
    require(gap.subs(u, 0) == 0 and sp.simplify(sp.diff(gap, u) - u / (1 + u)) == 0, "ln(1+u) <= u")
    return "sum_m N(d,m) t^m = ((1+t)/(1-t))^d gives the recursion; C(m+2d-1,m) <= (e(m+2d)/m)^m by ln(1+u) <= u"


def exact() -> str:
    checked = 0
    for d, m in itertools.product(range(1, 5), range(1, 6)):
        found = vectors(d, m)
        require(len(found) == count(d, m), f"N({d}, {m}) = {len(found)}")
        shipped = log_sphere_size(d, m)
        require(math.log(len(found)) <= shipped <= math.log(len(found)) + 1e-10, f"ln N({d}, {m}) rounded down")
        kraft = sum((Fraction(1) for _ in found), Fraction(0)) / count(d, m)
        require(kraft == 1 and len(found) * math.exp(-sphere_nats(np.array(found[0]))) <= 1, "Kraft's sum")
        checked += len(found)
    for d, m in itertools.product((1, 2, 7, 50, 400), repeat=2):
        want = count(d, m)
        require(want <= math.comb(m + 2 * d - 1, m), f"N({d}, {m}) <= C(m+2d-1, m)")
        require(math.log(want) <= log_sphere_size(d, m) <= m * math.log(math.e * (m + 2 * d) / m), f"at {d}, {m}")
        require(log_sphere_size(d, m) <= math.log(want) * (1 + 1e-9) + 1e-9, f"tight at {d}, {m}")
    for d, m in itertools.product((10**5 + 3, 654_321, 3_000_001), (1, 2, 3, 5)):  # differences of large gammaln
        want, got = math.log(count(d, m)), log_sphere_size(d, m)
        require(want <= got <= want + 1e-5, f"ln N({d}, {m}) = {want}, shipped {got}: rounded down")
    return f"{checked} vectors enumerated for d <= 4, m <= 5: counts and Kraft sums; ln N to d = 3,000,001 from above"


monte_carlo = not_applicable("a counting identity; no probability is claimed")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # a price of ln(N/factor): the prior then sums to more than 1
        return any(
            count(d, m) * math.exp(-(log_sphere_size(d, m) - math.log(factor))) > 1 + 1e-9 for d, m in ((2, 3), (3, 2))
        )

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a prior {slack:g} times too generous breaks Kraft's inequality", slack=slack)
