"""Shares eps/(2(L-1)) of the output's error end above eps for L = 2 weight layers; (1+eps)^(1/L) - 1 is enough for all.

Statement. A net of L weight layers, ReLU between them, biases kept. Each part of each neuron, at the ORIGINAL
activations, is kept within 1 +- eps_l; Delta_l >= 1 bounds the neurons' condition numbers in layer l and
Delta^{l->} = Delta_l ... Delta_L. Then layer l errs relatively by at most e_l = Delta_l ((1+e_{l-1})(1+eps_l) - 1)
as long as the e of the layers before are below 1, and e_L <= eps for eps in (0, 1] with

    eps_l = eps/((1+eps) L Delta^{l->})        or, larger,        eps_l = ((1+eps)^{1/L} - 1)/Delta^{l->}.

The events are about the original activations only, so C is the same in all layers and nothing is conditioned on earlier
coins: with every part failing with probability at most delta/(number of parts), a union bound gives delta for the net.

Proof. Let u_l = e_l Delta^{l+1->}. As Delta^{l->} >= 1, u_l = (1+e_{l-1}) Delta^{l->} eps_l + u_{l-1} gives
1 + u_l <= (1 + u_{l-1})(1 + Delta^{l->} eps_l), hence 1 + e_L <= prod_l (1 + Delta^{l->} eps_l). Equal factors
(1+eps)^{1/L} make it 1 + eps. For the first choice it is at most exp(eps/(1+eps)) <= 1 + eps, and
(1+eps)^{1/L} - 1 >= ln(1+eps)/L >= eps/((1+eps) L). That e_l < 1 before the last layer follows as e_l <= u_l < eps.

The published split is eps_l = eps/(2 (L-1) Delta^{l->}) with the input counted as the first layer: 2 (L-1) is then
twice the number of weight layers, and right. Read with L weight layers it is undefined for L = 1 and wrong for L = 2:
(1 + eps/2)² - 1 = eps + eps²/4 > eps for every eps, attained by a net with one positive neuron in each layer (eps = 1/2
ends at 0.5625). From L = 3 on it holds: (1 + eps/(2(L-1)))^L is convex in eps, 1 at 0 and at most 2 at 1.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import sample_size
from boundlab.nets.propagate import Schedule, layer_errors, relative_error
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="From the neurons to the net",
    source="Baykal et al. 2022, arXiv:1910.05422; item number not known to us; as we understand the paper, with L "
    "counted as weight layers",
    given=("each part within 1 +- eps_l at the original activations", "Delta_l >= 1", "eps in (0, 1]"),
    claim=r"e_L \le \epsilon \text{ for } \epsilon_\ell = \frac{\epsilon}{2(L-1)\Delta^{\ell\to}}",
    status="corrected",
    finding="With L weight layers the split 2 (L-1) is too small for L = 2, where eps = 1/2 ends at 0.5625; "
    "(1+eps)^(1/L) - 1 suffices for every L.",
    ours="baykal2019_layer_schedule",
)

MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="condition = np.maximum(np.asarray(condition, np.float64), 1.0)",
        new="condition = np.asarray(condition, np.float64)",
    ),
    Mutation(
        file="nets/propagate.py",
        old="return np.expm1(np.log1p(eps) / depth) / chain",
        new="return eps / (2.0 * max(depth - 1, 1)) / chain",
    ),
    Mutation(
        file="nets/propagate.py", old="float(c) * (e + gamma + e * gamma) * (1.0", new="float(c) * (e + gamma) * (1.0"
    ),
)


def end(eps: list[Fraction], condition: list[Fraction]) -> Fraction:
    """e_L of the recursion."""
    e = Fraction(0)
    for share, delta in zip(eps, condition, strict=True):
        e = delta * ((1 + e) * (1 + share) - 1)
    return e


def positive_net(eps: list[Fraction]) -> Fraction:
    """The relative error of a net with one positive neuron in each layer, every weight 1 + eps_l for 1."""
    value = Fraction(1)
    for share in eps:
        value *= 1 + share
    return value - 1


def nets(count: int, seed: int) -> list[tuple[Fraction, list[Fraction]]]:
    """(eps, condition numbers 1..16) of one to seven layers."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        eps = Fraction(int(rng.integers(1, 65)), 64)
        top = int(rng.choice([64, 70, 1024]))  # all Delta 1, near 1, up to 16
        condition = [Fraction(int(v), 64) for v in rng.integers(64, top + 1, int(rng.integers(1, 8)))]
        found.append((eps, condition))
    return found


