"""Coresets of size polylogarithmic in n and polynomial in d for every SVM data set do not exist: refuted.

The claim, from the abstract as we understand it: for every set of n points with d features there is an eps-coreset of
size at most C (d ln n/eps)^k, for some constants C and k.

For a fixed lam. On the hard instance (``tukan2021_lower_bound``) n = C(d, d/2) >= 2^d/(d+1), and every eps-coreset with
eps < 4 lam/(d² + 4 lam) has all n points. Take half of that eps: 1/eps = (d² + 4 lam)/(2 lam) is a polynomial in d, and
ln n <= d ln 2, so that the claimed size is a polynomial in d while the needed one grows like 2^d/d. For lam = d² the
same happens at a constant eps, 4/5.

The later paper (``tukan2021``) states a lower bound of this kind itself; there the total sensitivity, on these data
(d² + 8 n lam)/(d² + 8 lam), carries the dependence on n.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import sympy as sp

from boundlab.coresets.svm.lower_bound import eps_floor, hard_instance
from boundlab.coresets.svm.sampling import draw_weights
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.tukan2021_lower_bound import errors

THEOREM = Theorem(
    name="Polylogarithmic coresets for every SVM",
    source="Training Support Vector Machines using Coresets, 2017, arXiv:1708.03835, abstract, as we understand it",
    given=("any set of n points with d features", "lam fixed, eps in (0, 1)"),
    claim=r"\exists\,C, k:\ \text{every } P \text{ has an } \epsilon\text{-coreset with at most } "
    r"C\,(d \ln n/\epsilon)^k \text{ points}",
    status="refuted",
    finding="on C(d, d/2) unit vectors every coreset with eps below 4 lam/(d² + 4 lam) keeps all points; with lam = d² "
    "already at eps = 0.79",
    ours="tukan2021_lower_bound",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/lower_bound.py",
        old="return reach / (float(d * d) + reach) * DOWN",
        new="return reach / (float(d) + reach) * DOWN",
    ),
)


def crossing(C: int, k: int, lam: float) -> int:
    """The least even d from which on (checked for 40 more) n exceeds C (d ln n/eps)^k, eps = half the floor."""

    def above(d: int) -> bool:
        eps = 0.5 * eps_floor(d, lam)
        n = math.comb(d, d // 2)
        return math.log(n) > math.log(C) + k * (math.log(d) + math.log(math.log(n)) - math.log(eps))

    d = 4
    while not all(above(e) for e in range(d, d + 82, 2)):
        d += 2
    return d


def symbolic() -> str:
    d, lam = sp.symbols("d lambda", positive=True)
    inverse = 2 * (d**2 + 4 * lam) / (4 * lam)
    require(sp.degree(sp.Poly(sp.expand(d * d * inverse), d)) == 4, "d ln n/eps is at most a polynomial of degree 4")
    for power in (1, 5, 20):
        ratio = (d**4) ** power * (d + 1) / 2**d
        require(sp.limit(ratio, d, sp.oo) == 0, f"2^d/(d+1) must outgrow d^(4 * {power})")
    require(sp.limit(4 * d**2 / (d**2 + 4 * d**2), d, sp.oo) == sp.Rational(4, 5), "lam = d²: the floor is 4/5")
    for e in range(2, 60, 2):
        require(math.comb(e, e // 2) * (e + 1) >= 2**e, "the central one of d + 1 binomials is at least their mean")
    return "n >= 2^d/(d+1), d ln n/eps = O(d^4): the claimed size is negligible for every k; lam = d²: eps = 4/5"


def exact() -> str:
    found = []
    for C, k in ((1, 1), (100, 2), (10**6, 4), (10**9, 8)):
        d = crossing(C, k, 1.0)
        n, eps = math.comb(d, d // 2), 0.5 * eps_floor(d, 1.0)
        require(n > C * (d * math.log(n) / eps) ** k, f"C = {C}, k = {k}: n must exceed the claimed size at d = {d}")
        found.append(f"C = {C:g}, k = {k}: d = {d}")
    for d in (2, 4, 6):  # small enough to try every subset that leaves one point out, with the best total weight
        n = math.comb(d, d // 2)
        x, _ = hard_instance(d)
        require(x.shape == (n, d) and len(np.unique(np.round(x, 9), axis=0)) == n, "n distinct points")
        for lam, out in itertools.product((1.0, float(d * d)), range(n)):
            grid = np.linspace(0.2, 2.0, 181)[:, None] * n / max(1, n - 1)
            v = np.where(np.arange(n) == out, 0.0, grid)
            require(np.all(errors(v, d, lam) >= eps_floor(d, lam)), f"d = {d}: point {out} can be left out")
    return f"n exceeds C (d ln n/eps)^k at {'; '.join(found)}; no point can be left out for d = 2, 4, 6"


def polylog(size: int, d: int):
    """A trial: `size` draws from the hard instance, lam = d², err by more than eps = 0.79 somewhere."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        points = math.comb(d, d // 2)
        v = draw_weights(np.ones(points), np.ones(points), size, rng, coresets=n)
        return errors(v, d, float(d * d)) > 0.79

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    d = 10
    n = math.comb(d, d // 2)
    size = math.ceil(d * math.log(n))  # 56 of 252 points
    return judge(polylog(size, d), delta=0.1, trials=300 * effort, name=f"{size} of {n} points", expect="violated")


def teeth() -> Evidence:
    d = 4
    n = math.comb(d, d // 2)

    def caught(factor: float) -> bool:
        return violated(polylog(math.ceil(20 * n / factor), d), delta=0.1, trials=500, name="draws on 6 points")

    slack = smallest_sabotage(caught)
    whole = errors(np.ones((1, n)), d, 1.0)
    require(float(whole[0]) < 1e-12, "keeping every point has no error")
    text = f"20 n draws, which keep every point, pass; divided by {slack:g} they are refuted on 6 points"
    return Evidence(text=text, slack=slack)
