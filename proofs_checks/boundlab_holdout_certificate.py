"""The share of bad points on a fresh hold-out bounds their probability; on points used before it bounds nothing.

Statement. A point is bad if some share of a sampled group exceeds K s_j there, with 0/0 := 0 and any activity of an
edge with s_j = 0 counting as too much (or if another premise of the theorem in use fails). Let T be n i.i.d. points,
independent of the net, of the calibration points S and of K, and v the number of bad ones. With probability at least
1 - alpha over T, P_x(bad) <= U(v), Clopper and Pearson's upper limit at alpha. For v = 0 that is 1 - alpha^(1/n), at
most ln(1/alpha)/n. So a promise that fails with probability delta_B over the coins at every point that is not bad
fails with probability at most delta_B + U(v) over coins and point together.

Proof. Given the net, S and K the set of bad points is fixed, and v ~ Bin(n, P_x(bad)): `clopper_pearson1934`. Then
P(fail) <= P(fail, x not bad) + P(x bad). With y = ln(1/alpha)/n, 1 - e^-y <= y.

None of this survives reuse. On S itself every share is at most s_j by definition, so that with K >= 1 no point of S is
bad and U(0) is reported, whatever P_x(bad) is: a net that reads 40 features at 50 calibration points has about half of
all fresh points bad. Shared points are therefore counted, and from 1 % on the premise is reported as violated.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab import CoreNetAdditive, Layer, Network, certify, compress
from boundlab.certificates import CONFIDENCE, _bad_shares
from boundlab.concentration.binomial import upper_limit
from boundlab.premises import unseen
from boundlab.promises import CONTAMINATED, Status, contaminated
from boundlab.records import Compression
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_theorem_a import all_sampled
from proofs_checks.clopper_pearson1934 import cdf, miss_rate
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="A fresh hold-out certifies the share of bad points",
    source="ours; the limit is Clopper and Pearson's (1934). It takes the place of CoreNet's Assumptions 1 and 2 "
    "(arXiv:1804.05345), as we understand the paper",
    given=("T i.i.d. from the law of x", "T independent of the net, of the calibration points and of K"),
    claim=r"\Pr_T[P_x(\mathrm{bad}) > U(v)] \le \alpha, \quad U(0) = 1 - \alpha^{1/n} \le \ln(1/\alpha)/n",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="certificates.py",
        old='coins = {"coins": compression.compressor.delta / 2} if chance else {}',
        new='coins = {"coins": compression.compressor.delta / 4} if chance else {}',
    ),
    Mutation(
        file="certificates.py",
        old='{"bad points": upper_limit(count, points, CONFIDENCE)}',
        new='{"bad points": max(count, 1) / points}',
    ),
    Mutation(
        file="certificates.py",
        old="shared = sum(digest in compression.calibration for digest in fingerprints(x))",
        new="shared = 0 * sum(digest in compression.calibration for digest in fingerprints(x))",
    ),
    Mutation(
        file="premises.py",
        old="seen = independent is False or (overlap is not None and contaminated(overlap, points))",
        new="seen = independent is False",
    ),
    Mutation(
        file="promises.py",
        old="return shared > 0 and shared >= CONTAMINATED * points",
        new="return shared > 0 and shared >= 10 * CONTAMINATED * points",
    ),
)

POINTS = 50


def two_shares(low: float, high: float) -> Compression:
    """Weights 1 and inputs (u, 1 - u): calibrated at u = low and u = high, so that u outside [low, high] is bad."""
    net = Network(layers=(Layer(weight=np.ones((1, 2)), bias=np.zeros(1), relu=False),))
    points = np.array([[low, 1 - low], [high, 1 - high]])
    return all_sampled(compress(net, CoreNetAdditive(eps=0.5, delta=0.1, K=1.0), points, rng=0))


def segments(rng: np.random.Generator, n: int) -> np.ndarray:
    u = rng.random(n)
    return np.column_stack([u, 1 - u])


def symbolic() -> str:
    y, alpha, n = sp.symbols("y alpha n", positive=True)
    gap = y - (1 - sp.exp(-y))
    require(gap.subs(y, 0) == 0 and sp.diff(gap, y).subs(y, 0) == 0, "y - (1 - e^-y) must start at 0, with slope 0")
    require(sp.diff(gap, y, 2).is_positive, "and be convex")
    root = 1 - alpha ** (1 / n)
    require(sp.simplify((1 - root) ** n - alpha) == 0, "P(no bad point) at U(0) must be alpha")
    require(sp.simplify(root - (1 - sp.exp(-sp.log(1 / alpha) / n))) == 0, "U(0) = 1 - e^-y at y = ln(1/alpha)/n")
    return "(1 - U(0))^n = alpha, U(0) = 1 - e^-y <= y at y = ln(1/alpha)/n"


def exact() -> str:
    small = two_shares(0.1, 0.9375)
    u = (np.arange(200) + 0.5) / 200
    for every in (200, 50, 1):  # hold-outs of 1, 4 and 200 points
        x = np.column_stack([u, 1 - u])[::every]
        count = sum(bool(v > Fraction(0.9375) or 1 - v > Fraction(0.9)) for v in map(Fraction, x[:, 0].tolist()))
        promise = certify(small, x)
        limit = Fraction(promise.budget["bad points"])
        require(promise.premises[-1].numbers["bad"] == count, f"{count} of {len(x)} points are bad")
        require(count == len(x) or cdf(count, len(x), limit) <= Fraction(CONFIDENCE), "the limit must be an upper one")
        require(promise.delta >= min(1.0, sum(promise.budget.values())), "delta must add both causes up")
        require(promise.budget["coins"] >= small.compressor.delta / 2, "the plan spends half of delta on coins")
        require(promise.confidence_delta == CONFIDENCE, "the hold-out's own chance to mislead must be stated")
    for n in (1, 10, 1000):
        require(upper_limit(0, n, 0.05) <= math.log(20) / n * (1 + 1e-12), "ln(1/alpha)/n for no bad point")
    dead = replace(small, coresets=tuple(replace(c, plan=_silenced(c.plan)) for c in small.coresets))
    require(
        _bad_shares(dead, np.array([[0.0, 1.0], [1e-9, 1.0]])).tolist() == [False, True], "any activity at s = 0 is bad"
    )
    return f"limits at 1, 4 and 200 points are upper ones (rational arithmetic); {reuse()}"


def _silenced(plan):
    return replace(plan, sensitivities=replace(plan.sensitivities, values=np.array([0.0, 1.0])))


def reuse() -> str:
    """Reused points void the certificate, whoever reports them."""
    x = segments(np.random.default_rng(1), 400)
    small = compress(two_shares(0.1, 0.9).original, CoreNetAdditive(), x[:200], rng=0)
    require(not certify(small, x[200:]).void, "a fresh hold-out must leave the certificate valid")
    for shared in (2, 20, 200):  # of 200: from 1 % on
        require(certify(small, x[200 - shared : 400 - shared]).void, f"{shared} reused points of 200 must void it")
    require(not contaminated(0, 10) and not contaminated(9, 1000) and contaminated(10, 1000), "1 % is the border")
    require(CONTAMINATED == 0.01 and contaminated(1, 3), "one shared point of three is too many")
    states = [unseen(True).status, unseen(False).status, unseen(True, overlap=50, points=100).status]
    require(states == [Status.ASSUMED, Status.VIOLATED, Status.VIOLATED], f"the caller's word and the count: {states}")
    return "2, 20 and 200 reused points of 200 void a certificate, and so does a known overlap with training"


def misses(small: Compression, bad: float):
    """A trial: the limit from a fresh hold-out of POINTS points lies below the true probability of a bad point."""
    limits = np.array([upper_limit(k, POINTS, CONFIDENCE) for k in range(POINTS + 1)])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        counts = _bad_shares(small, segments(rng, n * POINTS)).reshape(n, POINTS).sum(axis=1)
        return limits[counts] < bad

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    low = 0.17  # just below the limit of one bad point: missed where none is seen
    found = judge(misses(two_shares(low, 1.0), low), delta=CONFIDENCE, trials=16_000 * effort, name="hold-out limit")
    return Evidence(text=f"{POINTS} hold-out points, P(bad) = {low}: {found.text}", trials=found.trials)


def calibrated_again(rng: np.random.Generator, n: int) -> np.ndarray:
    """Certify on the calibration points themselves: does the limit lie below the share of bad fresh points?"""
    net = Network(layers=(Layer(weight=np.ones((1, 40)), bias=np.zeros(1), relu=False),))
    found = np.zeros(n, dtype=bool)
    for k in range(n):
        x = rng.exponential(size=(POINTS + 200, 40))
        small = all_sampled(compress(net, CoreNetAdditive(eps=0.5, delta=0.1, K=1.0), x[:POINTS], rng=0))
        promise = certify(small, x[:POINTS])
        require(promise.void, "the certificate must be void: its hold-out calibrated the plan")
        found[k] = promise.budget["bad points"] < _bad_shares(small, x[POINTS:]).mean() - 0.1
    return found


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        limits = [upper_limit(k, POINTS, factor * CONFIDENCE) for k in range(POINTS + 1)]
        return miss_rate(limits, Fraction(limits[0]) + Fraction(1, 10**15)) > Fraction(CONFIDENCE)

    slack = smallest_sabotage(caught)
    again = violated(calibrated_again, delta=CONFIDENCE, trials=10, name="certified on the calibration points")
    require(again, "a hold-out of calibration points was not caught")
    text = (
        f"refuted: alpha x {slack:g} (exactly); a certificate on the calibration points, which is void for that reason"
    )
    return Evidence(text=text, slack=slack)
