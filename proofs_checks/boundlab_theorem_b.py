"""Theorem B: |f̂(x) - f(x)| <= e^L(x), an envelope that is computed from the original net; nothing is assumed of it.

Proof. Per group two vectors are tested, both fixed before the coins: the activations a (each sign part on its own, two
tails) and the error e that earlier layers pass on (upper tail). With probability 1 - delta_B no event fails, and then
|ẑ - z| <= |sum (ŵ - w) a| + sum |ŵ| |â - a| <= sum_± [eps_± z^± + (1 + eps_±) |W^±| e], by induction over the layers.
A ReLU is 1-Lipschitz, so the bound outlives it, and where z + e <= 0 both nets put out 0. A bias kept exactly cancels.
An exact group has eps = 0. Over fresh coins and x together the probability of a bad point comes on top.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy as sp

from boundlab import CoreNetAdditive, CoreNetBudget, Layer, Network, State, certify, compress, random_network, verify
from boundlab.nets.groups import parts, sign_groups
from boundlab.nets.importance import sensitivities
from boundlab.nets.propagate import envelope
from boundlab.records import Groups
from proofs_checks import Theorem, require
from proofs_checks.boundlab_relative_recursion import Vector, forward, inner, tiny_net
from proofs_checks.boundlab_theorem_a import Good, Tiny, sabotage, sparse_inputs

THEOREM = Theorem(
    name="Theorem B: additive envelope",
    source="ours, for the algorithm of CoreNet (arXiv:1804.05345), as we understand the paper; item number not known "
    "to us",
    given=(
        "the coins are independent of x, given the calibration points",
        "m_r draws bound all tails of a group together by delta_B / groups (kl rule)",
        "x is good: no share of an activation part, or of the error passed on, is above K s_j",
        "activations are 1-Lipschitz; the mask needs a ReLU",
    ),
    claim=r"\Pr_{\hat\theta,x}[\exists i: |\hat f_i(x) - f_i(x)| > e_i^L(x)] \le \delta_B + \Pr_x[x\ \mathrm{is\ bad}],"
    r"\quad e^\ell = \sum_\pm \epsilon_\pm z^\pm + (1+\epsilon_\pm)|W^\pm| e^{\ell-1}",
    status="holds",
)


def flat(net: Network, eps: list[float]) -> tuple[list[Groups], list[np.ndarray]]:
    """All sign groups of a net, with one error per layer."""
    groups = [sign_groups(layer.weight) for layer in net.layers]
    return groups, [np.full(len(g), e) for g, e in zip(groups, eps, strict=True)]


def cases(count: int, seed: int) -> Iterator[tuple[Tiny, list[Fraction], Vector, Good]]:
    """Tiny nets with a fresh point, the shipped envelope there, and the events of Theorem B."""
    rng = random.Random(seed)
    for k in range(count):
        net, low = tiny_net(rng, bias=bool(k % 2)), -2 if k % 3 else 0  # two in three with signed inputs
        points = np.array([[rng.randint(low, 3) for _ in range(net.sizes[0])] for _ in range(3)], float)
        x = np.array([[rng.randint(low, 3) for _ in range(net.sizes[0])]], float)
        groups = [sign_groups(w.weight) for w in net.layers]
        eps = [np.array([rng.choice([0.125, 0.25, 0.5, 0.75, 1.5]) for _ in range(len(g))]) for g in groups]
        known, _ = envelope(net, points, groups, eps)
        own = tuple(
            sensitivities(w, [*parts(a), e], theorem="")
            for w, a, e in zip(net.layers, net.inputs(points), known, strict=True)
        )
        tiny = Tiny(net=net, own=own, draws=tuple(tuple(rng.randint(1, 3) for _ in range(len(g))) for g in groups))
        passed, out = envelope(net, x, groups, eps)
        read = [[[Fraction(v) for v in part[0].tolist()] for part in parts(a)] for a in net.inputs(x)]
        error = [[Fraction(v) for v in e[0].tolist()] for e in passed]

        def good(layer: int, r: int, w: dict[int, Fraction], net=net, groups=groups, eps=eps, read=read, error=error):
            g, e = groups[layer], Fraction(float(eps[layer][r]))
            columns = g.columns[g.indptr[r] : g.indptr[r + 1]].tolist()
            full = {j: Fraction(abs(float(net.layers[layer].weight[g.neuron[r], j]))) for j in columns}
            fine = all(abs(inner(w, a) - inner(full, a)) <= e * inner(full, a) for a in read[layer])
            return fine and inner(w, error[layer]) <= (1 + e) * inner(full, error[layer])

        yield tiny, [Fraction(v) for v in x[0].tolist()], [Fraction(v) for v in out[0].tolist()], good


def symbolic() -> str:
    eps = sp.symbols("epsilon2:6", nonnegative=True)
    w = sp.symbols("w2:6", nonnegative=True)
    a, e, moved = sp.Symbol("a", nonnegative=True), sp.Integer(0), sp.Symbol("a", nonnegative=True)
    unrolled = sp.Integer(0)
    for k in range(4):  # a net with one neuron per layer and positive weights, each too large by eps_l
        e = eps[k] * w[k] * a + (1 + eps[k]) * w[k] * e
        a, moved = w[k] * a, (1 + eps[k]) * w[k] * moved
        unrolled = (1 + eps[k]) * w[k] * unrolled + eps[k] * a
        require(sp.expand(moved - a - e) == 0, f"the envelope of layer {k + 2} must be attained")
    require(sp.expand(unrolled - e) == 0, "e^L = sum_l eps_l prod_{k>l} (1 + eps_k) |W^L| ... |W^l| a")
    d, n = sp.symbols("delta groups", positive=True)
    require(sp.simplify(n * (d / 2 / n) - d / 2) == 0, "the groups spend delta/2")
    return "positive nets with every weight at (1 + eps) attain e^L for L = 2..5; unrolled form; groups spend delta/2"


def exact() -> str:
    used = failing = zero = masked = 0
    for tiny, x, out, good in cases(350, seed=12):
        rows = [(k, r) for k, s in enumerate(tiny.own) for r in range(len(s.groups))]
        bound = sum((tiny.row_failure(*row, good) for row in rows), Fraction(0))
        rate, surprise = tiny.failure(x, out, good)
        require(not surprise, "an output leaves the envelope although no event fails")
        require(rate <= bound, f"P(fail) = {rate} exceeds the sum of the events {bound}")
        if 0 < bound < 1:
            used, failing = used + 1, failing + (rate > 0)
            zero += any(v == 0 for v in forward(tiny.net, x))
            masked += any(v == 0 for v in out)
    require(min(used // 4, failing, zero, masked) >= 10, f"too few cases: {used} {failing} {zero} {masked}")
    return f"{used} nets, all coins: P(fail) <= sum of events < 1; {failing} can fail, {zero} with an output of 0"


def signed_inputs(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (n, 2000))


def monte_carlo() -> str:
    net = random_network((2000, 6, 3), rng=5, bias=True)
    points, fresh = signed_inputs(np.random.default_rng(6), 300), signed_inputs(np.random.default_rng(7), 1500)
    lines = []
    for method in (CoreNetAdditive(eps=0.75, delta=0.1, K=1.5), CoreNetBudget(nnz=6000, delta=0.1, K=1.5)):
        small = compress(net, method, points, rng=8)
        promise = certify(small, fresh)
        require(promise.sampled_share > 0.5 and promise.met, "groups must be sampled and the hold-out must be good")
        verdict = verify(small, signed_inputs, max_trials=400).require(State.UPHELD)
        f, e = net(fresh), envelope(net, fresh, [p.groups for p in small.plans], [p.eps for p in small.plans])[1]
        part = float(np.median(np.abs(small.net(fresh) - f) / e))
        lines.append(f"{method.name} {verdict.failures} in {verdict.trials} (median error {part:.3f} of the envelope)")
    return "2000-6-3, signed weights and inputs, biases, delta = 0.1, failures: " + "; ".join(lines)


def dropped() -> str:
    """The envelope without what earlier layers pass on, and with a mask that looks at z alone."""
    one = Layer(weight=np.array([[2.0, 1.0], [1.0, 1.0]]), bias=np.zeros(2), relu=True)
    net = Network(layers=(one, Layer(weight=np.array([[1.0, 3.0]]), bias=np.zeros(1), relu=False)))
    x, eps = np.array([[1.0, 2.0]]), [0.25, 0.125]
    groups, rel = flat(net, eps)
    worst = net.with_weights([(1 + e) * w.weight for e, w in zip(eps, net.layers, strict=True)])
    error, told = float((worst(x) - net(x))[0, 0]), float(envelope(net, x, groups, rel)[1][0, 0])
    forgetful = float(eps[1] * net(x)[0, 0])
    require(error <= told < error * (1 + 1e-9), f"the envelope {told} must be attained by {error}")
    require(error > forgetful, "an envelope without the error passed on must be caught")
    first = Layer(weight=np.array([[2.0, -3.0]]), bias=np.zeros(1), relu=True)
    net = Network(layers=(first, Layer(weight=np.ones((1, 1)), bias=np.zeros(1), relu=False)))
    moved = net.with_weights([np.array([[3.0, -1.5]]), np.ones((1, 1))])  # both groups at the end of 1 ± 1/2
    groups, rel = flat(net, [0.5, 0.0])
    x = np.ones((1, 2))
    require(float(moved(x)[0, 0]) == 1.5 and float(net(x)[0, 0]) == 0.0, "a neuron that z alone calls off goes on")
    require(float(envelope(net, x, groups, rel)[1][0, 0]) >= 1.5, "the shipped mask must wait for z + e <= 0")
    return f"without the error passed on {forgetful:g} < error {error:g}; a mask on z alone 0 < error 1.5"


def teeth() -> str:
    evidence = dropped()
    net = random_network((2000, 1), rng=1, positive=True)
    small = compress(
        net, CoreNetAdditive(eps=0.5, delta=0.1, K=1.25), sparse_inputs(np.random.default_rng(2), 300), rng=3
    )
    require(bool((small.plans[0].draws > 0).all()), "the group must be sampled")
    verify(small, sparse_inputs, max_trials=400).require(State.UPHELD)
    states = {k: verify(sabotage(small, k), sparse_inputs, max_trials=400).state for k in (4, 6, 16)}
    caught = [k for k, state in states.items() if state is State.VIOLATED]
    require(16 in caught, f"sizes divided by 16 must be violated, the verdicts are {states}")
    plan = small.plans[0]
    tight = replace(small, coresets=(replace(small.coresets[0], plan=replace(plan, eps=plan.eps / 4)),))
    verify(tight, sparse_inputs, max_trials=400).require(State.VIOLATED)
    return f"violated when sizes are divided by {min(caught)} and more (of 4 to 16), or eps by 4; {evidence}"
