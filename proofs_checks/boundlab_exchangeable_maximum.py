"""A fresh value exceeds the maximum of n exchangeable ones with probability at most 1/(n+1), whatever their law.

Statement. Let g_1..g_N be scores that are fixed before S = (x_1..x_n) and x are drawn, the n + 1 points being
exchangeable. Then P(g_j(x) > max_S g_j) <= 1/(n+1) for each j, with equality where ties have probability 0, and
P(some j: g_j(x) > max_S g_j) = E[number of points of the n + 1 that are the only maximiser of some g_j]/(n+1), which
is at most N/(n+1), and at most 1.

Proof. Put all n + 1 points into one sample. By exchangeability the one called x is any of them with chance 1/(n+1),
given the sample as a multiset. It exceeds the maximum of the others in g_j exactly if it is the only maximiser of g_j;
at most one point of the sample is that, none where the maximum is tied. Averaging over the choice of x gives the number
of points that are the only maximiser of some g_j, over n + 1, and there are at most N such points.

This holds with K = 1 and without CoreNet's Assumption 1, but falls as 1/n only: a union over all N edges of a net needs
more points than edges. The assumption is what buys an exponential rate.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import z3

from boundlab.concentration.exchangeable import maximum_exceeded, points_needed
from boundlab.nets.importance import exceeds, sensitivities
from boundlab.network import Layer
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove, reals

THEOREM = Theorem(
    name="A maximum of exchangeable values is exceeded with probability 1/(n+1)",
    source="ours in this form; the argument is the one of rank tests and of conformal prediction",
    given=("x_1..x_n and x exchangeable", "the scores, hence the net, fixed before them"),
    claim=r"\Pr[\exists j: g_j(x) > \max_{i \le n} g_j(x_i)] = \frac{E[\#\{i: x_i \text{ only maximiser of some } "
    r"g_j\}]}{n+1} \le \frac{N}{n+1}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/exchangeable.py",
        old="return min(1.0, _up(Fraction(k, n + 1)))",
        new="return min(1.0, _up(Fraction(k, n + 2)))",
    ),
    Mutation(
        file="concentration/exchangeable.py",
        old="return min(1.0, _up(Fraction(k, n + 1)))",
        new="return min(1.0, _up(Fraction(1, n + 1)))",
    ),
    Mutation(
        file="concentration/exchangeable.py",
        old="return max(1, math.ceil(k / level) - 1)",
        new="return max(1, math.ceil(k / level) - 2)",
    ),
)

POINTS = 9


def symbolic() -> str:
    for n in (1, 2, 3, 4):
        values = reals(" ".join(f"v{i}" for i in range(n + 1)))
        alone = [z3.And([values[i] > v for k, v in enumerate(values) if k != i]) for i in range(n + 1)]
        prove(z3.AtMost(*alone, 1))
    return "z3: at most one of 2 to 5 numbers exceeds all the others"


def counted(sample: tuple[tuple[int, ...], ...]) -> tuple[Fraction, Fraction]:
    """(P that x exceeds the maximum in some score, the same by the claim's right-hand side), over all orders."""
    hits = total = 0
    for order in itertools.permutations(sample):
        *rest, x = order
        hits += any(x[j] > max(point[j] for point in rest) for j in range(len(x)))
        total += 1
    alone = set()
    for j in range(len(sample[0])):
        best = max(point[j] for point in sample)
        winners = [i for i, point in enumerate(sample) if point[j] == best]
        if len(winners) == 1:
            alone.add(winners[0])
    return Fraction(hits, total), Fraction(len(alone), len(sample))


def exact() -> str:
    rng, cases, attained = np.random.default_rng(4), 0, 0
    for n, scores, top in itertools.product((1, 2, 3, 4), (1, 2, 3), (2, 4, 100)):
        for _ in range(6):
            sample = tuple(map(tuple, rng.integers(0, top, (n + 1, scores)).tolist()))
            rate, claimed = counted(sample)
            require(rate == claimed, f"{rate} of the orders exceed the maximum, the claim says {claimed}")
            bound = Fraction(maximum_exceeded(n, scores))
            require(rate <= bound, f"P = {rate} exceeds the bound {bound} for {sample}")
            attained += rate == Fraction(scores, n + 1)
            cases += 1
    require(attained > 20, f"the bound must be attained, it was {attained} times")
    for n, scores in itertools.product((1, 2, 6, 10, 48, 10**6), (1, 7, 10**5)):
        told = Fraction(maximum_exceeded(n, scores))
        truth = min(Fraction(1), Fraction(scores, n + 1))
        require(truth <= told <= truth * (1 + Fraction(1, 2**52)), f"{told} for {truth}")
    for scores, delta in itertools.product((1, 3, 1000), (0.5, 0.1, 1e-3)):
        n = points_needed(scores, delta)
        require(Fraction(scores, n + 1) <= Fraction(delta), f"{n} points are too few")
        require(n == 1 or Fraction(scores, n) > Fraction(delta), f"{n} points are not the fewest")
    return f"{cases} samples with and without ties, every order: the claim exactly; {attained} attain scores/(n+1)"


def fresh_edge(rng: np.random.Generator, n: int) -> np.ndarray:
    """Heavy-tailed activations of an edge: a fresh one beyond the maximum of POINTS others, never tied."""
    a = rng.pareto(0.7, (n, POINTS + 1))
    return a[:, -1] > a[:, :-1].max(axis=1)


def fresh_row(rng: np.random.Generator, n: int) -> np.ndarray:
    """A neuron of four edges: a fresh point breaks a share that the shipped sensitivities measured (K = 1)."""
    layer = Layer(weight=np.array([[1.0, 2.0, 1.0, 3.0]]), bias=np.zeros(1), relu=True)
    found = np.zeros(n, dtype=bool)
    for k in range(n):
        a = rng.integers(0, 3, (41, 4)).astype(float)
        s = sensitivities(layer, [a[:40]], theorem="boundlab_exchangeable_maximum")
        found[k] = bool(exceeds(layer, a[40:], s, 1.0, np.zeros(1, dtype=bool))[0])
    return found


def monte_carlo(effort: int = 1) -> Evidence:
    level = maximum_exceeded(POINTS)
    # without ties the rate is 1/(n+1) itself: it cannot be upheld by trials, only not refuted
    edge = judge(fresh_edge, delta=level, trials=20_000 * effort, name="one heavy-tailed edge", expect="not violated")
    row = judge(fresh_row, delta=maximum_exceeded(40, 4), trials=1_000 * effort, name="four edges with ties")
    text = f"Pareto values: {edge.text}; four edges, 40 points: {row.text}"
    return Evidence(text=text, trials=edge.trials + row.trials)


def teeth() -> Evidence:
    one = tuple((v,) for v in range(POINTS + 1))
    alone = Fraction(sum(all(v > w for w in one if w != v) for v in one), POINTS + 1)  # one point of ten is the maximum
    slack = smallest_sabotage(lambda factor: alone * Fraction(factor) > Fraction(maximum_exceeded(POINTS)))
    rate, _ = counted(((0, 3), (1, 1), (3, 0)))
    require(rate > Fraction(maximum_exceeded(2)), "two scores without a union were not caught")

    def drifted(rng: np.random.Generator, n: int) -> np.ndarray:
        a = rng.pareto(0.7, (n, POINTS + 1)) * np.where(np.arange(POINTS + 1) == POINTS, 2.0, 1.0)
        return a[:, -1] > a[:, :-1].max(axis=1)

    caught = violated(drifted, delta=maximum_exceeded(POINTS), trials=5_000, name="a fresh point from another law")
    require(caught, "a fresh point at twice the scale was not caught")
    text = f"refuted: 1/(n+1) divided by {slack:g} (exactly), no union over two scores, a fresh point of another law"
    return Evidence(text=text, slack=slack)
