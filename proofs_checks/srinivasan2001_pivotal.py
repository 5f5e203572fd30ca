"""Pivotal sampling keeps exactly m items with the probabilities asked for, and Poisson's tail bounds hold as they are.

Statement. Dependent rounding of pi with sum pi_j = m keeps m items, item j with probability pi_j, and for every set A
P(all of A kept) <= prod_A pi_j and P(none of A kept) <= prod_A (1 - pi_j). Hence, for c_j >= 0 and either sign of t,
E exp(t sum c_j I_j) <= prod E exp(t c_j B_j) with independent coins B_j of the same probabilities.

Proof. A step takes two open items with values a, b in (0, 1). If a + b <= 1 they become (a + b, 0) with probability
a/(a+b), else (0, a + b); if a + b > 1 they become (1, a+b-1) with probability (1-b)/(2-a-b), else (a+b-1, 1). The sum
stays, each value keeps its expectation, and the product of the two becomes 0, or a + b - 1 = ab - (1-a)(1-b): never
more than ab; likewise (1-a)(1-b) never grows. So the product over A of the values, one or both of the two being in A
or none, never grows in expectation, and at the end it is the indicator that all of A is kept. This holds for any
order that is fixed beforehand. The last value is whole, as the sum is. For t > 0 expand prod (1 + (e^{t c_j} - 1)
I_j): all coefficients are non-negative, and each P(all of A kept) is at most the coins'. For t < 0 write e^{t c_j
I_j} = e^{t c_j} (1 + (e^{-t c_j} - 1)(1 - I_j)) and use P(none of A kept).

Every Chernoff bound for independent inclusions starts from that generating function, so that
boundlab_poisson_threshold holds verbatim, with exactly m kept. With a sum that is not whole, one more item of the
missing value would make it so: the last open item is kept with the chance that is left to it, and one of the two whole
numbers next to the sum is kept.
"""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.pivotal import _round, pivotal_sample
from boundlab.coresets.threshold_sampling import failure, inverse_weights, smallest_nnz, threshold_probabilities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_poisson_threshold import chances, field, instances, plan_of
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Dependent rounding with negative correlation",
    source="Srinivasan 2001; item number not known to us; as we understand the paper; also Deville and Tillé 1998",
    given=("pi_j in [0, 1] with a whole sum m", "an order fixed beforehand", "for tails: terms c_j >= 0"),
    claim=r"\sum_j I_j = m, \quad \Pr[I_j = 1] = \pi_j, \quad \Pr[\forall j \in A: I_j = 1] \le \prod_A \pi_j, \quad "
    r"\Pr[\forall j \in A: I_j = 0] \le \prod_A (1 - \pi_j)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/pivotal.py",
        old="if not uniforms[j] < chance / both:",
        new="if not uniforms[j] < 0.5:",
    ),
    Mutation(
        file="coresets/pivotal.py",
        old="if uniforms[j] < (1 - p[j]) / (2 - both):",
        new="if uniforms[j] < (1 - chance) / (2 - both):",
    ),
    Mutation(file="coresets/pivotal.py", old="chance = both - 1", new="chance = both / 2"),
    Mutation(file="coresets/pivotal.py", old="uniforms[first] < chance)", new="uniforms[first] < 0.5)"),
    Mutation(file="coresets/pivotal.py", old="uniforms[first] < chance)", new="uniforms[stop - 1] < chance)"),
)

Law = dict[tuple[bool, ...], Fraction]


class Coin:
    """Uniforms whose comparisons follow a script; what lies beyond the script is pushed for later."""

    def __init__(self, script: tuple[bool, ...], todo: list[tuple[bool, ...]]) -> None:
        """Follow the script."""
        self.script, self.todo, self.chance = script, todo, Fraction(1)
        self.seen: tuple[bool, ...] = ()

    def __lt__(self, p: Fraction) -> bool:
        if len(self.seen) < len(self.script):
            answer = self.script[len(self.seen)]
        else:
            answer = True
            self.todo.append((*self.seen, False))
        self.seen = (*self.seen, answer)
        self.chance *= p if answer else 1 - p
        return answer


class Once:
    """One uniform: it may be compared once, for a second comparison is not independent of the first."""

    def __init__(self, coin: Coin) -> None:
        """Take the answer from the coin."""
        self.coin, self.used = coin, False

    def __lt__(self, p: Fraction) -> bool:
        require(not self.used, "a uniform was used twice")
        self.used = True
        return self.coin < p


def pivotal_law(pi: list[Fraction]) -> Law:
    """The law of the shipped rounding, in rational arithmetic: its own code, run once for each path of coins."""
    found: Law = {}
    todo: list[tuple[bool, ...]] = [()]
    while todo:
        coin, kept = Coin(todo.pop(), todo), [False] * len(pi)
        _round.py_func(pi, [0, len(pi)], [Once(coin) for _ in pi], kept)
        if coin.chance:
            found[tuple(kept)] = found.get(tuple(kept), Fraction(0)) + coin.chance
    return found


def whole_sums(count: int, seed: int) -> list[list[Fraction]]:
    rng, found = random.Random(seed), []
    while len(found) < count:
        d = rng.randint(2, 6)
        pi = [Fraction(rng.randint(0, 12), 12) for _ in range(d - 1)]
        last = math.ceil(sum(pi)) - sum(pi)
        found.append([*pi, last])
    return found


