"""pi_j = min(1, s_j/tau) with sum pi_j = m has tau = (S - S_k)/(m - k), k items at or above tau, and tau <= S/m.

Statement. Let s_1 >= s_2 >= ... >= 0, S their sum, S_k the sum of the k largest, and m a whole number below the
number of positive s_j. There is exactly one tau > 0 with sum_j min(1, s_j/tau) = m; with k = #{j : s_j >= tau} it is
(S - S_k)/(m - k), it is the smallest of all (S - S_i)/(m - i), i < m, and it is at most S/m.

Proof. tau -> sum min(1, s_j/tau) is continuous, equals the number of positive s_j near 0, tends to 0, and falls
strictly once below that number; so one tau gives m. The k items at or above tau give 1 each and the others s_j/tau,
hence m = k + (S - S_k)/tau. min(1, s_j/tau) <= s_j/tau gives m <= S/tau. For f(i) = (S - S_i)/(m - i) one has f(i+1)
< f(i) exactly if s_{i+1} > f(i), and then s_{i+1} > f(i+1) as well; the s fall, so that f first falls and then never
falls again: k with s_{k+1} <= f(k) is where it is smallest. The smallest tau gives the smallest reweighted terms. A
set that only ever grows by items above the present f reaches that k: none of them is below the final tau.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.threshold_sampling import threshold_probabilities
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="Inclusion probabilities at a threshold",
    source="ours for coresets; the probabilities are those of threshold sampling, known in survey sampling; "
    "item number not known to us",
    given=("s_j >= 0", "m a whole number below the number of positive s_j"),
    claim=r"\pi_j = \min(1, s_j/\tau),\ \sum_j \pi_j = m \iff "
    r"\tau = \frac{S - S_k}{m - k} = \min_{i < m} \frac{S - S_i}{m - i} \le \frac{S}{m}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/threshold_sampling.py",
        old="left / (want - np.bincount(group[above], minlength=rows))",
        new="left / want",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="np.where(p < 1.0, s, 0.0)",
        new="np.where(p < 0.5, s, 0.0)",
    ),
    Mutation(file="coresets/threshold_sampling.py", old="minlength=rows) * (1.0 + ROUNDING),", new="minlength=rows),"),
    Mutation(file="coresets/threshold_sampling.py", old="tau=tau * (1.0 + ROUNDING),", new="tau=tau,"),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="        more = ~above & (s > tau[group] * tolerance)",
        new="        more = ~above & (s > 2.0 * tau[group])",
    ),
)


ZERO = Fraction(0)


def instances(count: int, seed: int) -> list[tuple[list[Fraction], int]]:
    """Random values with zeros, ties and long ranges, and an m below the number of positive ones."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        reach = rng.choice([0, 0, 6])  # whole numbers alone stand at the threshold now and then
        s = [Fraction(rng.choice([0, 1, 1, 2, 2, 3, 4])) * Fraction(2) ** rng.randint(-reach, reach) for _ in range(9)]
        if (positive := sum(v > 0 for v in s)) > 1:
            found.append((s, rng.randint(1, positive - 1)))
    return found


def smallest_ratio(s: list[Fraction], m: int) -> Fraction:
    """Minimum over i < m of (S - S_i)/(m - i)."""
    down = sorted(s, reverse=True)
    return min(sum(down[i:], Fraction(0)) / (m - i) for i in range(m))


def symbolic() -> str:
    letters: Any = z3.Reals("tau top rest k m s f after left")
    tau, top, rest, k, m, s, f, after, left = letters
    positive = (tau > 0, k >= 0, m > k, rest == tau * (m - k))
    prove(tau * m <= top + rest, *positive, top >= k * tau)
    step = (
        left > 1,  # m - i
        rest == f * left,
        rest - s == after * (left - 1),
        f > 0,
        s >= 0,
    )
    prove(z3.And(after < f, s > after), *step, s > f)
    prove(after >= f, *step, s <= f)
    prove(s <= after, *step, s <= f)  # so that f never falls again
    return "z3: tau m <= S; f(i+1) < f(i) < s if s_{i+1} > f(i), and f(i+1) >= f(i) for good otherwise"


def exact() -> str:
    ties = 0
    for s, m in instances(400, seed=1):
        tau = smallest_ratio(s, m)
        pi = [min(Fraction(1), v / tau) for v in s]
        require(sum(pi) == m, f"the probabilities add up to {sum(pi)}, not {m}")
        require(tau * m <= sum(s), "tau must be at most S/m")
        plan = threshold_probabilities(np.array([float(v) for v in s]), np.array([0, len(s)]), np.array([m]))
        gap = max(abs(Fraction(p) - q) for p, q in zip(plan.probabilities.tolist(), pi, strict=True))
        require(gap < Fraction(1, 10**14), f"a shipped probability is off by {float(gap)}")
        require(int(plan.certain[0]) == sum(v >= tau for v in s), f"k is {plan.certain[0]} for {s}, m = {m}")
        rest = sum((v for v in s if v < tau), Fraction(0))
        for told, truth in ((plan.tau[0], tau), (plan.rest[0], rest)):
            require(truth <= Fraction(float(told)) <= truth * (1 + Fraction(1, 10**11)), f"{told} for {float(truth)}")
        ties += tau in s
    require(ties > 10, f"only {ties} items stood at the threshold itself")
    all_kept = threshold_probabilities(np.array([3.0, 0.0, 1.0]), np.array([0, 3]), np.array([7]))
    require(all_kept.probabilities.tolist() == [1, 0, 1] and all_kept.tau[0] == 0, "m beyond the positive items")
    rng = np.random.default_rng(4)  # sums that are rounded: tau and rest must not end below the exact ones
    for s in (rng.random(300) / 3 for _ in range(10)):
        plan = threshold_probabilities(s, np.array([0, 300]), np.array([50]))
        left = sum((Fraction(v) for v, p in zip(s.tolist(), plan.probabilities.tolist(), strict=True) if p < 1), ZERO)
        require(left <= Fraction(float(plan.rest[0])), f"the rest is told as {plan.rest[0]}, below the exact sum")
        require(left / (50 - int(plan.certain[0])) <= Fraction(float(plan.tau[0])), "tau is rounded down")
    together = instances(50, seed=2)
    values = np.array([float(v) for s, _ in together for v in s])
    ragged = threshold_probabilities(values, 9 * np.arange(51), np.array([m for _, m in together]))
    require(np.allclose(ragged.probabilities.reshape(50, 9).sum(axis=1), [m for _, m in together]), "groups mix")
    return f"400 groups, {ties} with items at the threshold: probabilities to 1e-14, k exact, tau and rest rounded up"


monte_carlo = not_applicable(
    "the probabilities are computed, not drawn; boundlab_poisson_threshold and srinivasan2001_pivotal draw with them"
)


def teeth() -> Evidence:
    cases = instances(60, seed=3)

    def caught(factor: float) -> bool:
        for s, m in cases:
            plan = threshold_probabilities(np.array([float(v) for v in s]), np.array([0, len(s)]), np.array([m]))
            scaled = factor * float(plan.tau[0])
            if abs(sum(min(1.0, float(v) / scaled) for v in s) - m) > 1e-9:
                return True
        return False

    slack = smallest_sabotage(caught)
    short = sum(sum(min(Fraction(1), m * v / sum(s)) for v in s) < m for s, m in cases)  # one round, nothing shared out
    require(short > 20, f"min(1, m s/S) keeps too few in {short} of 60 groups only")
    return Evidence(text=f"refuted: tau times {slack:g}; min(1, m s_j/S) keeps too few in {short} of 60", slack=slack)