def chain(condition: list[Fraction]) -> list[Fraction]:
    """Delta^{l->}."""
    found = [Fraction(1)]
    for delta in reversed(condition):
        found.append(found[-1] * delta)
    return found[:0:-1]


def symbolic() -> str:
    e, s, t = sp.symbols("e s t", nonnegative=True)  # e_{l-1}, u_{l-1} = e + s, and t = Delta^{l->} eps_l
    require(
        sp.expand((1 + e + s) * (1 + t) - (1 + e + s + t * (1 + e)) - s * t) == 0, "1 + u_l <= (1 + u_{l-1})(1 + t)"
    )
    x = sp.symbols("x", positive=True)
    require(sp.expand((1 + x / 2) ** 2 - 1 - x - x**2 / 4) == 0, "L = 2 ends at eps + eps²/4")
    gap = sp.log(1 + x) - x / (1 + x)  # 0 at 0, rising: ln(1+eps) >= eps/(1+eps)
    require(gap.subs(x, 0) == 0 and sp.simplify(sp.diff(gap, x) - x / (1 + x) ** 2) == 0, "ln(1+eps) >= eps/(1+eps)")
    depth = sp.symbols("L", positive=True)  # (1+eps)^{1/L} - 1 = exp(v) - 1 >= v, v = ln(1+eps)/L
    require(sp.simplify(sp.exp(sp.log(1 + x) / depth) - (1 + x) ** (1 / depth)) == 0, "exp(ln(1+eps)/L)")
    require(sp.Rational(5, 4) ** 3 < 2, "L = 3 at eps = 1; convex in eps, so at most 1 + eps on (0, 1]")
    require((sp.log(2) - sp.Rational(2, 3)).is_positive, "L >= 4: at most exp(2/3) < 2 at eps = 1")
    ratio = depth / (2 * (depth - 1))
    require(ratio.subs(depth, 4) == sp.Rational(2, 3), "since L/(2(L-1)) is 2/3 at L = 4")
    require(sp.simplify(sp.diff(ratio, depth) * 2 * (depth - 1) ** 2) == -1, "and falls in L")
    return "1 + u_l <= (1 + u_{l-1})(1 + Delta eps); L = 2: eps + eps²/4; L >= 3: convex, at most 2 at eps = 1"


