"""The size theorem for SVM coresets is empty on the data sets of its paper: the sizes exceed the number of points.

The theorem, as we understand it: m = Omega((t/eps²)(d ln t + ln(1/delta))) draws give an eps-coreset with probability 1
- delta, eps in (0, 1/2), by the reduction to (nu, alpha)-samples; the constant is not stated. With valid sensitivities
it is true: ``boundlab_svm_size`` has its order, with the constant 4 (1 + eps)(d + 2)/d in the limit of large t, for ln
m/ln t -> 1 there.

Measured with the paper's own totals t, as we understand its table, at eps = 0.2 and delta = 0.05: with constants that
are proved, m is 10 to 360,000 times n on all six sets, and it exceeds n for every eps up to 1/2. With the constant 1,
for which there is no proof, m is below n on one set of six. A coreset of m >= n draws is no compression: keep the data.
What the paper shows by its experiments at small sizes is not touched by this.
"""

from __future__ import annotations

import math

import numpy as np
import sympy as sp

from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from boundlab.coresets.svm.size import certified_eps, coreset_size, published_size
from boundlab.coresets.svm.worst_query import extremes, minimum
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_svm_size import pair_failure
from proofs_checks.judging import FACTORS, judge, smallest_sabotage

THEOREM = Theorem(
    name="Size of an SVM coreset",
    source="Tukan et al. 2021, arXiv:2002.06469, the size theorem and the table of totals, as we understand the "
    "paper; item numbers not known to us",
    given=("t the sum of valid sensitivity bounds", "eps in (0, 1/2)", "independent draws"),
    claim=r"m = \Omega\Big(\frac{t}{\epsilon^2}\Big(d\ln t + \ln\frac1\delta\Big)\Big) \Rightarrow "
    r"\Pr[C \text{ is an } \epsilon\text{-coreset}] \ge 1-\delta",
    status="vacuous",
    finding="at eps = 0.2 the proved sizes are 10 to 360,000 times the number of points on the paper's six data sets; "
    "with the constant 1, unproved, five of six exceed it",
    ours="boundlab_svm_size",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/size.py",
        old='    events = positive_int("features", features) * math.log(t) + ',
        new="    events = math.log(t) + ",
    ),
    Mutation(
        file="coresets/svm/size.py",
        old="return float(math.ceil(high * UP))",
        new="return float(math.ceil(high / 40))",
    ),
)

SETS = {  # name: points, features, reported total sensitivity
    "HTRU": (17_898, 8, 475.8),
    "Credit": (30_000, 23, 1_013.0),
    "Pathological": (1_000, 2, 77.6),
    "Skin": (245_057, 3, 271.5),
    "Cod": (488_565, 8, 2_889.2),
    "W1": (47_272, 300, 24_231.5),
}
EPS, DELTA = 0.2, 0.05


def symbolic() -> str:
    t, a, b, D = sp.symbols("t a b D", positive=True)
    m = t * (a + b * sp.log(t))  # the order of m in t, for fixed eps, delta and D
    require(sp.limit(sp.log(2 * sp.E * m / D) / sp.log(t), t, sp.oo) == 1, "ln m/ln t -> 1")
    d, eps = sp.symbols("d epsilon", positive=True)
    proved, printed = 4 * (1 + eps) * t / eps**2 * (d + 2), t / eps**2 * d
    require(sp.simplify(proved / printed - 4 * (1 + eps) * (d + 2) / d) == 0, "the constant")
    return "ln(2em/(D+1))/ln t -> 1, so that the order is the published one, with the constant 4 (1+eps)(d+2)/d"


def exact() -> str:
    rows, below = [], []
    for name, (n, d, t) in SETS.items():
        printed = published_size(t, EPS, DELTA, features=d)
        direct = t * (d * math.log(t) + math.log(1 / DELTA)) / EPS**2
        require(direct <= printed <= direct + 1, f"{name}: the printed formula, rounded up")
        proved = coreset_size(t, EPS, DELTA, dimension=d + 1)
        require(proved > 10 * n, f"{name}: m = {proved:g} must be more than ten times n = {n}")
        require(coreset_size(t, 0.5, DELTA, dimension=d + 1) > n, f"{name}: at eps = 1/2 m must exceed n")
        require(certified_eps(t, n, DELTA, dimension=d + 1) > 0.5, f"{name}: n draws must certify no eps up to 1/2")
        below += [name] if printed < n else []
        rows.append(f"{name} n = {n:,}: {printed:.2g}/{proved:.2g}")
    require(below == ["Skin"], f"with the constant 1 only Skin is below n, got {below}")
    largest = coreset_size(24_231.5, EPS, DELTA, dimension=301) / 47_272
    require(300_000 < largest < 420_000, f"the largest quotient is {largest}")
    return f"eps = 0.2, delta = 0.05, m with constant 1/proved: {'; '.join(rows)}"


def with_constant_one(rng: np.random.Generator, n: int) -> np.ndarray:
    """Trials in one dimension at the printed size with the constant 1: is the exact error above eps = 0.4?"""
    z, u = np.r_[np.linspace(0.2, 2, 15), np.linspace(-0.5, 1.5, 15)], np.ones(30)
    bound = sensitivities(clusters_of(z[:, None], u, np.repeat([0, 1], 15)), lam=1.0, opt=minimum(z, u, lam=1.0)[1])
    m = int(published_size(float(bound.sum()), 0.4, 0.1, features=1))
    return extremes(z, u, draw_weights(u, bound, m, rng, coresets=n), lam=1.0).error > 0.4


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(with_constant_one, delta=0.1, trials=2_000 * effort, name="published size, constant 1, 30 points")


def teeth() -> Evidence:
    m = published_size(2.0, 0.45, 0.3, features=1)
    slack = smallest_sabotage(lambda factor: pair_failure(max(1, math.ceil(m / factor)), 0.45, False) > 0.3, FACTORS)
    loose = coreset_size(2.0, 0.45, 0.3, dimension=1, hinge_only=False)
    small = certified_eps(10.0, 245_057, DELTA, dimension=4)
    require(small < 0.2, "the measure can also say yes: with t = 10 Skin's n points would certify eps below 0.2")
    text = f"two points: m = {m:g} (constant 1) divided by {slack:g} fails, proved m = {loose:g}; t = 10 is not vacuous"
    return Evidence(text=text, slack=slack)
