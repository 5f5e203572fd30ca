"""CoreNet's main theorem: true under its assumptions, and empty, for its sizes exceed every fan-in.

Proof of the size. A group of sensitivity S gets m = ⌈8 S K ln(8 eta/delta)/eps_l²⌉ draws, eps_l = eps/(2 (L-1)
Delta^{l->}), and 8 (2 (L-1))² = 32 (L-1)²; the two signs of a neuron add one ceiling, ⌈a⌉ + ⌈b⌉ <= ⌈a + b⌉ + 1. The
number of non-zeros is at most m. Why it is empty: Delta^l contains kappa > ln²(eta eta*), and (1 + kappa)^{2(L-1)}
alone is beyond the number of weights of any net in use. A group whose m reaches its edges is kept exactly, so that
nothing is removed, and the promise holds because the net has not changed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import sympy as sp
from sklearn.datasets import load_digits

from boundlab import (
    CoreNet,
    Network,
    Rule,
    Schedule,
    State,
    certify,
    compress,
    constants,
    random_network,
    sample_size,
    train_mlp,
    verify,
)
from boundlab.nets.propagate import downstream, layer_errors
from boundlab.records import Compression
from proofs_checks import Theorem, require

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
    ours="boundlab_theorem_a",
)

SIZES = (784, 300, 100, 10)
PRINTED = (1.8e18, 4.9e13, 1.3e9)  # m per group at S = 1, Delta = 1, eps = 1, delta = .1: layers 2, 3, 4


def best_case(sizes: tuple[int, ...], eps: float, delta: float) -> np.ndarray:
    """The published m of one group in each layer where S = 1 and every sample mean of Delta is 1, its least value."""
    known = constants(sizes, delta)
    depth = len(sizes) - 1
    errors = layer_errors(eps, np.full(depth, 1.0 + known.kappa), np.ones(depth), Schedule.PUBLISHED)
    return sample_size(np.ones(depth), errors, delta / 4 / known.eta, K=known.K, rule=Rule.PUBLISHED)


def digits() -> tuple[Network, np.ndarray, np.ndarray]:
    """A net trained on 8 x 8 digits, and the points that it has not seen."""
    x, y = (np.asarray(part) for part in load_digits(return_X_y=True))
    return train_mlp(x[:1000] / 16, y[:1000], (32,), epochs=5, rng=0), x[1000:1400] / 16, x[1400:] / 16


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
    least = ", ".join(f"{m:.2g}" for m in found)
    return f"m of {checked} groups is the printed formula; S = Delta = eps = 1, delta = .1, 784-300-100-10: {least}"


def monte_carlo() -> str:
    net, points, fresh = digits()
    small = compress(net, CoreNet(eps=1.0, delta=0.1), points, rng=0)
    promise = certify(small, fresh)
    need = min(float((p.size / p.groups.edges)[p.sensitivities.total > 0].min()) for p in small.plans)
    require(promise.vacuous and promise.sampled_share == 0, "every group must be vacuous")
    require(all(p.exact[p.sensitivities.total > 0].all() for p in small.plans), "every live group must be kept exactly")
    lost = net.nnz - small.nnz
    require(lost == int(sum((p.groups.edges * ~p.exact).sum() for p in small.plans)), "only groups that never act go")
    verdict = verify(small, fresh, eps=1.0, max_trials=len(fresh)).require(State.UPHELD)
    return (
        f"64-32-10 on digits, eps = 1: 100 % of the groups are vacuous, m at least {need:.1e} times the edges; "
        f"upheld trivially, {verdict.failures} failures in {verdict.trials}"
    )


def divided(small: Compression, factor: float) -> Compression:
    """The same plans with sizes divided, each group sampled where that spares an edge."""
    fewer = []
    for c in small.coresets:
        size = np.ceil(c.plan.size / factor)
        exact = size >= c.plan.groups.edges
        fewer.append(replace(c, plan=replace(c.plan, size=size, exact=exact, eps=np.where(exact, 0.0, 1.0))))
    return replace(small, coresets=tuple(fewer))


def teeth() -> str:
    def inputs(rng: np.random.Generator, n: int) -> np.ndarray:
        return (rng.random((n, 4000)) < 0.25).astype(float)

    net = random_network((4000, 1), rng=1, positive=True)
    points = inputs(np.random.default_rng(2), 400)
    small = compress(net, CoreNet(eps=0.5, delta=0.1), points, rng=3)
    require(certify(small, points).vacuous, "the published sizes must be empty on this net")
    # the check can tell: the same net with kappa and K left out is sampled, and the promise still holds
    errors = layer_errors(0.5, np.ones(1), np.ones(1), Schedule.PUBLISHED)
    bare = sample_size(small.plans[0].sensitivities.total, errors, 0.1 / 4, K=1.0, rule=Rule.PUBLISHED)
    require(float(bare[0]) < 4000, f"without kappa and K the group must be sampled, m = {bare[0]:g}")
    states = {f: verify(divided(small, f), inputs, eps=0.5, max_trials=600).state for f in 10.0 ** np.arange(3, 8)}
    caught = [f for f, state in states.items() if state is State.VIOLATED]
    held = [f for f, state in states.items() if state is State.UPHELD]
    require(caught and held and min(caught) > max(held), f"sizes divided far enough must be violated, got {states}")
    return (
        f"4000-1, eps = .5: m = {small.plans[0].size[0]:.2g}, {bare[0]:g} without kappa and K; still upheld when "
        f"divided by {max(held):g}, violated at {min(caught):g}"
    )
