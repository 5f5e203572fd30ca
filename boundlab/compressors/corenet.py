"""CoreNet (arXiv:1804.05345): edges sampled by empirical sensitivity; as published, and in three provable forms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, choice, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.compressors.constants import constants
from boundlab.compressors.method import Compressor
from boundlab.coresets.sensitivity_sampling import Rule, certified_eps, sample_size
from boundlab.nets.condition import condition_numbers, condition_quantiles
from boundlab.nets.groups import parts
from boundlab.nets.importance import sensitivities
from boundlab.nets.propagate import Schedule, envelope, layer_errors
from boundlab.network import Network
from boundlab.records import SamplePlan, Sensitivities


@implements("baykal2019_network_compression")
@dataclass(frozen=True, kw_only=True)
class CoreNet(Compressor):
    """Algorithms 1 and 2 with every published constant: relative error eps, failure probability delta.

    |S| = ⌈K ln(8 eta eta*/delta)⌉ points (the first of those given; with fewer, the certificate is void),
    Delta^l = max_i mean_S Delta_i + kappa, eps_l = eps/(2 (L-1) Delta^{l->}), m = ⌈8 S K ln(8 eta/delta)/eps_l²⌉
    with K = ln(eta eta*). Biases, which the paper has none of, are kept exactly, and so is a group with m >= its edges.
    eps in (0, 1], delta in (0, 1).
    """

    eps: float = 0.5
    delta: float = 0.05
    name: ClassVar[str] = "corenet-published"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every layer on the original activations of the calibration points."""
        probability("delta", self.delta)
        published = constants(network.sizes, self.delta)
        read = network.inputs(points[: published.points])
        own = [
            sensitivities(layer, parts(a), theorem="baykal2019_empirical_sensitivity")
            for layer, a in zip(network.layers, read, strict=True)
        ]
        means = [condition_numbers(layer, a).mean(axis=0).max() for layer, a in zip(network.layers, read, strict=True)]
        condition = np.array(means) + published.kappa
        errors = layer_errors(self.eps, condition, _cost(own), Schedule.PUBLISHED)
        row_delta = self.delta / (4.0 * published.eta)  # 2 delta/(8 eta): both tails
        return tuple(
            _plan(
                k,
                s,
                eps=e,
                size=sample_size(s.total, e, row_delta, K=published.K, rule=Rule.PUBLISHED),
                K=published.K,
                parts=1,
                condition=c,
                theorem="baykal2019_network_compression",
            )
            for k, (s, e, c) in enumerate(zip(own, errors, condition, strict=True))
        )


@implements("boundlab_theorem_a", "baykal2019_conditional_steps")
@dataclass(frozen=True, kw_only=True)
class CoreNetRelative(Compressor):
    """Theorem A: relative error eps at failure probability delta, half of it for the coins, half for bad points.

    Condition numbers are quantiles on the calibration points, not means plus kappa; whether a fresh point obeys them,
    and has shares of at most K s_j, is for `certify` to find on a hold-out. eps in (0, 1], delta in (0, 1), K >= 1.
    """

    eps: float = 0.5
    delta: float = 0.05
    K: float = 3.0
    rule: Rule = Rule.KL
    schedule: Schedule = Schedule.OPTIMAL
    name: ClassVar[str] = "corenet-certified-relative"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every layer on the original activations of the calibration points."""
        require_rule(self.delta, self.K, self.rule)
        read = network.inputs(points)
        own = [
            sensitivities(layer, parts(a), theorem="baykal2019_empirical_sensitivity")
            for layer, a in zip(network.layers, read, strict=True)
        ]
        condition = condition_quantiles(network, points, self.delta)
        errors = layer_errors(self.eps, condition, _cost(own), self.schedule)
        signs = [len(parts(a)) for a in read]
        events = sum(len(s.groups) * n for s, n in zip(own, signs, strict=True))
        return tuple(
            _plan(
                k,
                s,
                eps=e,
                size=sample_size(s.total, e, self.delta / 2 / events, K=self.K, rule=self.rule),
                K=self.K,
                parts=n,
                condition=c,
                theorem="boundlab_theorem_a",
            )
            for k, (s, n, e, c) in enumerate(zip(own, signs, errors, np.maximum(condition, 1.0), strict=True))
        )


@implements("boundlab_theorem_b")
@dataclass(frozen=True, kw_only=True)
class CoreNetAdditive(Compressor):
    """Theorem B: |f̂(x) - f(x)| <= e^L(x) in every output; eps is the relative error of each sampled group.

    No condition numbers, no assumption on the data; zero and negative outputs, biases and signed inputs are covered.
    Half of delta pays for the coins, half for points with a share above K s_j. eps > 0, delta in (0, 1), K >= 1.
    """

    eps: float = 0.5
    delta: float = 0.05
    K: float = 3.0
    rule: Rule = Rule.KL
    name: ClassVar[str] = "corenet-certified-additive"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan layer by layer: the error that earlier layers pass on is part of a layer's sensitivities."""
        require_rule(self.delta, self.K, self.rule)
        positive("eps", self.eps)
        row_delta = self.delta / 2 / _number_of_groups(network)
        plans: list[SamplePlan] = []
        for layer, a in zip(network.layers, network.inputs(points), strict=True):
            _, error = envelope(network, points, [p.groups for p in plans], [p.eps for p in plans])
            s = sensitivities(layer, [*parts(a), error], theorem="boundlab_theorem_b")
            n, passes = len(parts(a)), any((p.draws > 0).any() for p in plans)
            size = sample_size(s.total, self.eps, row_delta, K=self.K, rule=self.rule, upper=n + passes, lower=n)
            plans.append(_plan(len(plans), s, eps=self.eps, size=size, K=self.K, parts=n, theorem="boundlab_theorem_b"))
        return tuple(plans)


