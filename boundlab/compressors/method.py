"""What every compressor shares: a plan per layer, draws, reweighting, bookkeeping."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numba import njit

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.coresets.alias import Multinomials
from boundlab.coresets.inclusions import Inclusions
from boundlab.coresets.threshold_sampling import threshold_probabilities
from boundlab.nets.load import as_network
from boundlab.network import Network
from boundlab.records import Compression, Coreset, Law, SamplePlan

if TYPE_CHECKING:
    import torch


class Compressor(ABC):
    """A method of compression: a frozen dataclass whose `plan` says who matters and how many draws suffice."""

    name: ClassVar[str]

    @abstractmethod
    def plan(self, network: Network, points: np.ndarray) -> tuple[SamplePlan, ...]:
        """Return one plan per layer, from the original net and calibration points; no coin is drawn here."""


def compress(
    network: Network | torch.nn.Module, method: Compressor, points: np.ndarray, *, rng: int | np.random.Generator
) -> Compression:
    """Compress a network: plan every layer with `method` on `points`, then draw once.

    Parameters
    ----------
    network : Network, or a torch module that `as_network` can read
    method : a compressor, such as ``CoreNetBudget(nnz=10_000)``
    points : (points, features) calibration inputs, as the net reads them
    rng : seed or Generator; the same seed gives the same coreset on any number of threads

    Raises
    ------
    InvalidParameter
        if `points` does not fit the net or is not finite.
    """
    if not isinstance(method, Compressor):
        raise InvalidParameter(f"method must be a Compressor such as CoreNet(), got {type(method).__name__}.")
    network = as_network(network)
    points = _errors.matrix("points", points, columns=network.sizes[0])
    if network.nnz == 0:
        raise InvalidParameter("a net to compress must have at least one non-zero weight, got none.")
    network.require_finite(points)
    seed, generator = as_generator(rng)
    plans = method.plan(network, points)
    weights, coresets = [], []
    for layer, plan in zip(network.layers, plans, strict=True):
        weight = draw_layer(layer.weight, plan, generator)
        neuron, column = np.nonzero(weight)
        coresets.append(Coreset(neuron=neuron, column=column, weights=weight[neuron, column], plan=plan))
        weights.append(weight)
    return Compression(
        net=network.with_weights(weights),
        original=network,
        coresets=tuple(coresets),
        compressor=method,
        calibration=frozenset(fingerprints(points)),
        seed=seed,
    )


def fingerprints(points: np.ndarray) -> list[bytes]:
    """One 128-bit digest per point: equal points, equal digests."""
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(points)]


def redraw(compression: Compression, rng: np.random.Generator) -> Network:
    """Draw the compressed net again from the same plans with fresh coins; `Redraw` does so many times."""
    return Redraw(compression)(rng)


class Redraw:
    """A compression to be drawn again and again: what the coins do not change is computed once.

    ``Redraw(compression)(rng)`` is the net of ``redraw(compression, rng)``, coin for coin.
    """

    def __init__(self, compression: Compression) -> None:
        """Prepare all layers."""
        self.original = compression.original
        layers = zip(self.original.layers, compression.plans, strict=True)
        self.layers = tuple(LayerDraw(layer.weight, plan) for layer, plan in layers)

    def __call__(self, rng: np.random.Generator) -> Network:
        """The compressed net, drawn with fresh coins."""
        return self.original.with_weights(layer(rng) for layer in self.layers)

    def outputs(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return f̂(x) at one point, (1, features) -> (1, classes), with the coins of a call and without its matrices.

        What is kept exactly is computed as the original computes it, to the last bit. A term of a sampled group passes
        through at most two more roundings than in the drawn net, as each group is summed by itself.
        """
        if len(x) != 1:
            raise InvalidParameter(f"x must be one point, shape (1, features), got {len(x)} points.")
        for layer, drawn in zip(self.original.layers, self.layers, strict=True):
            z = drawn.products(x, rng) + layer.bias
            x = np.maximum(z, 0.0) if layer.relu else z
        return x


def draw_layer(weight: np.ndarray, plan: SamplePlan, rng: np.random.Generator) -> np.ndarray:
    """Return the sampled weight matrix, once: ``LayerDraw(weight, plan)(rng)``."""
    return LayerDraw(weight, plan)(rng)


@implements("baykal2019_unbiased_reweighting", "boundlab_threshold_probabilities")
class LayerDraw:
    """A sampled weight matrix, ready to be drawn: what is certain keeps its weights, what is drawn is reweighted.

    c ~ Multinomial(m, q) gives w_j c_j / (m q_j), an inclusion of probability pi_j gives w_j / pi_j: unbiased for every
    edge with s_j > 0. A layer that leaves nothing to chance gives the same array at every call; if all groups are exact
    it is `weight` itself.
    """

    def __init__(self, weight: np.ndarray, plan: SamplePlan) -> None:
        """Prepare one layer: what stays, the law of the counts, and what one draw of each edge is worth."""
        groups, m, certain, q = plan.groups, plan.draws, plan.certain, plan.probabilities
        neuron, edges, drawn = groups.spread(groups.neuron), groups.take(weight), groups.spread(m > 0)
        self.kept = weight
        if not plan.exact.all():
            self.kept = np.zeros_like(weight)
            self.kept[neuron[certain], groups.columns[certain]] = edges[certain]
        indptr = np.concatenate([[0], np.cumsum(groups.edges[m > 0])])
        if plan.law is Law.MULTINOMIAL:
            mean = groups.spread(m) * q
        else:
            left = np.where(certain, 0.0, plan.sensitivities.values)
            mean = np.zeros(len(q))
            mean[drawn] = threshold_probabilities(left[drawn], indptr, m[m > 0]).probabilities
        with np.errstate(over="ignore"):
            worth = np.divide(edges, mean, out=np.zeros(len(q)), where=drawn & (mean > 0))
        finite = np.isfinite(worth)  # where not, q_j is far below the resolution of a draw
        self.worth = np.where(finite, worth, 0.0)[drawn]
        self.row, self.columns = neuron[drawn], groups.columns[drawn]
        self.neuron = groups.neuron[m > 0]
        self.counts: Multinomials | Inclusions
        if plan.law is Law.MULTINOMIAL:
            self.counts = Multinomials(np.where(finite, q, 0.0)[drawn], indptr, m[m > 0])
        else:
            self.counts = Inclusions(mean[drawn], indptr, fixed=plan.law is Law.PIVOTAL)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        """The weight matrix, drawn with fresh coins."""
        if not len(self.worth):
            return self.kept
        weight = self.kept.copy()
        _place(self.counts.draw(rng), self.worth, self.row, self.columns, weight)
        return weight

    def products(self, a: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return a Ŵ^T for one input, (1, in) -> (1, out), without the matrix; the coins are those of a call."""
        z = a @ self.kept.T
        if len(self.worth):
            np.add.at(z[0], self.neuron, self.counts.draw_sums(self.worth, self.columns, a[0], rng))
        return z


@njit(cache=True, nogil=True)
def _place(counts, worth, row, columns, weight):
    for j in range(len(counts)):
        if counts[j] > 0:
            weight[row[j], columns[j]] = counts[j] * worth[j]


def as_generator(rng: int | np.random.Generator) -> tuple[int | None, np.random.Generator]:
    """Return (seed, Generator); the seed is None where a Generator came in."""
    if isinstance(rng, np.random.Generator):
        return None, rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)) or rng < 0:
        raise InvalidParameter(f"rng must be a seed >= 0 or a numpy Generator, got {rng!r}.")
    return int(rng), np.random.Generator(np.random.Philox(int(rng)))
