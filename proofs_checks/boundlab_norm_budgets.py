"""Margins and norms may be chosen by looking at the data, if a grid with prior weights that sum to 1 pays for them.

Statement. For each k in Z^m let F_k be a class of classifiers, gamma_k a margin and b_k(S, delta) a number such that,
all fixed before the sample S, P(some f in F_k has R_0(f) > r_{gamma_k}(f) + b_k(S, delta)) <= delta for every delta.
Let w_k = prod_j w_{k_j}, w_i = 2/(3 (|i| + 1)(|i| + 2)). Then with probability at least 1 - delta, at once for all k
and all f in F_k, R_0(f) <= r_{gamma_k}(f) + b_k(S, delta w_k), so that k may depend on S and f.

Proof. Sum over i >= 0 of 1/((i + 1)(i + 2)) telescopes to 1, so that the sum of w_i over all whole numbers is
(2/3)(2 * 1 - 1/2) = 1, and the sum of the products is a product of sums. The union over k of events of probability at
most delta w_k has probability at most delta. Every b_k here depends on delta w_k through ln(1/delta) + ln(1/w_k).

(Sums like 1/(3 (1 + i²)) are no prior weights: their sum over all whole numbers is pi coth(pi)/3 = 1.0511 > 1.)

One budget is enough. Let f = A_d s_{d-1} ... A_1 with positive-homogeneous s_i, N_i norms, and M > 0 with
M >= prod N_i(A_i). Dividing A_i by n_i > 0 with prod n_i = M divides f by M: f/M classifies as f does, its margins are
those of f divided by M, and n_i >= N_i(A_i) for all i is possible: n_i = N_i(A_i) (M/prod N)^(1/d), or, where f is 0,
the matrices 0 for f/M. So f/M is in the class of nets with all N_i <= 1, which is fixed before the data, and only
gamma/M is chosen: R_0(f) <= r_gamma(f) + b at gamma/M. A larger M, such as an upper bound on the norms, only raises b.
The constant unit may have any value behind each layer (``boundlab_operator_chain``): the class holds the chains of all
of them, and the best one costs nothing. The (2,1) norms of the spectral bound have budgets of their own:
|A_i^T|_{2,1}/n_i <= 2^(k_i/steps). What b takes from the examples, such as |X|_F, needs no budget: these theorems bound
the Rademacher complexity on the sample itself. The classes are of matrices, those of a net on inputs of one shape:
convolutions on maps of another size are other matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from scipy.stats import binom

from boundlab._errors import InvalidParameter
from boundlab.bounds.norm_budgets import (
    best_margin,
    budget,
    budget_nats,
    examples,
    norm_product,
    rademacher_confidence,
)
from boundlab.bounds.perturbation import PerturbedWeights
from boundlab.bounds.size_independent import FrobeniusNorm, frobenius_complexity
from boundlab.bounds.spectral import SpectralMargin
from boundlab.nets.module_net import ModuleNet
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="The union over norm budgets and margins",
    source="ours, after the unions over norms in Bartlett, Foster and Telgarsky (2017), as we understand the paper",
    given=("each class, margin and its bound fixed before the sample", "the bound holds for every delta"),
    claim=r"\Pr\big[\exists k, f \in F_k : R_0(f) > \hat r_{\gamma_k}(f) + b_k(S, \delta w_k)\big] \le \delta, \quad "
    r"w_k = \prod_j \frac{2}{3(|k_j|+1)(|k_j|+2)}, \quad \sum_k w_k = 1",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="bounds/norm_budgets.py",
        old="return math.log(3 * (abs(k) + 1) * (abs(k) + 2) // 2) * _UP",
        new="return math.log((abs(k) + 1) * (abs(k) + 2) // 2) * _UP",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="return math.log(3 * (abs(k) + 1) * (abs(k) + 2) // 2) * _UP",
        new="return math.log(3 * (1 + k * k)) * _UP",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="unit, paid = _grid(k, steps), nats + budget_nats(k)",
        new="unit, paid = _grid(k, steps), nats",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="unit, paid = _grid(k, steps), nats + budget_nats(k)",
        new="unit, paid = _grid(k, steps), budget_nats(k)",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old='nats = math.log(2.0 / probability("delta", delta)) + paid',
        new='nats = math.log(2.0 / probability("delta", delta)) + 0.0 * paid',
    ),
    Mutation(
        file="bounds/norm_budgets.py", old="while _grid(k, steps) < value:", new="while _grid(k + 1, steps) < value:"
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="margins=np.sort(margins(outputs, y)) - allowance,",
        new="margins=np.sort(margins(outputs, y)) + allowance,",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="margin = math.nextafter(unit * scale, math.inf)",
        new="margin = unit",
    ),
    Mutation(
        file="bounds/norm_budgets.py", old="return (found + 1.0) * self._up", new="return (found + 0.0) * self._up"
    ),
    Mutation(
        file="bounds/spectral.py",
        old="level, nats=sum(nats for _, nats in budgets))",
        new="level)",
    ),
    Mutation(
        file="bounds/perturbation.py",
        old="root_bound(0.0, divergence + nats, n, self.delta)",
        new="root_bound(0.0, divergence, n, self.delta)",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="raised(math.prod(mantissa for mantissa, _ in parts), sum(exponent for _, exponent in parts))",
        new="math.prod(norms)",
    ),
    Mutation(
        file="bounds/norm_budgets.py",
        old="or (norm == 0.0 and len(positive))",
        new="or (norm < 0.0 and len(positive))",
    ),
    Mutation(
        file="bounds/norm_budgets.py", old="if x.shape[1:] != chain.shape:", new="if x.ndim != 1 + len(chain.shape):"
    ),
)

DECEIVERS, N, DELTA = 400, 60, 0.9


def deceived(price) -> Fraction:
    """P(one of many independent classifiers of risk 1/2 gets a bound below 1/2), exactly; `price(k)` in nats.

    Classifier k is the one net of class F_k; its bound is r + sqrt((ln(1/delta) + price(k))/(2 n)).
    """
    spared = Fraction(1)
    for k in range(-DECEIVERS, DECEIVERS + 1):
        term = math.sqrt((math.log(1 / DELTA) + price(k)) / (2 * N))
        below = sum(math.comb(N, errors) for errors in range(N + 1) if errors / N + term < 0.5)
        spared *= 1 - Fraction(below, 2**N)
    return 1 - spared


def chosen(price):
    """The same by drawing: the class with the smallest bound is taken; is it below the risk 1/2?"""
    indices = np.arange(-DECEIVERS, DECEIVERS + 1)
    terms = np.array([math.sqrt((math.log(1 / DELTA) + price(int(k))) / (2 * N)) for k in indices])

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        errors = binom.ppf(rng.random((size, len(terms))), N, 0.5)
        return (errors / N + terms).min(axis=1) < 0.5

    return trial


def small_net(scale: float) -> Network:
    """Two layers of whole numbers, the first times `scale` and the second divided by it."""
    first, second = np.array([[3.0, -1.0], [2.0, 2.0], [0.0, -4.0]]), np.array([[1.0, -2.0, 0.0], [2.0, 0.0, 1.0]])
    return Network(
        layers=(
            Layer(weight=first * scale, bias=np.zeros(3), relu=True),
            Layer(weight=second / scale, bias=np.zeros(2), relu=False),
        )
    )


def symbolic() -> str:
    i, n = sp.symbols("i n", integer=True, nonnegative=True)
    part = sp.summation(1 / ((i + 1) * (i + 2)), (i, 0, n))
    require(sp.simplify(part - (1 - 1 / (n + 2))) == 0, "telescoping")
    require(sp.Rational(2, 3) * (2 * sp.limit(part, n, sp.oo) - sp.Rational(1, 2)) == 1, "0 counts once")
    require((sp.pi * sp.coth(sp.pi) / 3).evalf(30) > 1.05, "1/(3 (1 + i²)) sums to more than 1")
    w, a, b, big = sp.symbols("w a b M", positive=True)
    scaled = sp.Max(0, a * w) * b
    require(
        sp.simplify(((sp.Max(0, a * w / sp.sqrt(big)) * b / sp.sqrt(big)) - scaled / big).rewrite(sp.Abs)) == 0, "f/M"
    )
    return "sum of the weights: 2/3 (2 - 1/2) = 1; two layers divided by sqrt M each divide f by M"


def exact() -> str:
    for top in (0, 1, 5, 50):
        total = sum((Fraction(2, 3 * (abs(k) + 1) * (abs(k) + 2)) for k in range(-top, top + 1)), Fraction(0))
        require(total == 1 - Fraction(4, 3 * (top + 2)), f"weights up to {top} sum to {total}")
    for k in (*range(-40, 41), 10**6):
        weight = Fraction(2, 3 * (abs(k) + 1) * (abs(k) + 2))
        paid = sp.exp(-sp.Rational(Fraction(budget_nats(k))))
        require(paid.evalf(40) <= sp.Rational(weight), f"k = {k}: the weight paid for is above {weight}")
        require(paid.evalf(40) >= sp.Rational(weight) * (1 - sp.Rational(1, 10**9)), f"k = {k}: {paid.evalf(9)}")
    for value, steps in ((1.0, 8), (5.0, 2), (0.3, 3), (1e-9, 1), (7e11, 8), (2.0**0.125, 8)):
        found, nats = budget(value, steps)
        k = round(steps * math.log2(found))
        require(found >= value > found * 2 ** (-1.001 / steps), f"budget({value}, {steps}) = {found}")
        require(nats == budget_nats(k), f"budget({value}, {steps}) pays {nats}")
    rate = deceived(budget_nats)
    require(0 < rate <= Fraction(DELTA), f"{2 * DECEIVERS + 1} classifiers deceive with {float(rate)}")
    own = np.array([-1.0, 0.5, 2.0, 2.0, 8.0])
    seen: list[tuple[float, float]] = []

    def level(unit: float, nats: float) -> tuple[float, float]:
        seen.append((unit, nats))
        return 1e-3 / unit, 0.0

    best = best_margin(own, 4.0, 1, level, nats=2.0)
    require(
        all(nats == 2.0 + budget_nats(round(math.log2(unit))) for unit, nats in seen), "each margin pays for itself"
    )
    # gamma/M = 1/16 .. 2: margins 1/4 (one error, complexity .016) and 1/2 (two errors) are the rivals
    require((best.normalised, best.margin_errors) == (1 / 16, 1), f"{best}")
    require(best_margin(np.zeros(3), 0.0, 1, level).norm == 0.0, "the net that is 0")
    require(refused(lambda: best_margin(own, 0.0, 1, level)), "norm 0 for a net that is not 0")
    for norms in ([2.0**-600, 2.0**-600, 2.0**700], [2.0**600, 2.0**600, 2.0**-700], [0.1] * 9, [3 * 2.0**-540] * 2):
        exactly = math.prod(map(Fraction, norms))
        got = Fraction(norm_product(norms))
        require(
            exactly < got <= max(exactly * (1 + Fraction(1, 10**9)), Fraction(2) ** -1072), f"{norms}: {float(got)}"
        )
    require(norm_product([2.0**1000, 0.0]) == 0.0 and norm_product([2.0**600, 2.0**600]) == math.inf, "0 and too large")
    want = 3 * math.sqrt((math.log(40) + 5) / 400)
    require(want <= rademacher_confidence(200, 0.05, paid=5.0) <= want * (1 + 1e-11), "nats under the root")
    return f"weights sum to 1; {2 * DECEIVERS + 1} deceivers succeed with {float(rate):.2g} <= {DELTA}; " + classes()


def classes() -> str:
    """Facts of the classes on a small net: rescaled layers, lowered margins, the constant unit, nats of all budgets."""
    x, y = np.array([[1.0, 2.0], [3.0, -1.0], [-2.0, 1.0]]), np.array([0, 1, 1])
    found = examples(small_net(1.0), x, y)
    outputs = np.maximum(x @ np.array([[3, -1], [2, 2], [0, -4]]).T, 0) @ np.array([[1, -2, 0], [2, 0, 1]]).T
    exactly = np.sort(outputs[np.arange(3), y] - outputs[np.arange(3), 1 - y])
    require(np.all(found.margins < exactly) and np.allclose(found.margins, exactly), f"margins {found.margins}")
    require(np.all(found.squares >= (x**2).sum(axis=1) + 1), "the constant unit counts")
    methods: tuple[Any, ...] = (FrobeniusNorm(), SpectralMargin(), PerturbedWeights())
    for method in methods:
        facts = method(small_net(1.0), x, y).facts
        gamma = Fraction(facts["normalised_margin"]) * Fraction(facts["norm"])
        require(Fraction(facts["margin"]) >= gamma, "gamma = M times a value of the grid")
        k = round(8 * math.log2(facts["normalised_margin"]))
        paid = [budget_nats(k)]
        paid += [budget_nats(round(8 * math.log2(v))) for name, v in facts.items() if name.startswith("group_budget")]
        require(
            math.isclose(facts["budget_nats"], sum(paid), rel_tol=1e-12), f"{method.name} pays {facts['budget_nats']}"
        )
        bound, spent = method(small_net(1.0), x, y), facts["budget_nats"]
        if method is methods[-1]:  # the whole root again, with and without what is paid
            kl, n, delta = facts["divergence"], 3, 0.05
            root = math.sqrt((kl + math.log(2 * math.sqrt(n) / delta) + spent) / (2 * n))
            total = facts["complexity"] + facts["confidence"]
            require(abs(total**2 / root**2 - 1) * kl < 1e-2 and bound.raw >= total, f"{total} against {root}")
    sizes()
    return "classes pay for every budget"


def refused(call: Callable[[], Any]) -> bool:
    try:
        call()
    except InvalidParameter:
        return True
    return False


def sizes() -> None:
    """A kernel of 5 x 5 of which a map of one point shows one entry, and a map of 3 x 3 nine, beside the padding."""
    import torch
    from torch import nn

    conv = nn.Conv2d(1, 2, 5, stride=5, padding=2, bias=False)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    module = nn.Sequential(conv, nn.Flatten())
    small, large = (np.ones((2, 1, n, n)) for n in (1, 3))
    y = np.array([0, 1])
    norms = [FrobeniusNorm()(ModuleNet(module, x), x, y).facts["norm"] for x in (small, large)]
    require(abs(norms[1] / norms[0] - 3) < 1e-9, "one map shows one offset of the kernel, the other nine")
    require(refused(lambda: examples(ModuleNet(module, small), large, y)), "points of another shape than the example's")


def memorised(factor: float, n: int = 16_000, points: int = 8):
    """The net of one layer that takes the majority label at each of 8 unit vectors, the margin chosen afterwards.

    Labels are fair, so that its risk is 1/2: does the bound, its complexity and confidence divided, fall below that?
    """

    def level(unit: float, nats: float) -> tuple[float, float]:
        complexity = frobenius_complexity([1.0], math.sqrt(n), 2, unit, n)
        return complexity / factor, rademacher_confidence(n, 0.05, paid=nats) / factor

    def trial(rng: np.random.Generator, size: int) -> np.ndarray:
        out = np.empty(size, bool)
        for i in range(size):
            seen = rng.multinomial(n, np.full(points, 1 / points))
            heads = rng.binomial(seen, 0.5)
            wrong = int(np.minimum(heads, seen - heads).sum())
            own = np.concatenate([-np.ones(wrong), np.ones(n - wrong)])  # margins 1, |W|_F = 2
            out[i] = best_margin(own, 2.0, 4, level).total < 0.5
        return out

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    judge(memorised(1.0), delta=0.05, trials=200 * effort, name="memorised labels, margin chosen")
    return judge(chosen(budget_nats), delta=DELTA, trials=2_000 * effort, name="classes chosen afterwards")


def teeth() -> Evidence:
    slack = smallest_sabotage(lambda factor: deceived(lambda k: budget_nats(k) / factor) > Fraction(DELTA))
    unpaid = violated(chosen(lambda _: 0.0), delta=DELTA, trials=1_000, name="unpaid")
    require(unpaid, "a choice that nobody pays for was not caught")
    return Evidence(text=f"prices divided by {slack:g} are caught exactly, and no price at all by trials", slack=slack)