@implements("boundlab_theorem_b")
@dataclass(frozen=True, kw_only=True)
class CoreNetBudget(Compressor):
    """Draws in proportion to S, at most as many as keep `nnz` weights in the mean; what that certifies is computed.

    m = ⌈c S⌉ with c by bisection on the exact mean sum_j 1 - (1 - q_j)^m; a group with m >= its edges is kept, so
    that a net with few groups jumps from about 63 % of a group to all of it. The non-zeros of one draw are random, and
    miss `nnz` by what `Compression.missed` tells: drawing until the count is met would break the independence that
    every certificate rests on. The eps of a group is what its m certifies at delta/2
    over all groups (Theorem B); it may exceed 1.
    """

    nnz: int
    delta: float = 0.05
    K: float = 3.0
    name: ClassVar[str] = "corenet-budget"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan all layers with one common factor c."""
        require_rule(self.delta, self.K, Rule.KL)
        positive_int("nnz", self.nnz)
        row_delta = self.delta / 2 / _number_of_groups(network)
        own: list[Sensitivities] = []
        signs = []
        for layer, a in zip(network.layers, network.inputs(points), strict=True):
            # the envelope at eps = 1 stands in for the final one, which the sizes decide only afterwards
            _, error = envelope(network, points, [s.groups for s in own], [np.ones(len(s.groups)) for s in own])
            own.append(sensitivities(layer, [*parts(a), error], theorem="boundlab_theorem_b"))
            signs.append(len(parts(a)))
        factor = _budget_factor(own, self.nnz)
        sizes = [np.ceil(factor * s.total) for s in own]
        return tuple(
            _plan(
                k,
                s,
                eps=certified_eps(s.total, m, row_delta, K=self.K, upper=n + (k > 0), lower=n),
                size=m,
                K=self.K,
                parts=n,
                theorem="boundlab_theorem_b",
            )
            for k, (s, m, n) in enumerate(zip(own, sizes, signs, strict=True))
        )


METHODS: tuple[type[Compressor], ...] = (CoreNet, CoreNetRelative, CoreNetAdditive, CoreNetBudget)
"""This paper's compressors, in the order in which an audit runs them."""


def _plan(
    index: int,
    own: Sensitivities,
    *,
    eps: float | np.ndarray,
    size: np.ndarray,
    K: float,
    parts: int,
    theorem: str,
    condition: float = np.nan,
) -> SamplePlan:
    """Close a layer's plan: a group whose m reaches its edges is kept exactly, with error 0."""
    exact = size >= own.groups.edges
    return SamplePlan(
        layer=index + 2,
        sensitivities=own,
        size=size,
        exact=exact,
        eps=np.where(exact | (own.total <= 0), 0.0, eps),
        K=K,
        parts=parts,
        condition=float(condition),
        theorem=theorem,
    )


def _cost(own: Sequence[Sensitivities]) -> np.ndarray:
    return np.array([s.total.sum() for s in own])


def _number_of_groups(network: Network) -> int:
    return sum(int((w.weight > 0).any(axis=1).sum() + (w.weight < 0).any(axis=1).sum()) for w in network.layers)


@implements("boundlab_expected_distinct")
def _budget_factor(own: Sequence[Sensitivities], nnz: int) -> float:
    """The largest c at which the mean number of non-zeros is at most nnz."""

    def kept(c: float) -> float:
        plans = (_plan(0, s, eps=0.0, size=np.ceil(c * s.total), K=1.0, parts=1, theorem="") for s in own)
        return sum(plan.expected_distinct.sum() for plan in plans)

    low, high = 1e-9, float(max(s.groups.edges.max(initial=1) for s in own))
    for _ in range(50):
        mid = float(np.sqrt(low * high))
        if kept(mid) <= nnz:
            low = mid
        else:
            high = mid
    return low


def require_rule(delta: float, K: float, rule: Rule) -> None:
    """Raise InvalidParameter unless a plan can be certified with these."""
    probability("delta", delta)
    if isinstance(K, str) or not 1.0 <= K <= 1e9:
        raise InvalidParameter(f"K must be at least 1 and at most 1e9, got K={K!r}.")
    if choice("rule", rule, Rule) is Rule.BINOMIAL:
        raise InvalidParameter("a plan's rule must certify: published, bernstein or kl, got binomial.")
