"""A classifier rebuilt from k examples is tested by the other n - k, at the price of naming the k and every message.

Statement. A maps k examples, taken without their order, and a message s to a classifier. P(. | the k examples) is a
prior on messages, w(k) = 6/(pi^2 (k+1)^2). With probability at least 1 - delta, for all k < n, all choices of k of the
n i.i.d. examples and all messages: R <= Bin+(errors on the others, n - k, delta w(k) P(s)/C(n, k)).

Proof. Fix an index set of size k and condition on its examples: the classifier of each message is fixed and the other
n - k examples are fresh, so that the tail bound fails with probability at most delta w(k) P(s)/C(n, k). Sum over s
(1), over the C(n, k) index sets, and over k, where sum_k w(k) = 1. Whatever picked the set and the message, they are
covered.

What is paid. Where A uses the order of the examples there are n!/(n-k)! sequences in place of C(n, k) sets. Weights
computed from all examples are not determined by the k: a single real number can carry all labels, so that one kept
example "explains" everything; they belong to the message. A dataset coreset of k = 300 of 60 000 points costs 1885
nats before its weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter
from boundlab.bounds.sample_compression import SampleCompression, log_choices, sample_compression, size_nats
from boundlab.concentration.binomial import log_cdf
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Sample compression bound, binomial tail",
    source="Littlestone and Warmuth (1986); Floyd and Warmuth, Machine Learning 21 (1995); in the tail form of "
    "Langford (2005); item numbers not known to us; as we understand the papers",
    given=(
        "n i.i.d. examples",
        "A ignores the order of the k examples",
        "P(message) may depend on the k examples only",
    ),
    claim=r"\Pr[\exists k, I, s : R > \mathrm{Bin}^+(e_{I,s}, n - k, \delta w(k) P(s) / \tbinom nk)] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/sample_compression.py", old="choices + size_nats(k) -", new="choices -"),
    Mutation(
        file="bounds/sample_compression.py",
        old="return tail_inverse(errors, n - k,",
        new="return tail_inverse(errors, n,",
    ),
    Mutation(
        file="bounds/sample_compression.py", old="([] if ordered else [math.lgamma(k + 1)])", new="[math.lgamma(k + 1)]"
    ),
    Mutation(file="bounds/sample_compression.py", old='nats("message", message) + choices', new="choices"),
    Mutation(file="bounds/sample_compression.py", old="others[kept] = False", new="others[kept[:0]] = False"),
    Mutation(
        file="bounds/sample_compression.py",
        old="message=self.message_nats, ordered=self.ordered)",
        new="ordered=self.ordered)",
    ),
    Mutation(
        file="bounds/sample_compression.py",
        old="message=self.message_nats, ordered=self.ordered)",
        new="message=self.message_nats)",
    ),
    Mutation(
        file="bounds/sample_compression.py",
        old="if len(np.unique(found)) != len(found):",
        new="if len(found) < 0:",
    ),
)

N, KEPT, DELTA = 300, 8, 0.9
LEVEL = DELTA * math.exp(-size_nats(KEPT))  # what the size 8 alone may spend


def symbolic() -> str:
    k = sp.symbols("k", integer=True, nonnegative=True)
    require(sp.summation(6 / (sp.pi**2 * (k + 1) ** 2), (k, 0, sp.oo)) == 1, "the sizes add up to 1")
    n, c = sp.symbols("n c", positive=True)
    require(sp.simplify(sp.binomial(n, c) * (1 / sp.binomial(n, c)) - 1) == 0, "C(n, k) index sets at 1/C(n, k) each")
    orders = sp.combsimp(sp.ff(n, k) / sp.binomial(n, k))
    require(sp.simplify(sp.gammasimp(orders.rewrite(sp.gamma)) - sp.gamma(k + 1)) == 0, "n!/(n-k)! = k! C(n, k)")
    return "sum of w(k) is 1, C(n, k) sets at delta w(k)/C(n, k) each; sequences are k! times as many"


def small_world(limit: Callable[[int, int], float]) -> Fraction:
    """P[some subset of 5 examples breaks its limit]; A says 1 where a kept example with label 1 stood, else 0.

    Two points with masses 1/5 and 4/5, label 1 with probability 1/10 and 9/10.
    """
    cells = {(0, 0): Fraction(9, 50), (0, 1): Fraction(1, 50), (1, 0): Fraction(4, 50), (1, 1): Fraction(36, 50)}
    n, total = 5, Fraction(0)
    for sample in itertools.product(cells, repeat=n):
        broken = False
        for bits in range(2**n):  # bit i: example i is kept
            kept = [e for i, e in enumerate(sample) if bits >> i & 1]
            if len(kept) == n or broken:
                continue
            ones = {x for x, y in kept if y == 1}
            errors = sum((x in ones) != (y == 1) for i, (x, y) in enumerate(sample) if not bits >> i & 1)
            risk = sum((mass for (x, y), mass in cells.items() if (x in ones) != (y == 1)), Fraction(0))
            broken = risk > limit(errors, len(kept))
        total += math.prod((cells[e] for e in sample), start=Fraction(broken))
    return total


def the_class() -> None:
    """The shipped class on the net that says the first label of a pair: counts on the examples that are not kept."""
    net = Network(layers=(Layer(weight=np.eye(2), bias=np.zeros(2), relu=False),))
    x, y = np.tile([[1.0, 0.0], [0.0, 1.0]], (30, 1)), np.zeros(60, int)  # right on the even ones
    for kept in ((), (1,), (0, 2, 5), tuple(range(1, 60, 2))):
        for message, ordered in ((0.0, False), (2.0, False), (1.0, True)):
            errors = sum(i % 2 for i in range(60) if i not in kept)
            want = sample_compression(errors, len(kept), 60, 0.05, message=message, ordered=ordered)
            found = SampleCompression(kept=kept, message_nats=message, ordered=ordered)(net, x, y)
            require(found.facts["errors"] == errors and abs(found.raw - want) < 1e-12, f"{kept}: {found.raw}, {want}")
    for wrong in ((3, 3), (-1,), (60,), tuple(range(60))):  # a repeated example would be tested twice
        try:
            SampleCompression(kept=wrong)(net, x, y)
        except InvalidParameter:
            continue
        raise AssertionError(f"kept = {wrong} is not refused")


def exact() -> str:
    for n, k in itertools.product((1, 5, 30, 200), (0, 1, 5, 100)):
        if k > n:
            continue
        for ordered, count in ((False, math.comb(n, k)), (True, math.perm(n, k))):
            nats = log_choices(n, k, ordered=ordered)
            require(math.log(count) <= nats and nats < math.log(count) + 1e-9, f"C({n}, {k})")
    large = log_choices(60_000, 30_000)
    require(0 <= large - math.log(math.comb(60_000, 30_000)) < 1e-6, "C(60000, 30000)")
    weights = sum(Fraction(math.exp(-size_nats(k))) for k in range(2_000))
    require(weights < 1, f"the sizes add up to {float(weights)}")
    for k, ordered, words in itertools.product(range(5), (False, True), (1, 8)):
        sets = math.perm(5, k) if ordered else math.comb(5, k)
        level = 6 * Fraction(DELTA) / (Fraction(math.pi) ** 2 * (k + 1) ** 2 * words * sets)
        for e in range(5 - k):
            p = Fraction(sample_compression(e, k, 5, DELTA, message=math.log(words), ordered=ordered))
            below = sum(math.comb(5 - k, i) * p**i * (1 - p) ** (5 - k - i) for i in range(e + 1))
            require(level * (1 - Fraction(1, 10**9)) < below <= level * (1 + Fraction(1, 10**15)), f"{e} beside {k}")
    table = {(e, k): sample_compression(e, k, 5, DELTA) for k in range(5) for e in range(6 - k)}
    rate = small_world(lambda e, k: table[e, k])
    require(rate <= Fraction(DELTA), f"failed with probability {float(rate)}")
    the_class()
    anchor = log_choices(60_000, 300)
    require(f"{anchor:.0f}" == "1885", f"{anchor}")
    return f"1024 samples, every subset: failure {float(rate):.4f} <= 0.9; C(60000, 300) costs {anchor:.1f} nats"


def best(count: float, limit: Callable[[int], float]) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial: does the best of e^count guesses, independent on the other N - KEPT examples, break its limit?"""
    free = N - KEPT
    below = next(e for e in range(free) if limit(e) >= 0.5)
    mean = math.exp(min(700.0, count + sum(log_cdf(below - 1, free, 0.5)) / 2)) if below else 0.0
    return lambda rng, n: rng.poisson(mean, size=n) > 0  # how many of the guesses break it


