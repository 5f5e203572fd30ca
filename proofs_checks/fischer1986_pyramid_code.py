"""The counts of m draws are one of N(d, m) = sum_k C(d,k) C(m-1,k-1) 2^k integer vectors on a sphere of the l1 norm.

Proof. Choose the k places that are not 0, write m as an ordered sum of k positive parts, choose k signs. The last entry
gives the recursion N(d, m) = N(d-1, m) + N(d, m-1) + N(d-1, m-1): it is 0; or moving it one step to 0 leaves a vector
of norm m - 1 whose last entry has the same sign, or is 0, in which case two signs were possible. Since a signed vector
determines counts on 2d signed edges, N(d, m) <= C(m+2d-1, m) <= (e (m+2d)/m)^m. The uniform prior 1/N(d, m) sums to 1.

The nearest point of the sphere to v = m w/|w|_1, in the Euclidean norm: signs as in w, sizes |v_j| rounded down, and
what is missing to m given to the largest remainders. Proof. A sign against v_j only adds to the distance. Let z be a
nearest point with signs as in w, and t_j = |z_j| - |v_j|, of sum 0. Moving one unit from i to j changes the squared
distance by 2 (t_j - t_i + 1): no t_i exceeds a t_j by more than 1. So all t lie in an interval of length 1 with 0 in
it, none at 1 or -1 since their sum is 0: each |z_j| is |v_j| rounded down or up. Of these points those nearest round up
where the remainder r_j is largest: rounding up rather than down adds 1 - 2 r_j.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.codes.counts import log_sphere_size, sphere_nats
from boundlab.codes.pyramid import nearest_on_sphere
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import prove, reals

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
    Mutation(file="codes/pyramid.py", old="z += rank < missing[:, None]", new="z += rank <= missing[:, None]"),
    Mutation(
        file="codes/pyramid.py",
        old='order = np.argsort(z - exact, axis=1, kind="stable")',
        new='order = np.argsort(exact - z, axis=1, kind="stable")',
    ),
    Mutation(file="codes/pyramid.py", old="    z = np.floor(exact)", new="    z = np.rint(exact)"),
    Mutation(file="codes/pyramid.py", old="np.where(rows < 0, -z, z)", new="np.where(rows < 0, z, -z)"),
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
    vi, vj, zi, zj, shift = reals("vi vj zi zj shift")
    moved = (zi - 1 - vi) ** 2 + (zj + 1 - vj) ** 2 < (zi - vi) ** 2 + (zj - vj) ** 2
    prove(moved, zi - vi > shift, zj - vj < shift - 1)
    return (
        "sum_m N(d,m) t^m = ((1+t)/(1-t))^d gives the recursion; C(m+2d-1,m) <= (e(m+2d)/m)^m by ln(1+u) <= u; "
        "a unit moved towards w brings a point nearer"
    )


def nearest() -> int:
    """Rows of whole numbers against all points of the sphere, by exact distances."""
    rng, checked = np.random.default_rng(1986), 0
    for d, m in itertools.product(range(1, 5), range(1, 6)):
        points = vectors(d, m)
        rows = rng.integers(-9, 10, size=(12, d))
        rows[0] = 1  # all remainders are equal
        rows[1] = np.arange(d) == 0
        for row, z in zip(rows.tolist(), nearest_on_sphere(rows.astype(float), m).tolist(), strict=True):
            total = sum(map(abs, row))
            if not total:
                require(not any(z), "a row of zeros stays 0")
                continue

            def distance(p, row=row, total=total, m=m) -> Fraction:
                return sum(((Fraction(m * w, total) - v) ** 2 for w, v in zip(row, p, strict=True)), Fraction(0))

            require(sum(map(abs, z)) == m, f"{z} is not of norm {m}")
            require(distance(z) == min(map(distance, points)), f"{z} is not the nearest point to {row}, norm {m}")
            checked += 1
    return checked


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
    return (
        f"{checked} vectors enumerated for d <= 4, m <= 5: counts and Kraft sums; ln N to d = 3,000,001 from above; "
        f"{nearest()} nearest points"
    )


monte_carlo = not_applicable("a counting identity; no probability is claimed")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # a price of ln(N/factor): the prior then sums to more than 1
        return any(
            count(d, m) * math.exp(-(log_sphere_size(d, m) - math.log(factor))) > 1 + 1e-9 for d, m in ((2, 3), (3, 2))
        )

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a prior {slack:g} times too generous breaks Kraft's inequality", slack=slack)
