"""What every paper compares with: keep the largest weights, or sample weights by their own size.

None of them looks at data, and none promises anything about the outputs: their plans carry no theorem and eps = inf.

    keep the largest     the nnz largest |w_ij| of the net, or of each layer; nothing is drawn, nothing is reweighted
    entrywise sampling   draws with replacement, p_ij in proportion to 1, |w_ij|, w_ij², or a mean of the last two,
                         reweighted by 1/(m p_ij)

Layers share a budget in proportion to their weights. No layer is emptied: the largest edge of each is kept, or one draw
is spent on each neuron and sign, and the budget pays for it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from boundlab._errors import InvalidParameter, choice, positive_int
from boundlab._theory import implements
from boundlab.compressors.method import Batches, Compressor, Net
from boundlab.coresets.allocation import top_sizes
from boundlab.nets.groups import sign_groups
from boundlab.records import Law, SamplePlan, Sensitivities

MOST_DRAWS = 2.0**53
"""The largest number of draws from one group."""


@dataclass(frozen=True, kw_only=True)
class Magnitude(Compressor):
    """Keep the `nnz` largest |w| of all layers together, exactly `nnz` of them; each layer keeps its largest.

    Source: Han et al. 2015, one-shot and with one threshold for the whole net, as we understand the paper.
    """

    nnz: int
    name: ClassVar[str] = "magnitude"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers by one threshold; the points are not looked at."""
        return largest_of_all([scored(layer.weight, np.abs(layer.weight)) for layer in network.layers], self.nnz)


@dataclass(frozen=True, kw_only=True)
class LayerMagnitude(Compressor):
    """Keep the largest |w| of each layer, the same share of every layer and exactly `nnz` in all.

    Source: Han et al. 2015, with the same share for every layer, as we understand the paper.
    """

    nnz: int
    name: ClassVar[str] = "magnitude-per-layer"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan each layer by a threshold of its own; the points are not looked at."""
        own = [scored(layer.weight, np.abs(layer.weight)) for layer in network.layers]
        edges = np.array([len(s.values) for s in own])
        wanted = layer_shares(edges, np.minimum(edges, 1), self.nnz)
        return _kept(
            own,
            [top_sizes(s.values, s.groups.indptr, n) if n else edges[:0] for s, n in zip(own, wanted, strict=True)],
        )


@implements("boundlab_stratified_draws")
@dataclass(frozen=True, kw_only=True)
class EntrywiseSampling(Compressor):
    """Sample the entries of each matrix from p, the same share of every layer, `nnz` distinct ones in the mean.

        w_ij -> c_ij w_ij / (m_r q_ij),     c ~ Multinomial(m_r, q) in group r,     m_r = ⌈c S_r⌉,   S_r = sum of its p

    The papers draw m times from the whole matrix. Here each neuron and sign gets its part of the draws, rounded up, for
    the largest c that the budget allows: unbiased too, and of no larger variance than m = c S draws from the matrix.
    With another `law` an edge is kept at most once, with probability pi = min(1, p/tau), and then weighs 1/pi.
    """

    nnz: int
    law: Law = Law.MULTINOMIAL
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan each layer by its weights alone; the points are not looked at."""
        law = choice("law", self.law, Law)
        own = [scored(layer.weight, self.chances(layer.weight)) for layer in network.layers]
        edges, groups = np.array([len(s.values) for s in own]), np.array([len(s.groups) for s in own])
        wanted = layer_shares(edges, groups, self.nnz)
        return tuple(_sampled(k, s, int(n), law) for k, (s, n) in enumerate(zip(own, wanted, strict=True)))

    @abstractmethod
    def chances(self, weight: np.ndarray) -> np.ndarray:
        """Return numbers >= 0 in proportion to p_ij, (out, in); those of zero weights do not matter."""


@dataclass(frozen=True, kw_only=True)
class Uniform(EntrywiseSampling):
    """Sample all weights with the same probability; otherwise as `EntrywiseSampling`."""

    name: ClassVar[str] = "uniform"

    def chances(self, weight: np.ndarray) -> np.ndarray:
        """1 for every entry."""
        return np.ones_like(weight)


@dataclass(frozen=True, kw_only=True)
class L1Sampling(EntrywiseSampling):
    """Sample weights in proportion to |w_ij|; otherwise as `EntrywiseSampling`.

    Source: Achlioptas, Karnin and Liberty 2013, Arora, Hazan and Kale 2006, as we understand the papers.
    """

    name: ClassVar[str] = "l1"

    def chances(self, weight: np.ndarray) -> np.ndarray:
        """|w|, in units of the largest."""
        return np.abs(weight) / (np.abs(weight).max() or 1.0)


@dataclass(frozen=True, kw_only=True)
class L2Sampling(EntrywiseSampling):
    """Sample weights in proportion to w_ij²; otherwise as `EntrywiseSampling`. Entries are not truncated beforehand.

    Source: Drineas and Zouzias 2011, as we understand the paper.
    """

    name: ClassVar[str] = "l2"

    def chances(self, weight: np.ndarray) -> np.ndarray:
        """w², in units of the largest."""
        return (weight / (np.abs(weight).max() or 1.0)) ** 2


@dataclass(frozen=True, kw_only=True)
class MixedSampling(EntrywiseSampling):
    """Sample weights by p_ij = (|w_ij|/sum |w| + w_ij²/sum w²)/2, over the matrix; otherwise as `EntrywiseSampling`.

    Source: Kundu and Drineas 2014, with equal parts, as we understand the paper.
    """

    name: ClassVar[str] = "l1-l2"

    def chances(self, weight: np.ndarray) -> np.ndarray:
        """The mean of both laws."""
        one = np.abs(weight) / (np.abs(weight).max() or 1.0)
        return 0.5 * (one / (one.sum() or 1.0) + one**2 / ((one**2).sum() or 1.0))


