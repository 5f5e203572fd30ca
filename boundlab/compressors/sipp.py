"""SiPP (arXiv:1910.05422): weights pruned by sensitivity, to an exact budget: kept, drawn, or both.

A group is one row and one sign, z = sum of w_j u_j >= 0, s_j the largest share g_j = w_j u_j/z that calibration points
and their patches show, g_j(x) <= C s_j at a fresh x. With m of its edges

    kept         the m largest s_j:                            eps = C (sum of the dropped s_j), never above 1
    drawn        N times from q = s/S, E[distinct] = m:        eps by the kl tail or Bernstein's
    split        the k largest kept, the rest drawn:           eps = min over k, never worse than either
    threshold    pi_j = min(1, s_j/tau), sum pi = m:           eps by Chernoff's bound; pivotal: exactly m

On a fully connected net the plans follow Theorem B, which `certify` knows; on other modules they are statements about
single neurons. Magnitude pruning, which promises nothing, often loses less accuracy: compare before you choose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, choice, positive_int, probability
from boundlab._theory import implements
from boundlab.compressors.calibration import Calibration, calibrate
from boundlab.compressors.method import Compressor
from boundlab.coresets import threshold_sampling
from boundlab.coresets.allocation import draws_for_distinct, expected_distinct, relaxed_sizes, top_sizes
from boundlab.coresets.error_functions import bernstein_eps, hybrid_error, published_eps
from boundlab.coresets.partial_derandomisation import best_split, partial_eps
from boundlab.coresets.sensitivity_sampling import Rule, certified_eps
from boundlab.coresets.top_k import dropped_sum, keep_largest
from boundlab.nets.module_net import Batches, ModuleNet
from boundlab.network import Network
from boundlab.records import Law, SamplePlan

PUBLISHED_C = 3.0
"""The released code's constant C = K'."""


@dataclass(frozen=True, kw_only=True)
class _Pruning(Compressor):
    """What all forms share: the budget, delta, and C with g_j(x) <= C s_j."""

    nnz: int
    delta: float = 0.05
    C: float | None = None
    modules: ClassVar[bool] = True

    def _seen(
        self, net: Network | ModuleNet, points: np.ndarray | Batches, *, theorem: str, published: bool, kept: bool
    ) -> Calibration:
        """The sensitivities: of activations, and of the errors passed on where edges are drawn by Theorem B.

        C is split-conformal at delta/4: half of what bad points are granted, so that a hold-out can confirm it.
        """
        probability("delta", self.delta)
        positive_int("nnz", self.nnz)
        seen = calibrate(
            net,
            points,
            PUBLISHED_C if published and self.C is None else self.C,
            self.delta / 4,
            theorem=theorem,
            passed=not published and not kept and isinstance(net, Network),
            mean=published and kept,
        )
        if self.nnz < len(seen.first):
            raise InvalidParameter(
                f"nnz must be at least one edge for each of {len(seen.first)} layers, got nnz={self.nnz}."
            )
        return seen


@implements("baykal2022_sipp_det", "baykal2022_det_allocation", "boundlab_theorem_b_laws")
@dataclass(frozen=True, kw_only=True)
class SiPPDet(_Pruning):
    """Keep the edges of the largest sensitivities in the whole net, with their own weights; exactly `nnz` of them.

    The relative error of a group is C (sum of its dropped s_j), and never above 1, whatever the point. Each layer keeps
    its most sensitive edge. No coin is tossed.

    Parameters
    ----------
    nnz : whole number >= the number of layers
    delta : in (0, 1), the failure probability asked for
    C : number >= 1, by how much a share may exceed its sensitivity; None: split-conformal, see `calibration`
    published : the released code's sensitivities, the largest mean over patches, with C = 3 where none is given; as a
        bound they are refuted, and nothing is certified

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, as we understand the paper; the guard of each layer is ours.

    Examples
    --------
    >>> from boundlab import compress, random_network
    >>> net, points = random_network((20, 5, 2), rng=0), np.random.default_rng(1).uniform(size=(200, 20))
    >>> compress(net, SiPPDet(nnz=50), points, rng=0).nnz
    50
    """

    published: bool = False
    name: ClassVar[str] = "sipp-det"

    def plan(self, network: Network | ModuleNet, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers with one sort."""
        theorem = "baykal2022_patch_mean" if self.published else _theorem(network, "baykal2022_sipp_det")
        seen = self._seen(network, points, theorem=theorem, published=self.published, kept=True)
        values = seen.values.copy()
        values[seen.largest] = np.inf  # each layer keeps its largest
        sizes = top_sizes(values, seen.indptr, self.nnz)
        return _close(seen, top=sizes, size=np.zeros(len(sizes)), eps=np.ones(len(sizes)), theorem=theorem)


