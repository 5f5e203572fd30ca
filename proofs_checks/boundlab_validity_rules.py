"""Four rules without which bounds here fail: ties are errors, deltas add up, copies count once, seen points are errors.

Ties. Where several outputs are equal the class is not determined by the net: any rule that does not see the label errs
on at least 1 - 1/K of them on average over uniform labels. Counting a tie as a hit lets the zero net have no errors at
all; counting it as an error is right for every rule of breaking ties.

Deltas. M statements that fail with probability delta each fail together with probability up to M delta, attained where
the failures are disjoint: levels, grids, seeds, models and the Monte Carlo term all draw on one budget, delta/M each.

Copies. If each of m independent examples stands c times in the sample, the errors are c Bin(m, R), not Bin(cm, R): a
limit for n = cm treats them as c times the evidence they are. `repeats` counts the copies; that two examples agree
does not prove that they are copies, so it is a warning and not a correction.

Seen points. Fresh examples of which some, picked in whatever way, were replaced by points that shaped the net are no
sample: a net knows those by heart. With each of them counted as an error the count is at least that of the examples
that stood there before, and the limit holds; with the errors among the others alone it is at most theirs, so that the
lower limit holds too.

Proof that the rules suffice. With ties as errors the count is at least that of any rule, and the limit rises with the
count; the union bound; and langford2005_test_set for the m distinct examples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.generalization_bound import count_errors
from boundlab.bounds.test_set import TestSet, repeats, screened_limit
from boundlab.nets.given_points import fingerprints
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Validity rules: ties, budgets, copies, seen points",
    source="ours; each is folklore",
    given=("ties counted as errors", "delta/M for each of M statements", "n counts independent examples"),
    claim=r"\Pr[\text{any of the } M \text{ statements fails}] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="network.py", old="~(own > others.max(axis=1))", new="~(own >= others.max(axis=1))"),
    Mutation(file="bounds/test_set.py", old="return len(y) - len({", new="return 0 * len({"),
    Mutation(file="bounds/test_set.py", old="errors = int(known.sum()) + ", new="errors = "),
    Mutation(file="bounds/test_set.py", old="lower_limit(errors - int(known.sum()), n", new="lower_limit(errors, n"),
)

DISTINCT, COPIES, RISK, DELTA = 200, 4, 0.1, 0.05


def dead(classes: int) -> Network:
    """The net whose outputs are all 0."""
    return Network(layers=(Layer(weight=np.zeros((classes, 1)), bias=np.zeros(classes), relu=False),))


def hits_on_ties(net: Network, x: np.ndarray, y: np.ndarray) -> int:
    """The errors if a tie with the right class counted as a hit."""
    f = net(x)
    return int(np.count_nonzero(f[np.arange(len(y)), y] < f.max(axis=1)))


def law(n: int, p: Fraction) -> list[Fraction]:
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


def copied(m: int, c: int, risk: Fraction, limit: Callable[[int], float]) -> Fraction:
    """P[limit(c k) < risk] for k ~ Bin(m, risk): every example stands c times in the sample."""
    return sum((w for k, w in enumerate(law(m, risk)) if risk > Fraction(limit(c * k))), Fraction(0))


def symbolic() -> str:
    m, c, p = sp.symbols("m c p", positive=True)
    for classes in (2, 3, 10):
        first = sp.symbols(f"q1:{classes}", positive=True)
        rule = (*first, 1 - sp.Add(*first))  # how often a label-blind rule says each class
        errs = sum((1 - q) / classes for q in rule)
        require(sp.expand(errs - 1 + sp.Rational(1, classes)) == 0, f"a label-blind rule on {classes} uniform labels")
    variance = sp.simplify(c**2 * m * p * (1 - p) / (c * m * p * (1 - p)))
    require(variance == c, "c copies of each example have c times the variance of as many independent ones")
    return "label-blind rules hit 1 in K on average; c copies of each have c times the variance of fresh examples"


def exact() -> str:
    lines = []
    for classes in (2, 10):
        x, y = np.zeros((classes, 1)), np.arange(classes)
        net = dead(classes)
        require((count_errors(net, x, y), hits_on_ties(net, x, y)) == (classes, 0), "all ties")
        blind = [sum(int(guess != label) for label in y) for guess in range(classes)]
        require(min(blind) == classes - 1 <= count_errors(net, x, y), "no rule does better than 1 - 1/K")
    for n, models in itertools.product((1, 7, 40), (1, 20)):
        limits = [screened_limit(k, n, DELTA, models=models) for k in range(n + 1)]
        require(all(a < b for a, b in itertools.pairwise(limits)), f"the limit must rise with the count at n={n}")
    lines.append("the zero net: every tie an error, no label-blind rule below 1 - 1/K")
    cell = Fraction(49, 1000)  # three nets, each right on a cell of its own only; one example
    unpaid, paid = (
        sum(cell for _ in range(3) if 1 - cell > Fraction(screened_limit(0, 1, 0.05, models=M))) for M in (1, 3)
    )
    require(paid <= Fraction(1, 20) < unpaid, f"three statements: unpaid {unpaid}, paid {paid}")
    lines.append(f"3 statements at 0.05 with disjoint failures: {float(unpaid):.3f}, at 0.05/3 {float(paid):.3f}")
    for m, c, risk in itertools.product((10, 25), (2, 5), (Fraction(1, 10), Fraction(1, 2))):
        right = copied(m, 1, risk, lambda k, m=m: screened_limit(k, m, 0.05))
        wrong = copied(m, c, risk, lambda k, m=m, c=c: screened_limit(k, m * c, 0.05))
        require(right <= Fraction(0.05), f"the distinct examples at m={m}, R={risk}: {float(right)}")
        require(wrong >= right, "copies cannot help")
    wrong = copied(25, 5, Fraction(1, 10), lambda k: screened_limit(k, 125, 0.05))
    require(wrong > Fraction(1, 20), f"5 copies of 25: {float(wrong)}")
    lines.append(f"25 examples in 5 copies: {float(wrong):.3f} > 0.05")
    lines.append(f"seen points: the limit below the risk in {seen_by_heart():.3f}, errors not counted 1")
    x = np.array([[1.0], [2.0], [1.0], [1.0], [0.0], [-0.0]])
    require(repeats(x, np.array([0, 0, 0, 1, 1, 1])) == 2, "repeats: (1, 0) and (0, 1) once more each")
    return "; ".join(lines)


def seen_by_heart() -> float:
    """How often the limits of `TestSet` fail where the wrong examples of 6 are replaced by points learnt by heart.

    All outcomes of 6 fresh points of a net that errs on half of all but the one that it knows.
    """
    net = Network(layers=(Layer(weight=np.array([[1.0, 0.0], [0.0, 1.0]]), bias=np.zeros(2), relu=False),))
    by_heart, n, delta = np.array([[5.0, 1.0]]), 6, 0.4
    failed = forgotten = lower = 0
    for wrong in itertools.product((False, True), repeat=n):
        x = np.tile([2.0, 1.0], (n, 1))
        x[list(wrong)] = by_heart  # the adversary hides every error
        y = np.zeros(n, dtype=int)
        found = TestSet(delta=delta, seen=frozenset(fingerprints(by_heart)))(net, x, y)
        failed += found.value < 0.5
        lower += found.facts["lower_limit"] > 0.5
        forgotten += TestSet(delta=delta)(net, x, y).value < 0.5
    require(forgotten == 2**n, "not counted, every sample looks perfect")
    require(failed <= delta * 2**n, f"counted, the limit fails in {failed} of {2**n}")
    require(lower == 0, "the lower limit counts no seen point")
    return failed / 2**n


def copies(c: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial: the limit takes 200 examples for c times as many."""
    n = round(DISTINCT * c)
    below = np.array([screened_limit(min(n, round(k * c)), n, DELTA) < RISK for k in range(DISTINCT + 1)])
    return lambda rng, trials: below[rng.binomial(DISTINCT, RISK, size=trials)]


