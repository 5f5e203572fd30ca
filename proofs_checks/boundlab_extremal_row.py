"""The exact binomial sample size is needed by some row and not enough for others; Chernoff's size is enough for all.

Statement. Fix S and C, and let p = 1/(S C). (a) There is a row with total sensitivity S = 1 and shares of at most C s_j
whose estimate after m draws is Bin(m, p)/(m p) times its sum. So no rule that is valid for every row with that S C can
use fewer draws than the smallest m with P(|Bin(m, p)/(m p) - 1| > eps) <= delta. (b) That m is not enough: at S C = 4,
m = 1 and eps = 1 a row has the upper tail 1/2 where the binomial has 1/4, and the row with weights 1 that is calibrated
at (1, 1, 1) and read at (12, 1, 1) leaves 1 ± 3/4 with probability 5/9 at the m = 3 that the binomial asks for at
delta = 0.3. (c) The kl size is enough for every row (`chernoff_multiplicative_kl`).

Proof. (a) n equal weights, calibrated at the point of ones: every share is 1/n, S = 1, q_j = 1/n. A fresh point that
is active on n/C of the n features has the share C/n = C s_j there and 0 elsewhere; a draw contributes C z/m with
probability 1/C and 0 otherwise. (b) For S C = 4 take shares (1, 0) and (0, 1) on S, so that S = 2, q = (1/2, 1/2),
and a fresh point with shares (1, 0): a term is 2z or 0 with chance 1/2 each, and C = 2 is allowed. For the second row
s_j = 1/3, S = 1, and the shares at x are (6, 1/2, 1/2)/7, so that C = 18/7; the mean of 3 draws of 18/7 (chance 1/3)
or 3/14 (chance 2/3) lies in 1 ± 3/4 exactly if one draw is the large one: with probability 4/9.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab import CoreNetAdditive, Layer, random_network
from boundlab._errors import InvalidParameter
from boundlab.concentration.multiplicative import binomial_failure
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from boundlab.nets.importance import exceeds, sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.chernoff_multiplicative_kl import Law, tails
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="The extremal row, and rows beyond it",
    source="ours; the size rule is that of CoreNet (arXiv:1804.05345), as we understand the paper; item number not "
    "known to us",
    given=("shares of at most C s_j", "m draws with q_j = s_j/S, p = 1/(S C)"),
    claim=r"\exists \text{ row}: \hat z/z \sim \mathrm{Bin}(m,p)/(mp); \quad \exists \text{ row}: "
    r"\Pr[|\hat z/z - 1| > \epsilon] > \Pr[|\mathrm{Bin}(m,p)/(mp) - 1| > \epsilon]",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/sensitivity_sampling.py",
        old="return float(m[passing[0]])",
        new="return float(m[passing[-1]])",
    ),
    Mutation(
        file="coresets/sensitivity_sampling.py",
        old="p = np.minimum(1.0, 1.0 / np.where(s > 0, np.asarray(total, np.float64) * K, 1.0))",
        new="p = np.minimum(1.0, p)",
    ),
    Mutation(
        file="concentration/multiplicative.py",
        old="return np.where(p >= 1.0, 0.0, above + below)",
        new="return np.where(p >= 1.0, 0.0, above)",
    ),
    Mutation(
        file="compressors/corenet.py",
        old='if choice("rule", rule, Rule) is Rule.BINOMIAL:',
        new='if choice("rule", rule, Rule) is Rule.PUBLISHED:',
    ),
)

ROW, POINT = np.ones((1, 3)), np.array([[12.0, 1.0, 1.0]])  # calibrated at (1, 1, 1)
EPS, DELTA, C = 0.75, 0.3, 18 / 7


def symbolic() -> str:
    n, c, m, z = sp.symbols("n C m z", positive=True)
    share, s = c / n, 1 / n
    require(sp.simplify(share / s - c) == 0 and sp.simplify(n * s - 1) == 0, "the largest share is C s_j, and S = 1")
    term = share * z / (m * s)  # w_j a_j / (m q_j)
    require(sp.simplify(term - c * z / m) == 0, "a draw of an active edge adds C z/m")
    require(sp.simplify(m * (1 / c) * term - z) == 0, "the estimate is unbiased")
    g = [sp.Rational(6, 7), sp.Rational(1, 14), sp.Rational(1, 14)]
    values = [3 * v for v in g]
    require(values[0] == sp.Rational(18, 7) and sum(g) == 1, "shares at (12, 1, 1)")
    inside = [k for k in range(4) if abs((k * values[0] + (3 - k) * values[1]) / 3 - 1) <= sp.Rational(3, 4)]
    require(inside == [1], f"exactly one large draw of three must lie inside, it is {inside}")
    chance = 3 * sp.Rational(1, 3) * sp.Rational(2, 3) ** 2
    require(1 - chance == sp.Rational(5, 9), "which has probability 4/9")
    return "equal weights, a point on n/C of n features: a draw adds C z/m with chance 1/C; the row (12, 1, 1): 5/9"


def extremal(edges: int, active: int, m: int) -> dict[Fraction, Fraction]:
    """The exact law of z_hat/z for the extremal row, from shipped sensitivities and every multinomial count."""
    layer = Layer(weight=np.ones((1, edges)), bias=np.zeros(1), relu=True)
    own = sensitivities(layer, [np.ones((1, edges))], theorem="boundlab_extremal_row")
    x = (np.arange(edges) < active).astype(float)[None]
    require(not exceeds(layer, x, own, edges / active, np.zeros(1, bool))[0], "the point must keep C s_j")
    require(exceeds(layer, x, own, 0.99 * edges / active, np.zeros(1, bool))[0], "and reach it")
    s = [Fraction(float(v)) for v in own.values]
    law: dict[Fraction, Fraction] = {}
    for counts in itertools.product(range(m + 1), repeat=edges):
        if sum(counts) == m:
            chance = Fraction(math.factorial(m))
            for c, v in zip(counts, s, strict=True):
                chance *= (v / sum(s)) ** c / math.factorial(c)
            value = sum((c * sum(s) / (m * s[j]) for j, c in enumerate(counts) if j < active), Fraction(0)) / active
            law[value] = law.get(value, Fraction(0)) + chance
    return law


def outside(m: int, p: Fraction, eps: Fraction) -> Fraction:
    """P(|Bin(m, p)/(m p) - 1| > eps), exactly."""
    a, b = p.numerator, p.denominator - p.numerator
    kept = (k for k in range(m + 1) if abs(k / (m * p) - 1) > eps)
    return Fraction(sum(math.comb(m, k) * a**k * b ** (m - k) for k in kept), p.denominator**m)


def needed(total: float, eps: float, delta: float) -> tuple[int, Fraction]:
    """(shipped binomial size, the p that it is for): a necessary size has no allowance for rounding in it."""
    m = int(sample_size(np.array([total]), eps, delta, rule=Rule.BINOMIAL)[0])
    return m, 1 / Fraction(total)


def exact() -> str:
    laws = 0
    for edges, active, m in ((2, 1, 3), (4, 2, 4), (4, 1, 3), (3, 1, 4)):
        p = Fraction(active, edges)
        binomial = {k / (m * p): math.comb(m, k) * p**k * (1 - p) ** (m - k) for k in range(m + 1)}
        require(extremal(edges, active, m) == binomial, f"{active} of {edges} edges, {m} draws: not Bin(m, p)/(m p)")
        laws += 1
    sizes = 0
    for total, eps, delta in itertools.product((2.0, 3.5, 6.0), (0.5, 0.75, 1.0), (0.3, 0.1)):
        m, p = needed(total, eps, delta)
        require(outside(m, p, Fraction(eps)) <= Fraction(delta), f"{m} draws must do for the extremal row")
        fewer = [k for k in range(1, m) if outside(k, p, Fraction(eps)) <= Fraction(delta)]
        require(not fewer, f"{fewer} draws do for the extremal row as well, {m} were called necessary")
        for k in {1, m, 2 * m}:
            told = float(binomial_failure(np.array(float(k)), np.array(float(p)), np.array(eps)))
            require(abs(told - float(outside(k, p, Fraction(eps)))) < 1e-12, f"P for m = {k}, p = {float(p)}")
        sizes += 1
    return f"{laws} laws of the extremal row are binomial; {sizes} sizes are the smallest for it; {beyond()}"


def beyond() -> str:
    """The rows for which the binomial's promise is false, exactly."""
    half: Law = {Fraction(0): Fraction(1, 2), Fraction(2): Fraction(1, 2)}
    plain = Fraction(1, 4)  # P(Bin(1, 1/4) >= 1)
    require(tails(half, 1, Fraction(1))[0] == Fraction(1, 2) > plain, "m = 1, S C = 4, eps = 1: 1/2 > 1/4")
    row: Law = {Fraction(18, 7): Fraction(1, 3), Fraction(3, 14): Fraction(2, 3)}
    m = int(sample_size(np.array([1.0]), EPS, DELTA, K=C, rule=Rule.BINOMIAL)[0])
    failure = sum(tails(row, m, Fraction(EPS), strict=True))
    require(m == 3 and failure == Fraction(5, 9), f"the binomial m is {m}, at which the row fails with {failure}")
    enough = int(sample_size(np.array([1.0]), EPS, DELTA, K=C)[0])
    require(
        sum(tails(row, enough, Fraction(EPS), strict=True)) <= Fraction(DELTA), f"the kl size {enough} must be enough"
    )
    try:
        CoreNetAdditive(rule=Rule.BINOMIAL).plan(random_network((3, 1), rng=0), np.ones((2, 3)))
    except InvalidParameter as refusal:
        require("must certify" in str(refusal), f"a plan by the binomial rule: {refusal}")
    else:
        raise AssertionError("a plan must refuse the binomial rule")
    return f"row (12, 1, 1) fails with {failure} at the binomial m = {m}, delta = {DELTA}; kl takes {enough}"


