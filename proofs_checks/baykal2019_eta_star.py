"""CoreNet's eta* leaves out the input layer: for d > eta* its union bounds count too few edges, and its lemma can fail.

The statement. eta* = max over the HIDDEN layers of their widths; |S| = ⌈K' ln(8 eta eta*/delta)⌉ points suffice that,
in a group, some C s_j < g_j(x) with probability at most delta/(8 eta); and a running time from
sum_l eta^l eta^{l-1} <= eta eta*. Each is proved with "no group has more than eta* edges".

Refutation. A group of layer 2 has up to d edges. Let d - 1 of them be independent coins, active with probability
1 - e^{-1/K'}, beside an edge that makes up a constant sum: each coin obeys Assumption 1 with equality. With
probability e^{-|S|/K'} none of |S| points shows a given coin, so that some coin is missed with probability
1 - (1 - e^{-|S|/K'})^{d-1}. For 784-300-100-10 at delta = 0.1 that is 7.8e-5, above the delta/(8 eta) = 3.0e-5 that
the proof grants: the union step fails. For 5000-300-100-10 the published |S| is still 189, and with probability 4.1e-5
some missed coin is active at the fresh point, so that the lemma's own conclusion fails. The running time fails at once:
784 300 + 300 100 + 100 10 = 266200 > 410 300.

What holds. With eta* the widest of ALL layers inside the logarithms every group has at most eta* edges, every layer at
most eta* neurons, and sum_l eta^l eta^{l-1} <= (sum_{l>=2} eta^l) max_l eta^l. K stays as it is: no proof sets it.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import sympy as sp
import z3
from flint import arb, ctx

from boundlab.compressors.constants import constants
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.baykal2019_constants import missed, misses
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove

THEOREM = Theorem(
    name="CoreNet's eta* without the input layer",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=("eta* = max of the hidden layers' widths", "Assumption 1 with K' = ln(eta eta*)", "independent points"),
    claim=r"|S| = \lceil K' \ln(8\eta\eta^*/\delta) \rceil \Rightarrow "
    r"\Pr[\exists j: C s_j < g_j(x)] \le \delta/(8\eta), \quad \sum_\ell \eta^\ell\eta^{\ell-1} \le \eta\eta^*",
    status="refuted",
    finding="A row of the first layer has d edges, not eta*: for 5000-300-100-10 the lemma fails with 4.1e-5 where it "
    "promises 3.0e-5, and for 784-300-100-10 the union step and the running time do.",
    ours="baykal2019_constants",
)

MUTATIONS = (
    Mutation(
        file="compressors/constants.py",
        old='widest = hidden if variant == "published" else max(sizes)',
        new='widest = hidden if variant != "sharp" else max(sizes)',
    ),
    Mutation(
        file="compressors/constants.py",
        old='widest = hidden if variant == "published" else max(sizes)',
        new='widest = hidden if variant == "published" else max(sizes[1:])',
    ),
)

LENET, WIDE = (784, 300, 100, 10), (5000, 300, 100, 10)
SMALL, SMALL_DELTA = (40, 2, 1), 0.5  # eta = 3, eta* = 2 in the hidden layers, 40 edges in a row of layer 2


def work(sizes: tuple[int, ...]) -> int:
    """sum_l eta^l eta^{l-1}: the multiplications of one forward pass."""
    return sum(a * b for a, b in itertools.pairwise(sizes))


def symbolic() -> str:
    d, eta, star, width = sp.symbols("delta eta eta* w", positive=True)
    over = width * d / (8 * eta * star) / (d / (8 * eta))
    require(sp.simplify(over - width / star) == 0, "w edges at delta/(8 eta eta*) overspend by w/eta*")
    one = sp.symbols("q", positive=True)  # 1 - (1 - q)^n >= n q - n(n-1)/2 q²: Bonferroni, for two edges exactly
    require(sp.expand(1 - (1 - one) ** 2 - (2 * one - one**2)) == 0, "two independent edges")
    widths: Any = z3.Reals("a b c e top")
    a, b, c, e, top = widths  # widths of four layers, and the widest of them
    positive = [v >= 1 for v in (a, b, c, e)]
    prove(a * b + b * c + c * e <= (b + c + e) * top, *positive, *(v <= top for v in (a, b, c, e)))
    return "w edges overspend by w/eta*; with the widest of all layers sum eta^l eta^(l-1) <= eta eta* (z3, 4 layers)"


def exact() -> str:
    own, wide, share = constants(LENET, 0.1), constants(WIDE, 0.1), 0.1 / (8 * 410)
    require((own.points, wide.points, own.eta_star, wide.eta_star) == (189, 189, 300, 300), "published |S| ignores d")
    lost, fails = missed(783, own.points, own.K), missed(4999, wide.points, wide.K, active=True)
    require(lost > 2 * share, f"d = 784: an edge is missed with {lost}, the proof allows {share}")
    require(fails > share, f"d = 5000: the lemma itself must fail, {fails} against {share}")
    old, ctx.prec = ctx.prec, 120
    try:  # the two violations by ball arithmetic
        K = arb(410 * 300).log()
        one = (-189 / K).exp()
        allowed = arb(1) / (80 * 410)
        require(bool(1 - (1 - one) ** 783 > 2 * allowed), "d = 784, in ball arithmetic")
        require(bool(1 - (1 - one * (1 - (-1 / K).exp())) ** 4999 > allowed), "d = 5000, in ball arithmetic")
    finally:
        ctx.prec = old
    repaired = 0
    for sizes, delta in ((LENET, 0.1), (WIDE, 0.1), (SMALL, 0.5), ((3, 4, 9), 0.3), ((7, 2, 2, 50), 0.01)):
        fixed = constants(sizes, delta, variant="repaired")
        require(fixed.eta_star == max(sizes), f"the widest of all layers of {sizes}, got {fixed.eta_star}")
        require(missed(max(sizes[:-1]), fixed.points, fixed.K) <= delta / (8 * fixed.eta), f"repaired |S| of {sizes}")
        require(work(sizes) <= fixed.eta * fixed.eta_star, "the repaired running time")
        # the other union, over the neurons of one layer: two events at delta/(8 eta eta*) each
        spent = [Fraction(2 * n, 8 * fixed.eta * fixed.eta_star) for n in sizes[1:]]
        require(max(spent) <= Fraction(1, 4 * fixed.eta), "repaired: the estimate of Delta stays within delta/(4 eta)")
        repaired += 1
    require(constants(LENET, 0.1, variant="repaired").points == 200, "784-300-100-10 needs 200 points")
    require(constants(WIDE, 0.1, variant="repaired").points > 220, "and 5000-300-100-10 more")
    require(work(LENET) == 266_200 > 410 * 300, "the running time's inequality must fail")
    outputs = constants((7, 2, 2, 50), 0.01)
    require(outputs.eta_star == 2 < 50, "eta* leaves out the outputs too")
    return (
        f"d = 784: an edge is missed with {lost:.1e}, allowed {share:.1e}; d = 5000: the lemma fails, {fails:.1e}; "
        f"266200 > 123000; {repaired} repaired nets close"
    )


ALLOWED = SMALL_DELTA / (8 * 3)


def monte_carlo(effort: int = 1) -> Evidence:
    published, fixed = constants(SMALL, SMALL_DELTA), constants(SMALL, SMALL_DELTA, variant="repaired")
    bad = judge(
        misses(SMALL, SMALL_DELTA, 1.0),
        delta=ALLOWED,
        trials=300 * effort,
        name="40-2-1, published |S|",
        expect="violated",
    )
    good = judge(
        misses(SMALL, SMALL_DELTA, 1.0, variant="repaired"),
        delta=ALLOWED,
        trials=1_000 * effort,
        name="40-2-1, repaired |S|",
        expect="not violated",
    )
    text = f"40-2-1, published |S| = {published.points}: {bad.text}; repaired |S| = {fixed.points}: {good.text}"
    return Evidence(text=text, trials=bad.trials + good.trials)


def teeth() -> Evidence:
    fixed = constants(SMALL, SMALL_DELTA, variant="repaired")

    def caught(factor: float) -> bool:  # by the exact law of 39 coins
        return missed(39, math.ceil(fixed.points / factor), fixed.K) > ALLOWED

    slack = smallest_sabotage(caught)
    half = misses(SMALL, SMALL_DELTA, 0.5, variant="repaired")
    require(violated(half, delta=ALLOWED, trials=300, name="half of the repaired |S|"), "half of |S| was not caught")
    # the counterexample needs d > eta*: at d = eta* the published |S| keeps its budget
    square = constants((300, 300, 100, 10), 0.1)
    require(missed(299, square.points, square.K) <= 0.1 / (8 * 410), "d = eta* must not be refuted")
    text = f"refuted: the repaired |S| divided by {slack:g} (exact law), and by 2 (simulated); d = eta* is not"
    return Evidence(text=text, slack=slack)
