"""Neurons removed by what they can do at worst, without any data (arXiv:1907.04018), and by Lewis weights (2209.08554).

A hidden layer's neurons are drawn once for all who read them, from plans of the ORIGINAL net: no layer waits for the
coins of another. Nets have ReLU and linear layers here; ``coresets.layer_coreset`` draws one layer with any admitted
activation.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, UnsupportedLayer, choice, positive, probability, share
from boundlab._theory import implements
from boundlab.compressors.method import ChannelCompressor
from boundlab.coresets.absolute_sensitivity import lewis_sensitivities
from boundlab.coresets.activations import RELU, Activation
from boundlab.coresets.layer_coreset import SupBound, sup_bound
from boundlab.coresets.neuron_cleanup import append_bias
from boundlab.coresets.neuron_sampling import Domain, Inclusion, include, neuron_plan, published_size
from boundlab.nets.layerwise import norm_reach
from boundlab.nets.norms import spectral_norm
from boundlab.network import Network
from boundlab.records import Groups, Law, SamplePlan, Sensitivities

UP = 1.0 + 1e-12

LINEAR = Activation(
    name="linear",
    value=lambda z: np.asarray(z, np.float64),
    sup=lambda r: np.asarray(r, np.float64),
    lam=lambda r: np.ones_like(np.asarray(r, np.float64)),
    at_zero=0.0,
    nonneg=False,
    homogeneous=True,
)
"""No activation: what a linear hidden layer has."""


class Importance(StrEnum):
    """What a neuron is drawn in proportion to."""

    SUP = "sup"
    """The most it can contribute on the ball, beta |p| max_j |w_j| (arXiv:1907.04018)."""
    LEWIS = "lewis"
    """Its l1 Lewis weight, which bounds its share of sum_q max_j |w_j(q)| |<q, x>| at EVERY x (after 2209.08554)."""


@implements("mussay2020_sup_sensitivity", "boundlab_layerwise_propagation", "mussay2020_bias_column")
@dataclass(frozen=True, kw_only=True, eq=False)
class HiddenLayer:
    """A hidden layer as a set of points, with the ball that what it reads lies in."""

    points: np.ndarray  # (n, d + 1), the bias in the last column
    weights: np.ndarray  # (k, n), of the layer that reads it
    relu: bool
    reach: float  # |a| <= reach for every a that it reads in the original net
    domain: Domain

    @property
    def radius(self) -> float:
        """The radius of a ball that contains (a, 1)."""
        return math.hypot(self.reach, 1.0) * UP

    @property
    def om(self) -> np.ndarray:
        """max_j |w_j(p)|, (n,)."""
        return np.abs(self.weights).max(axis=0)

    @property
    def largest_sum(self) -> float:
        """A bound on F(a) = sum_p om(p) |<p, (a, 1)>| over the ball."""
        size = np.linalg.norm(self.points[:, :-1], axis=1) * self.reach + np.abs(self.points[:, -1])
        return float(self.om @ size) * UP

    def sensitivities(self, importance: Importance) -> np.ndarray:
        """s(p), (n,): s(p) >= sup of |w_j(p) phi|, or of its share of F at any x."""
        if importance is Importance.SUP:
            return self._plan().sensitivities
        if not self.relu:
            raise UnsupportedLayer("Lewis weights are proved for ReLU neurons, got a linear hidden layer.")
        rows = self.points * self.om[:, None]
        return lewis_sensitivities(rows) if rows.any() else np.zeros(len(rows))

    def bound(self, importance: Importance, inclusion: Inclusion) -> SupBound:
        """What draws of the neurons that are left to chance promise on the ball, for every reader."""
        if importance is Importance.SUP:
            return sup_bound(
                self._plan(),
                inclusion,
                self.points,
                self.weights,
                activation=RELU if self.relu else LINEAR,
                domain=self.domain,
            )
        return lewis_bound(self, inclusion, self.largest_sum)

    def _plan(self):
        activation = RELU if self.relu else LINEAR
        return neuron_plan(self.points, self.weights, activation, self.radius, self.domain)


@implements("boundlab_homogeneous_sensitivity", "boundlab_deterministic_inclusion")
def lewis_bound(hidden: HiddenLayer, inclusion: Inclusion, scale: float = 1.0) -> SupBound:
    """Return the bound on |f_j - fhat_j|/F at every x of the whole space, times `scale`."""
    om, q = hidden.om, inclusion.probabilities
    part = np.abs(hidden.weights) / np.where(om > 0.0, om, 1.0)
    return SupBound(
        total=inclusion.total if q.any() else 0.0,
        kap=np.sqrt((part * part) @ q) * UP,
        c0=1.0 if bool(np.all(hidden.weights >= 0.0)) else 2.0,
        relu=True,
        scale=scale,
    )


def hidden_layers(network: Network, radius: float) -> list[HiddenLayer]:
    """Return the hidden layers of a net whose inputs have |x| <= radius; radii grow with the norms of the weights."""
    inner = network.layers[:-1]
    norms, biases = [spectral_norm(w.weight) for w in inner], [float(np.linalg.norm(w.bias)) * UP for w in inner]
    reach = norm_reach(norms, biases, radius)
    return [
        HiddenLayer(
            points=append_bias(layer.weight, layer.bias),
            weights=network.layers[k + 1].weight,
            relu=layer.relu,
            reach=float(reach[k]),
            domain=Domain.NONNEGATIVE if k and inner[k - 1].relu else Domain.BALL,
        )
        for k, layer in enumerate(inner)
    ]


def one_group(values: np.ndarray, *, points: int, theorem: str) -> Sensitivities:
    """Return neurons as one group of edges, with their sensitivities (n,): what a `ChannelCompressor` plans over."""
    return Sensitivities(
        values=values, groups=Groups.single(len(values)), points=points, unit="neuron", theorem=theorem
    )


def left_to_chance(plan: SamplePlan) -> Inclusion:
    """Return what a plan of one group keeps for certain, and the draws among the rest."""
    q = plan.probabilities
    total = math.fsum(np.where(plan.certain, 0.0, plan.sensitivities.values))
    return Inclusion(kept=plan.certain, size=int(plan.draws[0]), total=total * UP, probabilities=q)


@dataclass(frozen=True, kw_only=True)
class NeuronMethod(ChannelCompressor):
    """What the methods of this file share: a ball of inputs, a failure probability, what to draw in proportion to.

    radius : beta > 0; the promise is for all |x|_2 <= beta, and calibration points outside are refused. They have no
        other use: the methods read no data.
    delta : in (0, 1), for all layers together
    """

    radius: float
    delta: float = 0.05
    importance: Importance = Importance.SUP
    refuted: ClassVar[str | None] = None
    """The slug of the published claim behind the number of draws, if it is false."""

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every hidden layer on the original net."""
        beta = positive("radius", self.radius)
        probability("delta", self.delta)
        importance = choice("importance", self.importance, Importance)
        largest = float(np.linalg.norm(points, axis=1).max(initial=0.0))
        if largest > beta * UP:
            raise InvalidParameter(f"radius must reach every calibration point, got radius={beta:g} < {largest:g}.")
        plans = []
        for k, hidden in enumerate(hidden_layers(network, beta)):
            theorem = "boundlab_relu_uniform" if importance is Importance.SUP else "boundlab_homogeneous_sensitivity"
            own = one_group(hidden.sensitivities(importance), points=len(points), theorem=theorem)
            delta = layer_delta(self.delta, len(network.layers) - 1)
            plans.append(self._layer(k, hidden, own, delta))
        return tuple(plans)

    @abstractmethod
    def _layer(self, k: int, hidden: HiddenLayer, own: Sensitivities, delta: float) -> SamplePlan:
        """Plan hidden layer k (from 0) at its share of delta."""

    def _close(
        self,
        k: int,
        hidden: HiddenLayer,
        own: Sensitivities,
        delta: float,
        *,
        size: float,
        top: int | None = None,
        law: Law = Law.MULTINOMIAL,
    ) -> SamplePlan:
        """A plan whose `eps` is what its draws promise the readers on the ball; inf where no theorem says."""
        exact = size + (top or 0) >= len(own.values)
        plan = SamplePlan(
            layer=k + 2,
            sensitivities=own,
            size=np.array([float(size)]),
            exact=np.array([exact]),
            eps=np.zeros(1),
            K=1.0,
            parts=1,
            condition=math.nan,
            theorem=own.theorem,
            law=law,
            top=None if top is None else np.array([top]),
        )
        error = sampling_error(hidden, plan, Importance(self.importance), delta)
        return replace(plan, eps=error.max(keepdims=True))


