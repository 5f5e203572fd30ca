"""A string that is no word of a prefix code needs a prior on its length: 1/(l(l+1)) adds up to 1, 1/l^2 to 1.645.

Statement. P(s) = 2^-l w(l), l the length of the non-empty string s in bits, is a prior if and only if sum_l w(l) <= 1.
w(l) = 1/(l(l+1)) adds up to exactly 1. w = 1 (2^-l alone) adds up to infinity; w = 1/l^2 to pi^2/6 = 1.645 over l >= 1
and to 0.645 over l >= 2.

Proof. There are 2^l strings of length l, so that sum_s P(s) = sum_l w(l). 1/(l(l+1)) = 1/l - 1/(l+1) telescopes to 1 -
1/(L+1). For the words of a prefix code, sum 2^-l <= 1 (Kraft): [0, 1) holds disjoint intervals of length 2^-l.

Why it matters. A union bound at levels delta P(s) fails with probability up to delta sum_s P(s). With classifiers that
fail independently, each exactly as often as its level permits, it is 1 - exp(-delta sum P), nearly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from boundlab.bounds.length_priors import length_nats, published_universal_nats
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="Prior on strings of all lengths",
    source="Kraft (1949) for prefix codes; the length prior 1/(l(l+1)) is folklore",
    given=("non-empty bit strings, any of them", "the prior is fixed before the examples"),
    claim=r"\sum_{s} 2^{-l(s)} \frac{1}{l(s)(l(s)+1)} = 1",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/length_priors.py", old="math.log(bits) + math.log(bits + 1.0)", new="math.log(bits)"),
    Mutation(
        file="bounds/length_priors.py",
        old="bits * math.log(2.0) + math.log(bits)",
        new="(bits - 1) * math.log(2.0) + math.log(bits)",
    ),
)

LENGTHS = range(1, 61)
DELTA = 0.05


def mass(nats: Callable[[int], float], lengths: range) -> Fraction:
    """The sum of e^-nats over all strings of these lengths, each term taken from the float as it is."""
    return sum((2**length * Fraction(math.exp(-nats(length))) for length in lengths), Fraction(0))


def unions(nats: Callable[[int], float], lengths: range = LENGTHS) -> Callable[[np.random.Generator, int], np.ndarray]:
    """A trial: 2^l classifiers of each length fail independently with probability delta e^-nats(l); does one fail?"""
    quiet = np.array([2.0**length * math.log1p(-DELTA * math.exp(-nats(length))) for length in lengths])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.count_nonzero(rng.random((n, len(quiet))) > np.exp(quiet), axis=1) > 0

    return trial


def symbolic() -> str:
    k = sp.symbols("k", integer=True, positive=True)
    require(sp.summation(1 / (k * (k + 1)), (k, 1, sp.oo)) == 1, "1/(l(l+1)) adds up to 1")
    require(sp.simplify(1 / k - 1 / (k + 1) - 1 / (k * (k + 1))) == 0, "it telescopes")
    whole: Any = sp.summation(1 / k**2, (k, 1, sp.oo))
    require(sp.simplify(whole - sp.pi**2 / 6) == 0 and sp.N(whole) > 1, "1/l² adds up to pi²/6 > 1")
    return "sum of 1/(l(l+1)) = 1; sum of 1/l² = pi²/6 > 1 over l >= 1"


def exact() -> str:
    shipped = mass(length_nats, LENGTHS)
    require(shipped <= Fraction(60, 61), f"mass {float(shipped)} above 60/61")
    require(shipped > Fraction(60, 61) * (1 - Fraction(1, 10**10)), "too much is paid")
    for length in (1, 7, 50, 4_000, 10**6):
        own = length * math.log(2) + math.log(length * (length + 1))
        require(own <= length_nats(length) * (1 + 1e-15) and length_nats(length) < own * (1 + 1e-13), f"l = {length}")
    strings = [s for length in range(1, 9) for s in itertools.product("01", repeat=length)]
    by_string = sum((Fraction(1, 2 ** len(s) * len(s) * (len(s) + 1)) for s in strings), Fraction(0))
    require(by_string == Fraction(8, 9), "string by string up to 8 bits")
    square = mass(published_universal_nats, LENGTHS)
    require(square > Fraction(3, 2), f"1/l² must be caught, it adds up to {float(square)}")
    return f"60 lengths: mass {float(shipped):.4f} <= 60/61; 8/9 up to 8 bits by string; 1/l²: {float(square):.3f} > 1"


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(unions(length_nats), delta=DELTA, trials=20_000 * effort, name="length prior", expect="not violated")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        return violated(unions(lambda k: length_nats(k) - math.log(factor)), delta=DELTA, trials=60_000, name="mass")

    slack = smallest_sabotage(caught)
    require(violated(unions(published_universal_nats), delta=DELTA, trials=60_000, name="square"), "1/l² from l = 1 on")
    bare = unions(lambda k: k * math.log(2.0))
    require(violated(bare, delta=DELTA, trials=2_000, name="bare"), "2^-l alone")
    return Evidence(text=f"refuted: {slack:g} times the mass; 1/l² from l = 1 on; 2^-l alone", slack=slack)
