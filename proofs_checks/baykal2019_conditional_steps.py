"""CoreNet's proofs bound Pr(A | E) by the bound on Pr(A) although A and E share the sample S: that step is false.

The statement. Lemmas of the form "given that the earlier layers are approximated well (E), the sensitivities of this
layer fail (A) with probability at most |W| e^{-|S|/K'}": the right side bounds the unconditional probability, and
the proof takes over the bound as if conditioning on E did not matter. But A and E depend on the same S.

Counterexample, enumerated exactly. Two kinds of inputs, x = a and x = b, each with probability 1/2. Layer 2 has R
fragile neurons that read (2, 3, 0) at a and (4, 0, 1) at b with weights 1, and one neuron that reads a single input,
100 at a and 1/2 at b. Layer 3 adds up one fragile neuron and that one. All edges obey Assumption 1 with K = 2 and
e^{-1/K'} = 1/2. One draw for each group; E: at x every neuron of layer 2 is within (1 ± 1/2). Where S holds both kinds,
the total sensitivity of a fragile neuron is 8/5 and one draw errs by more than 1/2 half of the time or always; where S
holds b alone, it errs at x = a only with probability 1/5. So E makes a sample of one kind likely, and that is where A
happens: S all b and x = a, so that 3 K s_j < ĝ_j(x) for the second edge of layer 3. For |S| = 6 and R = 4 the
conditional probability of A is twice the bound |W| e^{-|S|/K'} = 1/32.

What holds. The intersection: Pr(A and E) <= Pr(A). A union over all events "something fails while the earlier layers
are good" needs no conditioning at all, and the lost steps come back (`boundlab_theorem_a`). Since
Pr(A | E) = Pr(A and E)/Pr(E), the published line is off by at most 1/Pr(E), a harmless factor wherever the theorem
has anything to say; as a proof it does not stand.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import z3

from boundlab.compressors import method
from boundlab.compressors.corenet import CoreNetRelative
from boundlab.concentration.multiplicative import lower_rate, upper_rate
from boundlab.coresets.alias import draw_counts
from boundlab.nets.importance import sensitivities
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from boundlab.records import SamplePlan, Sensitivities
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage
from proofs_checks.proving import counterexample, prove

THEOREM = Theorem(
    name="Conditional steps in CoreNet's proofs",
    source="Baykal et al. 2019, arXiv:1804.05345, the lemmas on sensitivities, neurons and layers; item numbers not "
    "known to us; as we understand the paper",
    given=("A and E depend on the same calibration sample S", "Pr[A] <= |W| e^{-|S|/K'} by Assumption 1"),
    claim=r"\Pr[\exists j: C s_j < \hat g_j(x) \mid \mathcal E^{\ell-1}] \le |W| e^{-|S|/K'}",
    status="refuted",
    finding="Conditioning on the approximation of the earlier layer lifts the failure probability to twice the bound, "
    "in a net that is enumerated exactly; the intersection of the two events obeys it.",
    ours="boundlab_theorem_a",
)

MUTATIONS = (
    Mutation(
        file="compressors/corenet.py",
        old="size=sample_size(s.total, e, self.delta / 2 / events, K=self.K, rule=self.rule)",
        new="size=sample_size(s.total, e, self.delta / 2, K=self.K, rule=self.rule)",
    ),
)

SLUG = "baykal2019_conditional_steps"
POINTS, FRAGILE, K = 6, 4, 2
KINDS = {"a": [2.0, 3.0, 0.0, 100.0], "b": [4.0, 0.0, 1.0, 0.5]}
SECOND = Layer(weight=np.array([[1.0, 1, 1, 0]] * FRAGILE + [[0, 0, 0, 1.0]]), bias=np.zeros(FRAGILE + 1), relu=True)
THIRD = Layer(weight=np.array([[1.0] + [0.0] * (FRAGILE - 1) + [1.0]]), bias=np.zeros(1), relu=False)
BOUND = Fraction(2, 2**POINTS)  # |W| e^{-|S|/K'}: two edges


def sample(count: int) -> np.ndarray:
    """S with `count` points of kind b."""
    return np.array([KINDS["b"]] * count + [KINDS["a"]] * (POINTS - count))


def plan(s: Sensitivities) -> SamplePlan:
    """One draw in each group."""
    many = len(s.groups)
    return SamplePlan(
        layer=2,
        sensitivities=s,
        size=np.ones(many),
        exact=np.zeros(many, bool),
        eps=np.ones(many),
        K=1.0,
        parts=1,
        condition=math.nan,
        theorem=SLUG,
    )


def outcome(drawn: np.ndarray, x: np.ndarray, low: np.ndarray) -> tuple[bool, bool]:
    """(E, A) at x: layer 2 within (1 ± 1/2); 3 K s_j < ĝ_j(x) for an edge of layer 3 with sensitivities `low`."""
    z, z_hat = SECOND.weight @ x, drawn @ x
    good = bool(np.all(np.abs(z_hat - z) <= 0.5 * z * (1 + 1e-12)))
    terms = THIRD.weight[0] * z_hat
    total = terms.sum()
    share = (terms / total if total > 0 else terms)[np.flatnonzero(THIRD.weight[0])]
    return good, bool(np.any(share > 3 * K * low))


def probabilities() -> dict[str, Fraction]:
    """Exact P(A), P(E), P(A and E), P(some s_j <= M_j/K in layer 3), over S, x and all coins of layer 2."""
    totals = {"A": Fraction(0), "E": Fraction(0), "A and E": Fraction(0), "low": Fraction(0)}
    top = [5 / 5.5, 100 / 105]  # M_j in layer 3, of the two edges
    pure = Fraction(1, 2**POINTS)
    for count, chance in ((0, pure), (1, 1 - 2 * pure), (POINTS, pure)):  # one kind, or both: a maximum does not count
        S = sample(count)
        second = sensitivities(SECOND, [S], theorem=SLUG)
        low = sensitivities(THIRD, [SECOND(S)], theorem=SLUG).values
        totals["low"] += chance * bool(np.any(low <= np.array(top) / K))
        q = [Fraction(v).limit_denominator(10**6) for v in second.probabilities]
        own = plan(second)
        groups = [range(second.groups.indptr[r], second.groups.indptr[r + 1]) for r in range(FRAGILE + 1)]
        for edges in itertools.product(*groups):
            p = math.prod((q[e] for e in edges), start=Fraction(1))
            if not p:
                continue
            counts = np.zeros(len(q), np.int64)
            counts[list(edges)] = 1
            with mock.patch.object(method.Multinomials, "draw", return_value=counts):
                drawn = method.draw_layer(SECOND.weight, own, np.random.default_rng(0))
            for x in KINDS.values():
                good, fails = outcome(drawn, np.array(x), low)
                weight = chance * p / 2
                totals["E"] += weight * good
                totals["A"] += weight * fails
                totals["A and E"] += weight * (good and fails)
    return totals


def symbolic() -> str:
    reals: Any = z3.Reals("a both e bound")
    a, both, e, bound = reals  # P(A), P(A and E), P(E), and a bound on P(A)
    laws: Any = [both >= 0, both <= a, both <= e, a + e - both <= 1, e > 0, a <= bound]
    prove(both <= bound, *laws)
    model = counterexample(both <= bound * e, *laws, bound <= z3.RealVal("1/32"))
    require(model is not None, "conditioning must be able to exceed the bound")
    f1, f2, f3 = z3.Bools("f1 f2 f3")  # layer l fails; the first to fail does so while all before it are good
    prove(z3.Implies(z3.Or(f1, f2, f3), z3.Or(f1, z3.And(z3.Not(f1), f2), z3.And(z3.Not(f1), z3.Not(f2), f3))))
    return "P(A and E) <= bound follows from P(A) <= bound, P(A | E) <= bound does not; first-failure union by z3"


def union_of_plan() -> float:
    """A shipped plan's events, bounded by kl at the shipped sizes, over delta/2: one union and no condition."""
    net = random_network((2000, 3, 1), rng=1, positive=True)
    x = (np.random.default_rng(2).random((100, 2000)) < 0.25).astype(float)
    spent = 0.0
    for p in CoreNetRelative(eps=0.5, delta=0.2, K=1.25).plan(net, x):
        live = ~p.exact
        rate, eps, m = 1 / (p.sensitivities.total[live] * p.K), p.eps[live], p.size[live]
        spent += float(np.sum(np.exp(-m * upper_rate(rate, eps)) + np.exp(-m * lower_rate(rate, eps))))
    return spent / 0.1


