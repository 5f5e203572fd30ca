"""CoreNet's main theorem: true under its assumptions, and empty, for its sizes exceed every fan-in.

Proof of the size. A group of sensitivity S gets m = ⌈8 S K ln(8 eta/delta)/eps_l²⌉ draws, eps_l = eps/(2 (L-1)
Delta^{l->}), and 8 (2 (L-1))² = 32 (L-1)²; the two signs of a neuron add one ceiling, ⌈a⌉ + ⌈b⌉ <= ⌈a + b⌉ + 1. The
number of non-zeros is at most m.

Why it is empty. Delta^l contains kappa > ln²(eta eta*), which enters m to the power 2 (L-l+1): even with S = 1,
Delta = 1 and eps = 1, the best values that they can have, m is above 10^9 in the last layer of 784-300-100-10 and above
10^18 in its first. A group whose m reaches its edges is kept exactly, so that nothing is removed, and the promise holds
because the net has not changed.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import sympy as sp
from sklearn.datasets import load_digits

from boundlab.compressors.constants import constants
from boundlab.compressors.corenet import CoreNet
from boundlab.compressors.method import draw_layer
from boundlab.coresets.alias import draw_counts
from boundlab.coresets.sensitivity_sampling import Rule, sample_size
from boundlab.nets.propagate import Schedule, downstream, layer_errors
from boundlab.nets.toy import random_network
from boundlab.network import Network
from boundlab.records import SamplePlan
from proofs_checks import Evidence, Mutation, Theorem, require
from proofs_checks.judging import judge, smallest_sabotage, violated

THEOREM = Theorem(
    name="CoreNet, network compression",
    source="CoreNet (arXiv:1804.05345), the main theorem, as we understand the paper; item number not known to us",
    given=(
        "Assumption 1 with K = ln(eta eta*) and Assumption 2 with lambda <= ln(eta eta*)/2",
        "|S| = K ln(8 eta eta*/delta) points, independent of the net; no fan-in and no output layer wider than eta*",
        "eps in (0, 1]; inputs non-negative, no biases",
    ),
    claim=r"\mathrm{size}(\hat\theta) \le \sum_{\ell,i} \left(\lceil 32(L-1)^2(\hat\Delta^{\ell\to})^2 S_i^\ell K"
    r"\ln(8\eta/\delta)/\epsilon^2\rceil + 1\right),\quad \Pr[f_{\hat\theta}(x) \in (1\pm\epsilon)f_\theta(x)]"
    r"\ge 1-\delta",
    status="vacuous",
    finding="At S = 1, Delta = 1, eps = 1, delta = 0.1 the published m of a group of 784-300-100-10 is 1.8e18, 4.9e13 "
    "and 1.3e9 where the fan-ins are 784, 300 and 100: every group is kept, and nothing is compressed.",
    ours="boundlab_theorem_a",
)

MUTATIONS = (
    Mutation(
        file="compressors/corenet.py",
        old="row_delta = self.delta / (4.0 * published.eta)",
        new="row_delta = self.delta / 4.0",
    ),
    Mutation(
        file="compressors/corenet.py",
        old="size=sample_size(s.total, e, row_delta, K=published.K, rule=Rule.PUBLISHED)",
        new="size=sample_size(s.total, e, row_delta, K=1.0, rule=Rule.PUBLISHED)",
    ),
    Mutation(
        file="nets/propagate.py",
        old="return eps / (2.0 * depth) / chain",
        new="return eps / depth / chain",
    ),
)

SIZES = (784, 300, 100, 10)
REAL = (SIZES, (784, 500, 300, 100, 10), (784, 1000, 1000, 10), (3072, 1000, 10), (25088, 4096, 4096, 1000), (2, 2, 1))
PRINTED = (1.8e18, 4.9e13, 1.3e9)  # m per group at S = 1, Delta = 1, eps = 1, delta = .1: layers 2, 3, 4


def best_case(sizes: tuple[int, ...], eps: float, delta: float) -> np.ndarray:
    """The published m of one group in each layer where S = 1 and every sample mean of Delta is 1, its least value."""
    known = constants(sizes, delta)
    depth = len(sizes) - 1
    errors = layer_errors(eps, np.full(depth, 1.0 + known.kappa), np.ones(depth), Schedule.PUBLISHED)
    return sample_size(np.ones(depth), errors, delta / 4 / known.eta, K=known.K, rule=Rule.PUBLISHED)


def digits() -> tuple[Network, tuple[SamplePlan, ...], np.ndarray]:
    """A net on 8 x 8 digits with the published plan, and points that the plan has not seen."""
    x = np.asarray(load_digits(return_X_y=True)[0]) / 16
    net = random_network((64, 32, 10), rng=0)
    return net, CoreNet(eps=1.0, delta=0.1).plan(net, x[:1000]), x[1000:]


def symbolic() -> str:
    depth, chain, s, k, log, eps = sp.symbols("depth Delta S K log epsilon", positive=True)
    share = eps / (2 * depth * chain)
    gap = 8 * s * k * log / share**2 - 32 * depth**2 * chain**2 * s * k * log / eps**2
    require(sp.simplify(gap) == 0, "8 / eps_l² must be 32 (L-1)² Delta² / eps²")
    d, n = sp.symbols("delta eta", positive=True)
    neuron = 2 * (d / (8 * n) + 2 * d / (8 * n)) + 2 * n * d / (8 * n * n)  # shares and two tails per sign; Delta
    require(sp.simplify(n * neuron - d) == 0, "the failures of all neurons add up to delta")
    require(
        sp.simplify(sp.log(2 / (2 * d / (8 * n))) - sp.log(8 * n / d)) == 0, "ln(8 eta/delta) is ln 2/(row's delta)"
    )
    e = sp.symbols("e", positive=True)
    require(sp.expand(8 - (6 + 2 * e) - 2 * (1 - e)) == 0, "(2 + 2 eps/3) 3 K <= 8 K for eps <= 1")
    return "8/eps_l² = 32 (L-1)² Delta²/eps²; the neurons' failures add up to delta; (6 + 2 eps) K <= 8 K iff eps <= 1"


def exact() -> str:
    rng, checked = np.random.default_rng(32), 0
    for k in range(40):
        sizes = (int(rng.integers(2, 9)), *rng.integers(1, 7, size=int(rng.integers(0, 4))).tolist(), 3)
        eps, delta = float(rng.uniform(0.05, 1)), float(rng.uniform(0.01, 0.3))
        net, points = random_network(sizes, rng=rng, positive=bool(k % 2)), rng.uniform(0, 1, (400, sizes[0]))
        plans = CoreNet(eps=eps, delta=delta).plan(net, points)
        known, depth = constants(sizes, delta), len(plans)
        chain = downstream(np.array([p.condition for p in plans]))
        for plan, after in zip(plans, chain, strict=True):
            real = (
                32 * depth**2 * after**2 * plan.sensitivities.total * known.K * math.log(8 * known.eta / delta) / eps**2
            )
            alive = plan.sensitivities.total > 0
            excess = plan.size[alive] - np.ceil(real[alive] * (1 - 1e-12))
            require(np.all(excess >= 0), "the shipped m must not be below the published one")
            require(np.all(excess <= 1 + 2e-9 * real[alive]), "the shipped m must be the published one, rounded up")
            for i in np.unique(plan.groups.neuron):
                own = plan.groups.neuron == i
                require(plan.size[own].sum() <= (math.ceil(real[own].sum()) + 1) * (1 + 2e-9), "one ceiling too many")
            checked += int(alive.sum())
    grid = [Fraction(i, 7) for i in range(1, 40)]
    require(all(math.ceil(a) + math.ceil(b) <= math.ceil(a + b) + 1 for a in grid for b in grid), "ceil a + ceil b")
    found = best_case(SIZES, eps=1.0, delta=0.1)
    for m, told, fan_in in zip(found, PRINTED, SIZES, strict=False):
        require(abs(m / told - 1) < 0.05, f"the best case must be {told:g}, it is {m:g}")
        require(m > 1e6 * fan_in, f"m = {m:g} must be far above the fan-in {fan_in}")
    for sizes in REAL:  # no net in use, nor a toy, has a group that is sampled at eps = 1 (the fan-in caps its edges)
        ratio = float(np.min(best_case(sizes, 1.0, 0.1) / np.array(sizes[:-1])))
        require(ratio > 1e4, f"{sizes}: the least m over the fan-in is {ratio}")
    least = ", ".join(f"{m:.2g}" for m in found)
    return f"m of {checked} groups is the printed formula; S = Delta = eps = 1, delta = .1, 784-300-100-10: {least}"


def monte_carlo(effort: int = 1) -> Evidence:
    net, plans, fresh = digits()
    live = [p.sensitivities.total > 0 for p in plans]
    need = min(float((p.size / p.groups.edges)[on].min()) for p, on in zip(plans, live, strict=True))
    require(all(p.exact[on].all() for p, on in zip(plans, live, strict=True)), "every live group must be kept exactly")

    def errs(rng: np.random.Generator, n: int) -> np.ndarray:
        drawn = net.with_weights(
            draw_layer(layer.weight, plan, rng) for layer, plan in zip(net.layers, plans, strict=True)
        )
        x = fresh[rng.integers(len(fresh), size=n)]
        return np.asarray((np.abs(drawn(x) - net(x)) > np.abs(net(x))).any(axis=1))

    own = judge(errs, delta=0.1, trials=400 * effort, name="64-32-10 on digits, eps = 1", block=40)
    text = (
        f"64-32-10 on digits, eps = 1: every group kept, m at least {need:.1e} times its edges: {own.text}, trivially"
    )
    return Evidence(text=text, trials=own.trials)


def sparse(rng: np.random.Generator, n: int) -> np.ndarray:
    """Points with a quarter of 4000 features at 1."""
    return (rng.random((n, 4000)) < 0.25).astype(float)


def teeth() -> Evidence:
    net = random_network((4000, 1), rng=1, positive=True)
    plan = CoreNet(eps=0.5, delta=0.1).plan(net, sparse(np.random.default_rng(2), 400))[0]
    w, q, total = net.layers[0].weight[0], plan.sensitivities.probabilities, plan.sensitivities.total
    require(plan.exact.all(), "the published size must be empty on this net")
    # the check can tell: without kappa and K the group is sampled
    errors = layer_errors(0.5, np.ones(1), np.ones(1), Schedule.PUBLISHED)
    bare = sample_size(total, errors, 0.1 / 4, K=1.0, rule=Rule.PUBLISHED)
    require(float(bare[0]) < 4000, f"without kappa and K the group must be sampled, m = {bare[0]:g}")

    def errs(m: int):
        def trial(rng: np.random.Generator, n: int) -> np.ndarray:
            indptr = np.arange(n + 1, dtype=np.int64) * 4000
            counts = draw_counts(np.tile(q, n), indptr, np.full(n, m), rng).reshape(n, 4000)
            a = sparse(rng, n)
            z = a @ w
            return np.abs(((counts * (w / (m * q))) * a).sum(axis=1) - z) > 0.5 * z

        return trial

    def caught(factor: float) -> bool:
        m = max(1, min(10**6, math.ceil(float(plan.size[0]) / factor)))  # more draws than 10^6 only help
        return violated(errs(m), delta=0.1, trials=100, name=f"published m / {factor:g}")

    slack = smallest_sabotage(caught, factors=(1e5, 1e6, 3e6, 1e7, 1e8))
    text = (
        f"4000-1, eps = .5: m = {plan.size[0]:.2g}, {bare[0]:g} without kappa and K; violated when divided by {slack:g}"
    )
    return Evidence(text=text, slack=slack)
