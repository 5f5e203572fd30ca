"""CoreNet+ and CoreNet++ (arXiv:1804.05345): whole neurons drawn for all their readers; the best of many candidates.

CoreNet+ removes neurons, with the relative guarantee of Theorem A. CoreNet++ draws each row several times and keeps the
candidate with the least mean error on held-out points: a guarantee in the MEAN over inputs, and none besides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter, positive, positive_int, probability, share
from boundlab._theory import implements
from boundlab.compressors.corenet import require_rule
from boundlab.compressors.method import ChannelCompressor, Compressor, LayerDraw, as_generator, fingerprints
from boundlab.compressors.neuron_coresets import LINEAR, largest_size, one_group
from boundlab.coresets.activations import RELU
from boundlab.coresets.amplification import FACTOR, candidates, mean_error
from boundlab.coresets.column_sampling import column_size
from boundlab.coresets.neuron_cleanup import clean
from boundlab.coresets.sensitivity_sampling import Rule, certified_eps
from boundlab.nets.condition import condition_quantiles
from boundlab.nets.groups import parts, side_sums, sign_groups
from boundlab.nets.importance import sensitivities
from boundlab.nets.neuron_importance import neuron_sensitivities
from boundlab.nets.propagate import Schedule, layer_errors
from boundlab.network import Layer, Network
from boundlab.records import Compression, Coreset, Groups, Law, Row, SamplePlan, Sensitivities


@implements("baykal2019_corenet_plus", "boundlab_theorem_a")
@dataclass(frozen=True, kw_only=True)
class CoreNetPlus(ChannelCompressor):
    """Neurons drawn by their largest share in any reader: relative error eps at failure probability delta/2 over coins.

    The promise is for inputs with no share above K s_j and no condition number above its bound; how many others there
    are ``certify`` bounds by a hold-out.

    m = ⌈(2 + 2 eps_l/3) K S ln(2 sums/delta_l)/eps_l²⌉ by `Rule.BERNSTEIN`, fewer by `Rule.KL`: one sequence of draws
    keeps every signed sum of the next layer within (1 ± eps_l). The layers are put together as by `CoreNetRelative`,
    the first one exact: half of delta is for the coins, half for inputs with a share above K s_j or a condition number
    above the quantile on the calibration points. A layer with m at or above its neurons is kept. The paper's constants
    for neurons are not known to us; definition and proof are ours. eps in (0, 1], delta in (0, 1), K >= 1.
    """

    eps: float = 0.5
    delta: float = 0.05
    K: float = 3.0
    rule: Rule = Rule.BERNSTEIN
    schedule: Schedule = Schedule.OPTIMAL
    name: ClassVar[str] = "corenet-plus"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every hidden layer on the original activations of the calibration points."""
        require_rule(self.delta, self.K, self.rule)
        if not network.spaces:
            return ()
        own, events, signs = _neurons(network, points)
        condition = condition_quantiles(network, points, self.delta)[1:]
        cost = np.array([s.total.sum() for s in own])
        errors = layer_errors(self.eps, condition, cost, self.schedule)
        layer_delta, plans = self.delta / 2 / len(own), []
        for k, (s, n, sides, e, c) in enumerate(zip(own, events, signs, errors, condition, strict=True)):
            m = column_size(s.values, e, layer_delta, n, K=self.K, rule=self.rule) if e > 0 else math.inf
            exact, bound = m >= len(s.values), max(1.0, float(c))
            plans.append(_plan(k, s, eps=e, size=m, exact=exact, K=self.K, signs=sides, condition=bound))
        return tuple(plans)


