"""A fixed-n Clopper-Pearson test that is looked at after every trial is wrong far more often than its level.

At p = delta every single look is wrong with probability at most alpha, and looks are only positively dependent, not
equal: the walk (n, k) has a new chance to cross at each n. Its exact recursion gives P(some look says "violated") =
0.215, 0.340, 0.410 within 10/delta, 100/delta, 400/delta trials at delta = alpha = 0.05, and by the law of the iterated
logarithm it tends to 1: k - n delta exceeds z sqrt(n delta (1-delta)) infinitely often for every fixed z. The
e-process pair keeps its level however often it is looked at.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.binomial import lower_limit, upper_limit
from boundlab.verification.judging.evidence import log_e_upheld, log_e_violated
from boundlab.verification.judging.lattice import absorption
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Looking at a fixed-n test after every trial",
    source="common practice; no paper is known to us that claims it; our exact recursion",
    given=("independent trials that fail with p = delta", "Clopper-Pearson at level alpha after each trial"),
    claim=r"\Pr[\exists n \le N: L_n > \delta] \le \alpha",
    status="refuted",
    finding="at p = delta = 0.05 a 5 % test looked at after every trial is wrong in 34 % of runs of 100/delta trials",
    ours="ville1939_e_process_pair",
)

MUTATIONS = (
    Mutation(file="verification/judging/lattice.py", old="stepped[1:] += p * mass", new="stepped[1:] += p * mass / 2"),
    Mutation(
        file="verification/judging/lattice.py",
        old="down, up = down + float(stepped[at_low].sum()), up",
        new="down, up = down, up",
    ),
    Mutation(file="verification/judging/lattice.py", old="bool) & ~at_low", new="bool)"),
    Mutation(file="verification/judging/lattice.py", old="mean += float(mass.sum())", new="mean += 1.0"),
)

DELTA = ALPHA = 0.05


def never(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return np.zeros(np.shape(n), bool)


def peeked(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    """P(Bin(n, delta) >= k) <= alpha: the lower Clopper-Pearson limit lies above delta."""
    return np.asarray(binom.sf(k - 1, n, DELTA) <= ALPHA)


def e_violated(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return log_e_violated(n, k, DELTA) >= -math.log(ALPHA)


def e_upheld(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return log_e_upheld(n, k, DELTA) >= -math.log(ALPHA)


def symbolic() -> str:
    n, d, z = sp.symbols("n delta z", positive=True)
    # law of the iterated logarithm: limsup (k - n d)/sqrt(2 n d (1-d) ln ln n) = 1, so any fixed z is passed
    ratio = z * sp.sqrt(n * d * (1 - d)) / sp.sqrt(2 * n * d * (1 - d) * sp.log(sp.log(n)))
    require(sp.limit(ratio, n, sp.oo) == 0, "a fixed-level boundary is o(sqrt(n ln ln n))")
    return "z sqrt(n d (1-d)) = o(sqrt(n ln ln n)): by the iterated logarithm every fixed-level boundary is crossed"


def exact() -> str:
    # the shipped recursion against all 2^n paths, in fractions
    p, low, high = Fraction(1, 8), (lambda n, k: (n >= 4) & (k == 0)), (lambda n, k: k >= 2)
    down = up = mean = Fraction(0)
    for path in itertools.product((0, 1), repeat=7):
        n, k, chance = 0, 0, math.prod((p if x else 1 - p for x in path), start=Fraction(1))
        for n, x in enumerate(path, 1):
            k += x
            if low(n, k):
                down += chance
                break
            if high(n, k):
                up += chance
                break
        mean += chance * n
    got = absorption(low, high, float(p), 7)
    require(abs(got.low - float(down)) < 1e-15 and abs(got.high - float(up)) < 1e-15, f"{got} against {down}, {up}")
    require(abs(got.low + got.high + got.neither - 1) < 1e-14, "the three outcomes must sum to 1")
    require(abs(got.trials - float(mean)) < 1e-14, f"mean trials {got.trials} against {mean}")
    tie = absorption(low, lambda n, k: n >= 4, float(p), 7)
    require(
        abs(tie.low - float((1 - p) ** 4)) < 1e-15 and abs(tie.low + tie.high - 1) < 1e-14, f"low wins a tie: {tie}"
    )
    rates = [absorption(never, peeked, DELTA, round(c / DELTA)).high for c in (10, 100)]
    require(0.21 < rates[0] < 0.22 and 0.335 < rates[1] < 0.345, f"peeking must be wrong in 21 % and 34 %: {rates}")
    single = 0.0
    for n in (14, 59):  # the shipped lower limit is the boundary that is looked at, and one look of it keeps its level
        rejects = np.array([lower_limit(k, n, ALPHA) > DELTA for k in range(n + 1)])
        require((rejects == peeked(np.full(n + 1, n), np.arange(n + 1))).all(), f"another boundary at n = {n}")
        single = max(single, float(binom.pmf(np.arange(n + 1), n, DELTA)[rejects].sum()))
    require(single <= ALPHA, f"one look must keep its level: {single}")
    ours = absorption(e_upheld, e_violated, DELTA, round(100 / DELTA))
    require(ours.high <= ALPHA and ours.low <= ALPHA, f"the e-processes must keep their levels: {ours}")
    return (
        f"all paths of 7 trials agree; P(wrong) at p = delta: {rates[0]:.3f} within 10/delta, {rates[1]:.3f} within "
        f"100/delta, e-process {ours.high:.4f}; one look alone {single:.4f}"
    )


def wrong(rng: np.random.Generator, n: int) -> np.ndarray:
    """A run of 100 trials, looked at after each."""
    failures = np.cumsum(rng.random((n, 100)) < DELTA, axis=1)
    return np.asarray(peeked(np.arange(1, 101), failures).any(axis=1))


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(wrong, delta=ALPHA, trials=1_000 * effort, name="peeking at 100 trials", expect="violated")
    return Evidence(text=f"claimed level 0.05, {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # ours, with evidence counted `factor` times
        def violated(n: np.ndarray, k: np.ndarray) -> np.ndarray:
            return log_e_violated(n, k, DELTA) + math.log(factor) >= -math.log(ALPHA)

        return absorption(never, violated, DELTA, 1_000).high > ALPHA

    slack = smallest_sabotage(caught)
    require(upper_limit(0, 58, ALPHA) > DELTA >= upper_limit(0, 59, ALPHA), "one look: 59 trials without a failure")
    return Evidence(text=f"evidence overstated by {slack:g} breaks the level of ours, exactly", slack=slack)
