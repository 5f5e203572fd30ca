"""Cutting a sensitivity bound at u min(term, 1) is wrong for weights below 1; the valid cut is min(1, u term): refuted.

The released code multiplies the weight in after the cut: u_p min(term_p, 1), where u_p term_p is its bound. A
sensitivity is at most 1, not at most u_p. For u <= 1 always u min(T, 1) <= min(1, u T), strictly if T > 1 and u < 1;
for u >= 1 the inequality turns round, and the code's cut is valid but useless.

Counterexample. Multiply all weights by c and divide lam by c: F, f u and every sensitivity stay the same, and so does
u term. The released value does not: on 200 points of weight 1/200, lam = 200, 99 at x = 1, one at 1/2, 100 at -1 of the
other class, the odd point in a cluster of its own has the term 1/U(B) + ... >= 200, so that its value is 1/200, while
its share at w = 1 is 201/400: 100.5 times too small. With n points of weight 1/n the factor is about n/2.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab.coresets.svm.sensitivity import (
    REPAIR,
    Clusters,
    clusters_of,
    published_sensitivities,
    released_clip,
    sensitivities,
)
from boundlab.coresets.svm.worst_query import minimum, true_sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_sensitivity import line, reals, rounded
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="The cut of a sensitivity bound before its weight",
    source="in the released code of Tukan et al. 2021, arXiv:2002.06469 (the cut stands before the weight)",
    given=("s(p) <= u_p T_p for every point", "weights u > 0, as they occur in a weighted set"),
    claim=r"s(p) \le u_p \min(T_p, 1)",
    status="refuted",
    finding="for u < 1 it cuts at u: 1/200 for a true sensitivity of 0.50 on 200 points of weight 1/200",
    ours="boundlab_svm_sensitivity",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/sensitivity.py",
        old="return np.minimum(1.0, clusters.u * (1.0 / clusters.mass + lam * excess(z, alpha)) * clusters.up)",
        new="return clusters.u * np.minimum(1.0, (1.0 / clusters.mass + lam * excess(z, alpha)) * clusters.up)",
    ),
)


def valid_term(c: Clusters, lam: float, opt: float) -> np.ndarray:
    """T with s <= u T, from the published bound and its repair; not cut."""
    return REPAIR * published_sensitivities(c, lam=lam, opt=opt) / c.u


def symbolic() -> str:
    u, T = reals("u T")
    least: Any = z3.If(T < 1, u * T, u)
    cut: Any = z3.If(u * T < 1, u * T, z3.RealVal(1))
    prove(least <= cut, u > 0, u <= 1, T >= 0)
    prove(least < cut, u > 0, u < 1, T > 1)
    prove(least >= cut, u >= 1, T >= 0)
    c, weight, lam, h, r, total = sp.symbols("c u lambda h r U", positive=True)
    one = weight * (r**2 / (2 * total) + lam * h)
    scaled = (c * weight) * (r**2 / (2 * c * total) + lam / c * h)
    require(sp.simplify(one - scaled) == 0, "u f must not change when u is multiplied and lam divided by c")
    return "u min(T,1) <= min(1,uT) for u <= 1, strictly if T > 1 > u, and >= for u >= 1 (z3); u f is scale-free"


def exact() -> str:
    tiny, odd = Fraction(1, 256), Fraction(1, 2)  # 256 for 200, so that the weights are floats
    instance = rounded(line([1, odd, 1], [99 * tiny, tiny, 100 * tiny], 256))
    share = instance.u[1] * instance.loss(1, Fraction(1)) / instance.value(Fraction(1))
    require(share == Fraction(201, 400), f"the share must not depend on the scale, it is {share}")
    z, u = np.array([1.0, 0.5, 1.0]), np.array([99.0, 1.0, 100.0])
    c = clusters_of(z[:, None], u / 256, [0, 1, 2])
    opt = minimum(z, u / 256, lam=256.0)[1]
    released = float(released_clip(c.u, valid_term(c, 256.0, opt))[1])
    own = Fraction(float(sensitivities(c, lam=256.0, opt=opt)[1]))
    require(released == 1 / 256 and Fraction(released) < share, f"the released cut must be 1/256, it is {released}")
    require(instance.exceeding(1, own) is None, "ours must hold at every w")
    heavy = np.linspace(0, 3, 31)
    require(np.all(released_clip(np.array(2.0), heavy) >= np.minimum(1, 2 * heavy)), "for u = 2 the cut is valid")
    return f"weight 1/256: s >= 201/400 in fractions, released cut {released:.5f}"


def light(kind: str):
    """A trial: random light weights, each class in three clusters; is a cut value below the exact sensitivity?"""

    def one(rng: np.random.Generator) -> bool:
        z, u = rng.normal(1, 0.4, 20), rng.uniform(0.002, 0.06, 20)
        c, opt = clusters_of(z[:, None], u, rng.integers(0, 6, 20)), minimum(z, u, lam=10.0)[1]
        term, s = valid_term(c, 10.0, opt), true_sensitivities(z, u, lam=10.0)
        value = released_clip(u, term) if kind == "released" else np.minimum(1.0, u * term)
        return bool(np.any(s > value * (1 + 1e-9)))

    return lambda rng, n: np.array([one(rng) for _ in range(n)], bool)


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 300 * effort
    bad = judge(light("released"), delta=0.05, trials=trials, name="cut before the weight", expect="violated")
    good = judge(light("after"), delta=0.05, trials=trials, name="cut after the weight")
    return Evidence(text=f"before: {bad.text}; after: {good.text}", trials=2 * trials)


def teeth() -> Evidence:
    z, u = np.array([1.0, 0.0, 1.0]), np.array([99.0, 1.0, 100.0])  # s = 2/3 for the point at 0, whatever the scale
    c, opt = clusters_of(z[:, None], u, [0, 0, 1]), minimum(z, u, lam=1.0)[1]
    s, term = float(true_sensitivities(z, u, lam=1.0)[1]), float(valid_term(c, 1.0, opt)[1])
    slack = smallest_sabotage(lambda scale: s > float(released_clip(np.array(1 / scale), np.array(term * scale))))
    require(s <= float(released_clip(np.array(1.0), np.array(term))), "at u = 1 both cuts are the same")
    text = f"s = {s:.4f}: with u = 1 the cut holds, with all weights divided by {slack:g} (and lam multiplied) it fails"
    return Evidence(text=text, slack=slack)