def exact() -> str:
    half = Fraction(1, 2)
    literal = [half / 2, half / 2]  # eps/(2 (L-1)), L = 2, Delta = 1
    require(positive_net(literal) == Fraction(9, 16) > half, "the literal split must end at 9/16")
    require(relative_error(np.array([0.25, 0.25]), np.ones(2))[1] >= 0.5625, "and the shipped recursion must say so")
    worst = Fraction(0)
    for eps, condition in nets(600, 80):
        downstream, depth = chain(condition), len(condition)
        shares = layer_errors(float(eps), np.array(condition, float), np.ones(depth), Schedule.SHARP)
        ours = [Fraction(v) for v in shares.tolist()]
        require(end(ours, condition) <= eps, f"the shipped shares end at {float(end(ours, condition))} > {eps}")
        told = relative_error(shares, np.array(condition, float))
        require(Fraction(float(told[-1])) >= end(ours, condition), "relative_error is below the exact recursion")
        plain = [eps / ((1 + eps) * depth * d) for d in downstream]
        require(end(plain, condition) <= eps, "eps/((1+eps) L Delta) must suffice")
        slack = Fraction(1 - 1e-10)
        require(
            all(a >= b * slack for a, b in zip(ours, plain, strict=True)), "and not be larger than the shipped shares"
        )
        worst = max(worst, end(ours, condition) / eps)
        if depth > 1:
            published = [eps / (2 * (depth - 1) * d) for d in downstream]
            require((end(published, condition) <= eps) or depth == 2, f"2 (L-1) fails at L = {depth}")
            require(positive_net([eps / (2 * (depth - 1))] * depth) <= eps or depth == 2, "2 (L-1) at Delta = 1")
    require(worst > 1 - Fraction(1, 10**9), "the shipped shares must be used up at Delta = 1")
    for condition in ([4.0, 0.25], [0.5, 2.0, 0.125], [8.0, 8.0, 0.01]):  # a bias may push Delta below 1
        shares = layer_errors(0.5, np.array(condition), np.ones(len(condition)), Schedule.SHARP)
        got = end([Fraction(v) for v in shares.tolist()], [Fraction(c) for c in condition])
        require(got <= Fraction(1, 2), f"condition numbers {condition} end at {float(got)}")
    return "L = 2, eps = 1/2: the literal split ends at 9/16; 600 nets: the shipped shares end at most at eps, attained"


INPUTS, HIDDEN, EPS, DELTA = 16, 4, 0.5, 0.1


def pruned(factor: float):
    """Trials: does a positive net of two layers, every neuron sampled with eps_l * factor, err by more than eps?"""
    rng = np.random.default_rng(81)
    first, second = rng.random((HIDDEN, INPUTS)) ** 2 + 1e-3, rng.random(HIDDEN) + 1e-3
    x = rng.random((8, INPUTS)) ** 4 + 1e-9  # S; the error is judged at its first point
    hidden = x @ first.T
    shares = [(first[None] * x[:, None] / hidden[:, :, None]), (second * hidden / (hidden @ second)[:, None])[:, None]]
    eps = layer_errors(EPS, np.ones(2), np.ones(2), Schedule.SHARP)
    values = [g.max(axis=0) for g in shares]
    size = [
        np.maximum(sample_size(s.sum(axis=1), e * factor, DELTA / (HIDDEN + 1)), 1.0).astype(np.int64)
        for s, e in zip(values, eps, strict=True)
    ]

    def kept(layer: int, weight: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
        q, width = values[layer] / values[layer].sum(axis=1, keepdims=True), values[layer].shape[1]
        rows = len(q) * n
        counts = draw_counts(np.tile(q.ravel(), n), np.arange(rows + 1) * width, np.tile(size[layer], n), rng)
        return weight * counts.reshape(n, len(q), width) / (q * size[layer][:, None])

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        a = kept(0, first, rng, n) @ x[0]
        z = (kept(1, second[None], rng, n)[:, 0] * a).sum(axis=1)
        return np.abs(z / (hidden[0] @ second) - 1) > EPS

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    return judge(pruned(1.0), delta=DELTA, trials=1_000 * effort, name="two sampled layers, Delta = 1")


def teeth() -> Evidence:
    def caught(factor: float) -> bool:
        shares = layer_errors(0.5, np.ones(2), np.ones(2), Schedule.SHARP)
        return positive_net([Fraction(v) * Fraction(factor) for v in shares.tolist()]) > Fraction(1, 2)

    slack = smallest_sabotage(caught)
    for eps in (Fraction(1, 100), Fraction(1, 2), Fraction(1)):
        require(positive_net([eps / 2] * 2) > eps, f"2 (L-1) at L = 2, eps = {eps} was not caught")
        require(positive_net([eps / 4] * 2) <= eps, "2 L must hold")
    require(
        violated(pruned(5.0), delta=DELTA, trials=1_000, name="shares x 5"), "shares five times as large not caught"
    )
    return Evidence(
        text=f"refuted: shares x {slack:g} (exact) and x 5, eps/(2(L-1)) at L = 2 for every eps", slack=slack
    )