@implements("baykal2019_corenet_plus", "boundlab_expected_distinct")
@dataclass(frozen=True, kw_only=True)
class CoreNetPlusBudget(ChannelCompressor):
    """CoreNet+ with as many draws as keep a share of each hidden layer's neurons in the mean over the coins.

    A plan's eps is the relative error that its m certifies for the signed sums of the next layer, at delta/2 over all
    layers; it may exceed 1, and then promises nothing. share in (0, 1], delta in (0, 1), K >= 1.
    """

    share: float
    delta: float = 0.05
    K: float = 3.0
    name: ClassVar[str] = "corenet-plus-budget"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every hidden layer on the original activations of the calibration points."""
        require_rule(self.delta, self.K, Rule.KL)
        share("share", self.share)
        if not network.spaces:
            return ()
        own, events, signs = _neurons(network, points)
        plans = []
        for k, (s, n, sides) in enumerate(zip(own, events, signs, strict=True)):
            m = self._draws(s)
            eps = certified_eps(s.total, np.array([m]), self.delta / 2 / len(own) / n, K=self.K)
            plans.append(_plan(k, s, eps=float(eps[0]), size=m, exact=math.isinf(m), K=self.K, signs=sides))
        return tuple(plans)

    def _draws(self, own: Sensitivities) -> float:
        """The largest m whose mean number of neurons is at most the share; inf where it is all that matter."""
        target, q = max(1.0, self.share * len(own.values)), own.probabilities
        if np.count_nonzero(q) <= target:
            return math.inf

        def kept(m: int) -> float:
            return float(-np.expm1(m * np.log1p(-q)).sum())

        return float(largest_size(kept, target, 2**40))


@implements("baykal2019_corenet_plus_plus")
@dataclass(frozen=True, kw_only=True)
class CoreNetPlusPlus(Compressor):
    """The draws of CoreNet++: enough for a small error in the MEAN over inputs, without the factor ln(1/delta).

    m = ⌈(S K - 1) (10/(9 eps))²⌉ in each group of neuron and sign, so that the best of tau candidates has a mean
    relative error of at most eps, by Markov's inequality. ``compress`` draws one candidate; ``amplify`` draws tau and
    keeps the best. This improves no (eps, delta): the share of inputs that err by more than eps stays nearly what it
    was (``baykal2019_corenet_plus_plus``, where the published claim is refuted). eps > 0, delta in (0, 1), K >= 1.
    """

    eps: float = 0.5
    delta: float = 0.05
    K: float = 3.0
    name: ClassVar[str] = "corenet-plus-plus"

    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Plan every layer on the original activations of the calibration points."""
        require_rule(self.delta, self.K, Rule.KL)
        positive("eps", self.eps)
        plans = []
        for k, (layer, a) in enumerate(zip(network.layers, network.inputs(points), strict=True)):
            s = sensitivities(layer, parts(a), theorem="baykal2019_corenet_plus_plus")
            spread = np.maximum(1.0, s.total * self.K) * (1.0 + 1e-9) - 1.0
            size = np.where(s.total > 0.0, np.maximum(1.0, np.ceil(spread * (FACTOR / self.eps) ** 2)), 0.0)
            exact = size >= s.groups.edges
            plans.append(
                SamplePlan(
                    layer=k + 2,
                    sensitivities=s,
                    size=size,
                    exact=exact,
                    eps=np.where(exact | (s.total <= 0.0), 0.0, math.inf),  # of a mean, no plan promises more
                    K=self.K,
                    parts=len(parts(a)),
                    condition=math.nan,
                    theorem="baykal2019_corenet_plus_plus",
                )
            )
        return tuple(plans)


@dataclass(frozen=True, kw_only=True, eq=False)
class Amplified(Compression):
    """A net whose rows are each the best of `tau` candidates on held-out points: a promise about MEAN errors only.

    Except with probability delta over coins and held-out points, for every group r of neuron and sign at once
        E_x |zhat_r - z_r|/z_r <= promised[layer][r],    x a fresh input at which no share of r exceeds K s_rj.
    At most a share promised/eps of these inputs errs by more than eps (Markov): no (eps, delta) is improved.
    """

    tau: int
    delta: float
    held_out: int
    promised: tuple[
        np.ndarray, ...
    ]  # for each layer (R,): 10/9 sqrt((S K - 1)/m) + 2 slack; inf without held-out points
    observed: tuple[np.ndarray, ...]  # for each layer (R,): the mean relative error of the kept one on T
    single: tuple[np.ndarray, ...]  # the same, averaged over the candidates: what one draw has

    def rows(self) -> list[Row]:
        """One line per layer; errors are means over the sampled groups."""
        rows = []
        told = zip(super().rows(), self.plans, self.promised, self.observed, self.single, strict=True)
        for row, plan, promised, observed, single in told:
            drawn = plan.draws > 0
            errors = {"promised": promised, "observed": observed, "single": single}
            rows.append(row | {k: float(v[drawn].mean()) if drawn.any() else 0.0 for k, v in errors.items()})
        return rows


