"""Three loops of the released code: a histogram that merges two points, a sample size lost, a class of one point.

1. Histogram. The counts of the drawn indices are taken with the bin edges 0, 1, ..., n-1. These are n-1 bins, the last
of which is closed on both sides: the draws of point n-1 are added to point n-2. The last point is never kept, E v = 0
for it, and E v = u (q_{n-2} + q_{n-1})/q_{n-2} for the one before, so that the estimate of F is biased at every query
at which their losses differ. (In the framework that followed the paper; in the paper's own code this line is a comment,
and a multinomial draw stands in its place.)

2. Sample size. The number of draws that would give the wanted number of distinct points on average is computed and then
overwritten with that number itself. m draws give sum_p 1 - (1 - q_p)^m < m distinct points.

3. One point. For a class of one point the function that clusters returns one array where two values are unpacked: the
run ends with an error. The bound for a cluster of one point is min(1, 1 + ...) = 1.

The shipped sampler draws multinomial counts: m q is the mean of the count, and E v = u.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.svm.sampling import draw_weights
from boundlab.coresets.svm.sensitivity import clusters_of, sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, violated
from proofs_checks.proving import prove_positive

THEOREM = Theorem(
    name="The sampling loops of the released code",
    source="in the released code of Tukan et al. 2021, arXiv:2002.06469, and of the framework that followed it",
    given=("m indices drawn with probabilities q", "counts by numpy.histogram(indices, bins=range(n))"),
    claim=r"\mathbb{E}[v_p] = u_p \text{ for every } p = 0, \dots, n-1",
    status="refuted",
    finding="the last point is never kept and its draws go to the one before; the adapted sample size is overwritten; "
    "a class of one point ends in an error",
    ours="boundlab_svm_size",
)

MUTATIONS = (
    Mutation(
        file="coresets/svm/sampling.py",
        old="return counts.reshape(coresets, len(q)) * (u / (size * q))",
        new="return counts.reshape(coresets, len(q)) * (u / size)",
    ),
    Mutation(
        file="coresets/svm/sampling.py",
        old="q = bounds / bounds.sum()",
        new="q = np.sqrt(bounds) / np.sqrt(bounds).sum()",
    ),
)

Q = (Fraction(1, 2), Fraction(1, 4), Fraction(1, 8), Fraction(1, 8))


def released_counts(indices: np.ndarray, n: int) -> np.ndarray:
    """The counts as the released code takes them: n - 1 of them."""
    return np.histogram(indices, bins=range(n))[0]


def correct_counts(indices: np.ndarray, n: int) -> np.ndarray:
    """The counts with one bin per point."""
    return np.histogram(indices, bins=range(n + 1))[0]


def means(counts, draws: int) -> list[Fraction]:
    """E v_p with u = 1, over all outcomes of `draws` draws, exactly; points without a count have 0."""
    n, out = len(Q), [Fraction(0)] * len(Q)
    for outcome in itertools.product(range(n), repeat=draws):
        chance = math.prod((Q[k] for k in outcome), start=Fraction(1))
        for p, count in enumerate(counts(np.array(outcome), n)):
            out[p] += chance * int(count) / (draws * Q[p])
    return out


def symbolic() -> str:
    q1, q2, m = sp.symbols("q1 q2 m", positive=True)
    merged = m * (q1 + q2) / (m * q1)
    require(sp.simplify(merged - 1 - q2 / q1) == 0, "E v of the point before the last must be 1 + q_last/q_before")
    q = sp.symbols("q", positive=True)  # 1 - (1 - q)^m < m q, here with m = 5
    gap = 5 * q - (1 - (1 - q) ** 5) - q**2 * (10 - 10 * q + 5 * q**2 - q**3)
    require(sp.expand(gap) == 0, "m q - (1 - (1 - q)^m) must be q² (10 - 10 q + 5 q² - q³)")
    prove_positive(lambda x: 10 - 10 * x + 5 * x * x - x * x * x, (0, 1))
    return "E v = 1 + q_last/q_before for the last but one, 0 for the last; distinct points < m for q in (0, 1]"


def exact() -> str:
    released, correct = means(released_counts, 4), means(correct_counts, 4)
    require(correct == [1, 1, 1, 1], f"one bin per point must be unbiased: {correct}")
    require(released == [1, 1, 2, 0], f"the released counts must have the means 1, 1, 2, 0, not {released}")
    rng, u, bounds = np.random.default_rng(91), np.array([2.0, 0.5, 1.0, 3.0]), np.array([0.7, 0.1, 0.4, 1.0])
    v = draw_weights(u, bounds, 50, rng, coresets=200)
    counts = v * 50 * (bounds / bounds.sum()) / u
    require(np.allclose(counts, np.round(counts), atol=1e-9), "v must be u times whole counts over m q")
    require(np.all(np.round(counts).sum(axis=1) == 50) and np.any(v[:, 3] > 0), "m draws, the last point among them")
    distinct = float(sum(1 - (1 - q) ** 8 for q in Q))
    require(distinct < 4, "8 draws on 4 points")
    try:
        value, _spread = np.ones(1)
    except ValueError as reason:
        crash = str(reason)
    else:
        raise AssertionError(f"one value was unpacked into two: {value}")
    one = sensitivities(clusters_of([[1.0], [2.0]], [1.0, 1.0], [0, 1]), lam=1.0, opt=0.5)
    require(np.array_equal(one, [1.0, 1.0]), f"a cluster of one point must have the bound 1: {one}")
    return (
        f"E v = 1, 1, 2, 0 over all 256 outcomes of 4 draws; {distinct:.2f} distinct of 8 draws; class of one: {crash}"
    )


def never_kept(counts):
    """A trial: the last of four points is missing among 20 draws; its probability is (7/8)^20 = 0.069."""

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        draws = rng.choice(4, size=(n, 20), p=[float(q) for q in Q])
        return np.array([len(c := counts(row, 4)) < 4 or c[3] == 0 for row in draws], bool)

    return trial


def shipped(rng: np.random.Generator, n: int) -> np.ndarray:
    """The same with the shipped sampler."""
    return draw_weights(np.ones(4), np.array(Q, float), 20, rng, coresets=n)[:, 3] == 0


def monte_carlo(effort: int = 1) -> Evidence:
    trials = 2_000 * effort
    bad = judge(never_kept(released_counts), delta=0.1, trials=trials, name="released histogram", expect="violated")
    good = judge(shipped, delta=0.1, trials=trials, name="shipped sampler")
    return Evidence(text=f"last point missing, released: {bad.text}; shipped: {good.text}", trials=2 * trials)


def teeth() -> Evidence:
    require(
        not violated(never_kept(correct_counts), delta=0.1, trials=500, name="n + 1 edges"), "n + 1 edges are right"
    )
    require(violated(never_kept(released_counts), delta=0.1, trials=500, name="n edges"), "n edges must be caught")
    mean = draw_weights(np.ones(4), np.array(Q, float), 10, np.random.default_rng(92), coresets=20_000).mean(axis=0)
    error = np.sqrt((1 / np.array(Q, float) - 1) / 200_000)
    require(np.all(np.abs(mean - 1) < 5 * error), f"the shipped sampler must be unbiased: {mean}")
    require(np.any(np.abs(np.array([1, 1, 2, 0]) - 1) > 5 * error), "means 1, 1, 2, 0 must be caught")
    return Evidence(
        text="n + 1 edges pass, n edges are caught; the shipped weights have mean u within 5 standard errors"
    )