def unordered(errors: int) -> float:
    return sample_compression(errors, KEPT, N, DELTA)


def monte_carlo(effort: int = 1) -> Evidence:
    trial = best(log_choices(N, KEPT), unordered)
    return judge(trial, delta=LEVEL, trials=60_000 * effort, name="best 8 of 300", block=100_000)


def smuggled(rng: np.random.Generator, n: int) -> np.ndarray:
    """Labels are fair coins, a weight computed from all 40 examples carries them: no error beside one kept example.

    Unpaid, the limit is that of k = 1 without a message; R = 1/2.
    """
    y = rng.integers(0, 2, size=(n, 40))
    weight = (y * 2 ** np.arange(40)).sum(axis=1)  # an integer below 2^40: exact in a float
    rebuilt = weight[:, None] >> np.arange(40) & 1
    errors = (rebuilt != y)[:, 1:].sum(axis=1)
    return np.array([sample_compression(int(e), 1, 40, 0.05) < 0.5 for e in errors])


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = best(log_choices(N, KEPT) + math.log(factor), unordered)
        return violated(trial, delta=LEVEL, trials=100_000, name="more sets")

    slack = smallest_sabotage(caught)
    sequences = log_choices(N, KEPT, ordered=True)
    require(violated(best(sequences, unordered), delta=DELTA, trials=1_000, name="order"), "the order, unpaid")
    paid = best(sequences, lambda e: sample_compression(e, KEPT, N, DELTA, ordered=True))
    require(not violated(paid, delta=LEVEL, trials=100_000, name="ordered"), "the order, paid")
    require(violated(smuggled, delta=0.05, trials=100, name="smuggled"), "weights from all examples, unpaid")
    told = sample_compression(0, 1, 40, 0.05, message=40 * math.log(2))
    require(told >= 0.5, "once the 40 bits of the weight are paid the limit is at or above 1/2")
    return Evidence(
        text=f"refuted: {slack:g} times the sets; the order unpaid; weights from all examples unpaid", slack=slack
    )