def scored(weight: np.ndarray, values: np.ndarray, *, points: int = 0) -> Sensitivities:
    """Return the values >= 0 of a dense (out, in) matrix as scores of its non-zero weights, without a theorem.

    Examples
    --------
    >>> scored(np.array([[2.0, 0.0, -1.0]]), np.array([[5.0, 7.0, 3.0]])).values.tolist()
    [5.0, 3.0]
    """
    groups = sign_groups(weight)
    return Sensitivities(values=groups.take(values), groups=groups, points=points, theorem="")


def layer_shares(edges: np.ndarray, least: np.ndarray, nnz: int) -> np.ndarray:
    """Share `nnz` edges out over layers: each gets its least, and of what remains a part as large as its remainder.

    Parameters
    ----------
    edges : (layers,) int64 >= 0
    least : (layers,) int64, at most `edges`
    nnz : int >= the sum of `least`

    Returns
    -------
    (layers,) int64, between `least` and `edges`, adding up to min(nnz, all edges)

    Raises
    ------
    InvalidParameter
        If the budget does not cover what every layer needs.

    Examples
    --------
    >>> layer_shares(np.array([200, 100, 10]), np.array([1, 1, 1]), 31).tolist()
    [19, 10, 2]
    """
    if positive_int("nnz", nnz) < (needed := int(least.sum())):
        raise InvalidParameter(f"nnz must be at least {needed}, or a layer or neuron would lose everything, got {nnz}.")
    left = edges - least
    spare, ends = min(nnz, int(edges.sum())) - needed, [0, *np.cumsum(left).tolist()]
    total = max(1, ends[-1])
    cuts = [(2 * spare * end + total) // (2 * total) for end in ends]  # whole numbers throughout: the sum is exact
    return least + np.diff(np.array(cuts, np.int64))


@implements("baykal2022_det_allocation")
def largest_of_all(own: Sequence[Sensitivities], nnz: int) -> tuple[SamplePlan, ...]:
    """Return plans that keep the `nnz` largest values of all layers, and the largest of each layer among them.

    Raises
    ------
    InvalidParameter
        If there are more layers with edges than `nnz`.

    Examples
    --------
    >>> rows = np.array([[3.0, -2.0, 1.0]]), np.array([[0.1, 0.2]])
    >>> first, second = (scored(row, np.abs(row)) for row in rows)
    >>> [plan.certain.tolist() for plan in largest_of_all([first, second], 3)]
    [[True, False, True], [False, True]]
    """
    sizes = np.array([len(s.values) for s in own])
    layer_shares(sizes, np.minimum(sizes, 1), nnz)
    lifted = [s.values.copy() for s in own]
    for values in lifted:
        if len(values):
            values[values.argmax()] = np.inf
    edges = np.concatenate([s.groups.edges for s in own])
    top = top_sizes(np.concatenate(lifted), np.concatenate([[0], np.cumsum(edges)]), nnz)
    return _kept(own, np.split(top, np.cumsum([len(s.groups) for s in own])[:-1]))


def _kept(own: Sequence[Sensitivities], tops: Sequence[np.ndarray]) -> tuple[SamplePlan, ...]:
    """Plans that keep the largest values of each group and drop the others."""
    return tuple(
        _plan(k, s, size=np.zeros(len(s.groups)), exact=top == s.groups.edges, top=top)
        for k, (s, top) in enumerate(zip(own, tops, strict=True))
    )


@implements("boundlab_expected_distinct", "boundlab_stratified_draws")
def _sampled(index: int, own: Sensitivities, wanted: int, law: Law) -> SamplePlan:
    """Draw ⌈c S⌉ times from each group, so that `wanted` edges are kept in the mean; a group more where it fits."""
    edges, total = own.groups.edges.astype(np.float64), own.total
    if wanted == len(own.values):
        return _plan(index, own, size=edges, exact=np.ones(len(edges), bool), law=law)
    most = MOST_DRAWS if law is Law.MULTINOMIAL else edges

    def plan(size: np.ndarray) -> SamplePlan:
        return _plan(index, own, size=size, exact=np.zeros(len(edges), bool), law=law)

    def sizes(c: float) -> np.ndarray:
        return np.clip(np.ceil(c * total), 1.0, most)

    low, high = 1.0 / total.sum(), MOST_DRAWS / total.sum()
    while high > low * (1.0 + 1e-12):
        mid = float(np.sqrt(low * high))
        low, high = (mid, high) if plan(sizes(mid)).expected_distinct.sum() <= wanted else (low, mid)
    few, many = plan(sizes(low)).expected_distinct, plan(sizes(high)).expected_distinct
    fits = few.sum() + np.cumsum(many - few) <= wanted
    return plan(np.where(fits, sizes(high), sizes(low)))


def _plan(
    index: int,
    own: Sensitivities,
    *,
    size: np.ndarray,
    exact: np.ndarray,
    law: Law = Law.MULTINOMIAL,
    top: np.ndarray | None = None,
) -> SamplePlan:
    """A plan that promises nothing: its relative error may be anything where a group is not kept exactly."""
    return SamplePlan(
        layer=index + 2,
        sensitivities=own,
        size=size,
        exact=exact,
        eps=np.where(exact, 0.0, np.inf),
        K=np.inf,
        parts=1,
        condition=np.nan,
        theorem="",
        law=law,
        top=top,
    )


BASELINES: tuple[type[Compressor], ...] = (Magnitude, LayerMagnitude, Uniform, L1Sampling, L2Sampling, MixedSampling)
"""The methods of this file, in the order in which they are compared."""
