"""Walker's alias table in whole numbers has the law q to the stated distance, and the shipped draws follow it.

Proof. Bucket k of n is chosen with chance 1/n and gives k with chance t_k, else its alias. Start with t_k = n q_k.
Pairing a bucket s with t_s < 1 and one g with t_g >= 1 closes bucket s: s has got t_s/n in all, and g has got
(1 - t_s)/n there, so that t_g falls by 1 - t_s. Open buckets always sum to their number; while one is below 1 another
is above, and the table closes. An edge with q = 0 is never a g, and its own bucket gives it with chance 0.
In whole units, U = 2^(63-b) to a bucket and n <= 2^b, all of this is exact, and only the start is rounded: the float64
shares are off by at most 4 * 2^-53 and half a unit each, and the largest edge takes what is left over. Half the sum of
both is 2^-51 + 1/(2 U). A word u in [0, 2^64) gives the column and the coin in u n = 2^64 k + coin: the words between
two real limits are those between the limits rounded up, and at most 2 (n - 1) limits are not whole, so that
TV < 2^-50 + 2^-(64-b) + 2 (n - 1) 2^-64.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp
import z3
from scipy.stats import binom

from boundlab.coresets.alias import MULTINOMIAL_ABOVE, Multinomials, draw_counts
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import smallest_sabotage, verdict
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="The alias method draws from q",
    source="Walker, ACM TOMS 3 (1977); Vose, IEEE TSE 17 (1991); as we understand the papers",
    given=("q >= 0 with a positive sum, n entries",),
    claim=r"\frac1n \Big(t_j + \sum_{k: alias_k=j} (1-t_k)\Big) = q_j;\quad "
    r"\text{in words of 64 bits } TV < 2^{-50} + 3 \cdot 2^{\lceil\log_2 n\rceil - 64}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/alias.py",
        old="mass[g] -= unit - mass[s]",
        new="mass[g] -= (unit - mass[s]) - (unit >> np.uint64(9))",
    ),
    Mutation(file="coresets/alias.py", old="mass[largest] += rest", new="mass[0] += rest"),
    Mutation(file="coresets/alias.py", old="coin < table[k] - alias", new="coin < (table[k] - alias) // np.uint64(2)"),
    Mutation(file="coresets/alias.py", old="masses_after(q, indptr,", new="masses_after(np.sqrt(q), indptr,"),
    Mutation(file="coresets/alias.py", old="counts[:n] = 0", new="counts[:1] = 0"),
)

WORD = 2**64
Table = tuple[np.ndarray, np.ndarray]


def table(q: np.ndarray) -> Table:
    """The shipped thresholds, in units of 2^-64, and aliases: what a draw compares its coin with."""
    entries = Multinomials(q, np.array([0, len(q)]), np.array([1])).entries
    alias = entries & np.uint64((1 << (len(q) - 1).bit_length()) - 1)
    return entries - alias, alias.astype(np.int64)


def implied(built: Table) -> list[Fraction]:
    """The law of a table with real uniform numbers, exactly."""
    thresholds = [Fraction(int(t), WORD) for t in built[0]]
    law = [Fraction(0)] * len(thresholds)
    for k, (t, g) in enumerate(zip(thresholds, built[1].tolist(), strict=True)):
        law[k] += t
        law[g] += 1 - t
    return [v / len(law) for v in law]


def drawn_law(built: Table, word: int = WORD) -> list[Fraction]:
    """The law of a table with the coins of whole words u, where u n = word k + coin: counted, not rounded."""
    n, counts = len(built[0]), [0] * len(built[0])
    for k, (t, g) in enumerate(zip(built[0].tolist(), built[1].tolist(), strict=True)):
        low, cut, high = -(-k * word // n), -(-(k * word + t) // n), -(-(k + 1) * word // n)
        counts[k] += cut - low
        counts[g] += high - cut
    return [Fraction(c, word) for c in counts]


def variation(p: list[Fraction], q: list[Fraction]) -> Fraction:
    """Total variation."""
    return sum((abs(a - b) for a, b in zip(p, q, strict=True)), Fraction(0)) / 2


def shares(q: np.ndarray) -> list[Fraction]:
    """q/sum(q), exactly."""
    own = [Fraction(v) for v in q.tolist()]
    total = sum(own, Fraction(0))
    return [v / total for v in own]


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
        built, want, n = table(q), shares(q), len(q)
        real, whole = implied(built), drawn_law(built)
        require(sum(real, Fraction(0)) == 1 == sum(whole, Fraction(0)), "the law of a table must sum to 1")
        for j in np.flatnonzero(q == 0):
            require(real[int(j)] == whole[int(j)] == 0, f"entry {j} has q = 0 and chance {float(whole[int(j)])}")
            zeros += 1
        bucket = Fraction(2 ** (n - 1).bit_length(), WORD)
        require(variation(real, want) <= Fraction(1, 2**50) + bucket, "the table is off by more than its rounding")
        require(variation(real, whole) <= Fraction(2 * (n - 1), WORD), "a limit moved by more than a word")
        worst = max(worst, float(variation(whole, want)))
    counted = enumerated()
    sums()
    return (
        f"{len(laws())} tables up to 64 entries: law within {worst:.1e} of q in fractions, chance 0 at {zeros} zeros; "
        f"the count of words against trying all of them, {counted} tables at words of 10 bits"
    )


def enumerated() -> int:
    """Try every word of a short length: column and coin from one product, as `drawn_law` counts them."""
    rng, word, tables = np.random.default_rng(62), 2**10, 0
    for n, _ in itertools.product((1, 2, 3, 5, 8, 11), range(10)):
        built = rng.integers(word, size=n), rng.integers(n, size=n)
        tried = [0] * n
        for u in range(word):
            k, coin = divmod(u * n, word)
            tried[k if coin < built[0][k] else int(built[1][k])] += 1
        require(drawn_law(built, word) == [Fraction(c, word) for c in tried], f"words counted wrongly, n = {n}")
        tables += 1
    return tables


def sums() -> None:
    """The sums that never store a count are those of the counts, in both branches."""
    q = np.tile([0.25, 0.5, 0.0, 0.25], 3)
    own = Multinomials(q, np.array([0, 4, 8, 12]), np.array([9, 4 * MULTINOMIAL_ABOVE + 1, 5]))
    counts = own.draw(np.random.default_rng(63)).reshape(3, 4)
    got = own.draw_sums(
        np.tile([1.0, 2.0, 4.0, 8.0], 3), np.tile([0, 1, 1, 0], 3), np.array([1.0, 16.0]), np.random.default_rng(63)
    )
    require(np.array_equal(got, counts @ [1.0, 32.0, 64.0, 8.0]), f"sums {got} of counts {counts}")


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
    return np.bincount(np.where(rng.random(size) < built[0][k] / WORD, k, built[1][k]), minlength=n)


def teeth() -> Evidence:
    q = np.array([0.4, 0.05, 0.25, 0.2, 0.1])
    threshold, alias = table(q)
    require(fits(sample((threshold, alias), 100_000, 66), q), "the plain sampler must pass on the true table")
    open_buckets = np.flatnonzero(alias != np.arange(len(q)))
    swapped = alias.copy()
    first = int(open_buckets[0])
    swapped[first] = next(k for k in range(len(q)) if k not in (first, alias[first]))
    sabotaged = {
        "a swapped alias": (threshold, swapped),
        "no alias": (threshold, np.arange(len(q))),
        "a threshold off by 1/16": (
            np.where(np.arange(len(q)) == first, threshold + np.uint64(WORD // 16), threshold),
            alias,
        ),
    }
    for name, built in sabotaged.items():
        require(variation(drawn_law(built), shares(q)) > 1e-3, f"{name} was not caught by the exact law")
        require(not fits(sample(built, 100_000, 67), q), f"{name} was not caught by the draws")

    def caught(factor: float) -> bool:
        """Whether shipped draws are refuted that give one entry `factor` times its chance."""
        other = q * np.where(np.arange(len(q)) == 2, factor, 1.0)
        return not fits(drawn(other / other.sum(), 200, 2_000, 68).sum(axis=0), q)

    slack = smallest_sabotage(caught)
    text = f"refuted by law and by draws: {', '.join(sabotaged)}; one entry at {slack:g} times its chance"
    return Evidence(text=text, slack=slack)