def any_sums(count: int, seed: int) -> list[list[Fraction]]:
    """Probabilities whose sum is not whole."""
    return [pi[:-1] for pi in whole_sums(2 * count, seed) if len(pi) > 2 and pi[-1]][:count]


def positively_correlated(found: Law, pi: list[Fraction]) -> bool:
    """Whether some set is kept, or dropped, as a whole more often than independent items would be."""
    for size in range(2, len(pi) + 1):
        for A in itertools.combinations(range(len(pi)), size):
            for value in (True, False):
                together = sum((q for kept, q in found.items() if all(kept[j] is value for j in A)), Fraction(0))
                if together > math.prod((pi[j] if value else 1 - pi[j] for j in A), start=Fraction(1)):
                    return True
    return False


def symbolic() -> str:
    letters: Any = z3.Reals("a b p")
    a, b, p = letters
    inside = (a > 0, a < 1, b > 0, b < 1)
    low, high = (*inside, a + b <= 1, p * (a + b) == a), (*inside, a + b > 1, p * (2 - a - b) == 1 - b)
    prove(z3.And(p >= 0, p <= 1), *low)
    prove(z3.And(p >= 0, p <= 1), *high)
    prove(z3.And(p * (a + b) == a, (1 - p) * (a + b) == b), *low)
    prove(z3.And(p + (1 - p) * (a + b - 1) == a, p * (a + b - 1) + (1 - p) == b), *high)
    prove(a + b - 1 <= a * b, *high)  # the product of the two, low case: 0
    prove(1 - (a + b) <= (1 - a) * (1 - b), *low)  # of their complements, high case: 0
    return "z3: each step keeps both expectations, and neither ab nor (1-a)(1-b) grows"


def exact() -> str:
    paths = 0
    for pi in [*whole_sums(60, seed=4), *any_sums(20, seed=7)]:
        found, total = pivotal_law(pi), sum(pi)
        paths += len(found)
        require(sum(found.values()) == 1, f"the paths add up to {sum(found.values())}")
        near = {math.floor(total), math.ceil(total)}
        require(all(sum(kept) in near for kept in found), f"another number than {total} is kept")
        for j, p in enumerate(pi):
            require(sum((q for k, q in found.items() if k[j]), Fraction(0)) == p, f"item {j} of {pi}")
        require(not positively_correlated(found, pi), f"a set of {pi} is positively correlated")
        for grow in (Fraction(3), Fraction(1, 3)):  # e^{t c_j} = grow^{c_j}, c_j = 1, 2, 0, ...
            y = [grow ** ((1, 2, 0)[j % 3]) for j in range(len(pi))]
            own = sum(
                (q * math.prod(v for v, on in zip(y, k, strict=True) if on) for k, q in found.items()), Fraction(0)
            )
            coins = math.prod((1 + p * (v - 1) for p, v in zip(pi, y, strict=True)), start=Fraction(1))
            require(own <= coins, f"the generating function at {grow} exceeds that of independent coins for {pi}")
    tails = 0
    for x, s, C, m in instances(40, seed=5):
        plan = plan_of(s, m)
        top = chances(s, m)
        if m < sum(v > 0 for v in s):
            for eps in (Fraction(1, 2), Fraction(5, 4)):
                lost = Fraction(0)
                for kept, q in pivotal_law(top).items():
                    z = sum((v / p for v, p, on in zip(x, top, kept, strict=True) if on), Fraction(0))
                    lost += q if abs(z - 1) >= eps else 0
                told = float(failure(plan.tau, plan.rest, float(eps), C=C)[0])
                require(lost <= Fraction(told), f"P = {float(lost)} above the bound {told}")
                tails += told < 1
    checked = "numbers, margins, all products, generating functions"
    return f"60 pi of a whole sum and 20 others, {paths} sets: {checked}; {tails} tails below 1"


def errs(share: float):
    """A trial: pivotal sampling with `share` of the advertised number of items errs by eps, or keeps another number."""
    x, s, C = field()
    order = np.random.default_rng(6).permutation(len(s))  # fixed beforehand
    x, s, eps, delta = x[order], s[order], 0.6, 0.1
    at = np.array([0, len(s)])
    nnz = np.ceil(share * smallest_nnz(s, at, eps, delta, C=C)).astype(int)
    p = threshold_probabilities(s, at, nnz).probabilities

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        kept = pivotal_sample(np.tile(p, n), np.arange(n + 1) * len(p), rng).reshape(n, len(p))
        require(np.all(kept.sum(axis=1) == nnz[0]), f"the number of items kept is not always {nnz[0]}")
        return np.abs(inverse_weights(kept, p) @ x - 1.0) >= eps

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(errs(1.0), delta=0.1, trials=1_000 * effort, name="pivotal sampling, C = 8, eps = .6")


def teeth() -> Evidence:
    pi = [Fraction(1, 2)] * 4
    comb: Law = {(True, False, True, False): Fraction(1, 2), (False, True, False, True): Fraction(1, 2)}
    require(positively_correlated(comb, pi), "systematic sampling must be caught")
    require(not positively_correlated(pivotal_law(pi), pi), "pivotal sampling must pass")
    slack = smallest_sabotage(lambda f: violated(errs(1 / f), delta=0.1, trials=1_000, name="fewer items"))
    return Evidence(text=f"refuted: {slack:g} times fewer items; a comb in the place of the rounding", slack=slack)
