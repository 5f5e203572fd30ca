"""The original net inherits the bound of its compression through a worst deviation on a ball, coded with 8 bits.

Proof. If |f(x) - g(x)|_2 <= beta for all |x|_2 <= C, margins of f and g differ by at most sqrt(2) beta there, so that
R_0(f) <= R_t(g) for every t >= sqrt(2) beta, if no input is longer than C. beta is computed from f, hence from the
data, and the risk R_t(g) is one for each t: round beta up to one of 256 levels fixed before the data and apply Occam's
bound to the pairs (g, level), of prior P(g)/256: R_0(f) <= Bin+(#{margin of g <= sqrt(2) level}, n, delta P(g)/256) for
all f and g at once. A beta above the last level says nothing. Rounding beta down, or a ball that only holds the
examples that were seen, makes it false. beta is one of functions of real numbers, and so must be the margins of g:
floats may move them by more than sqrt(2) beta where sums cancel.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.compressed_class import compressed_risk, priced
from boundlab.bounds.transfer import SpectralTransfer, coded_deviation
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.arora2018_random_failures import pair
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="From the compressed net to the original, through a worst case over a ball",
    source="ours; compression bounds for the original net are in Suzuki et al. (2019), as we understand the paper",
    given=("|f(x) - g(x)|_2 <= beta for all |x|_2 <= C", "no input is longer than C", "g priced before the examples"),
    claim=r"R_0(f) \le \mathrm{Bin}^+\big(\#\{\text{margin of } g \le \sqrt2\,\lceil\beta\rceil\}, n, "
    r"\tfrac{\delta P(g)}{256}\big)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/transfer.py",
        old='j = int(np.searchsorted(_LEVELS, deviation, side="left"))',
        new='j = max(0, int(np.searchsorted(_LEVELS, deviation, side="left")) - 1)',
    ),
    Mutation(file="bounds/transfer.py", old="nats + LEVEL_NATS, self.delta)", new="nats, self.delta)"),
    Mutation(
        file="bounds/transfer.py",
        old='t = margin_radius(level, norm="euclidean") if level',
        new="t = level if level",
    ),
    Mutation(file="bounds/transfer.py", old="LEVEL_NATS = 8.0 * math.log(2.0)", new="LEVEL_NATS = 7.0 * math.log(2.0)"),
    Mutation(file="bounds/transfer.py", old="norms > self.radius", new="norms > 2.0 * self.radius"),
    Mutation(
        file="bounds/transfer.py",
        old="beta = spectral_deviation(f, g, self.radius)",
        new="beta = spectral_deviation(f, g, 0.5 * self.radius)",
    ),
    Mutation(
        file="bounds/transfer.py",
        old="feed_forward(g).certain_margins(x, y) > t",
        new="g(x)[np.arange(n), y] - g(x)[np.arange(n), 1 - y] > t",
    ),
)

SQRT2 = Fraction(14_142_135_624, 10**10)  # above sqrt 2
N, CHOICES, LEVELS, DELTA = 300, 64, 256, 0.05


def symbolic() -> str:
    fy, fj, gy, gj, beta = reals("fy fj gy gj beta")
    near = (fy - gy) * (fy - gy) + (fj - gj) * (fj - gj) <= beta * beta
    m = gy - gj
    prove(fy > fj, near, beta >= 0, m > 0, m * m > 2 * beta * beta)
    counterexample(fy > fj, near, beta > 0, m > beta)  # the factor sqrt 2 is needed
    levels = sp.Rational(1, 256)
    require(sum(levels for _ in range(256)) == 1, "256 levels at 1/256 each")
    return "z3: |f - g| <= beta and margin(g) > sqrt 2 beta keep f's class, a margin above beta does not"


def exact() -> str:
    seen = set()
    for deviation in (0.0, 1e-9, 2.0**-16, 0.3, 1.0, 1.0000001, 17.0, 3e4, 2.0**15.875):
        level = coded_deviation(deviation)
        require(deviation <= level, f"{deviation} is coded as {level}")
        require(deviation < 2.0**-16 or level <= deviation * 2.0**0.125 * (1 + 1e-15), f"{deviation} as {level}")
        seen.add(level)
    require(math.isinf(coded_deviation(2.0**16)), "above the last level nothing is said")
    found = {coded_deviation(float(v)) for v in np.geomspace(2.0**-17, 2.0**15.875, 20_000)}
    require(len(found | seen) == 256, f"{len(found | seen)} levels, 8 bits name 256")
    # f = (x1, x1/2 + x2), g = (x1, x2): |f - g| = |x1|/2 on |x| <= 10 is at most 5, coded as 2^(19/8)
    both = pair([[1, 0], [0.5, 1]], [[1, 0], [0, 1]])
    x = np.array([[v, 0.0] for v in (5.0, 7.0, 7.2, 7.3, 7.4, 8.0, 9.0)]).repeat(60, axis=0)
    bound = SpectralTransfer(radius=10.0)(both, x, np.zeros(len(x), int))
    level = 2.0 ** (19 / 8)
    small = sum(Fraction(a) <= SQRT2 * Fraction(level) for a, _ in x)
    nats = min(price for _, price in priced(both.net)) + 8 * math.log(2)
    require(bound.facts["coded_beta"] == level and bound.facts["margin_errors"] == small, f"{bound.facts}")
    require(0 < small < len(x), "some margins are small, some are not")
    require(abs(bound.raw - compressed_risk(small, 0, len(x), nats, 0.05)) < 1e-12, "256 levels are paid")
    require(not bound.void and SpectralTransfer(radius=8.0)(both, x, np.zeros(len(x), int)).void, "inputs of norm 9")
    # exactly f = (129, 64) and g = (128, 64) at (1, 1, 1), whatever floats make of 2^60 + 128 - 2^60
    big = 2.0**60
    cancels = pair([[big, 129.0, -big], [0.0, 64.0, 0.0]], [[big, 128.0, -big], [0.0, 64.0, 0.0]])
    wrong = SpectralTransfer(radius=math.sqrt(3.0))(cancels, np.ones((500, 3)), np.ones(500, int))
    require(wrong.raw == 1.0, f"both nets err on every point, the bound is {wrong.raw}")
    return f"256 levels, each at least the deviation; two nets on a ball: {small} of {len(x)} margins are small"


def fails(levels: int):
    """Of 64 levels the one with the smallest count is picked, each from margins of risk 0.3: is the bound below it?

    That is the worst that a beta computed from the data can do; the price is that of `levels`.
    """
    nats = math.log(levels)
    table = np.array([compressed_risk(k, 0, N, nats, DELTA) for k in range(N + 1)])

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        return table[rng.binomial(N, 0.3, size=(size, CHOICES)).min(axis=1)] < 0.3

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(fails(LEVELS), delta=DELTA, trials=4_000 * effort, name="levels, paid")
    judge(fails(1), delta=DELTA, trials=1_000, name="levels, unpaid", expect="violated")
    text = f"the best of 64 levels, 256 paid: {found.text}; unpaid: violated"
    return Evidence(text=text, trials=found.trials + 1_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # f = (0, 0) + beta (-1, 1)/sqrt 2 against g = (m, 0), m just above sqrt 2 beta
        beta = 1.0
        m = math.sqrt(2.0) * beta * (1 + 1e-12) / factor
        return m - beta / math.sqrt(2.0) <= beta / math.sqrt(2.0)

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a margin of sqrt 2 beta/{slack:g} is lost by f = g + beta (-1, 1)/sqrt 2", slack=slack)
