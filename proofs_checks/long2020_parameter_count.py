"""A Lipschitz parametrisation of W weights: an explicit covering bound, and why it needs 40 examples per weight.

Proof. The unit ball of R^W has a cover at radius e of at most (3/e)^W points (volume, e <= 1). A loss in [0, 1] that is
Lambda-Lipschitz in the weights moves by at most 1/n from the nearest point of the cover at e = 1/(Lambda n), on the
sample and in the mean: 2/n. Hoeffding's inequality with a union over (3 Lambda n)^W points gives the root. The
published form has an absolute constant that is not specified; this one has none. It is below 1 only for
W ln(3 Lambda n) < 2n.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.bounds.norms import lipschitz_cover_complexity
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.bartlett2017_spectral import digits
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The covering bound of a Lipschitz parametrisation",
    source="after Long and Sedghi (2020), arXiv:1905.12600, as we understand the paper; item number not known to us",
    given=("a loss in [0, 1], Lambda-Lipschitz in W weights of the unit ball", "Lambda and W fixed before the sample"),
    claim=r"R \le \hat R + \frac2n + \sqrt{\frac{W\ln(3\Lambda n)+\ln(1/\delta)}{2n}}",
    status="vacuous",
    finding="above 1 for a 64-24-10 net on 1,347 digits at every Lambda >= 1: W ln(3n) is more than 6 times 2n",
)

MUTATIONS = (
    Mutation(
        file="bounds/norms.py",
        old="math.log(3.0 * lam * size) - math.log(probability",
        new="math.log(3.0 * lam) - math.log(probability",
    ),
    Mutation(file="bounds/norms.py", old="math.sqrt(nats / (2.0 * size))", new="math.sqrt(nats / (8.0 * size))"),
)


def symbolic() -> str:
    e, W = sp.symbols("e W", positive=True)
    # disjoint balls of radius e/2 inside a ball of radius 1 + e/2: (1 + 2/e)^W <= (3/e)^W for e <= 1
    gap = 3 / e - (1 + 2 / e)
    require(sp.simplify(gap - (1 / e - 1)) == 0, "3/e - (1 + 2/e) = 1/e - 1 >= 0 for e <= 1")
    n, lam = sp.symbols("n Lambda", positive=True)
    require(sp.simplify(lam * (1 / (lam * n)) - 1 / n) == 0, "the loss moves by at most 1/n")
    nats, delta = sp.symbols("nats delta", positive=True)
    t = sp.sqrt((nats + sp.log(1 / delta)) / (2 * n))
    require(sp.simplify(sp.expand_log(nats - 2 * n * t**2 - sp.log(delta), force=True)) == 0, "the union spends delta")
    require(W.is_positive, "W counts weights")
    return "(1+2/e)^W <= (3/e)^W; 2/n for the cover; e^nats e^(-2 n t²) = delta"


def exact() -> str:
    # one weight w in [-1, 1], threshold loss made Lipschitz: a world of 8 weights, all samples, exact binomials
    n, delta = 12, 0.2
    term = lipschitz_cover_complexity(1, 1.0, n, delta)
    risks = [Fraction(k, 16) for k in range(1, 9)]
    union = sum(
        float(sum(Fraction(math.comb(n, k)) * r**k * (1 - r) ** (n - k) for k in range(n + 1) if k / n + term < r))
        for r in risks
    )
    require(union <= delta, f"the union over 8 weights fails with {union}")
    want = 2 / 100 + math.sqrt((7 * math.log(3 * 2 * 100) + math.log(20)) / 200)
    got = lipschitz_cover_complexity(7, 2.0, 100, 0.05)
    require(want <= got <= want * (1 + 1e-9), f"the formula at one point: {got} against {want}")
    net, x, _, _, _ = digits()
    weights = int(sum(w.weight.size for w in net.layers))
    value = lipschitz_cover_complexity(weights, 1.0, len(x), 0.05)
    need = weights * math.log(3 * len(x)) / (2 * len(x))
    require(value > 1 and need > 6, f"{weights} weights on {len(x)} digits: {value}, {need} times too few examples")
    return f"8 weights: P(fail) <= {union:.3f}; digits: {weights} weights give {value:.2f}, W ln(3n)/(2n) = {need:.1f}"


def fails(factor: float):
    """2^10 classifiers on fair labels, n = 40: is the best empirical risk plus term/factor below 1/2?"""
    n, count = 40, 1_024
    term = lipschitz_cover_complexity(1, count / (3.0 * n), n, 0.05)

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        # the smallest of 1024 independent Bin(40, 1/2): by its quantile function
        u = 1.0 - (1.0 - rng.random(size)) ** (1.0 / count)
        return binom.ppf(u, n, 0.5) / n + term / factor < 0.5

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(fails(1.0), delta=0.05, trials=2_000 * effort, name="the best of 1024 classifiers")


def teeth() -> Evidence:
    rng = np.random.default_rng(3)
    slack = smallest_sabotage(lambda factor: bool(fails(factor)(rng, 2_000).mean() > 0.1))
    return Evidence(text=f"the term divided by {slack:g} is caught on the best of 1024 classifiers", slack=slack)
