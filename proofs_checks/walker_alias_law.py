"""Walker's alias table has the law q, and the shipped draws follow it.

Proof. Bucket k of n is chosen with chance 1/n and gives k with chance t_k, else its alias. Start with t_k = n q_k.
Pairing a bucket s with t_s < 1 and one g with t_g >= 1 closes bucket s: s has got t_s/n in all, and g has got
(1 - t_s)/n there, so that t_g falls by 1 - t_s. Open buckets always sum to their number; while one is below 1 another
is above, and the table closes. An edge with q = 0 is never a g, and its own bucket gives it with chance 0.
In floating point the law is within rounding of q; the 53-bit uniform adds at most n 2^-53 per edge.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp
import z3
from scipy.stats import binom

from boundlab.coresets.alias import MULTINOMIAL_ABOVE, _alias_table, draw_counts
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import smallest_sabotage, verdict
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="The alias method draws from q",
    source="Walker, ACM TOMS 3 (1977); Vose, IEEE TSE 17 (1991); as we understand the papers",
    given=("q >= 0 with a positive sum, n entries",),
    claim=r"\frac1n \Big(t_j + \sum_{k: alias_k=j} (1-t_k)\Big) = q_j",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/alias.py",
        old="threshold[g] -= 1.0 - threshold[s]",
        new="threshold[g] -= 0.99 * (1.0 - threshold[s])",
    ),
    Mutation(file="coresets/alias.py", old="if u - k >= threshold[k]:", new="if u - k >= threshold[k] * threshold[k]:"),
    Mutation(
        file="coresets/alias.py",
        old="size[r], q[own] / q[own].sum()",
        new="size[r], np.sqrt(q[own]) / np.sqrt(q[own]).sum()",
    ),
)

Table = tuple[np.ndarray, np.ndarray]


def table(q: np.ndarray) -> Table:
    """The shipped thresholds and aliases."""
    n = len(q)
    threshold, alias = np.empty(n), np.empty(n, np.int64)
    _alias_table(q, threshold, alias, np.empty(n, np.int64))
    return threshold, alias


def implied(built: Table) -> list[Fraction]:
    """The law of a table, exactly."""
    thresholds = [Fraction(float(t)) for t in built[0]]
    law = list(thresholds)
    for k, g in enumerate(built[1]):
        law[int(g)] += 1 - thresholds[k]
    return [v / len(law) for v in law]


def distance(built: Table, q: np.ndarray) -> float:
    """Largest gap between a table's law and q, in fractions."""
    exact_q = [Fraction(float(v)) for v in q]
    total = sum(exact_q, Fraction(0))
    return float(max(abs(a - b / total) for a, b in zip(implied(built), exact_q, strict=True)))


def laws() -> list[np.ndarray]:
    """Uniform, point masses, geometric, heavy, nearly uniform, and with zeros: 1 to 64 entries."""
    rng = np.random.default_rng(60)
    found = [np.full(n, 1 / n) for n in (1, 2, 3, 7, 64)] + [np.eye(5)[k] for k in range(5)]
    found += [0.5 ** np.arange(n) for n in (2, 20, 64)] + [0.5 ** np.arange(n)[::-1] for n in (20, 64)]
    for n, power in itertools.product((2, 3, 10, 40, 64), (0.01, 1.0, 6.0, 40.0)):
        q = rng.random(n) ** power
        found += [q.copy(), np.where(rng.random(n) < 0.5, 0.0, q)]
    return [q / q.sum() for q in found if q.sum() > 0]


def symbolic() -> str:
    s, g, others, n = sp.symbols("t_s t_g others n", positive=True)
    after = g - (1 - s)
    require(sp.simplify((after + (1 - s)) / n - g / n) == 0, "what g loses in its bucket it has got in that of s")
    count = sp.symbols("k", integer=True, positive=True)
    before = others + s + g - count
    require(sp.simplify((others + after) - (count - 1) - before) == 0, "open buckets must sum to their number")
    t_s, t_g = reals("t_s t_g")
    prove(z3.And(t_g - (1 - t_s) >= 0, t_g - (1 - t_s) < t_g), t_s >= 0, t_s < 1, t_g >= 1)
    return "one step keeps the law, keeps thresholds >= 0, and keeps the sum of the open buckets equal to their number"


def exact() -> str:
    worst, zeros = 0.0, 0
    for q in laws():
        built = table(q)
        law = implied(built)
        require(sum(law, Fraction(0)) == 1, "the law of a table must sum to 1")
        require(np.all((built[0] >= 0) & (built[0] <= 1 + 1e-12)), "a threshold is no probability")
        for j in np.flatnonzero(q == 0):
            require(law[int(j)] == 0, f"entry {j} has q = 0 and chance {float(law[int(j)])}")
            zeros += 1
        worst = max(worst, distance(built, q))
    require(worst <= 1e-15, f"a table is off by {worst}")
    return f"{len(laws())} tables up to 64 entries: law within {worst:.1e} of q in fractions, chance 0 at {zeros} zeros"


