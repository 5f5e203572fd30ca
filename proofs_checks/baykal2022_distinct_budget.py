"""N draws with replacement keep sum_j 1 - (1-q_j)^N distinct edges on average; N for m of them is found by bisection.

Statement. D(N) = sum over the c edges with q_j > 0 of 1 - (1-q_j)^N is the expected number of distinct edges. It rises
in N and is concave, 1 at N = 1, below c for every N (c >= 2), and c in the limit: m = c would need infinitely many
draws, so that m is cut at c - 1. The N with D(N) = m is at least Jensen's

    N_0 = ln(c/(c-m))/ln(c/(c-1)),

with equality for equal q_j, so that a search may start there. The count itself is random: by McDiarmid it exceeds D(N)
by sqrt(N ln(1/delta)/2) with probability at most delta, as one draw changes it by at most 1.

Proof. Edge j is missed by all N draws with probability (1-q_j)^N: linearity of the expectation gives D. As a function
of q, 1 - (1-q)^N is concave for N >= 1 (second derivative -N (N-1)(1-q)^(N-2)), and the q_j have mean 1/c, so that
D(N) <= c (1 - (1-1/c)^N); the right side reaches m at N_0. As D rises, D(N_0) <= m.

The theorem on the error speaks of N draws, not of m edges. N >= m always, so that an error computed for m draws is
on the safe side, but it is not the error of the N draws that were made.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.allocation import draws_for_distinct, expected_distinct, jensen_draws
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Draws for an expected number of distinct edges",
    source="in the released code of Baykal et al. 2022, arXiv:1910.05422; the proof is ours",
    given=("N independent draws from q", "c edges with q_j > 0, 1 <= m <= c - 1"),
    claim=r"E[\#\mathrm{distinct}] = \sum_j 1-(1-q_j)^N, \quad D(N) = m \Rightarrow N \ge "
    r"\frac{\ln(c/(c-m))}{\ln(c/(c-1))}",
    status="holds",
)

MUTATIONS = (
    Mutation(file="coresets/allocation.py", old="draws * np.log1p(-q), 0.0)", new="-draws * q, 0.0)"),
    Mutation(file="coresets/allocation.py", old="<= cut * (1.0 + ROUNDING)", new="<= cut + 1.0"),
    Mutation(
        file="coresets/allocation.py",
        old="return np.log1p(-wanted / edges) / np.log1p(-1.0 / edges)",
        new="return 2.0 * np.log1p(-wanted / edges) / np.log1p(-1.0 / edges)",
    ),
)


def distinct(q: list[Fraction], n: int) -> Fraction:
    """D(n), exactly."""
    return sum((1 - (1 - v) ** n for v in q), Fraction(0))


def instance(rng: np.random.Generator) -> list[Fraction]:
    """Two to eight probabilities with denominators of a power of two, so that the floats are exact."""
    counts = 1 + rng.multinomial(64 - 8, rng.dirichlet(np.full(int(rng.integers(2, 9)), 0.7)))
    counts[0] += 64 - counts.sum()
    return [Fraction(int(v), 64) for v in counts]


def symbolic() -> str:
    q, c, m = sp.symbols("q c m", positive=True)
    x = sp.symbols("x", nonnegative=True)
    rise = sp.symbols("n", positive=True)
    curve = sp.diff(1 - (1 - q) ** rise, q, 2) + rise * (rise - 1) * (1 - q) ** (rise - 2)
    require(sp.simplify(curve) == 0, "the second derivative in q is -n (n-1)(1-q)^(n-2), at most 0 for n >= 1")
    step = (1 - q) ** rise - (1 - q) ** (rise + 1)
    require(sp.simplify(step - q * (1 - q) ** rise) == 0, "one more draw adds q (1-q)^N, positive and falling in N")
    start = sp.log(c / (c - m)) / sp.log(c / (c - 1))
    missed = sp.exp(-start * sp.log(c / (c - 1)))  # (1 - 1/c)^N0
    require(sp.simplify(c * (1 - missed) - m) == 0, "c (1 - (1-1/c)^N0) = m")
    require(sp.limit(1 - sp.exp(-x * q), x, sp.oo) == 1, "c in the limit")
    return "1-(1-q)^N concave in q; a draw adds q(1-q)^N; Jensen's start reaches m for equal q"


def exact() -> str:
    rng, found, starts = np.random.default_rng(140), 0, 0
    for q in ([Fraction(1, 2)] * 2, [Fraction(1, 4), Fraction(3, 4)], [Fraction(1, 8), Fraction(3, 8), Fraction(1, 2)]):
        for n in range(1, 7):  # every outcome
            mean = Fraction(0)
            for draw in itertools.product(range(len(q)), repeat=n):
                mean += len(set(draw)) * math.prod((q[j] for j in draw), start=Fraction(1))
            require(mean == distinct(q, n), f"E distinct of {n} draws is {mean}")
    for _ in range(60):
        q = instance(rng)
        c, indptr = len(q), np.array([0, len(q)])
        p = np.array(q, float)
        for n in (0, 1, 2, 7, 100):
            told = float(expected_distinct(p, indptr, np.array([n]))[0])
            require(abs(told - distinct(q, n)) < 1e-12, f"D({n}) is told as {told}")
        for m in (Fraction(1), Fraction(5, 4), Fraction(c, 2), Fraction(c - 1), Fraction(c), Fraction(2 * c)):
            n = int(draws_for_distinct(p, indptr, np.array([float(m)]))[0])
            goal = max(min(m, Fraction(c - 1)), Fraction(1)) * (1 + Fraction(1, 10**12))
            if m < 1:
                require(n == 0, "below one edge there is nothing to draw")
                continue
            require(
                distinct(q, n) <= goal * (1 + Fraction(1, 10**14)) < distinct(q, n + 1), f"N = {n} for m = {m}: {q}"
            )
            if m < c:
                start = float(jensen_draws(np.array([float(c)]), np.array([float(m)]))[0])
                require(
                    distinct(q, math.floor(start * (1 - 1e-12))) <= m, f"Jensen's start {start} is above the answer"
                )
                starts += 1
            found += 1
    equal = [float(jensen_draws(np.array([10.0]), np.array([m]))[0]) for m in (1.0, 5.0, 9.0)]
    require(abs(equal[0] - 1) < 1e-12, f"one edge needs one draw, got {equal[0]}")
    groups = draws_for_distinct(np.array([1.0, 0.0, 0.5, 0.5]), np.array([0, 2, 4, 4]), np.array([1.0, 9.0, 3.0]))
    require(groups.tolist() == [1.0, 1.0, 0.0], f"one edge, two edges, none: got {groups}")
    require(draws_for_distinct(np.array([0.5, 0.5]), np.array([0, 2]), np.array([0.9]))[0] == 0, "below one edge")
    return f"D by all outcomes; {found} budgets: the largest N with D(N) <= m, in fractions; {starts} starts below it"


def over(factor: float):
    """Trials: do factor * N draws hold more than m = 25 distinct edges by McDiarmid's margin, delta = 0.1?"""
    q = np.random.default_rng(141).dirichlet(np.full(60, 0.5))
    budget = int(draws_for_distinct(q, np.array([0, 60]), np.array([25.0]))[0])
    margin, size = math.sqrt(budget * math.log(10) / 2), round(budget * factor)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        counts = draw_counts(np.tile(q, n), np.arange(n + 1) * 60, np.full(n, size), rng).reshape(n, 60)
        return np.count_nonzero(counts, axis=1) >= 25 + margin

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(over(1.0), delta=0.1, trials=2_000 * effort, name="distinct edges above 25 by the margin")


def teeth() -> Evidence:
    q, indptr, wanted = np.random.default_rng(142).dirichlet(np.full(60, 0.5)), np.array([0, 60]), np.array([50.0])
    n = draws_for_distinct(q, indptr, wanted)

    def caught(factor: float) -> bool:
        return float(expected_distinct(q, indptr, np.floor(n * factor))[0]) > 50 * (1 + 1e-11)

    slack = smallest_sabotage(caught)
    start = jensen_draws(np.array([60.0]), wanted)
    require(float(expected_distinct(q, indptr, np.floor(start))[0]) < 45, "Jensen's start as the answer: not caught")
    require(violated(over(3.0), delta=0.1, trials=2_000, name="three times N"), "three times N was not caught")
    return Evidence(text=f"refuted: {slack:g} N and 3 N; Jensen's start as the answer wastes a tenth of m", slack=slack)
