"""PACTL's l + 2 log2(l) bits are no code lengths over all strings, but are from 2 bits on; its rebate is not earned.

Published. The prior of a net described in l bits is 2^-K with K <= l + 2 log2(l). In the released code
(tight-pac-bayes, get_bound_from_chk_v2.py) the divergence is (l + 2 log2(l) + misc_extra_bits - 2) ln 2: 2 bits are
deducted where no posterior scale is used, also where misc_extra_bits is 0, its default.

What holds. sum_s 2^-K(s) = sum_l 1/l^2 is pi^2/6 = 1.645 over l >= 1, more than 1: the union bound then fails with
probability up to 1.645 delta. Over l >= 2 it is 0.645, a prior, with log2(1/0.645) = 0.63 bits to spare; real nets
have thousands of bits, so the form stands there. With a deduction of 2 bits the sum is 4 x 0.645 = 2.58 > 1: as many
extra bits as are deducted must have been paid for another choice. 1/(l(l+1)) costs log2(1 + 1/l) bits more than 1/l^2
and needs no case distinction (kraft1949_length_prior). That K(s) <= l + 2 log2(l) + c for the prefix complexity K and
a constant c of the machine says nothing about c, which a number in bits cannot leave open.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import sympy as sp

from boundlab.bounds.length_priors import length_nats, published_universal_nats
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.kraft1949_length_prior import DELTA, mass, unions

THEOREM = Theorem(
    name="Universal prior of l + 2 log2(l) bits",
    source="Lotfi, Finzi, Kapoor, Potapczynski, Goldblum and Wilson (2022); item number not known "
    "to us; as we understand the paper; released code of tight-pac-bayes",
    given=("strings of l >= 1 bits", "K(s) = l + 2 log2 l"),
    claim=r"\sum_{s} 2^{-l(s) - 2\log_2 l(s)} \le 1",
    status="corrected",
    finding="the sum is pi^2/6 = 1.645 over all non-empty strings and 0.645 from 2 bits on; with the released code's "
    "deduction of 2 bits it is 2.58 even there",
    ours="kraft1949_length_prior",
)

MUTATIONS = (Mutation(file="bounds/length_priors.py", old="2.0 * math.log(bits)) * _UP", new="math.log(bits)) * _UP"),)

LONG = range(2, 61)


def rebated(bits: int) -> float:
    """The released code's divergence at its default: 2 bits less."""
    return published_universal_nats(bits) - 2.0 * math.log(2.0)


def symbolic() -> str:
    k = sp.symbols("k", integer=True, positive=True)
    whole: Any = sp.summation(1 / k**2, (k, 1, sp.oo))
    require(sp.simplify(whole - sp.pi**2 / 6) == 0, "the sum over l >= 1")
    require(sp.N(whole - 1) < 1 < sp.N(4 * (whole - 1)) and sp.N(whole) > 1, "0.645 <= 1 < 2.58, and 1.645 > 1")
    spare = -sp.log(whole - 1, 2)
    require(0.63 < sp.N(spare) < 0.64, "bits to spare from 2 bits on")
    return f"sum over l >= 1 is pi²/6 = {float(sp.N(whole)):.3f}; over l >= 2 {float(sp.N(whole - 1)):.3f}, times 4 > 1"


def exact() -> str:
    whole, long, short = (
        mass(published_universal_nats, range(1, 61)),
        mass(published_universal_nats, LONG),
        mass(rebated, LONG),
    )
    require(whole > 1 and long <= 1 < short, f"{float(whole)}, {float(long)}, {float(short)}")
    by_hand = sum((Fraction(1, length * length) for length in LONG), Fraction(0))
    require(0 <= 1 - long / by_hand < Fraction(1, 10**10), "the shipped lengths, rounded up")
    for bits in (2, 100, 4_616):
        dearer = (length_nats(bits) - published_universal_nats(bits)) / math.log(2)
        require(abs(dearer - math.log2(1 + 1 / bits)) < 1e-8, f"1/(l(l+1)) against 1/l² at {bits}")
    return f"1..60 bits: {float(whole):.3f} > 1, 2..60 bits: {float(long):.3f}, less 2 bits {float(short):.3f} > 1"


def monte_carlo(effort: int = 1) -> Evidence:
    first = judge(
        unions(published_universal_nats), delta=DELTA, trials=30_000 * effort, name="from 1 bit on", expect="violated"
    )
    less = judge(unions(rebated, LONG), delta=DELTA, trials=10_000 * effort, name="less 2 bits", expect="violated")
    kept = judge(unions(length_nats), delta=DELTA, trials=10_000 * effort, name="1/(l(l+1))", expect="not violated")
    text = f"from 1 bit on: {first.text}; less 2 bits: {less.text}; 1/(l(l+1)): {kept.text}"
    return Evidence(text=text, trials=first.trials + less.trials + kept.trials)


def teeth() -> Evidence:
    """From 2 bits on the published lengths hold; a rebate beyond the bits to spare is caught."""

    def caught(factor: float) -> bool:
        trial = unions(lambda k: published_universal_nats(k) - math.log(factor), LONG)
        return violated(trial, delta=DELTA, trials=60_000, name="rebate")

    slack = smallest_sabotage(caught)
    return Evidence(
        text=f"from 2 bits on: refuted at a rebate of {math.log2(slack):.2f} bits, 0.63 are spare", slack=slack
    )