def misses(m: int):
    """A trial: m draws of the row err by more than EPS at the fresh point."""
    layer = Layer(weight=ROW, bias=np.zeros(1), relu=True)
    own = sensitivities(layer, [np.ones((1, 3))], theorem="boundlab_extremal_row")
    require(not exceeds(layer, POINT, own, C, np.zeros(1, bool))[0], "the point must keep C s_j")
    z = POINT[0] * ROW[0]

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        q = own.probabilities
        counts = draw_counts(np.tile(q, n), np.arange(n + 1, dtype=np.int64) * 3, np.full(n, m), rng).reshape(n, 3)
        return np.abs((counts * z / (m * q)).sum(axis=1) / z.sum() - 1) > EPS

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    few, enough = (int(sample_size(np.array([1.0]), EPS, DELTA, K=C, rule=r)[0]) for r in (Rule.BINOMIAL, Rule.KL))
    broken = judge(misses(few), delta=DELTA, trials=1_000 * effort, name="the binomial m", expect="violated")
    kept = judge(misses(enough), delta=DELTA, trials=1_000 * effort, name="the kl m")
    text = f"row (12, 1, 1), binomial m = {few}: {broken.text}; kl m = {enough}: {kept.text}"
    return Evidence(text=text, trials=broken.trials + kept.trials)


def teeth() -> Evidence:
    m, p = needed(6.0, 0.25, 0.1)
    eps, delta = Fraction(1, 4), Fraction(0.1)

    def caught(factor: float) -> bool:
        """Whether the extremal row refutes a rule that asks for m / factor draws."""
        return outside(math.floor(m / factor), p, eps) > delta

    slack = smallest_sabotage(caught)
    text = f"refuted by the extremal row, exactly: m / {slack:g} (of {m}); the binomial m itself, by the row (12, 1, 1)"
    return Evidence(text=text, slack=slack)
