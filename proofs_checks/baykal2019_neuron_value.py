"""From both signs of a neuron to its value: errors 2 (l-1) eps_l of z+ and z- become 2 (l-1) eps_{l+1} of z.

The statement. Let the earlier layer be within a_hat in (1 ± 2 (l-2) eps_l) a, and both sampled sums within (1 ± eps_l)
of what they are at the original a, with eps_{l+1} = Delta^l eps_l and 2 (l-2) eps_l <= 1. Then
z_hat in (1 ± 2 (l-1) eps_{l+1}) z, and so is the ReLU of it where that is below 1. The neuron keeps at most
⌈8 S_i K ln(8 eta/delta)/eps_l²⌉ + 1 weights.

Proof. Put gamma = 2 (l-2) eps_l and e = eps_l. Sampled weights keep their signs, so that moving a within (1 ± gamma)
moves each sampled sum within (1 ± gamma): z_hat^± is in (1 ± e)(1 ± gamma) z^±, hence within e + gamma + e gamma of it,
and e + gamma + e gamma <= 2 (l-1) e with the slack e (1 - 2 (l-2) e) >= 0. The two signs give
|z_hat - z| <= 2 (l-1) e (z+ + z-) = 2 (l-1) e Delta(x) |z| <= 2 (l-1) eps_{l+1} |z|. For gamma < 1 the sign of z is
kept, and phi(z_hat) is in (1 ± gamma) phi(z). ⌈a⌉ + ⌈b⌉ <= ⌈a + b⌉ + 1 bounds the size. The step needs no probability:
which events may be put together is `baykal2019_layer_wise`. What is lost: the exact recursion e + gamma + e gamma
(`boundlab_relative_recursion`, shipped) in the place of 2 (l-1) e.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import z3

from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from boundlab.nets.condition import condition_numbers
from boundlab.nets.propagate import Schedule, layer_errors, relative_error
from boundlab.network import Layer, Network
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="The value of a neuron from its two signs",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=(
        "activations >= 0; a_hat in (1 ± 2 (l-2) eps_l) a; 2 (l-2) eps_l <= 1",
        "both sampled sums within (1 ± eps_l) at the original activations",
        "Delta_i(x) <= Delta^l, eps_{l+1} = Delta^l eps_l",
    ),
    claim=r"|\hat z - z| \le 2(\ell-1)\epsilon_\ell (z^+ + z^-) \le 2(\ell-1)\epsilon_{\ell+1}|z|",
    status="holds",
)

MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)",
        new="float(c) * (e + gamma) * (1.0 + ROUNDING)",
    ),
    Mutation(
        file="nets/propagate.py",
        old="float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)",
        new="(e + gamma + e * gamma) * (1.0 + ROUNDING)",
    ),
)


def symbolic() -> str:
    reals: Any = z3.Reals("k e p n P N d u v g f")
    k, e, p, n, P, N, d, u, v, g, f = reals  # l = k + 2, e = eps_l; z+-, their estimates; Delta
    gamma, reach = 2 * k * e, 2 * (k + 1) * e
    step = [k >= 0, e > 0, e <= 1, gamma <= 1]
    prove(e + gamma + e * gamma <= reach, *step)
    prove(reach - (e + gamma + e * gamma) == e * (1 - gamma), *step)
    # one sign: u = estimate over truth at the original activations, v = what moving the activations multiplies it by
    prove(
        z3.And(u * v - 1 <= e + g + e * g, 1 - u * v <= e + g + e * g),
        *(e > 0, e <= 1, g >= 0, g <= 1, u - 1 <= e, 1 - u <= e, v - 1 <= g, 1 - v <= g),
    )
    parts = [p >= 0, n >= 0, f >= 0, P - p <= f * p, p - P <= f * p, N - n <= f * n, n - N <= f * n]
    prove(z3.And((P - N) - (p - n) <= f * (p + n), (p - n) - (P - N) <= f * (p + n)), *parts)
    prove(z3.Implies(p + n <= d * (p - n), (P - N) - (p - n) <= f * d * (p - n)), p >= n, *parts)

    def relu(t: Any) -> Any:
        return z3.If(t > 0, t, 0)

    size: Any = z3.If(p > 0, p, -p)
    prove(
        z3.And(relu(u) - relu(p) <= f * relu(p), relu(p) - relu(u) <= f * relu(p)),
        *(f >= 0, f < 1, u - p <= f * size, p - u <= f * size),
    )
    require(
        counterexample(relu(u) - relu(p) <= f * relu(p), f >= 1, f <= 2, u - p <= f * size, p - u <= f * size)
        is not None,
        "gamma < 1 is needed in front of a ReLU",
    )
    return (
        "z3: the step with slack e (1 - 2(l-2) e), both signs, Delta, and the ReLU for gamma < 1 (false for gamma >= 1)"
    )


def corners(net: Network, x: np.ndarray, eps: tuple[Fraction, ...]) -> tuple[list[Fraction], list[Fraction]]:
    """(outputs, largest |error| of each) where every group of every layer errs by exactly ± eps_l, in fractions."""
    first, last = ([[Fraction(v) for v in row] for row in layer.weight.tolist()] for layer in net.layers)
    point = [Fraction(v) for v in x.tolist()]

    def sums(row: list[Fraction], a: list[Fraction]) -> tuple[Fraction, Fraction]:
        terms = [w * v for w, v in zip(row, a, strict=True)]
        return sum((t for t in terms if t > 0), Fraction(0)), sum((-t for t in terms if t < 0), Fraction(0))

    def values(row: list[Fraction], a: list[Fraction], e: Fraction) -> set[Fraction]:
        p, n = sums(row, a)
        return {(1 + s * e) * p - (1 + t * e) * n for s, t in itertools.product((-1, 1), repeat=2)}

    hidden = [sorted({max(v, Fraction(0)) for v in values(row, point, eps[0])}) for row in first]
    truth = [max(Fraction(0), p - n) for p, n in (sums(row, point) for row in first)]
    out = [p - n for p, n in (sums(row, truth) for row in last)]
    worst = [Fraction(0)] * len(out)
    for a in itertools.product(*hidden):
        for i, row in enumerate(last):
            worst[i] = max(worst[i], *(abs(v - out[i]) for v in values(row, list(a), eps[1])))
    return out, worst


def exact() -> str:
    rng, tightest, used = np.random.default_rng(60), 0.0, 0
    for _ in range(120):
        shapes = ((2, 3), (2, 2))
        weights = [rng.integers(-3 if rng.random() < 0.7 else 1, 5, size=s).astype(float) for s in shapes]
        net = Network(
            layers=tuple(Layer(weight=w, bias=np.zeros(len(w)), relu=k == 0) for k, w in enumerate(weights)),
        )
        x = rng.integers(1, 5, size=(1, 3)).astype(float)
        eps = tuple(Fraction(int(v), 64) for v in rng.integers(1, 9, 2))
        condition = [condition_numbers(w, a).max() for w, a in zip(net.layers, net.inputs(x), strict=True)]
        if not np.isfinite(condition).all():
            continue
        gamma = relative_error(np.array([float(e) for e in eps]), np.array(condition))
        if gamma[0] >= 1:
            continue
        out, worst = corners(net, x[0], eps)
        for value, error in zip(out, worst, strict=True):
            require(error <= Fraction(float(gamma[1])) * abs(value), f"{error} against {gamma[1]} of {value}")
            if value:
                tightest = max(tightest, float(error / abs(value)) / float(gamma[1]))
        used += 1
    require(used > 60 and tightest > 1 - 1e-9, f"{used} nets, the bound must be attained: {tightest}")
    # 2 (l-1) eps_{l+1}, as printed, is never below the recursion
    for depth, delta in itertools.product((1, 2, 5), (1.0, 3.0, 50.0)):
        errors = layer_errors(1.0, np.full(depth, delta), np.ones(depth), Schedule.PUBLISHED)
        path = relative_error(errors, np.full(depth, delta))
        printed = 2 * np.arange(1, depth + 1) * errors * delta
        require(np.all(path <= printed * (1 + 1e-9)), f"the printed reach {printed} is below {path}")
    sizes = [(a, b) for a in range(1, 60) for b in range(1, 60)]
    require(
        all(
            math.ceil(Fraction(a, 7)) + math.ceil(Fraction(b, 7)) <= math.ceil(Fraction(a + b, 7)) + 1 for a, b in sizes
        ),
        "two ceilings",
    )
    return f"{used} nets at all corners: error at most the shipped gamma |z|, attained to {tightest:.6f}"


def errs(share: float):
    """A trial: a neuron of both signs errs by more than eps Delta |z|, eps = 1, at `share` of the published sizes.

    60 equal edges for each sign, weights 2 and -1, a point active on one edge in 3 K = 12 of either sign: Delta = 3.
    """
    edges, K, pair = 60, 4.0, 0.02  # 0.02 for each group, 0.04 for the neuron
    m = math.ceil(share * float(sample_size(np.array([1.0]), 1.0, pair, K=K, rule=Rule.PUBLISHED)[0]))

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        groups = 2 * n
        indptr, q = np.arange(groups + 1, dtype=np.int64) * edges, np.full(groups * edges, 1 / edges)
        counts = draw_counts(q, indptr, np.full(groups, m), rng).reshape(n, 2, edges)
        hits = counts[:, :, : edges // 12].sum(axis=2) * edges / m  # the sum of ŵ a over the active edges, in weights
        z_hat, z, both = 2 * hits[:, 0] - hits[:, 1], 2 * 5 - 5, 2 * 5 + 5
        return np.abs(z_hat - z) > both

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(errs(1.0), delta=0.04, trials=1_000 * effort, name="a neuron at the published sizes")
    return Evidence(text=f"both signs at the published m, C = 3K, eps = 1: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(
        lambda factor: violated(errs(1 / factor), delta=0.04, trials=1_000, name=f"m / {factor}"),
        factors=(4, 8, 16, 24, 32, 64),
    )
    net = Network(
        layers=(
            Layer(weight=np.array([[2.0, -1.0]]), bias=np.zeros(1), relu=True),
            Layer(weight=np.array([[1.0]]), bias=np.zeros(1), relu=False),
        )
    )
    out, worst = corners(net, np.array([1.0, 1.0]), (Fraction(1, 8), Fraction(1, 8)))
    gamma = relative_error(np.array([1 / 8, 1 / 8]), np.array([3.0, 1.0]))[1]
    require(worst[0] <= Fraction(float(gamma)) * out[0], "the statement must hold")
    forgotten = relative_error(np.array([1 / 8, 1 / 8]), np.array([1.0, 1.0]))[1]
    require(worst[0] > Fraction(float(forgotten)) * out[0], "Delta left out was not caught")
    require(float(worst[0] / out[0]) > (3 / 8 + 1 / 8) * (1 + 1e-9), "the product e gamma left out was not caught")
    return Evidence(text=f"refuted: m divided by {slack:g}; Delta or e gamma left out", slack=slack)