@implements("baykal2019_corenet_plus_plus")
def amplify(
    compression: Compression,
    held_out: np.ndarray,
    *,
    rng: int | np.random.Generator,
    tau: int | None = None,
    delta: float | None = None,
) -> Amplified:
    """Draw tau candidates of every group from the plans of a compression, and keep the one that errs least on T.

    tau = ⌈ln(2 groups/delta)/ln(10/9)⌉ by default; candidates are compared at the ORIGINAL net's activations, on those
    points of T at which no share of the group exceeds K s_j. Half of delta is for the candidates, half for T, whose
    number enters through Hoeffding's inequality: slack = max(1, S K - 1) sqrt(ln(4 tau groups/delta)/(2 |T|)).

    Parameters
    ----------
    compression : by `CoreNetPlusPlus`, or any other method that draws edges with replacement
    held_out : (points, features), T: independent of the net and of the calibration points, which are refused
    rng : seed or Generator
    tau : candidates, at least 1
    delta : in (0, 1), the method's by default

    Returns
    -------
    Amplified

    Raises
    ------
    InvalidParameter
        If an argument is out of its range, or a held-out point was used for calibration.

    Notes
    -----
    CoreNet++ of arXiv:1804.05345, as we understand the paper, chooses from ⌈8 ln(8 tau eta/delta)⌉ points and claims
    that nearly no input errs by more than eps; that is refuted in ``baykal2019_corenet_plus_plus``, where this is
    proved.
    """
    net, seed = compression.original, as_generator(rng)
    x = _errors.matrix("held_out", held_out, columns=net.sizes[0])
    if compression.calibration & frozenset(fingerprints(x)):
        raise InvalidParameter("held_out must share no point with the calibration points, got some of them.")
    if any(p.law is not Law.MULTINOMIAL or p.top is not None for p in compression.plans):
        raise InvalidParameter("candidates must be drawn with replacement, got plans by another law.")
    failing = probability("delta", compression.compressor.delta if delta is None else delta)
    groups = max(1, sum(int((p.draws > 0).sum()) for p in compression.plans))
    tries = candidates(failing / 2 / groups) if tau is None else positive_int("tau", tau)
    enough = tries >= candidates(failing / 2 / groups)  # too few promise nothing, but of what is kept exactly
    weights, promised, observed, single = [], [], [], []
    for layer, a, plan in zip(net.layers, net.inputs(x), compression.plans, strict=True):
        best, least, mean, seen = _best_rows(layer.weight, plan, a, tries, seed[1])
        weights.append(best)
        observed.append(least)
        single.append(mean)
        found = _promised(plan, seen, tries, failing / 2 / groups)
        promised.append(found if enough else np.where(found > 0.0, np.inf, 0.0))
    coresets = []
    for weight, plan in zip(weights, compression.plans, strict=True):
        neuron, column = np.nonzero(weight)
        coresets.append(Coreset(neuron=neuron, column=column, weights=weight[neuron, column], plan=plan))
    return Amplified(
        net=net.with_weights(weights),
        original=net,
        coresets=tuple(coresets),
        compressor=compression.compressor,
        calibration=compression.calibration | frozenset(fingerprints(x)),
        seed=seed[0],
        tau=tries,
        delta=failing,
        held_out=len(x),
        promised=tuple(promised),
        observed=tuple(observed),
        single=tuple(single),
    )


