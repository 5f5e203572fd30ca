"""Layer by layer: a first layer fails with probability at most the sum of what its neurons lose, by a union.

The statement. E^l: every neuron of layer l is approximated. Published: Pr(E^l) >= 1 - delta sum_{l' <= l} eta^{l'}/eta
(l' from 2 on), by induction with Pr(not E^l) <= Pr(not E^l | E^{l-1}) + Pr(not E^{l-1}) and a bound on the chance
that a neuron fails given E^{l-1}, delta/eta.

What is wrong. The conditional bound is not proved: E^{l-1} depends on the same S (`baykal2019_conditional_steps`), so
that total probability is used on a number that nobody has bounded.

What holds, with the same result. not E^l is contained in the union, over layers l' <= l and neurons i, of "neuron i of
layer l' fails although layer l'-1 is approximated": take the first layer that fails. Each such intersection lies in
"some share exceeds C s_j", "Delta_i(x) exceeds its bound" or "a sampled sum at the original activations leaves
(1 ± eps_l)" - events that are defined without any earlier layer, whose probabilities are bounded as they stand. Their
sum is delta/eta for a neuron. No filtration, no independence between layers: rows may even share their coins.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import z3

from boundlab.compressors import method
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from boundlab.nets.condition import condition_numbers
from boundlab.nets.importance import sensitivities
from boundlab.nets.propagate import Schedule, layer_errors, relative_error
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from boundlab.records import Groups, SamplePlan
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="Layer-wise approximation by a union of intersections",
    source="Baykal et al. 2019, arXiv:1804.05345; item number not known to us; as we understand the paper",
    given=("each neuron's events, at the original activations, fail with probability at most delta/eta",),
    claim=r"\Pr[\neg\mathcal E^\ell] \le \sum_{\ell' \le \ell} \sum_i \Pr[\neg\mathcal E_i^{\ell'} \cap "
    r"\mathcal E^{\ell'-1}] \le \delta \sum_{\ell' \le \ell} \eta^{\ell'}/\eta",
    status="corrected",
    finding="The published induction adds up conditional probabilities given the earlier layer, which are not bounded; "
    "the same sum of intersections gives the same result.",
    ours="boundlab_theorem_a",
)

MUTATIONS = (
    Mutation(
        file="nets/propagate.py",
        old="float(c) * (e + gamma + e * gamma) * (1.0 + ROUNDING)",
        new="float(c) * e * (1.0 + ROUNDING)",
    ),
)

SLUG = "baykal2019_layer_wise"


def plans(net: Network, x: np.ndarray, sizes: list[np.ndarray]) -> list[SamplePlan]:
    """A plan per layer with the given draws, from shipped sensitivities on the points."""
    own = [sensitivities(layer, [a], theorem=SLUG) for layer, a in zip(net.layers, net.inputs(x), strict=True)]
    return [
        SamplePlan(
            layer=k + 2,
            sensitivities=s,
            size=np.broadcast_to(m, len(s.groups)).astype(float),
            exact=np.zeros(len(s.groups), bool),
            eps=np.ones(len(s.groups)),
            K=1.0,
            parts=1,
            condition=math.nan,
            theorem=SLUG,
        )
        for k, (s, m) in enumerate(zip(own, sizes, strict=True))
    ]


def symbolic() -> str:
    layers = 4
    fails: Any = [z3.Bool(f"f{k}") for k in range(layers)]  # layer k is not approximated
    first: Any = [z3.And(fails[k], *(z3.Not(f) for f in fails[:k])) for k in range(layers)]
    prove(z3.Implies(z3.Or(*fails), z3.Or(*first)))
    step: Any = [fails[0]] + [z3.And(fails[k], z3.Not(fails[k - 1])) for k in range(1, layers)]
    prove(z3.Implies(z3.Or(*fails), z3.Or(*step)))  # it is enough to intersect with the layer before
    share, bad, tail, good = z3.Bools("share delta tail good")  # the events, and the deterministic step between them
    prove(
        z3.Implies(z3.And(fails[1], good), z3.Or(share, bad, tail)),
        z3.Implies(z3.And(good, z3.Not(share), z3.Not(bad), z3.Not(tail)), z3.Not(fails[1])),
    )
    names: Any = z3.Reals("given both before bound")
    given, both, before, bound = names  # P(f | good), P(f and good), P(good), and the bound on P(f and good)
    laws: Any = [both == given * before, before > 0, before <= 1, both >= 0, both <= bound]
    prove(both + (1 - before) <= bound + (1 - before), *laws)
    require(counterexample(given <= bound, *laws) is not None, "the conditional step must not follow")
    return "z3: first failing layer, intersection with the layer before, events; the conditional bound does not follow"


def layer_laws(layer: Layer, plan: SamplePlan) -> list[tuple[Fraction, np.ndarray]]:
    """(probability, sampled matrix) for one draw in each group, through the shipped reweighting."""
    groups, q = plan.groups, [Fraction(float(v)).limit_denominator(10**6) for v in plan.sensitivities.probabilities]
    found = []
    for edges in itertools.product(*(range(groups.indptr[r], groups.indptr[r + 1]) for r in range(len(groups)))):
        p = math.prod((q[e] for e in edges), start=Fraction(1))
        if p:
            counts = np.zeros(len(q), np.int64)
            counts[list(edges)] = 1
            with mock.patch.object(method.Multinomials, "draw", return_value=counts):
                found.append((p, method.draw_layer(layer.weight, plan, np.random.default_rng(0))))
    return found


def tiny(rng: np.random.Generator) -> tuple[Fraction, Fraction]:
    """(P(some neuron of some layer is not approximated), sum of its neurons' intersections), all coins enumerated."""
    net = Network(
        layers=(
            Layer(weight=rng.integers(1, 4, (2, 3)).astype(float), bias=np.zeros(2), relu=True),
            Layer(weight=rng.integers(1, 4, (1, 2)).astype(float), bias=np.zeros(1), relu=False),
        )
    )
    S, x = rng.integers(0, 5, (2, 3)) + 0.5, rng.integers(0, 5, (1, 3)) + 0.5
    own = plans(net, S, [np.ones(1)] * 2)
    read = net.inputs(x)
    z = [layer.preactivation(a)[0] for layer, a in zip(net.layers, read, strict=True)]
    eps = rng.choice([0.25, 0.5, 0.75], 2)
    condition = np.array([condition_numbers(w, a).max() for w, a in zip(net.layers, read, strict=True)])
    gamma = relative_error(eps, condition)
    fail, parts, second = Fraction(0), defaultdict(Fraction), layer_laws(net.layers[1], own[1])
    for p, first in layer_laws(net.layers[0], own[0]):
        hat = first @ read[0][0]
        off = np.abs(hat - z[0]) > gamma[0] * z[0] * (1 + 1e-9)
        for i in np.flatnonzero(off):
            parts[0, i] += p
        good = not off.any()
        for chance, last in second:
            out = last @ np.maximum(hat, 0)
            event = abs(float((last @ read[1][0])[0]) - z[1][0]) > eps[1] * z[1][0] * (1 + 1e-9)
            wrong = abs(out[0] - z[1][0]) > gamma[1] * z[1][0] * (1 + 1e-9)
            require(not (good and wrong and not event), "a neuron fails although its event does not")
            fail += p * chance * bool((not good) or wrong)
            parts[1, 0] += p * chance * (good and wrong)
    return fail, sum(parts.values(), Fraction(0))


def exact() -> str:
    rng, used, failing, tight = np.random.default_rng(61), 0, 0, Fraction(0)
    for _ in range(40):
        fail, bound = tiny(rng)
        require(fail <= bound, f"P(some layer fails) = {float(fail)} exceeds the sum {float(bound)}")
        used, failing = used + 1, failing + (0 < fail < 1)
        tight = max(tight, fail / bound if bound else Fraction(0))
    require(failing > 8 and tight == 1, f"{failing} of {used} nets can fail, tightest {float(tight)}")
    # the sum of what the neurons lose is delta sum eta^l'/eta, and delta at the last layer
    sizes, delta = (7, 5, 4, 3), Fraction(1, 10)
    eta = sum(sizes[1:])
    lost = [delta * sum(sizes[1 : k + 1]) / eta for k in range(1, len(sizes))]
    require(lost[-1] == delta and lost == sorted(lost), "the layers' losses add up to delta")
    return f"{used} nets, all coins: P(some layer fails) <= sum of intersections, equal in some; {failing} can fail"


NET, EPS, LOSS = random_network((40, 6, 1), rng=5, positive=True), 1.0, 0.2


def sizes(share: float) -> list[np.ndarray]:
    """The published m of every group at K = 1, Delta = 1 (positive weights), eps_l = eps/(2 (L-1)), times a share."""
    x = sparse(np.random.default_rng(8), 200)
    errors = layer_errors(EPS, np.ones(2), np.ones(2), Schedule.PUBLISHED)
    row = LOSS / 4 / 7  # 2 delta/(8 eta)
    totals = [p.sensitivities.total for p in plans(NET, x, [np.ones(1)] * 2)]
    return [
        np.ceil(share * sample_size(total, e, row, rule=Rule.PUBLISHED))
        for total, e in zip(totals, errors, strict=True)
    ]


def sparse(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points with every fourth feature at 1, in the mean."""
    return np.asarray((rng.random((n, 40)) < 0.25) + 0.01)


def stacked(layer: Layer, plan: SamplePlan, n: int) -> tuple[np.ndarray, SamplePlan]:
    """The weights of n copies of a layer, one below the other, with the plan for all: one draw draws every copy."""
    out, groups, own = layer.weight.shape[0], plan.groups, plan.sensitivities
    shift = np.repeat(np.arange(n), len(groups))
    edges = np.tile(groups.edges, n)
    many = Groups(
        neuron=np.tile(groups.neuron, n) + shift * out,
        sign=np.tile(groups.sign, n),
        indptr=np.concatenate([[0], np.cumsum(edges)]),
        columns=np.tile(groups.columns, n),
    )
    wide = replace(own, values=np.tile(own.values, n), groups=many)
    tiled = {name: np.tile(getattr(plan, name), n) for name in ("size", "exact", "eps")}
    return np.tile(layer.weight, (n, 1)), replace(plan, sensitivities=wide, **tiled)


def errs(share: float, block: int = 50):
    """A trial: shipped draws of both layers; some neuron of some layer leaves (1 ± its reach) at a point of S."""
    x = sparse(np.random.default_rng(8), 200)
    errors = layer_errors(EPS, np.ones(2), np.ones(2), Schedule.PUBLISHED)
    reach = relative_error(errors, np.ones(2))
    single = plans(NET, x, sizes(share))
    tall = [stacked(layer, p, block) for layer, p in zip(NET.layers, single, strict=True)]
    read = NET.inputs(x)
    z = [layer.preactivation(a) for layer, a in zip(NET.layers, read, strict=True)]

    def trial(rng: np.random.Generator, n: int) -> np.ndarray:
        who = rng.integers(len(x), size=block)
        a, found = x[who], np.zeros(block, bool)
        for (weight, plan), value, g in zip(tall, z, reach, strict=True):
            drawn = method.draw_layer(weight, plan, rng).reshape(block, -1, weight.shape[1])
            a = np.einsum("tij,tj->ti", drawn, a)
            found |= (np.abs(a - value[who]) > g * value[who]).any(axis=1)
        return found[:n]

    return trial


def monte_carlo(effort: int = 1) -> Evidence:
    own = judge(errs(1.0), delta=LOSS, trials=300 * effort, name="both layers at the published sizes", block=50)
    return Evidence(text=f"40-6-1 at the published m, K = Delta = 1: {own.text}", trials=own.trials)


def teeth() -> Evidence:
    slack = smallest_sabotage(
        lambda factor: violated(errs(1 / factor), delta=LOSS, trials=50, name=f"m / {factor}"), factors=(8, 16, 32, 64)
    )
    rng = np.random.default_rng(61)
    short = 0
    for _ in range(15):
        fail, bound = tiny(rng)
        short += bool(fail > bound / 2)
    require(short > 0, "half of the sum was not caught")
    return Evidence(text=f"refuted: m divided by {slack:g}; half of the sum ({short} of 15 nets)", slack=slack)