def monte_carlo(effort: int = 1) -> Evidence:
    kept = judge(copies(1), delta=DELTA, trials=20_000 * effort, name="distinct", expect="not violated")
    broken = judge(copies(COPIES), delta=DELTA, trials=2_000 * effort, name="copies", expect="violated")
    return Evidence(text=f"distinct: {kept.text}; 4 copies: {broken.text}", trials=kept.trials + broken.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(copies(factor), delta=DELTA, trials=20_000, name="copies")

    slack = smallest_sabotage(caught)

    def tied(rng: np.random.Generator, n: int) -> np.ndarray:
        """The zero net on 50 points with fair labels, ties as hits: is the limit below its risk 1/2?"""
        x, net = np.zeros((50, 1)), dead(2)
        draws = rng.integers(0, 2, size=(n, 50))
        return np.array([screened_limit(hits_on_ties(net, x, y), 50, DELTA) < 0.5 for y in draws])

    require(violated(tied, delta=DELTA, trials=100, name="ties"), "ties as hits were not caught")
    unpaid = copies(1)

    def three(rng: np.random.Generator, n: int) -> np.ndarray:
        """Three independent tests at delta each, none paid."""
        return unpaid(rng, n) | unpaid(rng, n) | unpaid(rng, n)

    require(
        violated(three, delta=DELTA, trials=4_000, name="budgets"), "three statements at delta each were not caught"
    )
    return Evidence(
        text=f"refuted: examples counted {slack:g} times; ties as hits; three statements unpaid", slack=slack
    )
