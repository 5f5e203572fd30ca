"""Theorem B: |f̂(x) - f(x)| <= e^L(x), an envelope that is computed from the original net; nothing is assumed of it.

Proof. Per group two vectors are tested, both fixed before the coins: the activations a (each sign part on its own, two
tails) and the error e that earlier layers pass on (upper tail). With probability 1 - delta_B no event fails, and then
|ẑ - z| <= |sum (ŵ - w) a| + sum |ŵ| |â - a| <= sum_± [eps_± z^± + (1 + eps_±) |W^±| e], by induction over the layers.
A ReLU is 1-Lipschitz, so the bound outlives it, and where z + e <= 0 both nets put out 0. A bias kept exactly cancels.
An exact group has eps = 0. Over fresh coins and x together the probability of a bad point comes on top.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
import z3

from boundlab import CoreNetAdditive, CoreNetBudget, Layer, Network, certify, compress, random_network
from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.nets.groups import parts, sign_groups
from boundlab.nets.importance import sensitivities
from boundlab.nets.propagate import envelope
from boundlab.records import Compression, Groups
from boundlab.verification.joint import additive_trial
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.boundlab_relative_recursion import Vector, forward, inner, tiny_net
from proofs_checks.boundlab_theorem_a import Good, Tiny, all_sampled, failing, sabotage, sparse_inputs
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import prove, reals

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


MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="(1.0 + plus) * passed_plus + (1.0 + minus) * passed_minus",
        new="passed_plus + passed_minus",
    ),
    Mutation(
        file="nets/propagate.py",
        old="e = np.where(z + e <= -ROUNDING * size, 0.0, e)",
        new="e = np.where(z <= -ROUNDING * size, 0.0, e)",
    ),
    Mutation(
        file="compressors/corenet.py",
        old="int((w.weight > 0).any(axis=1).sum() + (w.weight < 0).any(axis=1).sum())",
        new="int((w.weight > 0).any(axis=1).sum())",
    ),
    Mutation(
        file="compressors/corenet.py",
        old="rule=self.rule, upper=n + passes, lower=n)",
        new="rule=self.rule, upper=1, lower=1)",
    ),
    Mutation(
        file="certificates.py",
        old="bad |= exceeds(layer, e, _left_to_chance(plan), plan.K, plan.draws == 0)",
        new="bad |= False",
    ),
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
    # own = sum |w| a, kept = sum v a within (1 ± eps) own; moved = sum v a', and |a' - a| <= e makes |moved - kept| at
    # most sum v e, which is at most (1 + eps) passed
    own, passed, kept, moved, r = reals("own passed kept moved eps")
    size = (own >= 0, passed >= 0, r >= 0)
    near = z3.And(kept - own <= r * own, own - kept <= r * own)
    by = (1 + r) * passed
    bound = r * own + by
    prove(z3.And(moved - own <= bound, own - moved <= bound), *size, near, moved - kept <= by, kept - moved <= by)
    u, v, b = reals("u v bound")
    relu_u: Any = z3.If(u > 0, u, 0)
    relu_v: Any = z3.If(v > 0, v, 0)
    close = z3.And(u - v <= b, v - u <= b)
    prove(z3.And(relu_u - relu_v <= b, relu_v - relu_u <= b), close)
    prove(z3.And(relu_u == 0, relu_v == 0), close, v + b <= 0)
    return (
        "z3: one part moves by at most eps z + (1 + eps) |W| e, a ReLU outlives it, z + e <= 0 stops both nets; "
        "positive nets with every weight at (1 + eps) attain e^L for L = 2..5"
    )


def exact() -> str:
    used = failing = zero = masked = 0
    for tiny, x, out, good in cases(150, seed=12):
        rows = [(k, r) for k, s in enumerate(tiny.own) for r in range(len(s.groups))]
        bound = sum((tiny.row_failure(*row, good) for row in rows), Fraction(0))
        rate, surprise = tiny.failure(x, out, good)
        require(not surprise, "an output leaves the envelope although no event fails")
        require(rate <= bound, f"P(fail) = {rate} exceeds the sum of the events {bound}")
        if 0 < bound < 1:
            used, failing = used + 1, failing + (rate > 0)
            zero += any(v == 0 for v in forward(tiny.net, x))
            masked += any(v == 0 for v in out)
    require(min(used // 3, failing, zero, masked) >= 5, f"too few cases: {used} {failing} {zero} {masked}")
    text = f"{used} nets, all coins: P(fail) <= sum of events < 1; {failing} can fail, {zero} with an output of 0"
    return f"{text}; {plan_keeps()}"


def spent(compression: Compression, signs: Sequence[int]) -> float:
    """The sum over groups of the shipped bounds on all tails: `signs` parts of each layer's activations, and errors."""
    total, passes = 0.0, 0
    for plan, n in zip(compression.plans, signs, strict=True):
        sampled = plan.draws > 0
        p = 1.0 / (plan.sensitivities.total[sampled] * plan.K)
        m, eps = plan.draws[sampled], plan.eps[sampled]
        total += float(((n + passes) * np.exp(-m * upper_rate(p, eps)) + n * np.exp(-m * lower_rate(p, eps))).sum())
        passes = passes or int(sampled.any())
    return total