def layer_delta(delta: float, hidden: int) -> float:
    """Return delta for one of the 2 H - 1 events of H hidden layers: their draws, and what later ones pass on."""
    return delta / max(1, 2 * hidden - 1)


@implements("boundlab_independent_neuron_layers")
def sampling_error(hidden: HiddenLayer, plan: SamplePlan, importance: Importance, delta: float) -> np.ndarray:
    """Return the additive error of a layer's draws at each reader, on the ball, w.p. >= 1 - delta; (k,).

    inf for draws without replacement: nothing is proved for all inputs at once.
    """
    chance = left_to_chance(plan)
    if plan.exact[0] or not chance.probabilities.any():
        return np.zeros(len(hidden.weights))
    if plan.law is not Law.MULTINOMIAL or not chance.size:
        return np.full(len(hidden.weights), np.inf)
    return hidden.bound(importance, chance).error(chance.size, delta)


@implements("boundlab_relu_uniform", "boundlab_relu_bousquet", "boundlab_independent_neuron_layers")
@dataclass(frozen=True, kw_only=True)
class NeuronCoreset(NeuronMethod):
    """As many draws as the corrected theorem asks for: each hidden layer's readers err by at most eps on the ball.

    eps > 0 is additive, in the units of a pre-activation, for all inputs at once; m of order (t/eps)² with explicit
    constants. On real nets m exceeds the neurons, and everything is kept: this is the honest price of the guarantee.
    What it becomes at the outputs is for `sup_promise` to say.
    """

    eps: float = 1.0
    name: ClassVar[str] = "neuron-coreset"

    def _layer(self, k: int, hidden: HiddenLayer, own: Sensitivities, delta: float) -> SamplePlan:
        positive("eps", self.eps)
        bound = hidden.bound(Importance(self.importance), _all_drawn(own))
        return self._close(k, hidden, own, delta, size=bound.size(self.eps, delta))