def fits(counts: np.ndarray, q: np.ndarray) -> bool:
    """Whether no count refutes its own probability, by the e-processes, from above or from below."""
    total = int(counts.sum())
    require(not counts[q == 0].any(), "an entry with q = 0 was drawn")
    return all(
        verdict(int(c), total, float(p)) != "violated" and verdict(total - int(c), total, float(1 - p)) != "violated"
        for c, p in zip(counts, q, strict=True)
        if 0 < p < 1
    )


def drawn(q: np.ndarray, size: int, groups: int, seed: int) -> np.ndarray:
    """Counts of `groups` independent groups with the same law, shape (groups, n)."""
    indptr = np.arange(groups + 1, dtype=np.int64) * len(q)
    rng = np.random.default_rng(seed)
    counts = draw_counts(np.tile(q, groups), indptr, np.full(groups, size), rng).reshape(groups, len(q))
    require(np.all(counts >= 0) and np.all(counts.sum(axis=1) == size), "counts must sum to the size of their group")
    return counts


def monte_carlo(effort: int = 1) -> Evidence:
    q = np.array([0.0, 0.4, 0.05, 0.0, 0.25, 0.299, 0.001, 0.0])
    edge, trials = MULTINOMIAL_ABOVE * len(q), 0
    for size, groups in ((1, 40_000), (9, 10_000), (edge, 1_000), (edge + 1, 1_000), (100_000, 20)):
        # the law of one group's count, not only its mean: P(c_1 = 0) and P(c_1 <= mean)
        events = ((0, 0.6**size), (int(0.4 * size), float(binom.cdf(int(0.4 * size), size, 0.4))))
        total, below = np.zeros(len(q), dtype=np.int64), np.zeros(2, dtype=np.int64)
        for k in range(effort):
            counts = drawn(q, size, groups, size + k)
            total += counts.sum(axis=0)
            below += [np.count_nonzero(counts[:, 1] <= most) for most, _ in events]
            trials += groups
        require(fits(total, q), f"{size} draws: the counts refute q")
        for found, (most, p) in zip(below, events, strict=True):
            known = 1e-30 < p < 1
            either = np.array([found, groups * effort - found])
            require(not known or fits(either, np.array([p, 1 - p])), f"{size} draws: P(c <= {most})")
    wide = np.random.default_rng(61).random(300) ** 3
    wide /= wide.sum()
    for size, groups, branch in ((300_000, 2, "multinomial"), (10_000, 60, "alias")):
        require(
            fits(drawn(wide, size, groups, size).sum(axis=0), wide), f"the {branch} draws refute a law of 300 entries"
        )
    point = drawn(np.array([0.0, 1.0, 0.0]), 1_000, 3, 64)
    require(np.all(point == [0, 1_000, 0]), "a point mass must be drawn always")
    ragged = np.array([1.0, 0.5, 0.5, 0.0, 0.0])
    uneven = draw_counts(ragged, np.array([0, 1, 3, 5]), np.array([7, 5, 0]), np.random.default_rng(65))
    require(uneven[0] == 7 and uneven[1:3].sum() == 5 and not uneven[3:].any(), "sizes 7, 5 and 0")
    text = f"{trials} groups of 1 to 100000 draws and a law of 300 entries: no count refutes q, zeros are never drawn"
    return Evidence(text=text, trials=trials)


def sample(built: Table, size: int, seed: int) -> np.ndarray:
    """Draw from a table, plainly."""
    rng, n = np.random.default_rng(seed), len(built[0])
    k = rng.integers(n, size=size)
    return np.bincount(np.where(rng.random(size) < built[0][k], k, built[1][k]), minlength=n)


def teeth() -> Evidence:
    q = np.array([0.4, 0.05, 0.25, 0.2, 0.1])
    threshold, alias = table(q)
    require(fits(sample((threshold, alias), 100_000, 66), q), "the plain sampler must pass on the true table")
    open_buckets = np.flatnonzero(threshold < 1)
    swapped = alias.copy()
    first = int(open_buckets[0])
    swapped[first] = next(k for k in range(len(q)) if k not in (first, alias[first]))
    sabotaged = {
        "a swapped alias": (threshold, swapped),
        "no alias": (threshold, np.arange(len(q))),
        "a threshold off by 0.05": (np.where(np.arange(len(q)) == first, threshold + 0.05, threshold), alias),
    }
    for name, built in sabotaged.items():
        require(distance(built, q) > 1e-3, f"{name} was not caught by the exact law")
        require(not fits(sample(built, 100_000, 67), q), f"{name} was not caught by the draws")

    def caught(factor: float) -> bool:
        """Whether shipped draws are refuted that give one entry `factor` times its chance."""
        other = q * np.where(np.arange(len(q)) == 2, factor, 1.0)
        return not fits(drawn(other / other.sum(), 200, 2_000, 68).sum(axis=0), q)

    slack = smallest_sabotage(caught)
    text = f"refuted by law and by draws: {', '.join(sabotaged)}; one entry at {slack:g} times its chance"
    return Evidence(text=text, slack=slack)
