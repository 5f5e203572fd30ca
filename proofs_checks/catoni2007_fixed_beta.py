"""Catoni's bound at a temperature fixed beforehand needs no xi(n), and its infimum over the temperature is kl^-1.

Statement. For beta > 0 fixed before n i.i.d. examples, with probability at least 1 - delta, for all Q: R(Q) <= (1 -
exp(-beta r(Q) - (KL(Q||P) + ln(1/delta))/n)) / (1 - exp(-beta)).

Proof. For a loss X in [0, 1] of mean R the chord gives E e^{-beta X} <= 1 - R(1 - e^-beta) =: e^{-Phi(R)}, so that E_S
e^{n(Phi(R(h)) - beta r(h))} <= 1, with equality for 0-1 losses. Markov and E_Q f <= KL + ln E_P e^f (see
maurer2004_kl) give n(E_Q Phi(R(h)) - beta r(Q)) <= KL + ln(1/delta) for all Q at once; Phi is convex, its second
derivative being ((1 - e^-beta)/(1 - R(1 - e^-beta)))^2: Phi(R(Q)) <= E_Q Phi(R(h)). Solve for R(Q).

Infimum. With t = e^-beta, sup over t in (0, 1] of q ln t - ln(1 - p(1 - t)) is kl(q||p) for 0 < q < p < 1, reached at
t* = q(1-p)/(p(1-q)) < 1. Hence p satisfies Catoni's inequality for all beta if and only if kl(q||p) <= C: the infimum
of the right sides is kl^-1(q, C). At q = 0 it is the limit beta -> infinity, 1 - e^-C.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import flint
import numpy as np
import sympy as sp

from boundlab.bounds.catoni import catoni, catoni_unpaid
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, N, failure, fewest, overfits, worlds

THEOREM = Theorem(
    name="Catoni's PAC-Bayes bound, temperature fixed beforehand",
    source="Catoni, 'PAC-Bayesian supervised classification' (2007), arXiv 0712.0248; item number not known to us; as "
    "we understand the book",
    given=("n i.i.d. examples, loss in [0, 1]", "P and beta > 0 fixed before them"),
    claim=r"\Pr[\exists Q : (1 - e^{-\beta}) R(Q) > 1 - e^{-\beta r(Q) - (\mathrm{KL} + \ln(1/\delta))/n}] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/catoni.py", old="beta * raised(risk) + spent", new="beta * raised(risk) + 0.98 * spent"),
    Mutation(file="bounds/catoni.py", old="/ math.expm1(-beta) * _UP", new="/ -beta * _UP"),
)


def matched(k: int, p: float) -> float:
    """The temperature that is best for a risk p behind k errors on N examples."""
    q = k / N
    return math.log(p * (1 - q) / (q * (1 - p)))


BETA = matched(24_550, 0.5)  # what e^1000 guesses of fair coins reach, about; the examples are not asked


def symbolic() -> str:
    p, q, t, R, b, x = sp.symbols("p q t R b x", positive=True)
    chord = 1 - x + x * sp.exp(-b) - sp.exp(-b * x)
    require(chord.subs(x, 0) == 0 and sp.simplify(chord.subs(x, 1)) == 0, "the chord meets e^{-bx} at 0 and 1")
    require(sp.simplify(sp.diff(chord, x, 2) + b**2 * sp.exp(-b * x)) == 0, "chord minus curve is concave")
    phi = -sp.log(1 - R * (1 - t))
    require(sp.simplify(sp.diff(phi, R, 2) - ((1 - t) / (1 - R * (1 - t))) ** 2) == 0, "Phi is convex in R")
    g = q * sp.log(t) - sp.log(1 - p * (1 - t))
    slope = sp.simplify(sp.diff(g, t) * t * (1 - p + p * t) - (q * (1 - p) - p * (1 - q) * t))
    require(slope == 0, "the slope in t has the sign of q(1-p) - p(1-q)t: one maximum")
    best = q * (1 - p) / (p * (1 - q))
    kl = q * sp.log(q / p) + (1 - q) * sp.log((1 - q) / (1 - p))
    require(sp.simplify(1 - p * (1 - best) - (1 - p) / (1 - q)) == 0, "the second logarithm at t*")
    worth = sp.expand_log(q * sp.log(best) - sp.log((1 - p) / (1 - q)) - kl, force=True)
    require(sp.expand(worth) == 0, "worth kl(q||p)")
    require(sp.factor(best - 1 + (p - q) / (p * (1 - q))) == 0, "t* < 1 exactly where q < p")
    return "sup over beta of -beta q - ln(1 - p(1 - e^-beta)) is kl(q||p), at e^-beta = q(1-p)/(p(1-q)); Phi'' > 0"


def against_balls() -> None:
    """Rounded up by less than 1e-12, never below kl^-1, and equal to it at the best temperature."""
    for r, d, n, delta in itertools.product((0.0, 0.02, 0.4), (0.0, 10.0, 900.0), (1, 50, 60_000), (0.9, 0.01)):
        floor = catoni_unpaid(r, d, n, delta)
        for beta in (1e-3, 0.1, 1.0, 5.0, 40.0):
            value, b = catoni(r, d, n, delta, beta), flint.arb(beta)
            spent = (flint.arb(d) - flint.arb(delta).log()) / n
            want = (1 - (-b * flint.arb(r) - spent).exp()) / (1 - (-b).exp())
            require(
                value == 1 or (want < value and value < want * (1 + flint.arb(1e-12))), f"rounded wrongly at {beta}"
            )
            require(value >= floor * (1 - 1e-12), "below the infimum over beta")
        if r and floor < 1:
            at = catoni(r, d, n, delta, math.log(floor * (1 - r) / (r * (1 - floor))))
            require(at <= floor * (1 + 1e-9), f"the best beta does not reach kl^-1: {at} against {floor}")


def exact() -> str:
    for world in worlds():  # beta = ln 2: everything rational
        shrink = Fraction(1, 2)
        for h, R in enumerate(world.risks):
            moment = sum(w * (shrink ** e[h] / (1 - R * (1 - shrink)) ** world.n) for w, e in world.samples())
            require(moment == 1, "E_S e^{n(Phi(R) - beta r)} = 1 in fractions")
    rates = [
        failure(world, lambda r, d, w=world, e=delta, b=beta: catoni(r, d, w.n, e, b))
        for world in worlds()
        for delta, beta in ((0.7, 0.5), (0.7, 4.0))
    ]
    require(max(rates) <= Fraction(0.7), f"failed with probability {float(max(rates))}")
    with flint.ctx.workprec(120):
        against_balls()
    return (
        f"moment 1 in fractions; worlds fail at most {float(max(rates)):.3f} <= 0.7; min over beta = kl^-1 on 54 points"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    trial = overfits(lambda k: catoni(k / N, LOG_WORDS, N, DELTA, BETA))
    return judge(trial, delta=DELTA, trials=2_000 * effort, name="catoni, best of e^1000", block=100_000)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: catoni(k / N, LOG_WORDS / factor, N, DELTA, BETA))
        return violated(trial, delta=DELTA, trials=1_000, name="KL divided")

    slack = smallest_sabotage(caught)
    typical = int(np.median(fewest(np.random.default_rng(0), 99)))
    values = [catoni(typical / N, LOG_WORDS, N, DELTA, b) for b in (BETA / 10, BETA)]
    require(values[1] < values[0], "a matched temperature is tighter")
    return Evidence(
        text=f"refuted: KL divided by {slack:g}; at a tenth of beta the bound is {values[0]:.3f}", slack=slack
    )
