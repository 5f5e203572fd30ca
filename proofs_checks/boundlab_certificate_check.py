"""The verifier accepts no claim that does not follow: its sums are rounded against the claim.

Proof. Occam: Bin+(k, n, a) = sup{p : P[Bin(n, p) <= k] >= a}, and the tail falls with p, so Bin+ <= p as soon as the
tail at p is at most a (its supremum is then attained at p or before). The tail is a sum of positive terms; each term
comes from the one before by t_{i-1}/t_i = i (1-p)/((n-i+1) p), the first from products and quotients of positive
numbers; every operation is rounded up, p and delta are floats, whose decimals are exact, and delta 2^-bits is rounded
down. The ratio falls with i, so what is left after a term t_{i-1} is at most t_{i-1}/(1 - ratio).
Single draw: p -> kl(r || p) grows for p >= r, so kl^-1(r, c) <= p as soon as p > r and kl(r || p) >= c. Fewer than ten
operations on numbers of 60 digits lose less than the 10^-30 that is taken off.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from boundlab.bounds.pac_bayes import log_xi
from boundlab.bounds.single_draw import single_draw
from boundlab.concentration.binomial import tail_inverse
from boundlab.risk_certificates.checking import divergence_is_above, tail_is_below
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="The verifier of certificates",
    source="ours; the inversion of the binomial tail is Clopper and Pearson's (1934) and Langford's (2005)",
    given=("k of n errors, a claimed bound p, delta and bits, or nats",),
    claim=r"\text{accepted} \Rightarrow \mathrm{Bin}^+(k, n, \delta 2^{-B}) \le p, \text{ or } "
    r"\mathrm{kl}^{-1}(k/n, (\nu + \ln(\xi(n)/\delta))/n) \le p",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="risk_certificates/checking.py",
        old="ratio = up.multiply(up.divide(Decimal(i), Decimal(n - i + 1)), odds)",
        new="ratio = up.multiply(up.divide(Decimal(i), Decimal(n - i + 2)), odds)",
    ),
    Mutation(
        file="risk_certificates/checking.py",
        old="level = down.divide(Decimal(delta), _power(up, Decimal(2), bits))",
        new="level = down.divide(Decimal(delta), _power(up, Decimal(2), bits - 1))",
    ),
    Mutation(
        file="risk_certificates/checking.py",
        old="return total <= level",
        new="return total <= level * 2",
    ),
    Mutation(
        file="risk_certificates/checking.py",
        old="if Decimal(k) >= exact.multiply(q, Decimal(n)):",
        new="if Decimal(k) > exact.multiply(q, Decimal(2 * n)):",
    ),
    Mutation(
        file="risk_certificates/checking.py",
        old="want = exact.subtract(exact.add(Decimal(nats), Decimal(log_xi(n))), exact.ln(Decimal(delta)))",
        new="want = exact.subtract(Decimal(nats), exact.ln(Decimal(delta)))",
    ),
)


def symbolic() -> str:
    i, n, p, r = sp.symbols("i n p r", positive=True)
    term = sp.binomial(n, i) * p**i * (1 - p) ** (n - i)
    ratio = sp.combsimp(term.subs(i, i - 1) / term)
    require(sp.simplify(ratio - i * (1 - p) / ((n - i + 1) * p)) == 0, "the ratio of two terms")
    require(sp.simplify(sp.diff(i / (n - i + 1), i) - (n + 1) / (n - i + 1) ** 2) == 0, "the ratio grows with i")
    kl = r * sp.log(r / p) + (1 - r) * sp.log((1 - r) / (1 - p))
    require(sp.simplify(sp.diff(kl, p) - (p - r) / (p * (1 - p))) == 0, "kl grows with p beyond r")
    return "ratio i(1-p)/((n-i+1)p), growing in i; d kl/dp = (p-r)/(p(1-p))"


def tail(k: int, n: int, p: float) -> Fraction:
    q = Fraction(p)
    return sum((math.comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k + 1)), Fraction(0))


def exact() -> str:
    count = accepted = 0
    for n, delta, bits in itertools.product((1, 2, 7, 30, 60), (0.05, 0.3), (0, 1, 9, 40)):
        for k in range(0, n + 1, max(1, n // 7)):
            least = tail_inverse(k, n, math.log(delta) - bits * math.log(2.0))
            for p in {least, min(1.0, least * (1 + 1e-9)), least * (1 - 1e-9), least * 0.9, 0.5, 1e-9, 1.0}:
                truth = p >= 1.0 or tail(k, n, p) <= Fraction(delta) / 2**bits
                said = tail_is_below(k, n, p, delta, bits)
                require(truth or not said, f"accepted {p!r} for k={k}, n={n}, delta={delta}, bits={bits}")
                margin = p >= 1.0 or tail(k, n, p) * (1 + Fraction(1, 10**30)) <= Fraction(delta) / 2**bits
                require(said or not margin or k == n, f"refused {p!r} for k={k}, n={n}, delta={delta}, bits={bits}")
                count, accepted = count + 1, accepted + said
    with mpmath.workdps(60):
        for n, r, nats in itertools.product((8, 500, 60_000), (0.0, 0.05, 0.3), (-3.0, 0.0, 12.5, 2_000.0)):
            k = round(n * r)
            level = nats + log_xi(n) - mpmath.log(mpmath.mpf(0.05))
            least = single_draw(k / n, nats, n, 0.05)
            for p in (least, least * (1 - 1e-9), least * (1 - 1e-3), k / n, k / n / 2, 1.0):
                if not 0.0 < p <= 1.0:
                    continue
                true = p >= 1.0 or (Fraction(p) > Fraction(k, n) and n * _kl(k, n, p) >= level)
                said = divergence_is_above(k, n, p, 0.05, nats)
                require(bool(true) or not said, f"accepted {p!r} for {k} of {n} at {nats} nats")
                require(said or p != least, f"refused the issued {p!r} for {k} of {n} at {nats} nats")
                count, accepted = count + 1, accepted + said
    large = tail_inverse(5_595, 60_000, math.log(0.05) - 4_328 * math.log(2.0))
    require(tail_is_below(5_595, 60_000, large, 0.05, 4_328), "a certificate of the size that is issued")
    require(not tail_is_below(5_595, 60_000, large * (1 - 1e-11), 0.05, 4_328), "and nothing below it")
    return f"{count} claims against exact fractions and 60 digits, {accepted} accepted, none wrongly"


def _kl(k: int, n: int, p: float) -> Any:
    r, q = mpmath.mpf(k) / n, mpmath.mpf(p)
    first = r * mpmath.log(r / q) if k else mpmath.mpf(0)
    return first + (1 - r) * mpmath.log((1 - r) / (1 - q))


monte_carlo = not_applicable("a statement on arithmetic; no probability is claimed")


def teeth() -> Evidence:
    rng = np.random.default_rng(5)
    cases = [(int(k), int(n)) for n in rng.integers(20, 120, 10) for k in rng.integers(0, n // 2, 3)]

    def caught(factor: float) -> bool:
        return any(
            tail(k, n, p) > Fraction(0.05) / 2**20
            for k, n in cases
            for p in [tail_inverse(k, n, math.log(0.05) - 20 * math.log(2.0)) / factor]
            if tail_is_below(k, n, p * factor, 0.05, 20)
        )

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a claim lower by {slack:g} than what was accepted is false", slack=slack)
