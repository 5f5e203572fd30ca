"""Weights 1/pi_j make every sum unbiased; under independent inclusions its variance is sum_j (1/pi_j - 1) x_j².

Proof. Let I_j be 1 if item j is kept, P(I_j = 1) = pi_j > 0 wherever x_j is not 0. Then E[x_j I_j/pi_j] = x_j, and
expectations add up whatever the dependence. If the I_j are independent, variances add up as well, and Var(x_j
I_j/pi_j) = x_j² pi_j (1 - pi_j)/pi_j² = (1/pi_j - 1) x_j². Where pi_j = 0 and x_j is not, E misses x_j: no weight
repairs that, and poisson_variance says inf.
"""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab._errors import InvalidParameter
from boundlab.coresets.threshold_sampling import inverse_weights, poisson_sample, poisson_variance
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Inverse-probability weights",
    source="Horvitz and Thompson 1952; item number not known to us; as we understand the paper",
    given=("P(I_j = 1) = pi_j, and pi_j > 0 where x_j is not 0", "for the variance: independent inclusions"),
    claim=r"\mathbb{E}\sum_j \frac{I_j}{\pi_j} x_j = \sum_j x_j, \quad "
    r"\mathrm{Var} = \sum_j \left(\frac{1}{\pi_j} - 1\right) x_j^2",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="coresets/threshold_sampling.py",
        old="odds = np.divide(1.0 - p, p,",
        new="odds = np.divide((1.0 - p) ** 2, p,",
    ),
    Mutation(
        file="coresets/threshold_sampling.py",
        old="return rng.random((draws, len(p))) < p",
        new="return rng.random((draws, len(p))) < np.sqrt(p)",
    ),
    Mutation(file="coresets/threshold_sampling.py", old="if np.any(kept & (p == 0)):", new="if False:"),
)

CHANCES = (Fraction(1, 8), Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1))  # 1/pi is a float64 but for 3/4


def law(pi: list[Fraction]) -> list[tuple[np.ndarray, Fraction]]:
    """Every set of kept items, with its probability under independent inclusions."""
    found = []
    for kept in itertools.product((False, True), repeat=len(pi)):
        chance = Fraction(1)
        for on, p in zip(kept, pi, strict=True):
            chance *= p if on else 1 - p
        found.append((np.array(kept), chance))
    return found


def moments(x: list[int], pi: list[Fraction], scale: float = 1.0) -> tuple[Fraction, Fraction]:
    """Mean and variance of the shipped estimate, over all outcomes; `scale` sabotages its weights."""
    sums = []
    for kept, chance in law(pi):
        weights = inverse_weights(kept, np.array([float(p) for p in pi])) * scale
        sums.append((sum(Fraction(float(w)) * v for w, v in zip(weights, x, strict=True)), chance))
    mean = sum((t * q for t, q in sums), Fraction(0))
    return mean, sum((t * t * q for t, q in sums), Fraction(0)) - mean**2


def instances(count: int, seed: int) -> list[tuple[list[int], list[Fraction]]]:
    rng = random.Random(seed)
    return [([rng.randint(-4, 9) for _ in range(5)], [rng.choice(CHANCES) for _ in range(5)]) for _ in range(count)]


def symbolic() -> str:
    x, p = sp.symbols("x pi", positive=True)
    mean = p * (x / p) + (1 - p) * 0
    require(sp.simplify(mean - x) == 0, "E[x I/pi] = x")
    variance = p * (x / p) ** 2 - mean**2
    require(sp.simplify(variance - (1 / p - 1) * x**2) == 0, "Var = (1/pi - 1) x²")
    return "E[x I/pi] = x and Var = (1/pi - 1) x², by sympy"


def exact() -> str:
    for x, pi in instances(60, seed=1):
        mean, variance = moments(x, pi)
        require(abs(mean - sum(x)) < Fraction(1, 10**14), f"the mean is {float(mean)}, not {sum(x)}")
        told = Fraction(float(poisson_variance(np.array(x), np.array([float(p) for p in pi]))))
        require(abs(told - variance) <= Fraction(1, 10**12) * (1 + variance), f"{float(told)} for {float(variance)}")
    missed = np.array([0.5, 0.0])
    require(np.isinf(poisson_variance(np.array([1.0, 1.0]), missed)), "a term that is never kept has no estimate")
    require(poisson_variance(np.array([1.0, 0.0]), missed) == 1.0, "a term 0 needs no probability")
    try:
        inverse_weights(np.array([True, True]), missed)
    except InvalidParameter:
        pass
    else:
        raise AssertionError("an item of probability 0 was kept and weighed")
    return "60 instances, all 32 outcomes each: mean and variance as stated"


def monte_carlo(effort: int = 1) -> Evidence:
    pi, x, delta = np.array([0.1, 0.5, 1.0]), np.array([3.0, 0.3, 7.0]), 0.15
    limit = np.sqrt(float(poisson_variance(x, pi)) / delta)  # Chebyshev, near its extreme: one item rules the variance

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        weights = inverse_weights(poisson_sample(pi, rng, draws=n), pi)
        return np.abs(weights @ x - x.sum()) >= limit

    return judge(trial, delta=delta, trials=2_000 * effort, name="Chebyshev with the stated variance")


def teeth() -> Evidence:
    cases = instances(10, seed=2)

    def caught(factor: float) -> bool:
        return any(abs(moments(x, pi, factor)[0] - sum(x)) > Fraction(1, 10**12) for x, pi in cases)

    slack = smallest_sabotage(caught)
    x, pi = [1, 1], [Fraction(1, 2), Fraction(1, 2)]
    together = sum((Fraction(1, 2) * (4 * on - 2) ** 2 for on in (0, 1)), Fraction(0))  # both kept or none
    require(together > moments(x, pi)[1], "items that stand or fall together must have a larger variance")
    return Evidence(text=f"refuted: weights times {slack:g}; the variance of dependent inclusions", slack=slack)