def exact() -> str:
    for k, layer in enumerate((SECOND, THIRD)):  # Assumption 1: at most one kind at or below M_j/2
        shares = []
        for x in KINDS.values():
            read = np.array([x]) if k == 0 else SECOND(np.array([x]))
            shares.append(sensitivities(layer, [read], theorem=SLUG).values)
        top = np.max(shares, axis=0)
        low = np.array(shares) <= top / K
        require(bool((top > 0).all() and (low.sum(axis=0) <= 1).all()), "F_j(M_j/2) <= 1/2 for every edge")
    p = probabilities()
    conditional = p["A and E"] / p["E"]
    require(p["low"] <= BOUND, f"the unconditional bound must hold: {p['low']} against {BOUND}")
    require(p["A"] <= BOUND and p["A and E"] <= BOUND, "and so must the intersection")
    require(conditional > Fraction(3, 2) * BOUND, f"P(A | E) = {float(conditional)} against {float(BOUND)}")
    require(conditional <= BOUND / p["E"], "by at most the factor 1/P(E)")
    return (
        f"P(A | E) = {float(conditional):.4f} > {float(BOUND):.4f} >= P(A and E) = {float(p['A and E']):.5f}, "
        f"P(E) = {float(p['E']):.3f}"
    )


def simulate(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(E, A) in n trials, each with its own S, x and shipped draws."""
    good, fails = np.zeros(n, bool), np.zeros(n, bool)
    counts_b, kinds = rng.binomial(POINTS, 0.5, size=n), rng.random(n) < 0.5
    for group in (0, POINTS, -1):  # S of one kind, or of both: the maximum does not see how many
        who = np.flatnonzero(counts_b == group if group >= 0 else (counts_b % POINTS != 0))
        S = sample(group if group >= 0 else 1)
        second = sensitivities(SECOND, [S], theorem=SLUG)
        low = sensitivities(THIRD, [SECOND(S)], theorem=SLUG).values
        edges, q = len(second.values), second.probabilities
        indptr = (np.arange(len(who))[:, None] * edges + second.groups.indptr[:-1]).ravel()
        drawn = draw_counts(np.tile(q, len(who)), np.append(indptr, len(who) * edges), np.ones(len(indptr), int), rng)
        weights = np.divide(drawn.reshape(-1, edges), q, out=np.zeros((len(who), edges)), where=q > 0)
        x = np.where(kinds[who, None], KINDS["a"], KINDS["b"])[:, second.groups.columns]
        rows = second.groups.spread(second.groups.neuron)
        z_hat = np.stack([(weights * x)[:, rows == i].sum(axis=1) for i in range(FRAGILE + 1)], axis=1)
        z = np.stack([x[:, rows == i].sum(axis=1) for i in range(FRAGILE + 1)], axis=1)
        good[who] = (np.abs(z_hat - z) <= 0.5 * z * (1 + 1e-12)).all(axis=1)
        terms = z_hat[:, [0, FRAGILE]]
        fails[who] = (terms > 3 * K * low * terms.sum(axis=1, keepdims=True)).any(axis=1)
    return good, fails


def given_good(rng: np.random.Generator, n: int) -> np.ndarray:
    """A trial: A, in draws in which E happened."""
    found = np.empty(0, bool)
    while len(found) < n:
        good, fails = simulate(rng, 20_000)
        found = np.concatenate([found, fails[good]])
    return found[:n]


def together(rng: np.random.Generator, n: int) -> np.ndarray:
    """A trial: A and E."""
    good, fails = simulate(rng, n)
    return good & fails


def monte_carlo(effort: int = 1) -> Evidence:
    delta = float(BOUND)
    given = judge(given_good, delta=delta, trials=2_000 * effort, name="A given E", expect="violated")
    both = judge(together, delta=delta, trials=2_000 * effort, name="A and E")
    return Evidence(text=f"A given E: {given.text}; A and E: {both.text}", trials=given.trials + both.trials)


def teeth() -> Evidence:
    p = probabilities()
    slack = smallest_sabotage(lambda factor: p["A and E"] > BOUND / Fraction(factor))
    spent = union_of_plan()
    require(spent <= 1 + 1e-9, f"a shipped plan spends {spent} of delta/2")
    require(spent > 0.01, f"and the union must not be idle, {spent}")
    net = Network(layers=(SECOND, THIRD))
    require(net.sizes == (4, FRAGILE + 1, 1), "the counterexample is a net")
    text = f"the intersection's bound divided by {slack:g} is caught; a shipped plan spends {spent:.2f} of its delta/2"
    return Evidence(text=text, slack=slack)
