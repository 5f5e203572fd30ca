"""A relative error eps of every output lowers a margin by at most eps (|f_y| + |f_i|), hence by 2 eps max|f|.

Statement. If |f̂_i - f_i| <= eps |f_i| for every output i, then for every label y the margin f_y - max_{i != y} f_i
falls by at most eps times the sum of the two largest |f_i|: at most 2 eps max_i |f_i|, and at most
sqrt(2) eps ||f||_2. If |f̂_i - f_i| <= gamma for every i, it falls by at most 2 gamma, not gamma. All are attained.

Proof. Let i be the rival of f̂. Then f̂_y - f̂_i >= f_y - f_i - eps (|f_y| + |f_i|), and f_y - f_i is at least the margin
of f. Two different outputs have |f_y| + |f_i| <= |f|_(1) + |f|_(2) <= 2 max|f|, and (|f_y| + |f_i|)² <= 2 (f_y² + f_i²)
<= 2 ||f||_2². Attained by f = (1, -1), or (1, 1), with both outputs moved towards or past each other.
So eps = gamma / (2 B) with B = max|f| over the points makes the compressed net right wherever the margin of the
original exceeds gamma, as CoreNet's corollary needs; eps = gamma / B would not.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab import CoreNetAdditive, CoreNetRelative, Layer, Network, compress, random_network
from boundlab.bounds.corenet_corollary import CoreNetCorollary, log_size
from boundlab.compressors.method import redraw
from boundlab.nets.margin import lost_margin, margins
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_theorem_a import sparse_inputs
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove, reals

THEOREM = Theorem(
    name="What a relative error of the outputs costs in margin",
    source="ours; CoreNet (arXiv:1804.05345) takes eps of the order of gamma / max|f| in its generalization corollary, "
    "as we understand the paper; item number not known to us",
    given=("|f̂_i - f_i| <= eps |f_i| for every output i",),
    claim=r"\hat f_y - \max_{i \ne y} \hat f_i \ge f_y - \max_{i \ne y} f_i - \epsilon(|f|_{(1)} + |f|_{(2)}), \quad "
    r"|f|_{(1)} + |f|_{(2)} \le \min(2\|f\|_\infty, \sqrt2 \|f\|_2)",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/margin.py",
        old="return eps * (largest[:, 0] + largest[:, 1]) * (1.0 + ROUNDING)",
        new="return eps * largest[:, 1] * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="bounds/corenet_corollary.py",
        old="constant = math.log(128.0)",
        new="constant = math.log(32.0)",
    ),
    Mutation(
        file="bounds/corenet_corollary.py",
        old="loss = (n - int(np.count_nonzero(own > gamma))) / n",
        new="loss = (n - int(np.count_nonzero(own > 0.0))) / n",
    ),
)


def symbolic() -> str:
    f, g = reals("f0 f1 f2"), reals("g0 g1 g2")
    eps, top, second, size, gamma = reals("eps top second size gamma")
    sizes: list[Any] = [z3.If(v >= 0, v, -v) for v in f]
    near = [z3.And(b - a <= eps * s, a - b <= eps * s) for a, b, s in zip(f, g, sizes, strict=True)]

    def margin(v: list[Any], y: int, others: range) -> Any:
        rivals = [v[i] for i in others if i != y]
        best = rivals[0]
        for rival in rivals[1:]:
            best = z3.If(rival > best, rival, best)
        return v[y] - best

    for k, y in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
        classes = range(k)
        pairs = [z3.And(sizes[a] + sizes[b] <= top + second) for a, b in itertools.combinations(classes, 2)]
        fall = margin(f, y, classes) - margin(g, y, classes)
        prove(fall <= eps * (top + second), eps >= 0, *near[:k], *pairs)
        absolute = [z3.And(b - a <= gamma, a - b <= gamma) for a, b in zip(f, g, strict=True)]
        prove(fall <= 2 * gamma, *absolute[:k])
        counterexample(fall <= gamma, gamma > 0, *absolute[:k])
    a, b, rest = reals("a b rest")
    prove(a + b <= 2 * top, a <= top, b <= top)
    prove((a + b) * (a + b) <= 2 * size, rest >= 0, size == a * a + b * b + rest)
    return (
        "z3, 2 and 3 classes, every label: margin falls by at most eps(|f|(1)+|f|(2)); 2 max|f|, sqrt(2) ||f||; 2 gamma"
    )


def corners(eps: Fraction) -> tuple[int, Fraction]:
    """(cases, largest exact fall over the shipped limit) for small whole outputs moved to every corner of the box."""
    worst, cases = Fraction(0), 0
    for f in itertools.product(range(-2, 3), repeat=3):
        if not any(f):
            continue
        limit = Fraction(float(lost_margin(np.array([f], float), float(eps))[0]))
        require(limit <= 2 * eps * max(map(abs, f)) * (1 + Fraction(1, 10**12)), "2 eps max|f| must not be exceeded")
        norm = Fraction(math.hypot(*f)) * Fraction(math.sqrt(2)) * eps
        require(limit <= norm * (1 + Fraction(1, 10**12)), "sqrt(2) eps ||f|| must not be exceeded")
        fall = 0
        for signs, y in itertools.product(itertools.product((-1, 1), repeat=3), range(3)):
            moved = [v * eps.denominator + s * eps.numerator * abs(v) for v, s in zip(f, signs, strict=True)]
            before = f[y] - max(v for i, v in enumerate(f) if i != y)
            fall = max(fall, before * eps.denominator - moved[y] + max(v for i, v in enumerate(moved) if i != y))
            cases += 1
        worst = max(worst, Fraction(fall, eps.denominator) / limit)
    return cases, worst


def corollary() -> str:
    """The shipped corollary takes eps = gamma / (2 B), and counts the points whose margin is at most gamma."""
    for ratio in (0.5, 3.0, 40.0):  # B / gamma
        q = math.exp(log_size([1.0], [1.0], K=1 / math.log(8 / 0.05), eta=1, n=1, delta=0.05, ratio=ratio))
        eps = 1 / (2 * ratio)
        require(abs(q * eps**2 / 32 - 1) < 1e-12, f"the size must be 32/eps² at eps = {eps}, it is {q}")
    f = np.random.default_rng(3).integers(-4, 5, (60, 3)).astype(float)
    y = f.argmax(axis=1)
    net = Network(layers=(Layer(weight=np.eye(3), bias=np.full(3, 4.0), relu=False),))
    x = f + 4.0
    small = compress(net, CoreNetAdditive(), np.ones((5, 3)), rng=0)
    bounded = replace(small.coresets[0], plan=replace(small.plans[0], condition=1.0))
    known = replace(small, coresets=(bounded,))
    for gamma in (1.0, 2.0):
        bound = CoreNetCorollary(margins=(gamma,))(known, x, y)
        want = float(np.mean(margins(net(x), y) <= gamma))
        got = dict(bound.terms)["margin loss"]
        require(abs(got - want) < 1e-12, f"the margin loss at {gamma} is {want}, got {got}")
    return "the corollary's size is 32/eps² at eps = gamma/(2B), its loss the share of margins <= gamma"


def exact() -> str:
    cases, worst = corners(Fraction(3, 8))
    require(worst <= 1, f"a margin fell by {float(worst)} of the limit")
    require(worst > 1 - Fraction(1, 10**12), f"the limit must be attained, it is to {float(worst)}")
    return f"{cases} corners: the fall is at most the shipped limit and attains it; {corollary()}"


def monte_carlo(effort: int = 1) -> Evidence:
    net, eps = random_network((2000, 3), rng=1, positive=True), 0.5
    points = sparse_inputs(np.random.default_rng(2), 200)
    small = compress(net, CoreNetRelative(eps=eps, delta=0.1, K=1.25), points, rng=3)
    require(bool((small.plans[0].draws > 0).all()), "all groups must be sampled")

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        found = np.zeros(n, dtype=bool)
        for k, x in enumerate(sparse_inputs(rng, n)):
            f, g = net(x[None]), redraw(small, rng)(x[None])
            fall = np.array([margins(f, np.array([y]))[0] - margins(g, np.array([y]))[0] for y in range(3)])
            found[k] = bool((fall > lost_margin(f, eps)).any())
        return found

    found = judge(trial, delta=0.1, trials=100 * effort, name="margins of sampled nets")
    return Evidence(text=f"2000-3 sampled at eps = {eps}: {found.text}", trials=found.trials)


def teeth() -> Evidence:
    _, worst = corners(Fraction(1, 4))
    slack = smallest_sabotage(lambda factor: worst * Fraction(factor) > 1 + Fraction(1, 10**9))
    f, margin, largest = np.array([[10.0, 9.0]]), 1.0, 10.0
    moved = {eps: f * np.array([1 - eps, 1 + eps]) for eps in (0.95 * margin / largest, 0.95 * margin / (2 * largest))}
    kept = [bool(g[0, 0] > g[0, 1]) for g in moved.values()]
    require(kept == [False, True], f"eps = gamma/B must lose the decision and gamma/(2B) keep it, got {kept}")
    text = f"refuted: the limit divided by {slack:g}; eps = gamma/B loses a margin above gamma, gamma/(2B) keeps it"
    return Evidence(text=text, slack=slack)
