"""A minimum over G temperatures fixed beforehand costs ln G; the minimum over all of them, unpaid, fails for a draw.

Statement. For beta_1..beta_G fixed before the examples, with probability at least 1 - delta, for all Q: R(Q) is at
most the smallest of Catoni's bounds at level delta/G. The same for one draw, with ln dQ/dP for KL.

Proof. The union bound over G events of probability delta/G (catoni2007_fixed_beta). For one draw the first step is E_S
E_{h~Q} e^{n(Phi(R(h)) - beta r(h))} (dP/dQ)(h) <= 1, as in rivasplata2020_single_draw; nothing convex is needed.

Unpaid. The infimum over all beta is kl^-1(r, (KL + ln(1/delta))/n). For one draw it is false: label infinitely many
points by fair coins, let P be uniform on all functions, Q_S = P e^{n kl(r||1/2)}/xi(n). Every draw has n kl = ln dQ/dP
+ ln xi(n), so the unpaid bound lies below R = 1/2 on every draw with r < 1/2 once xi(n) > 1/delta, n > 2 600 for delta
= 1/64: it then fails about half of the time, and with m classes (R = 1 - 1/m) almost always. The released code of
PACTL (tight-pac-bayes, compute_catoni_bound) minimises without payment where the training accuracy is below one half.
For a point mass on a countable class, its case, kl^-1(r, (ln 1/P + ln 1/delta)/n) is the Occam bound and true all the
same; for the mean over Q we know neither a proof nor a counterexample.

Price. A geometric grid of 64 costs ln 64 = 4.16 nats, ln xi(60 000) is 5.73.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.catoni import catoni, catoni_grid, catoni_unpaid
from boundlab.bounds.pac_bayes import log_xi, pac_bayes_kl
from boundlab.bounds.single_draw import single_draw_catoni
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.maurer2004_kl import DELTA, LOG_WORDS, failure, overfits, worlds
from proofs_checks.maurer2004_kl import N as LARGE
from proofs_checks.rivasplata2020_single_draw import N as SMALL
from proofs_checks.rivasplata2020_single_draw import diluted

THEOREM = Theorem(
    name="Catoni's bound on a grid of temperatures",
    source="ours; the union bound over temperatures is Catoni's (2007) idea",
    given=("n i.i.d. examples, loss in [0, 1]", "P and beta_1..beta_G fixed before them"),
    claim=r"\Pr[\exists Q : R(Q) > \min_g \mathrm{Catoni}_{\beta_g}(r(Q), \mathrm{KL}, \delta/G)] \le \delta",
    status="holds",
)

MUTATIONS = (
    Mutation(file="bounds/catoni.py", old=" / len(betas) * (1.0 - 1e-15)", new=""),
    Mutation(file="bounds/single_draw.py", old="-math.log(2.0))", new="-4.0 * math.log(2.0))"),
)

GRID = tuple(float(b) for b in np.geomspace(0.05, 12.0, 64))


def unpaid(k: int, ratio: float) -> float:
    """The infimum over beta without payment, at delta = 1/4 on SMALL examples (xi = 25.7)."""
    return catoni_unpaid(k / SMALL, max(0.0, ratio), SMALL, 0.25)


def symbolic() -> str:
    gap, xi, d = sp.symbols("gap xi delta", positive=True)
    unpaid_nats = sp.log(sp.exp(gap) / xi) + sp.log(1 / d)  # ln dQ/dP of the tilt, and the confidence
    require(sp.simplify(sp.expand_log(gap - unpaid_nats - sp.log(d * xi), force=True)) == 0, "short by ln(delta xi)")
    require(log_xi(2_600) - 1e-9 > math.log(64), "xi(n) > 64 from n = 2600 on: every term of xi rises with n")
    price, constant = math.log(len(GRID)), log_xi(LARGE)
    require(price < constant, "the grid must be cheaper than xi")
    return (
        f"on the tilt the unpaid bound is short by ln(delta xi) nats, more than 0 from n = 2600 on at delta = 1/64; "
        f"64 temperatures cost {price:.2f} nats, ln xi(60000) = {constant:.2f}"
    )


def exact() -> str:
    rates = []
    for world in worlds():
        for delta in (0.9, 0.5):
            rate = failure(world, lambda r, d, w=world, e=delta: catoni_grid(r, d, w.n, e, (0.5, 1.5, 5.0)))
            require(rate <= Fraction(delta), f"failed with probability {float(rate)} > {delta}")
            rates.append(float(rate))
    for r, d in ((0.0, 100.0), (0.02, 1_000.0), (0.3, 5_000.0)):
        grid, with_xi, floor = (
            catoni_grid(r, d, LARGE, DELTA, GRID),
            pac_bayes_kl(r, d, LARGE, DELTA),
            catoni_unpaid(r, d, LARGE, DELTA),
        )
        require(floor <= grid < with_xi * 1.005, f"grid {grid}, with xi {with_xi}, unpaid {floor}")
        each = min(catoni(r, d, LARGE, DELTA / len(GRID), beta) for beta in GRID)
        one = single_draw_catoni(r, d, LARGE, DELTA, GRID)
        require(grid >= each * (1 - 1e-12), f"the grid is not paid: {grid} < {each}")
        require(abs(one / grid - 1) < 1e-9, f"one draw {one}, mean over Q {grid}")
    total = 0.0
    for k in range(SMALL // 2 + 1):  # the tilt on fair coins, every count of errors: does the unpaid bound fail?
        weight = math.exp(math.lgamma(SMALL + 1) - math.lgamma(k + 1) - math.lgamma(SMALL - k + 1))
        weight *= (k / SMALL) ** k * (1 - k / SMALL) ** (SMALL - k)
        gap = math.log(2) * SMALL + (k * math.log(k / SMALL) if k else 0.0) + (SMALL - k) * math.log1p(-k / SMALL)
        total += weight * (unpaid(k, gap - log_xi(SMALL)) < 0.5)
    rate = total / math.exp(log_xi(SMALL))
    require(rate > 0.25, f"unpaid fails with probability {rate}")
    return (
        f"worlds fail at most {max(rates):.3f}; unpaid, one draw, fair coins: fails with probability {rate:.3f} > 1/4"
    )


def monte_carlo(effort: int = 1) -> Evidence:
    trial = overfits(lambda k: catoni_grid(k / LARGE, LOG_WORDS, LARGE, DELTA, GRID))
    paid = judge(trial, delta=DELTA, trials=2_000 * effort, name="grid, best of e^1000", block=100_000)
    bare = diluted(1.0, unpaid)
    found = judge(bare, delta=0.25, trials=2_000 * effort, name="unpaid, one draw", expect="violated")
    return Evidence(text=f"paid: {paid.text}; unpaid: {found.text}", trials=paid.trials + found.trials)


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        trial = overfits(lambda k: catoni_grid(k / LARGE, LOG_WORDS / factor, LARGE, DELTA, GRID))
        return violated(trial, delta=DELTA, trials=1_000, name="KL divided")

    slack = smallest_sabotage(caught)
    kept = diluted(1.0, lambda k, ratio: single_draw_catoni(k / SMALL, ratio, SMALL, 0.25, GRID))
    upheld = judge(kept, delta=0.25, trials=1_000, name="paid, the same posterior")
    return Evidence(
        text=f"refuted: KL divided by {slack:g}; the paid grid on the posterior that refutes: {upheld.text}",
        slack=slack,
    )