def plan_keeps() -> str:
    """What the shipped plans spend on coins, and what the shipped certificate counts as a bad point."""
    net = random_network((400, 300, 2), rng=5)
    points = signed_inputs(np.random.default_rng(6), 3, 400)
    told = []
    for method in (CoreNetAdditive(eps=1.4, delta=0.2, K=1.0), CoreNetBudget(nnz=50_000, delta=0.2, K=1.0)):
        small = compress(net, method, points, rng=8)
        require(all((p.draws > 0).any() for p in small.plans), "each layer must have sampled groups")
        told.append(spent(small, (2, 1)))
        require(0 < told[-1] <= 0.1, f"{method.name} spends {told[-1]}, more than 0.1")
    rng = np.random.default_rng(9)
    rough = all_sampled(compress(random_network((3, 4, 1), rng=1), method, rng.uniform(0.5, 1, (40, 3)), rng=3))
    fresh = rng.uniform(0.3, 1, (300, 3))
    groups, eps = [p.groups for p in rough.plans], [p.eps for p in rough.plans]
    bad = np.zeros(300, bool)
    for plan, layer, a, e in zip(
        rough.plans,
        rough.original.layers,
        rough.original.inputs(fresh),
        envelope(rough.original, fresh, groups, eps)[0],
        strict=True,
    ):
        for vector in (a, e):
            bad |= [_beyond(plan.groups, layer.weight, v, plan.K * plan.sensitivities.values) for v in vector]
    counted = certify(rough, fresh).premises[-1].numbers["bad"]
    require(
        0 < bad.sum() < 300 and counted == bad.sum(), f"the certificate counts {counted} bad points, not {bad.sum()}"
    )
    return f"plans spend {told[0]:.3f} and {told[1]:.3f} of 0.1; {bad.sum()} bad points of 300 found"


def _beyond(groups: Groups, weight: np.ndarray, a: np.ndarray, limit: np.ndarray) -> bool:
    """Whether a share of some group is above its limit, written down anew."""
    terms = np.abs(groups.take(weight)) * a[groups.columns]
    return bool(np.any(terms > limit * groups.spread(groups.sums(terms)) * (1 + 1e-9)))


def signed_inputs(rng: np.random.Generator, n: int, width: int = 2000) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, (n, width))


def monte_carlo(effort: int = 1) -> Evidence:
    net = random_network((2000, 6, 3), rng=5, bias=True)
    points, fresh = signed_inputs(np.random.default_rng(6), 200), signed_inputs(np.random.default_rng(7), 1000)
    lines, trials = [], 0
    for method in (CoreNetAdditive(eps=0.75, delta=0.1, K=1.5), CoreNetBudget(nnz=6000, delta=0.1, K=1.5)):
        small = compress(net, method, points, rng=8)
        promise = certify(small, fresh)
        require(promise.sampled_share > 0.5 and promise.met, "groups must be sampled and the hold-out must be good")
        found = judge(failing(additive_trial(small), signed_inputs), delta=0.1, trials=120 * effort, name=method.name)
        f, e = net(fresh), envelope(net, fresh, [p.groups for p in small.plans], [p.eps for p in small.plans])[1]
        part = float(np.median(np.abs(small.net(fresh) - f) / e))
        lines.append(f"{method.name} {found.text} (median error {part:.3f} of the envelope)")
        trials += found.trials
    return Evidence(text="2000-6-3, signed weights and inputs, biases: " + "; ".join(lines), trials=trials)


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


def teeth() -> Evidence:
    evidence = dropped()
    net = random_network((2000, 1), rng=1, positive=True)
    method = CoreNetAdditive(eps=0.5, delta=0.1, K=1.25)
    small = compress(net, method, sparse_inputs(np.random.default_rng(2), 300), rng=3)
    require(bool((small.plans[0].draws > 0).all()), "the group must be sampled")

    def refuted(candidate: Compression) -> bool:
        return violated(failing(additive_trial(candidate), sparse_inputs), delta=0.05, trials=200, name="Theorem B")

    slack = smallest_sabotage(lambda factor: refuted(sabotage(small, factor)), (4, 6, 8, 12))
    plan = small.plans[0]
    tight = replace(small, coresets=(replace(small.coresets[0], plan=replace(plan, eps=plan.eps / 4)),))
    require(refuted(tight), "a fourth of eps was not caught")
    return Evidence(text=f"violated when sizes are divided by {slack:g}, or eps by 4; {evidence}", slack=slack)
