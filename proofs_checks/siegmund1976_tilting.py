"""Sampling where the failure happens, with weights under Chernoff's bound, certifies what no counting reaches.

Proof. Draws from q_j e^(theta v_j - L) have likelihood ratio prod e^(L - theta v) = e^(m L - theta S) against q, so
that P(S >= s) = E[e^(m L - theta S) 1{S >= s}] under the tilt. For theta >= 0 the weight on the event is at most
B = e^(m L - theta s), Chernoff's bound itself; weight/B lies in [0, 1] and bets on its mean give a limit U with
P(S >= s) <= B U at the stated level. Any theta >= 0 is valid: an inexact saddle point costs tightness only.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab.concentration.betting import log_e_mean_below
from boundlab.concentration.tilting import tilt
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import exact as enclosed

THEOREM = Theorem(
    name="Exponential tilting with a capped weight",
    source="Siegmund (1976), importance sampling; item number not known to us; as we understand the paper; the cap and "
    "the certificate are ours",
    given=("m i.i.d. draws J ~ q, S = sum of v_J", "theta >= 0 for S >= s, theta <= 0 for S <= s"),
    claim=r"\Pr[S \ge s] = B\,\mathbb{E}_\theta[e^{-\theta(S-s)}1\{S \ge s\}], \quad B = e^{mL(\theta)-\theta s}",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="concentration/tilting.py",
        old="log_cap=base - theta * threshold + slack",
        new="log_cap=base - 2 * theta * threshold",
    ),
    Mutation(file="concentration/tilting.py", old="threshold + slack)", new="threshold)"),
    Mutation(file="concentration/tilting.py", old="base = draws * log_mgf", new="base = (draws - 1) * log_mgf"),
    Mutation(
        file="concentration/tilting.py",
        old="return self.log_base - self.theta",
        new="return self.log_base + self.theta",
    ),
)

VALUES, Q = (0, 1, 3), (Fraction(1, 2), Fraction(3, 8), Fraction(1, 8))


def symbolic() -> str:
    theta, v, s, S, L, m, q = sp.symbols("theta v s S L m q", positive=True)
    ratio = q / (q * sp.exp(theta * v - L))
    require(sp.simplify(ratio - sp.exp(L - theta * v)) == 0, "one draw's likelihood ratio")
    excess = sp.symbols("excess", nonnegative=True)  # S = s + excess
    weight, cap = sp.exp(m * L - theta * (s + excess)), sp.exp(m * L - theta * s)
    require(
        sp.simplify(weight / cap - sp.exp(-theta * excess)) == 0, "weight/cap = e^(-theta (S - s)) <= 1 on the event"
    )
    p = sp.symbols("p", positive=True)  # two-point values: L'(theta) = s/m minimises the cap
    log_cap = m * sp.log(1 - p + p * sp.exp(theta)) - theta * s
    stationary = sp.solve(sp.diff(log_cap, theta), theta)
    require(any(sp.simplify(sp.exp(t) - s * (1 - p) / (p * (m - s))) == 0 for t in stationary), "the saddle point")
    require(
        sp.simplify(sp.diff(log_cap, theta, 2).subs(S, s)).subs({p: sp.Rational(1, 3)}).is_positive, "convex in theta"
    )
    return (
        "weight/cap = e^(-theta (S-s)) in (0, 1] on the event; the saddle point e^theta = s(1-p)/(p(m-s)) minimises it"
    )


def exact() -> str:
    v, q = np.array(VALUES, float), np.array([float(p) for p in Q])
    for m, s, upper in itertools.product((2, 3, 4), (1, 4, 5), (True, False)):
        if not 0 < s < 3 * m:
            continue
        found = tilt(v, q, m, float(s), upper=upper)
        want, back = Fraction(0), 0.0
        for draw in itertools.product(range(3), repeat=m):
            total = sum(VALUES[j] for j in draw)
            inside = total >= s if upper else total <= s
            plain = math.prod((Q[j] for j in draw), start=Fraction(1))
            want += plain * inside
            tilted = math.prod(found.law[j] for j in draw)
            weight = math.exp(float(found.log_weight(np.array(total))))
            require(abs(tilted * weight / float(plain) - 1) < 1e-9, f"{draw}: the weight is not the likelihood ratio")
            require(not inside or weight <= math.exp(found.log_cap), f"{draw}: weight above the cap")
            back += tilted * weight * inside
        require(abs(back - float(want)) < 1e-12, f"m={m}, s={s}: tilted mean {back}, exact {want}")
        require(want <= Fraction(math.exp(found.log_cap)), "the cap is Chernoff's bound, rounded up")
        with flint.ctx.workprec(160):  # and not below it at the theta that is told, however many draws
            theta = enclosed(Fraction(found.theta))
            mgf = sum((enclosed(p) * (theta * x).exp() for p, x in zip(Q, VALUES, strict=True)), flint.arb(0))
            for many in (1, 10**6):
                wide = tilt(v, q, many * m, float(many * s), upper=upper)
                require(wide.theta == found.theta, "theta depends on the mean alone")
                cap = many * (m * mgf.log() - theta * s)
                require(bool(cap <= wide.log_cap) and bool(wide.log_cap - cap < 1e-12 * many + 1e-12), "rounded up")
    return (
        "all outcomes of 2 to 4 draws: tilted probability x weight = original, weight <= cap on the event, both sides"
    )


def limit(p: float, m: int, s: int, draws: int, rng: np.random.Generator, alpha: float, inflate: float = 1.0) -> float:
    """A certified upper limit on P(Bin(m, p) >= s) from tilted draws."""
    found = tilt(np.array([0.0, 1.0]), np.array([1 - p, p]), m, float(s))
    totals = rng.binomial(m, found.law[1], draws)
    shares = np.where(totals >= s, np.exp(found.log_weight(totals) - found.log_cap), 0.0)
    low, high = 1e-4, 1.0
    while high / low > 1.005:
        middle = math.sqrt(low * high)
        decided = log_e_mean_below(np.minimum(shares, 1.0), min(middle, 1 - 1e-12))[-1] >= math.log(1 / alpha)
        low, high = (low, middle) if decided else (middle, high)
    return math.exp(found.log_cap) * high * inflate


def misses(draws: int, inflate: float = 1.0):
    m, p, s = 2_000, 0.05, 190
    truth = float(binom.sf(s - 1, m, p))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        return np.array([limit(p, m, s, draws, rng, 0.05, inflate) < truth for _ in range(n)])

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(misses(200), delta=0.05, trials=200 * effort, name="tilted limit", expect="upheld")
    truth, ours = float(binom.sf(189, 2_000, 0.05)), limit(0.05, 2_000, 190, 200, np.random.default_rng(1), 0.05)
    require(truth <= ours < 10 * truth, f"limit {ours} of {truth}")
    return Evidence(
        text=f"200 draws certify {ours:.1e} where the truth is {truth:.1e}; {found.text}", trials=found.trials
    )


def teeth() -> Evidence:
    def caught(factor: float) -> bool:  # the cap understated by a factor: the limit falls below the truth
        rng, m, p, s = np.random.default_rng(2), 2_000, 0.05, 190
        truth = float(binom.sf(s - 1, m, p))
        return sum(limit(p, m, s, 200, rng, 0.05, 1 / factor) < truth for _ in range(12)) > 6

    slack = smallest_sabotage(caught, (1.2, 1.5, 2, 3, 4, 6, 10))
    return Evidence(text=f"a cap understated by {slack:g} puts most limits below the truth", slack=slack)
