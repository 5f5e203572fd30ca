"""Splitting that kills all states tied for the lowest score at once, at a factor 1 - K/N, has mean p over its coins.

Let G(z) = P(S > z) be the law of the score S, L the level, p = G(L). A round starts from N independent states of the
law above z, with Z their lowest score. If Z > L it stops. Else the K states with score Z die, the factor is 1 - K/N,
and each dead one is replaced by an independent draw of the law above Z (K = N: the estimate is 0).

Proof. (1) Given Z, and which states have it, the others are independent draws above Z, so that after the replacements
N independent states above Z stand there, whatever ties are likely. (2) One round from z (write G for G(.)/G(z)): 1 -
K/N is the mean over i of 1{S_i > Z}, and S_i > Z says that Z is the minimum Z' of the N - 1 others and S_i > Z'. S_i
being independent of Z',

    E[(1 - K/N) p(Z); Z <= L] = E[G(Z') G(L)/G(Z'); Z' <= L] = G(L) P(Z' <= L) = G(L) (1 - G(L)^(N-1)),

with p(Z) = G(L)/G(Z) the chance that is left. Stopped rounds add P(Z > L) = G(L)^N: together G(L). (3) So the product
of the factors times the chance that is left is a martingale; it is bounded by 1 and ends at the estimate, after
finitely many rounds where there are finitely many scores. If p = 0 every estimate is 0.

For continuous scores K = 1 and the rounds are Poisson(N ln(1/p)): the relative variance is p^(-1/N) - 1.

A factor 1 - 1/N for each killed state is inconsistent instead: (1 - 1/N)^K > 1 - K/N for K >= 2. With two scores and
p = 1/10 its mean tends to e^(-9/10), 4.07 times p, as N grows. And moves of a Markov chain in place of independent
draws void (1): an example below has a mean that is not p.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, cast

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.verification.splitting import Descent, Refusal, split_once
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Unbiased splitting with ties",
    source="Bréhier, Gazeau, Goudenège, Lelièvre and Rousset (2016) for paths of Markov chains, Walter (2015) for "
    "discrete scores; item numbers not known to us; as we understand the papers; the static form is proved here",
    given=(
        "N >= 2",
        "each replacement is an independent draw of the law above the lowest score",
        "finitely many scores",
    ),
    claim=r"\mathbb{E}\prod_i (1 - K_i/N) = \Pr[S > L]",
    status="holds",
)

FILE = "verification/splitting.py"
MUTATIONS = (
    Mutation(file=FILE, old="np.flatnonzero(scores <= floor)", new="np.flatnonzero(scores <= floor)[:1]"),
    Mutation(
        file=FILE,
        old="math.prod((self.particles - k) / self.particles for k",
        new="math.prod((1 - 1 / self.particles) ** k for k",
    ),
    Mutation(file=FILE, old="(floor := float(scores.min())) <= level", new="(floor := float(scores.min())) < level"),
    Mutation(file=FILE, old="if proposal[0] > floor:", new="if proposal[0] >= floor:"),
)

SCORES = ((0, 0, 1, 2), (0, 1, 1, 2), (0, 1, 2, 3), (1, 1, 1, 2), (0, 2, 2, 2), (3, 3, 3, 3))
Run = Callable[[np.random.Generator], Descent]


class Coins:
    """A generator whose choices are told: it follows a script, then takes 0, and keeps what it was asked."""

    def __init__(self, script: tuple[int, ...]) -> None:
        """Nothing asked so far."""
        self.script, self.asked = script, list[int]()

    def integers(self, n: int) -> int:
        """The next choice, one of 0..n-1."""
        self.asked.append(n)
        return self.script[len(self.asked) - 1] if len(self.asked) <= len(self.script) else 0


def every_path(run: Run) -> Iterator[tuple[Descent, Fraction]]:
    """What the shipped run gives on each sequence of its coins, with the chance of that sequence."""
    script: tuple[int, ...] | None = ()
    while script is not None:
        coins = Coins(script)
        found = run(cast("np.random.Generator", coins))
        taken = [*script, *[0] * (len(coins.asked) - len(script))]
        yield found, Fraction(1, math.prod(coins.asked))
        last = max((i for i, n in enumerate(coins.asked) if taken[i] + 1 < n), default=None)
        script = None if last is None else (*taken[:last], taken[last] + 1)


def ideal(scores: tuple[int, ...], level: int, particles: int) -> Run:
    """States 0..3, equally likely; replacements are independent draws above the floor."""

    def renew(rng: np.random.Generator, _: tuple[float, int], floor: float) -> tuple[float, int]:
        above = [s for s in range(len(scores)) if scores[s] > floor]
        state = above[rng.integers(len(above))]
        return scores[state], state

    return lambda rng: _run(scores, level, particles, rng, renew)


def chained(scores: tuple[int, ...], level: int, particles: int) -> Run:
    """The same with one step of a walk on a ring, the shipped refusal of moves."""

    def step(rng: np.random.Generator, state: int) -> int:
        return (state + (-1, 1)[rng.integers(2)]) % len(scores)

    return lambda rng: _run(scores, level, particles, rng, Refusal(step, lambda s: scores[s], 1))


def _run(scores: tuple[int, ...], level: int, particles: int, rng: np.random.Generator, renew: Any) -> Descent:
    def draw(rng: np.random.Generator) -> int:
        return int(rng.integers(len(scores)))

    return split_once(draw, renew, lambda s: scores[s], level, rng, particles=particles, max_iterations=99)


def mean(run: Run, particles: int, factor: Callable[[int], Fraction]) -> Fraction:
    """The mean over all coins of a product of one factor a round; checks that the chances add up to 1."""
    total = weight = Fraction(0)
    for found, chance in every_path(run):
        require(all(a < b for a, b in itertools.pairwise(found.levels)), "the levels rise")
        told = math.prod((1 - Fraction(k, particles) for k in found.killed), start=Fraction(1))
        require(abs(found.value - told) < 1e-12, f"{found}: the value is {told}")
        total += chance * math.prod((factor(k) for k in found.killed), start=Fraction(1))
        weight += chance
    require(weight == 1, "all coins were seen")
    return total


def above(scores: tuple[int, ...], level: int) -> Fraction:
    return Fraction(sum(s > level for s in scores), len(scores))


def one_by_one(particles: int) -> Callable[[int], Fraction]:
    """A factor 1 - 1/N for each killed state, 0 for extinction."""
    return lambda k: (1 - Fraction(1, particles)) ** k if k < particles else Fraction(0)


def symbolic() -> str:
    n, a, b, c, p = sp.symbols("N a b c p", positive=True)
    for tail in ([a], [a, b], [a, b, c]):  # G at the scores up to the level, of which the last one is p
        before = [sp.Integer(1), *tail[:-1]]
        rounds = sum(g * (h ** (n - 1) - g ** (n - 1)) * tail[-1] / g for h, g in zip(before, tail, strict=True))
        require(sp.simplify(sp.powsimp(sp.expand(rounds + tail[-1] ** n - tail[-1]))) == 0, "one round keeps G(L)")
    second = sp.exp(-n * sp.log(1 / p) * (1 - (1 - 1 / n) ** 2)) / p**2  # rounds ~ Poisson(N ln(1/p))
    require(sp.simplify(sp.log(second * p ** (1 / n)).rewrite(sp.log)).equals(0), "E[p^2]/p^2 = p^(-1/N)")
    limit = sp.limit((1 - (1 - p) / n) ** n, n, sp.oo)
    require(sp.simplify(limit - sp.exp(p - 1)) == 0, "one by one, two scores: the mean tends to e^-(1-p)")
    return "one round keeps the mean, for 1 to 3 scores below the level and any N; relative variance p^(-1/N) - 1"


def exact() -> str:
    paths = 0
    for scores, level, particles in itertools.product(SCORES, (0, 1, 2), (2, 3)):
        if particles == 3 and level == 2:
            continue
        run = ideal(scores, level, particles)
        want = above(scores, level)
        got = mean(run, particles, lambda k, n=particles: 1 - Fraction(k, n))
        require(got == want, f"{scores} > {level}, N = {particles}: mean {got}, not {want}")
        paths += sum(1 for _ in every_path(run))
    p, scores = Fraction(1, 4), (1, 1, 1, 2)
    for particles in (2, 3):  # two scores, where the naive mean has a formula
        got = mean(ideal(scores, 1, particles), particles, one_by_one(particles))
        n = Fraction(particles)
        require(got == (1 - (1 - p) / n) ** particles - ((1 - p) * (1 - 1 / n)) ** particles, f"naive mean {got}")
        require(got > p if particles > 2 else got == p, f"one by one, N = {particles}: {got}")  # N = 2: K is 1 or N
    moved = mean(chained((0, 1, 2, 3), 2, 2), 2, lambda k: 1 - Fraction(k, 2))
    require(moved != above((0, 1, 2, 3), 2), "moves of a chain were as good as independent draws")
    survivors = {floor: [s for s in range(4) if s > floor] for floor in (-1, 0, 1, 2)}
    for floor, states in survivors.items():  # the refusal keeps the uniform law above the floor
        after: dict[int, Fraction] = dict.fromkeys(range(4), Fraction(0))
        for state, coin in itertools.product(states, (0, 1)):
            refusal = Refusal(lambda rng, s: (s + (-1, 1)[rng.integers(2)]) % 4, float, 1)
            left = refusal(cast("np.random.Generator", Coins((coin,))), (float(state), state), float(floor))
            after[left[1]] += Fraction(1, 2 * len(states))
        require(all(after[s] == Fraction(s in states, len(states)) for s in range(4)), f"above {floor}: {after}")
    return (
        f"every coin of the shipped run, {paths} sequences on 4 states: the mean is p, with any ties; one by one "
        f"it is {float(got / p):.4f} p at N = 3; with one step of a walk in place of a fresh draw {moved}, not 1/4"
    )


def moments(m: int, q: float, level: int, particles: int) -> tuple[float, float]:
    """Mean and second moment of the estimate of P(Bin(m, q) > level) with ideal replacements, from the top down."""
    law, tail = binom.pmf(np.arange(m + 1), m, q), binom.sf(np.arange(-1, m + 1), m, q)  # tail[z + 1] = P(S > z)
    k = np.arange(1, particles)
    ways = np.array([math.comb(particles, int(j)) for j in k], float)
    first, second = np.zeros(level + 2), np.zeros(level + 2)
    for z in range(level, -2, -1):  # all states are above z
        here = (tail[level + 1] / tail[z + 1]) ** particles
        first[z + 1] = second[z + 1] = here
        for low in range(z + 1, level + 1):
            chance = ways * (law[low] / tail[z + 1]) ** k * (tail[low + 1] / tail[z + 1]) ** (particles - k)
            left = 1.0 - k / particles
            first[z + 1] += (chance * left).sum() * first[low + 1]
            second[z + 1] += (chance * left**2).sum() * second[low + 1]
    return float(first[0]), float(second[0])


def monte_carlo(effort: int = 1) -> Evidence:
    m, q, level, particles, delta = 60, 0.1, 18, 20, 0.2
    p = float(binom.sf(level, m, q))
    got, second = moments(m, q, level, particles)
    require(abs(got / p - 1) < 1e-9, f"the recursion's mean is {got}, not {p}")
    reach = math.sqrt((second - p * p) / delta)  # Chebyshev

    def renew(rng: np.random.Generator, _: tuple[float, int], floor: float) -> tuple[float, int]:
        count = int(binom.isf(binom.sf(floor, m, q) * (1.0 - rng.random()), m, q))
        return float(count), count

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        def once() -> float:
            draw = int
            return split_once(
                lambda rng: draw(rng.binomial(m, q)), renew, float, level, rng, particles=particles, max_iterations=999
            ).value

        return np.array([abs(once() - p) >= reach for _ in range(n)])

    found = judge(trial, delta=delta, trials=150 * effort, name="Chebyshev with the exact variance of splitting")
    return Evidence(text=f"p = {p:.2g}, relative deviation {reach / p:.2g}: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # the killed counted at 1/factor of what they are
        share = Fraction(factor).limit_denominator(1_000)
        run = ideal((0, 1, 1, 2), 1, 2)
        got = mean(run, 2, lambda k: 1 - Fraction(k, 2) / share if k < 2 else Fraction(0))
        return got != above((0, 1, 1, 2), 1)

    slack = smallest_sabotage(caught)
    scores = (0, 0, 1, 2)
    naive = mean(ideal(scores, 1, 3), 3, one_by_one(3)) / above(scores, 1)
    require(naive > 1, "one by one is above p")
    limit = math.exp(-0.9) / 0.1
    return Evidence(
        text=f"refuted: kills counted at 1/{slack:g}; a factor 1 - 1/N a kill, {float(naive):.3f} p at N = 3 and "
        f"{limit:.2f} p for two scores, p = 1/10, N without end",
        slack=slack,
    )
