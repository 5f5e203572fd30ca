"""A seed is a helper string only while the law that it drives ignores the data: otherwise its outcome must be paid.

Counterexample. n labels are fair coins; a sampler puts all of its probability on the edge that, of 2^n edges, predicts
the observed labels. The seed is independent of the data, the net is a function of the seed and of the sample, and the
empirical risk is 0 while the true risk is 1/2: a bound that pays nothing for the outcome claims a risk of about
ln(1/delta)/n. What holds: if the law Q of the net does not depend on the sample, conditioning on the seed fixes the net
and Chernoff's bound applies at price 0; otherwise pay -ln P of the outcome, or ln Q/P for one fresh draw.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.bounds.arora_margin import AroraMargin
from boundlab.bounds.compressed_class import compressed_risk, priced
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.arora2018_random_failures import pair
from proofs_checks.judging import judge, smallest_sabotage

THEOREM = Theorem(
    name="Random bits as a helper string",
    source="Arora, Ge, Neyshabur and Zhang (2018), arXiv:1802.05296, helper strings; used for data-dependent sampling "
    "in Baykal et al. 2019, arXiv:1804.05345; as we understand the papers",
    given=("the net is sampled with a seed drawn before the data", "the sampling law is computed from the data"),
    claim=r"R_0(g) \le \mathrm{kl}^{-1}(\hat r(g), \ln(1/\delta)/n), \text{ the sampled positions free of charge}",
    status="refuted",
    finding="a sampler that sees n = 20 fair labels has empirical risk 0 and risk 1/2; at price 0 the bound says 0.14",
    ours="boundlab_bits_back",
)

MUTATIONS = (
    Mutation(
        file="bounds/compressed_class.py",
        old="total = nats - math.log(probability",
        new="total = -math.log(probability",
    ),
    Mutation(file="bounds/arora_margin.py", old="(self.message_nats + choice) * _UP", new="self.message_nats * _UP"),
    Mutation(file="bounds/arora_margin.py", old="return [(g, (nats + choice) * _UP)", new="return [(g, choice * _UP)"),
)

DELTA = 0.05


def symbolic() -> str:
    n, delta = sp.symbols("n delta", positive=True)
    free = 1 - delta ** (1 / n)  # the bound at r = 0 and price 0: solves -n ln(1-p) = ln 1/delta
    require(
        sp.simplify(-n * sp.log(1 - free) + sp.log(delta)).subs({n: 20, delta: sp.Rational(1, 20)}).equals(0),
        "kl(0||p)",
    )
    require(sp.limit(free, n, sp.oo) == 0, "at price 0 the bound tends to 0, the risk stays 1/2")
    paid = 1 - (delta * 2 ** (-n)) ** (1 / n)  # price n ln 2: one of 2^n edges
    require(sp.simplify(sp.limit(paid, n, sp.oo) - sp.Rational(1, 2)) == 0, "paid, it tends to 1/2 from above")
    require(
        sp.simplify(paid.subs(delta, 1) - sp.Rational(1, 2)) == 0, "and is at least 1/2 for every n, since delta <= 1"
    )
    return "at r = 0: price 0 gives 1 - delta^(1/n) -> 0, price n ln 2 gives 1 - delta^(1/n)/2 >= 1/2"


def exact() -> str:
    n = 6
    edges = list(itertools.product((0, 1), repeat=n))  # edge e predicts label e_i at point i
    unpaid, paid, fixed = Fraction(0), Fraction(0), Fraction(0)
    for labels in edges:
        chance = Fraction(1, 2**n)
        chosen = labels  # the sampling law puts all its mass on the edge that fits: no seed matters
        errors = sum(a != b for a, b in zip(chosen, labels, strict=True))
        unpaid += chance * (compressed_risk(errors, 0, n, 0.0, DELTA) < 0.5)
        paid += chance * (compressed_risk(errors, 0, n, n * math.log(2), DELTA) < 0.5)
        before = edges[13]  # a seed alone: the edge is fixed before the labels
        errors = sum(a != b for a, b in zip(before, labels, strict=True))
        fixed += chance * (compressed_risk(errors, 0, n, 0.0, DELTA) < 0.5)
    require(unpaid == 1 and paid == 0, f"unpaid fails with {unpaid}, paid with {paid}")
    require(fixed <= Fraction(DELTA), f"an edge drawn without the data fails with {fixed}")
    same, x, y = pair([[1, 0], [0, 1]], [[1, 0], [0, 1]]), np.tile([[2.0, 1.0]], (400, 1)), np.zeros(400, int)
    string = AroraMargin(message_nats=3.0, helper_seeds=64)(same, x, y)
    require(abs(string.facts["nats"] - 3.0 - math.log(64)) < 1e-9, "a message of 3 nats and the best of 64 strings")
    whole = AroraMargin()(same, x, y)
    require(whole.facts["nats"] >= min(nats for _, nats in priced(same.net)), "else the outcome is coded whole")
    claim = compressed_risk(0, 0, 20, 0.0, DELTA)
    require(1 - DELTA ** (1 / 20) <= claim < 0.1391 + 1e-3, f"the bound at n = 20 and price 0 is {claim}")
    return f"64 labellings: price 0 fails always, price n ln 2 never, a data-free seed {fixed}; n = 20: {claim:.3f}"


def fails(nats: float, n: int = 20, edges: int = 64):
    """Draw 64 random edges with the seed, sample by an exponential of the fit: is the bound below 1/2?"""

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        errors = rng.binomial(n, 0.5, size=(size, edges)).min(axis=1)  # the law concentrates on the best edge
        table = np.array([compressed_risk(k, 0, n, nats, DELTA) for k in range(n + 1)])
        return table[errors] < 0.5

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    found = judge(fails(0.0), delta=DELTA, trials=1_000 * effort, name="unpaid outcome", expect="violated")
    judge(fails(math.log(64)), delta=DELTA, trials=1_000 * effort, name="paid outcome", expect="upheld")
    return Evidence(text=f"64 edges, price 0: {found.text}; paid with ln 64: upheld", trials=2 * found.trials)


def teeth() -> Evidence:
    n = 8
    law = np.array([math.comb(n, k) for k in range(n + 1)]) / 2**n
    best = 1 - (1 - np.cumsum(law)) ** 16  # P(the best of 16 edges errs at most k times)

    def caught(factor: float) -> bool:  # the price of 16 edges divided by a factor
        table = [compressed_risk(k, 0, n, math.log(16) / factor, 0.3) < 0.5 for k in range(n + 1)]
        last = max((k for k, wrong in enumerate(table) if wrong), default=-1)
        return last >= 0 and best[last] > 0.3

    slack = smallest_sabotage(caught)
    return Evidence(text=f"a price {slack:g} times too small is caught exactly on the best of 16 edges", slack=slack)