@implements("mussay2020_additive_theorem", "mussay2020_vc_dimension")
@dataclass(frozen=True, kw_only=True)
class NeuronCoresetPublished(NeuronMethod):
    """As many draws as arXiv:1907.04018 asks for an additive error eps: c k t (d ln t + ln(1/delta))/eps².

    The claim is FALSE for every constant c (``mussay2020_additive_theorem``): the number does not scale with the
    weights. A plan's `eps` is not the claimed one, but what the corrected theorem promises for these draws. The paper
    gives no c; `constant` is 1 unless told.
    """

    eps: float = 1.0
    constant: float = 1.0
    name: ClassVar[str] = "neuron-coreset-published"
    refuted: ClassVar[str | None] = "mussay2020_additive_theorem"

    def _layer(self, k: int, hidden: HiddenLayer, own: Sensitivities, delta: float) -> SamplePlan:
        total, (outputs, _) = float(own.total[0]), hidden.weights.shape
        dimension = hidden.points.shape[1]
        m = 0.0
        if total > 0.0:
            m = published_size(
                total, self.eps, self.delta, dimension=dimension, constant=self.constant, outputs=outputs
            )
        return self._close(k, hidden, own, delta, size=m)


@implements("boundlab_expected_distinct", "boundlab_deterministic_inclusion")
@dataclass(frozen=True, kw_only=True)
class NeuronCoresetBudget(NeuronMethod):
    """A share of each hidden layer's neurons, in the mean over the coins; heavy neurons are kept as they are.

    share : in (0, 1], of the neurons of each hidden layer, or one number per hidden layer; at least one is drawn
    law : with replacement, which the theorems cover; without (Poisson, pivotal) the error is smaller in practice and
        nothing is promised for all inputs before the draw, only certified after it (`worst_case`)
    """

    share: float | tuple[float, ...]
    law: Law = Law.MULTINOMIAL
    name: ClassVar[str] = "neuron-coreset-budget"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every hidden layer on the original net."""
        hidden = len(network.layers) - 1
        if isinstance(self.share, tuple) and len(self.share) != hidden:
            raise InvalidParameter(f"share must be one number or {hidden} of them, got {len(self.share)}.")
        return super().plan(network, points)

    def _layer(self, k: int, hidden: HiddenLayer, own: Sensitivities, delta: float) -> SamplePlan:
        law, n = choice("law", self.law, Law), len(own.values)
        target = max(1.0, share("share", self.share[k] if isinstance(self.share, tuple) else self.share) * n)
        useful = int(np.count_nonzero(own.values))
        if useful <= target:  # the others contribute nothing on the ball
            return self._close(k, hidden, own, delta, size=0.0, top=useful)
        if law is not Law.MULTINOMIAL:
            return self._close(k, hidden, own, delta, size=math.floor(target), law=law)

        def kept(m: int) -> float:
            rule = include(own.values, m)
            q = rule.probabilities
            return float(rule.kept.sum() - np.expm1(rule.size * np.log1p(-q[q > 0.0])).sum())

        m = largest_size(kept, target, n)
        rule = include(own.values, m)
        return self._close(k, hidden, own, delta, size=rule.size, top=int(rule.kept.sum()))


def largest_size(kept: Callable[[int], float], target: float, most: int) -> int:
    """Return the largest m in [1, most] with kept(m) <= target, by bisection; 1 if there is none."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if kept(middle) <= target * UP else (low, middle - 1)
    return low


def _all_drawn(own: Sensitivities) -> Inclusion:
    total = float(own.total[0])
    return Inclusion(kept=np.zeros(len(own.values), bool), size=1, total=total * UP, probabilities=own.probabilities)


METHODS: tuple[type[NeuronMethod], ...] = (NeuronCoreset, NeuronCoresetPublished, NeuronCoresetBudget)
"""This paper's compressors."""
