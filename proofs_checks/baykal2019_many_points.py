"""All of n points at once: delta/n in the place of delta, that is ln(8 eta n/delta) draws, and no more.

The statement. With m = 8 S K ln(8 eta n/delta)/eps_l² draws for each group, the compressed net is within (1 ± eps) at
all of n given points simultaneously with probability at least 1 - delta.

Proof. A union over the n points of "a sampled sum leaves (1 ± eps_l) at x": each is of probability at most
2 delta/(8 eta n) per group at that m, at C = 3 K. The sensitivities pay nothing for n: s_j <= M_j/K is an event about S
alone, and off it K s_j >= g_j(x) for almost every x, all points included. The bound on Delta pays like the sums do.
It is needed: with delta unpaid, three points of one row fail together beyond delta (exact check).
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.corenet_corollary import log_size
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.baykal2019_unbiased_reweighting import outcomes
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="CoreNet at many points",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=(
        "n points that do not depend on the coins, shares at most C s_j at each, C = 3 K",
        "eps in (0, 1]",
    ),
    claim=r"m \ge 8 S K \ln(8\eta n/\delta)/\epsilon^2 \Rightarrow "
    r"\Pr[\exists k \le n: |\hat z(x_k) - z(x_k)| > \epsilon z(x_k)] \le 2\delta/(8\eta)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/corenet_corollary.py",
        old="math.log(math.log(8.0 * eta * n / delta))",
        new="math.log(math.log(8.0 * eta / delta))",
    ),
)

EPS, K = Fraction(9, 10), 3


def size(delta: float, n: int, *, rule: Rule = Rule.PUBLISHED) -> int:
    """The shipped m of one group with S = 1 for n points; the published rule's C is 3 K, so that C = 3 is K = 1."""
    known = 1.0 if rule is Rule.PUBLISHED else float(K)
    return int(sample_size(np.ones(1), float(EPS), delta / n, K=known, rule=rule)[0])


def failures(m: int, n: int) -> tuple[Fraction, Fraction]:
    """P(error above eps at the first point), P(at one of the first n): unit points of a row of three equal weights."""
    one = several = Fraction(0)
    for counts, p in outcomes(m, [Fraction(1, 3)] * 3):
        bad = [abs(Fraction(3 * c, m) - 1) > EPS for c in counts]
        one, several = one + p * bad[0], several + p * any(bad[:n])
    return one, several


def symbolic() -> str:
    eta, n, delta, S, K_, e = sp.symbols("eta n delta S K epsilon", positive=True)
    m = 8 * S * K_ * sp.log(8 * eta * n / delta) / e**2
    tail = sp.exp(-(e**2) * m / (8 * S * K_))  # each tail at C = 3 K, as in the theorem on positive weights
    require(sp.simplify(n * 2 * tail - 2 * delta / (8 * eta)) == 0, "n points lose 2 delta/(8 eta) together")
    more = sp.symbols("r", nonnegative=True)  # n = 1 + r points cost a share ln(1 + r)/ln(8 eta/delta) more
    gap = sp.expand_log(sp.log(8 * eta * (1 + more) / delta) - sp.log(8 * eta / delta), force=True)
    require(sp.simplify(gap - sp.log(1 + more)) == 0, "ln n more")
    return "n points lose 2 delta/(8 eta) together at ln(8 eta n/delta), which is ln n more"


def exact() -> str:
    told = []
    for delta in (0.3, 0.1):
        tight, paid = size(delta, 1, rule=Rule.BINOMIAL), size(delta, 3, rule=Rule.KL)
        one, several = failures(tight, 3)
        require(one <= Fraction(delta) < several, f"{float(one)} at one point, {float(several)} at three, m = {tight}")
        require(failures(paid, 3)[1] <= Fraction(delta), "delta/n must pay for three points")
        require(failures(size(delta, 3), 3)[1] <= Fraction(delta), "and so must the published size")
        told.append(f"{float(several):.3f} > {delta:g} >= {float(failures(paid, 3)[1]):.4f}")
    for n, eta, delta in itertools.product((1, 7, 1_000), (3, 410), (0.1, 1e-3)):
        whole = log_size([1.0], [1.0], K=1.0, eta=eta, n=n, delta=delta, ratio=0.5)
        want = math.log(32 * math.log(8 * eta * n / delta))
        require(abs(whole - want) < 1e-12, f"the shipped size for n = {n}: {whole} against {want}")
    return f"three points, m for one and for three: {', '.join(told)}; log_size has ln(8 eta n/delta)"


POINTS, DELTA = 40, 0.3


def errs(m: int):
    """A trial: m draws of 120 equal edges err by more than 0.9 at one of 40 points, each active on 40 edges of its own.

    Point k sees the edges 2 k .. 2 k + 39, one third of all: C = 3.
    """
    edges, width = 120, 40
    sees = np.array([[(j - 2 * k) % edges < width for j in range(edges)] for k in range(POINTS)], float)

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        q, indptr = np.full(n * edges, 1 / edges), np.arange(n + 1, dtype=np.int64) * edges
        counts = draw_counts(q, indptr, np.full(n, m), rng).reshape(n, edges)
        return np.asarray((np.abs(counts @ sees.T * (3 / m) - 1) > float(EPS)).any(axis=1))

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    m = size(DELTA, POINTS)
    own = judge(errs(m), delta=DELTA, trials=1_000 * effort, name="40 points at once")
    return Evidence(text=f"40 points at the published m = {m}: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    m = size(DELTA, POINTS, rule=Rule.KL)
    slack = smallest_sabotage(
        lambda factor: violated(errs(math.ceil(m / factor)), delta=DELTA, trials=1_000, name=f"m / {factor}")
    )
    alone = size(DELTA, 1, rule=Rule.BINOMIAL)
    require(violated(errs(alone), delta=DELTA, trials=1_000, name="n unpaid"), "the size of one point was not caught")
    return Evidence(text=f"refuted: kl's m divided by {slack:g}; m = {alone} of a single point", slack=slack)