@implements("baykal2022_sipp_rand", "chernoff_multiplicative_kl", "boundlab_theorem_b")
@dataclass(frozen=True, kw_only=True)
class SiPPRand(_Pruning):
    """Draw each group's edges with replacement in proportion to s_j, so many that `nnz` distinct ones are expected.

    The budget is shared out so that the mean over layers of eps_i is smallest (`relaxed_sizes`, closed form), a group
    gets whole m_i and the largest N_i with E[distinct] <= m_i; what that leaves over goes to single further draws. A
    group whose m_i covers all its s_j > 0 keeps them as they are.

    Parameters
    ----------
    nnz, delta, C : as in `SiPPDet`; the non-zeros of one draw are random, and miss `nnz` by what `missed` tells
    rule : "kl" or "bernstein", the tail that gives eps
    published : the released code's error function, refuted, in the allocation and in eps; C = 3 where none is given

    Notes
    -----
    Baykal et al. (2022), arXiv:1910.05422, as we understand the paper; the closed form of the allocation is ours.

    Examples
    --------
    >>> from boundlab import compress, random_network
    >>> net, points = random_network((20, 5, 2), rng=0), np.random.default_rng(1).uniform(size=(200, 20))
    >>> round(compress(net, SiPPRand(nnz=50), points, rng=0).expected_nnz)
    50
    """

    rule: Rule = Rule.KL
    published: bool = False
    name: ClassVar[str] = "sipp-rand"

    def plan(self, network: Network | ModuleNet, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers with one multiplier."""
        return _sampled(self, network, points, hybrid=False, slug="baykal2022_sipp_rand")


@implements("baykal2022_hybrid", "boundlab_theorem_b_laws")
@dataclass(frozen=True, kw_only=True)
class SiPPHybrid(_Pruning):
    """For each group the better of two errors at the same m: its m largest edges kept, or draws as in `SiPPRand`.

    The choice is made before any coin is tossed; at an error of 1 the largest edges win, which never lose more than
    all. Parameters and source as in `SiPPRand`.
    """

    rule: Rule = Rule.KL
    published: bool = False
    name: ClassVar[str] = "sipp-hybrid"

    def plan(self, network: Network | ModuleNet, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers with one multiplier."""
        return _sampled(self, network, points, hybrid=True, slug="baykal2022_hybrid")


@implements("boundlab_within_row_split", "boundlab_theorem_b_laws")
@dataclass(frozen=True, kw_only=True)
class SiPP(_Pruning):
    """Keep the k largest edges of each group and draw from the others, with the best k: between `SiPPDet` and Rand.

    A group's error is never above the better of the two at the same m, by Bernstein's bound; where no split gets below
    1, the m largest are kept. Sizes m are shared out as in `SiPPRand`; the non-zeros of one draw are random, `nnz` in
    the mean. Parameters as in `SiPPDet`. Ours.
    """

    name: ClassVar[str] = "sipp"

    def plan(self, network: Network | ModuleNet, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers with one multiplier, each group with its own k."""
        theorem = _theorem(network, "boundlab_within_row_split")
        seen = self._seen(network, points, theorem=theorem, published=False, kept=False)
        share, events = _share(seen, self.delta), seen.events
        sizes = _sizes(seen, self.nnz, seen.spread, share)
        top = sizes.copy()
        for r in np.flatnonzero(_chancy(seen, sizes)):
            values = seen.values[seen.indptr[r] : seen.indptr[r + 1]]
            split = best_split(values, int(sizes[r]), share, C=seen.factor, events=int(events[r]))
            if split.eps < 1.0:  # else keeping the largest only is better, which never loses more than all
                top[r] = split.kept
        draws = _draws(seen, top, sizes)
        rest = seen.sums(seen.left(top))
        eps = [partial_eps(rest[at], draws[at], share, C=seen.factor, events=int(events[at][0])) for at in seen.layers]
        return _close(seen, top=top, size=draws, eps=np.concatenate(eps), theorem=theorem)


@implements("boundlab_poisson_threshold", "srinivasan2001_pivotal", "boundlab_theorem_b_laws")
@dataclass(frozen=True, kw_only=True)
class SiPPThreshold(_Pruning):
    """Keep edge j with probability min(1, s_j/tau), no edge twice: pivotal rounding keeps exactly `nnz`.

    Sizes are shared out as in `SiPPRand`; at the same m the bound is never worse than Bernstein's for that many draws.
    "poisson" tosses one coin for each edge, so that `nnz` is kept in the mean; each layer then keeps its most sensitive
    edge for certain. Systematic sampling is not offered: its tail bound is false. Ours.

    Parameters
    ----------
    nnz, delta, C : as in `SiPPDet`
    law : "pivotal" or "poisson"

    Examples
    --------
    >>> from boundlab import compress, random_network
    >>> net, points = random_network((20, 5, 2), rng=0), np.random.default_rng(1).uniform(size=(200, 20))
    >>> compress(net, SiPPThreshold(nnz=50), points, rng=0).nnz
    50
    """

    law: Law = Law.PIVOTAL
    name: ClassVar[str] = "sipp-threshold"

    def plan(self, network: Network | ModuleNet, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers with one multiplier, each group with its own threshold."""
        law = choice("law", self.law, Law)
        if law is Law.MULTINOMIAL:
            raise InvalidParameter(f"law must be pivotal or poisson, got {self.law!r}.")
        pivotal = law is Law.PIVOTAL
        theorem = _theorem(network, "srinivasan2001_pivotal" if pivotal else "boundlab_poisson_threshold")
        seen = self._seen(network, points, theorem=theorem, published=False, kept=False)
        share, events = _share(seen, self.delta), seen.events
        sizes = _sizes(seen, self.nnz, seen.spread, share)
        first = threshold_sampling.threshold_probabilities(seen.values, seen.indptr, sizes)
        top = np.where(_chancy(seen, sizes), first.certain, sizes)
        if not pivotal:
            top[seen.first] = np.maximum(top[seen.first], np.minimum(1, sizes[seen.first]))
        size = sizes - top
        found = threshold_sampling.threshold_probabilities(seen.left(top), seen.indptr, size)
        eps = [
            threshold_sampling.certified_eps(found.tau[at], found.rest[at], share / events[at][0], C=seen.factor)
            for at in seen.layers
        ]
        return _close(seen, top=top, size=size, eps=np.concatenate(eps), theorem=theorem, law=law)


METHODS: tuple[type[Compressor], ...] = (SiPPDet, SiPPRand, SiPPHybrid, SiPP, SiPPThreshold)
"""This paper's compressors: the three published forms, and our two."""


def _sampled(
    method: SiPPRand | SiPPHybrid,
    net: Network | ModuleNet,
    points: np.ndarray | Batches,
    *,
    hybrid: bool,
    slug: str,
) -> tuple[SamplePlan, ...]:
    """Plan draws with replacement; where `hybrid`, the largest edges in the groups in which they err less."""
    rule = choice("rule", method.rule, Rule)
    if rule not in (Rule.KL, Rule.BERNSTEIN):
        raise InvalidParameter(f"rule must be kl or bernstein, got {method.rule!r}.")
    published = method.published
    theorem = "baykal2022_error_function_in_code" if published else _theorem(net, slug)
    seen = method._seen(net, points, theorem=theorem, published=published, kept=False)
    logs = _published_logs(net, seen, method.delta)
    if published:
        least = float(logs.min(initial=np.inf))  # eps_code of a cost is half of Bernstein's eps of twice the cost
        sizes = _sizes(seen, method.nnz, seen.spread * logs / least, 2.0 * math.exp(-2.0 * least), positions=True)
    else:
        sizes = _sizes(seen, method.nnz, seen.spread, _share(seen, method.delta))
    chancy = _chancy(seen, sizes)

    def errors(draws: np.ndarray) -> np.ndarray:
        told = []
        for at in seen.layers:
            total, k = seen.total[at], int(seen.layer[at][0])
            if published:
                told.append(published_eps(total, sizes[at], 2.0 * math.exp(-float(logs[at][0])), K=seen.factor))
                continue
            both = seen.signs[k] * seen.positions[k]
            share, passes = _share(seen, method.delta), int(seen.events[at][0]) - both
            if rule is Rule.KL:
                C = seen.factor
                told.append(certified_eps(total, draws[at], share, K=C, upper=both + passes, lower=both))
            else:
                told.append(bernstein_eps(total, draws[at], share / (both + passes), K=seen.factor))
        return np.concatenate(told)

    top = np.where(chancy, 0, sizes)
    draws = _draws(seen, top, sizes)
    if hybrid:
        kept = dropped_sum(seen.values, seen.indptr, keep_largest(seen.values, seen.indptr, sizes), K=seen.factor)
        if not published:
            kept = np.minimum(1.0, kept)
        top = np.where(chancy & hybrid_error(kept, errors(draws))[0], sizes, top)
        draws = _draws(seen, top, sizes)
    return _close(seen, top=top, size=draws, eps=errors(draws), theorem=theorem)


def _theorem(net: Network | ModuleNet, slug: str) -> str:
    """What the plan promises: Theorem B for a net that it covers, else a statement about single neurons."""
    return "boundlab_theorem_b" if isinstance(net, Network) else slug


def _share(seen: Calibration, delta: float) -> float:
    """What one group may fail with: half of delta pays for the coins of all."""
    return delta / 2 / max(1, len(seen.edges))


def _chancy(seen: Calibration, sizes: np.ndarray) -> np.ndarray:
    """Where a size leaves something to choose: some edges with s_j > 0, but not all."""
    return (sizes > 0) & (sizes < seen.live)


def _published_logs(net: Network | ModuleNet, seen: Calibration, delta: float) -> np.ndarray:
    """The released code's ln(8 (P + 1) k1 k2/delta) for each group."""
    kernels = [math.prod(w.shape[2:]) for w in net.layers] if isinstance(net, ModuleNet) else [1] * len(seen.own)
    pairs = zip(seen.positions, kernels, strict=True)
    return np.array([math.log(8 * (p + 1) * k) - math.log(delta) for p, k in pairs])[seen.layer]


@implements("baykal2022_rand_allocation")
def _sizes(seen: Calibration, nnz: int, spread: np.ndarray, share: float, *, positions: bool = False) -> np.ndarray:
    """Whole m_i that add up to `nnz`: the least sum of eps_i/eta, eta the neurons of a layer, rounded.

    Each layer gets one edge at least, and no group more than it has s_j > 0, as long as those can take the budget; what
    they cannot goes to edges that no point activates. With `positions` eta counts each patch.
    """
    least = np.zeros(len(seen.edges), np.int64)
    least[seen.first] = 1
    limit = np.maximum(seen.live, least)
    budget = min(nnz, int(limit.sum()))
    rows = np.array([len(np.unique(s.groups.neuron)) for s in seen.own]) * (seen.positions if positions else 1)
    real, some = np.zeros(len(limit)), limit > 0
    weight = 1.0 / np.maximum(rows, 1)[seen.layer]
    real[some] = relaxed_sizes(spread[some], limit[some], budget, share, weight=weight[some])
    sizes = np.clip(np.floor(real).astype(np.int64), least, limit)
    while sizes.sum() > budget:  # the guards of a few layers are paid for by the largest groups
        sizes[np.argmax(sizes - least)] -= 1
    while (short := budget - int(sizes.sum())) > 0:
        following = np.where(sizes < limit, real - sizes, -np.inf)
        sizes[np.argsort(-following, kind="stable")[: min(short, int((sizes < limit).sum()))]] += 1
    room = seen.edges - sizes
    spare = min(nnz, int(seen.edges.sum())) - budget
    return sizes + np.clip(spare - (np.cumsum(room) - room), 0, room)


@implements("baykal2022_distinct_budget")
def _draws(seen: Calibration, top: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How often to draw from what is not among the `top`, so that all sizes together are met in the mean.

    The largest N with E[distinct] <= m in each group; then one draw more in the groups that miss most, as long as the
    mean of all does not exceed the sizes.
    """
    left = seen.left(top)
    total = np.repeat(seen.sums(left), seen.edges)
    q = np.divide(left, total, out=np.zeros_like(left), where=total > 0)
    wanted = sizes - top
    draws = np.minimum(draws_for_distinct(q, seen.indptr, wanted.astype(np.float64)), 2.0**52)
    now = expected_distinct(q, seen.indptr, draws)
    more = np.where(draws > 0, expected_distinct(q, seen.indptr, draws + 1) - now, 0.0)
    missing = np.where(draws > 0, wanted - now, 0.0)
    order = np.argsort(np.where(more > 0, -missing / np.where(more > 0, more, 1.0), np.inf), kind="stable")
    fits = (np.cumsum(more[order]) <= missing.sum()) & (more[order] > 0)
    draws[order[fits]] += 1
    return draws


@implements("boundlab_theorem_b_laws")
def _close(
    seen: Calibration,
    *,
    top: np.ndarray,
    size: np.ndarray,
    eps: np.ndarray,
    theorem: str,
    law: Law = Law.MULTINOMIAL,
) -> tuple[SamplePlan, ...]:
    """Cut the plan of all groups into layers, with the error of each: `eps` where edges are drawn.

    Where none is drawn, at most C times the dropped sensitivities are lost, and never more than all. Where C is inf,
    what holds at every point is left: nothing is lost but all, and no kept weight grows by more than 1/min q.
    """
    kept = keep_largest(seen.values, seen.indptr, top)
    lost = np.minimum(1.0, dropped_sum(seen.values, seen.indptr, kept, K=seen.factor))
    if not math.isfinite(seen.C):
        left = np.where(kept, 0.0, seen.values)
        smallest = np.minimum.reduceat(np.where(left > 0, left, np.inf), seen.indptr[:-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            growth = np.where(size > 0, seen.sums(left) / smallest, 1.0) * (1.0 + 1e-9)
        eps, lost = np.maximum(1.0, growth), np.ones_like(lost)
    exact = top >= seen.edges
    eps = np.where(exact, 0.0, np.where(size > 0, eps, lost))
    layers = zip(*(seen.split(v) for v in (top, size.astype(np.float64), exact, eps)), strict=True)
    return tuple(
        SamplePlan(
            layer=k + 2,
            sensitivities=own,
            size=layer_size,
            exact=layer_exact,
            eps=layer_eps,
            K=seen.C,
            parts=signs,
            condition=math.nan,
            theorem=theorem,
            law=law,
            top=layer_top,
        )
        for k, (own, signs, (layer_top, layer_size, layer_exact, layer_eps)) in enumerate(
            zip(seen.own, seen.signs, layers, strict=True)
        )
    )