def _best_rows(
    weight: np.ndarray, plan: SamplePlan, a: np.ndarray, tau: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The matrix of the best candidates; for each group its error, the mean of all candidates', and its good points.

    An error is the mean over the points at which the group is good, and over the parts of a signed input.
    """
    groups, draw, halves = plan.groups, LayerDraw(weight, plan), parts(a)
    truth = [_sums(weight, groups, half) for half in halves]
    good = _good(weight, plan, halves, truth)
    share = good / (np.maximum(1, good.sum(axis=0)) * len(halves))  # (points, R)
    best, least, mean = np.zeros_like(weight), np.full(len(groups), np.inf), np.zeros(len(groups))
    for _ in range(tau):
        candidate, error = draw(rng), np.zeros(len(groups))
        for half, z in zip(halves, truth, strict=True):
            off = np.abs(_sums(candidate, groups, half) - z)
            error += (np.divide(off, z, out=np.zeros_like(z), where=z > 0.0) * share).sum(axis=0)
        mean += error / tau
        taken = groups.spread(error < least)
        least = np.minimum(error, least)
        place = groups.spread(groups.neuron)[taken], groups.columns[taken]
        best[place] = candidate[place]
    return best, least, mean, good.sum(axis=0)


def _sums(weight: np.ndarray, groups: Groups, a: np.ndarray) -> np.ndarray:
    """The sum of each group, (points, R)."""
    plus, minus = side_sums(weight, a)
    return np.where(groups.sign > 0, plus[:, groups.neuron], minus[:, groups.neuron])


def _good(weight: np.ndarray, plan: SamplePlan, halves: list[np.ndarray], truth: list[np.ndarray]) -> np.ndarray:
    """Whether no share of a group exceeds K s_j at a point, (points, R); float64's blur of 1e-13 is in S K's."""
    groups = plan.groups
    size, allowed = np.abs(groups.take(weight)), plan.K * plan.sensitivities.values * (1.0 + 1e-13)
    good = np.ones(truth[0].shape, bool)
    for half, z in zip(halves, truth, strict=True):
        for point, total, row in zip(half, z, good, strict=True):
            over = size * point[groups.columns] > allowed * groups.spread(total)
            row &= ~np.logical_or.reduceat(over, groups.indptr[:-1]) if len(groups) else True
    return good


def _promised(plan: SamplePlan, seen: np.ndarray, tau: int, delta: float) -> np.ndarray:
    """10/9 times the mean error of one candidate, and twice what Hoeffding allows T to mislead by; (R,)."""
    found = np.zeros(len(plan.groups))
    for r in np.flatnonzero(plan.draws > 0):
        total = max(float(plan.sensitivities.total[r]), 1.0 / plan.K)
        span = max(1.0, total * plan.K * (1.0 + 1e-9) - 1.0)
        slack = span * math.sqrt(math.log(2.0 * tau / delta) / (2.0 * seen[r])) if seen[r] else math.inf
        found[r] = FACTOR * mean_error(total, int(plan.draws[r]), K=plan.K) + 2.0 * slack
    return found * (1.0 + 1e-12)


@implements("boundlab_neuron_cleanup")
def clean_network(network: Network) -> Network:
    """Return the same function with fewer neurons: no-one reads them, nothing moves them, or one stands for several.

    Neurons without outgoing weights are dropped, those without incoming ones become part of the next bias, collinear
    ones are merged; again, until nothing changes. Outputs are the same up to rounding. A layer that would lose all its
    neurons keeps the first, unread.

    Examples
    --------
    >>> first = Layer(weight=np.array([[1.0], [2.0], [0.0]]), bias=np.array([0.0, 0.0, 3.0]), relu=True)
    >>> last = Layer(weight=np.array([[1.0, 1.0, 2.0]]), bias=np.zeros(1), relu=False)
    >>> small = clean_network(Network(layers=(first, last)))
    >>> small.sizes, small.layers[1].weight.tolist(), small.layers[1].bias.tolist()
    ((1, 1, 1), [[3.0]], [6.0])
    """
    layers, before = list(network.layers), ()
    while before != (before := tuple(len(layer.weight) for layer in layers)):
        for k in range(len(layers) - 1):
            own, reader = layers[k], layers[k + 1]
            activation = RELU if own.relu else LINEAR
            left = clean(own.weight, reader.weight, activation, bias=own.bias, next_bias=reader.bias)
            if len(left.points):
                weight, bias, read = left.points, left.bias, left.weights
            else:
                weight, bias, read = np.zeros_like(own.weight[:1]), np.zeros(1), np.zeros_like(reader.weight[:, :1])
            layers[k] = Layer(weight=weight, bias=bias, relu=own.relu)
            layers[k + 1] = Layer(weight=read, bias=left.next_bias, relu=reader.relu)
    return Network(layers=tuple(layers))


METHODS: tuple[type[ChannelCompressor], ...] = (CoreNetPlus, CoreNetPlusBudget)
"""This paper's methods for neurons; `CoreNetPlusPlus` thins out weights."""


def _neurons(network: Network, points: np.ndarray) -> tuple[list[Sensitivities], list[int], list[int]]:
    """Of each hidden layer the sensitivities, how many sums must hold together, and of how many parts of its inputs."""
    own, events, signs = [], [], []
    for layer, a in zip(network.layers[1:], network.inputs(points)[1:], strict=True):
        values = neuron_sensitivities(layer, parts(a))
        own.append(one_group(values, points=len(points), theorem="baykal2019_corenet_plus"))
        signs.append(len(parts(a)))
        events.append(max(1, len(sign_groups(layer.weight))) * signs[-1])
    return own, events, signs


def _plan(
    k: int,
    own: Sensitivities,
    *,
    eps: float,
    size: float,
    exact: bool,
    K: float,
    signs: int,
    condition: float = math.nan,
) -> SamplePlan:
    """Close the plan of hidden layer k, from 0."""
    return SamplePlan(
        layer=k + 2,
        sensitivities=own,
        size=np.array([size]),
        exact=np.array([exact]),
        eps=np.array([0.0 if exact else eps]),
        K=K,
        parts=signs,
        condition=condition,
        theorem="baykal2019_corenet_plus",
    )
