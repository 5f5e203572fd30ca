"""m draws with replacement keep sum_j 1 - (1-q_j)^m distinct edges in the mean, and never more than min(m, edges).

Statement. Let c ~ Multinomial(m, q) and D the number of j with c_j > 0. Then E D = sum_j 1 - (1-q_j)^m, D <= m and
D <= #{q_j > 0}, and so for the mean. Rounding two sizes up costs one draw more than rounding up their sum: ceil(a) +
ceil(b) <= ceil(a + b) + 1, which is the "+1" in CoreNet's size per neuron (two signs).

Proof. Edge j is missed by all m independent draws with probability (1-q_j)^m; add the indicators up. Each draw adds at
most one edge, and none with q_j = 0. By Bernoulli's inequality 1 - (1-q)^m <= m q, the derivative m (1-q)^(m-1) being
at most m, and sum q_j = 1. For the ceilings, the whole number ceil(a) + ceil(b) is below a + b + 2, hence below
ceil(a + b) + 2.

E D rises with m, so that the largest c for which m = ceil(c S) keeps the mean within a budget is found by bisection.
One draw misses the budget by chance, the mean does not; as one draw more or less changes D by at most 1, McDiarmid's
inequality puts D above its mean by t with probability at most e^(-2 t²/m), m being all draws together.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab import CoreNetBudget, compress, random_network
from boundlab.compressors.method import redraw
from boundlab.coresets.alias import draw_counts
from boundlab.nets.groups import sign_groups
from boundlab.records import SamplePlan, Sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, verdict
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="Distinct edges among draws with replacement",
    source="standard; CoreNet (arXiv:1804.05345) counts at most m, and one more for the second sign of a neuron, as we "
    "understand the paper",
    given=("c ~ Multinomial(m, q)",),
    claim=r"E[\#\{j: c_j > 0\}] = \sum_j 1 - (1-q_j)^m \le \min(m, \#\{q_j > 0\}), \quad "
    r"\lceil a\rceil + \lceil b\rceil \le \lceil a+b\rceil + 1",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="records.py",
        old="np.where(draws > 0, -np.expm1(draws * np.log1p(-q)), 0.0)",
        new="np.where(draws > 1, -np.expm1((draws - 1) * np.log1p(-q)), 0.0)",
    ),
    Mutation(
        file="records.py",
        old="return self.groups.sums(certain.astype(np.float64)) + kept",
        new="return kept",
    ),
    Mutation(file="compressors/corenet.py", old="if kept(mid) <= nnz:", new="if kept(mid) <= 1.05 * nnz:"),
)


def plan(values: list[float], m: int, *, exact: bool = False) -> SamplePlan:
    """One group with given sensitivities and m draws."""
    groups = sign_groups(np.ones((1, len(values))))
    own = Sensitivities(values=np.array(values), groups=groups, points=1, theorem="boundlab_expected_distinct")
    return SamplePlan(
        layer=2,
        sensitivities=own,
        size=np.array([float(m)]),
        exact=np.array([exact]),
        eps=np.zeros(1),
        K=1.0,
        parts=1,
        condition=float("nan"),
        theorem="boundlab_expected_distinct",
    )


def outcomes(m: int, edges: int) -> Iterator[tuple[int, ...]]:
    """Every multinomial count."""
    return (c for c in itertools.product(range(m + 1), repeat=edges) if sum(c) == m)


def symbolic() -> str:
    q, m = sp.symbols("q m", positive=True)
    gap = m * q - (1 - (1 - q) ** m)
    require(gap.subs(q, 0) == 0, "m q - 1 + (1-q)^m must vanish at 0")
    require(sp.simplify(sp.diff(gap, q) - m * (1 - (1 - q) ** (m - 1))) == 0, "its slope is m (1 - (1-q)^(m-1)) >= 0")
    a, b = reals("a b")
    whole: list[Any] = list(z3.Ints("A B C"))  # the ceilings of a, b and a + b
    A, B, C = whole
    near = [z3.And(z3.ToReal(n) >= v, z3.ToReal(n) < v + 1) for n, v in ((A, a), (B, b), (C, a + b))]
    prove(A + B <= C + 1, *near)
    return "1 - (1-q)^m <= m q by its slope; z3: ceil(a) + ceil(b) <= ceil(a+b) + 1"


def exact() -> str:
    cases = 0
    for values, m in itertools.product(([1.0], [0.5, 0.25], [0.25, 0.5, 0.0, 0.125], [1.0, 0.5, 0.25]), range(5)):
        s = [Fraction(v) for v in values]
        q = [v / sum(s) for v in s]
        mean = Fraction(0)
        for c in outcomes(m, len(q)):
            chance = Fraction(math.factorial(m)) * math.prod(
                (p**k / math.factorial(k) for p, k in zip(q, c, strict=True)), start=Fraction(1)
            )
            distinct = sum(k > 0 for k in c)
            require(chance == 0 or distinct <= min(m, sum(v > 0 for v in s)), "D <= min(m, edges)")
            mean += chance * distinct
        require(mean == sum((1 - (1 - p) ** m for p in q), Fraction(0)), "E D by enumeration")
        told = float(plan(values, m).expected_distinct[0])
        require(abs(told - float(mean)) <= 1e-14 * len(q), f"expected_distinct gives {told}, it is {float(mean)}")
        cases += 1
    require(plan([0.5, 0.0], 7, exact=True).expected_distinct[0] == 2, "an exact group keeps all its edges")
    grid = [Fraction(i, 7) for i in range(1, 30)]
    require(all(math.ceil(a) + math.ceil(b) <= math.ceil(a + b) + 1 for a in grid for b in grid), "ceilings")
    return f"{cases} laws, every outcome: E D to the last digits; {budgets()}"


def budgets() -> str:
    """The plans of a budget keep at most that many non-zeros in the mean, and not many fewer."""
    net = random_network((40, 12, 3), rng=1)
    points = np.random.default_rng(2).uniform(0, 1, (30, 40))
    shares = []
    for nnz in (60, 150, 300, 450):
        small = compress(net, CoreNetBudget(nnz=nnz), points, rng=3)
        require(small.expected_nnz <= nnz, f"{small.expected_nnz} non-zeros in the mean, {nnz} were allowed")
        require(small.expected_nnz >= 0.9 * nnz, f"only {small.expected_nnz} of {nnz} are used")
        most = sum(int(np.where(p.exact, p.groups.edges, p.draws).sum()) for p in small.plans)
        require(small.nnz <= min(most, net.nnz), f"{small.nnz} non-zeros from {most} draws")
        shares.append(small.expected_nnz / nnz)
    return f"budgets of 60 to 450 weights: the mean uses {min(shares):.3f} to {max(shares):.3f} of them"


def kept(values: list[float], m: int, groups: int, seed: int) -> np.ndarray:
    """In how many of `groups` shipped draws each edge is kept."""
    q = np.array(values) / np.sum(values)
    indptr = np.arange(groups + 1, dtype=np.int64) * len(q)
    counts = draw_counts(np.tile(q, groups), indptr, np.full(groups, m), np.random.default_rng(seed))
    return np.count_nonzero(counts.reshape(groups, len(q)), axis=0)


def refuted(counts: np.ndarray, trials: int, chances: list[float]) -> bool:
    """Whether some edge is kept too often or too rarely for its chance."""
    return any(
        verdict(int(k), trials, p) == "violated" or verdict(trials - int(k), trials, 1 - p) == "violated"
        for k, p in zip(counts, chances, strict=True)
    )


def monte_carlo(effort: int = 1) -> Evidence:
    values, m, groups = [0.5, 0.3, 0.1, 0.05, 0.02], 12, 4_000 * effort
    chances = [1 - (1 - v / sum(values)) ** m for v in values]
    require(abs(sum(chances) - float(plan(values, m).expected_distinct[0])) < 1e-12, "the chances must add up")
    require(
        not refuted(kept(values, m, groups, 5), groups, chances), "an edge is not kept as often as the formula says"
    )
    net = random_network((40, 12, 3), rng=1)
    small = compress(net, CoreNetBudget(nnz=150), np.random.default_rng(2).uniform(0, 1, (30, 40)), rng=3)
    draws = int(sum(p.draws.sum() for p in small.plans))
    above = math.sqrt(draws * math.log(1 / 0.05) / 2)  # McDiarmid: one draw changes D by at most 1

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array([redraw(small, rng).nnz > small.expected_nnz + above for _ in range(n)])

    found = judge(trial, delta=0.05, trials=200 * effort, name="non-zeros of a budget")
    text = f"{groups} draws of {m}: no edge's rate refutes 1 - (1-q)^m; nnz above its mean by {above:.0f}: {found.text}"
    return Evidence(text=text, trials=groups + found.trials)


def teeth() -> Evidence:
    values, m, groups = [0.5, 0.3, 0.1, 0.05, 0.02], 12, 20_000

    def caught(factor: float) -> bool:
        """Whether the shipped mean, divided by `factor`, is below the mean of shipped draws (by Hoeffding)."""
        told = float(plan(values, m).expected_distinct[0]) / factor
        mean = kept(values, m, groups, 6).sum() / groups
        return mean - len(values) * math.sqrt(math.log(1e6) / (2 * groups)) > told

    slack = smallest_sabotage(caught)
    wrong = [v / sum(values) * m for v in values]  # m q, which counts repeated draws
    require(refuted(kept(values, m, groups, 6), groups, [min(1 - 1e-9, w) for w in wrong]), "m q was not caught")
    require(math.ceil(0.5) + math.ceil(0.5) > math.ceil(0.5 + 0.5), "ceilings without the +1 must be caught")
    return Evidence(
        text=f"refuted: E D divided by {slack:g}, m q for 1 - (1-q)^m, ceilings without the +1", slack=slack
    )
