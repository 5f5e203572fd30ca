"""The percentile bootstrap is no certificate of a small failure probability: without a failure its limit is 0.

Resampling n outcomes of which k failed gives Bin(n, k/n)/n, so that at k = 0 every resample is 0 and the limit is 0 at
every level: it misses p > 0 with probability at least (1-p)^n, 0.37 at p = 1/n. At k > 0 the quantile is that of a
binomial around the estimate and ignores that the estimate itself is low. Exactly: nominal 5 %, true 36.8 % at n = 1000,
p = 0.001, and 11.8 % at n = 100, p just above 0.05. Clopper-Pearson at k = 0 gives 1 - alpha^(1/n).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.approximate import bootstrap_upper
from boundlab.concentration.binomial import upper_limit
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The percentile bootstrap of a failure probability",
    source="Efron (1979) introduces the bootstrap; its use as a limit of a rare event's probability is common practice",
    given=("k failures in n independent trials", "infinitely many resamples"),
    claim=r"\Pr_p[U_{\rm boot}(k) < p] \le \alpha",
    status="refuted",
    finding="nominal 5 %, true 36.8 % at n = 1000, p = 0.001: without a failure the limit is 0",
    ours="clopper_pearson1934",
)

MUTATIONS = (
    Mutation(
        file="concentration/approximate.py",
        old='return binom.ppf(1.0 - probability("alpha", alpha), n, _share(k, n)) / n',
        new='return binom.ppf(1.0 - probability("alpha", alpha), n, _share(k, n) + 1.0 / n) / n',
    ),
)

ALPHA = 0.05


def level(n: int, p: float) -> float:
    """P(limit < p), exactly."""
    k = np.arange(n + 1)
    return float(binom.pmf(k, n, p)[bootstrap_upper(k, n, ALPHA) < p].sum())


def symbolic() -> str:
    n, c = sp.symbols("n c", positive=True)
    require(sp.limit((1 - c / n) ** n, n, sp.oo) == sp.exp(-c), "P(no failure) at p = c/n must tend to e^-c")
    alpha = sp.Rational(1, 20)
    require(sp.exp(-sp.log(1 / alpha)) == alpha and (-sp.diff(sp.exp(-c), c)).is_positive, "e^-c falls to alpha there")
    return "at p = c/n the limit is 0, and missed, with probability -> e^-c > alpha for every c < ln(1/alpha) = 3.0"


def exact() -> str:
    # all 3^3 resamples of 3 outcomes, in fractions, against the shipped quantile
    for k in range(4):
        law = [Fraction(0)] * 4
        for index in np.ndindex(3, 3, 3):
            law[sum(i < k for i in index)] += Fraction(1, 27)
        want = next(j for j in range(4) if sum(law[: j + 1]) >= Fraction(19, 20))
        require(bootstrap_upper(np.array([k]), 3, ALPHA)[0] == want / 3, f"k = {k}: quantile {want}/3")
    rare, common = level(1000, 0.001), level(100, 0.05 + 1e-12)
    require(abs(rare - 0.999**1000) < 1e-12, f"only k = 0 misses: {rare}")
    require(rare > 0.36 and 0.11 < common < 0.12, f"levels {rare}, {common}")
    cp = sum(float(binom.pmf(k, 1000, 0.001)) for k in range(20) if upper_limit(k, 1000, ALPHA) < 0.001)
    require(cp <= ALPHA, f"Clopper-Pearson misses with {cp}")
    return (
        f"true level {rare:.3f} at n=1000, p=.001 and {common:.3f} at n=100, p just above .05; Clopper-Pearson {cp:.3f}"
    )


def missed(p: float, n: int):
    ends = bootstrap_upper(np.arange(n + 1), n, ALPHA)

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        return ends[rng.binomial(n, p, size)] < p

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(missed(0.001, 1000), delta=ALPHA, trials=1_000 * effort, name="bootstrap", expect="violated")
    return Evidence(text=f"nominal level 0.05: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # Clopper-Pearson at k = 0, divided by a factor, at p just above it
        u = upper_limit(0, 1000, ALPHA) / factor * (1 + 1e-9)
        return (1 - u) ** 1000 > ALPHA

    slack = smallest_sabotage(caught)
    return Evidence(text=f"the exact limit at k = 0 divided by {slack:g} breaks its level", slack=slack)
