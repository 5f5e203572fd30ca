"""What every compressor shares: a plan per layer, draws, reweighting, bookkeeping."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.coresets.alias import draw_counts
from boundlab.nets.load import as_network
from boundlab.network import Network
from boundlab.records import Compression, Coreset, SamplePlan

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
    """Draw the compressed net again from the same plans with fresh coins."""
    original = compression.original
    return original.with_weights(
        draw_layer(layer.weight, plan, rng) for layer, plan in zip(original.layers, compression.plans, strict=True)
    )


@implements("baykal2019_unbiased_reweighting")
def draw_layer(weight: np.ndarray, plan: SamplePlan, rng: np.random.Generator) -> np.ndarray:
    """Return the sampled weight matrix: w_j c_j / (m q_j) with c ~ Multinomial(m, q) in each sampled group.

    A group kept exactly keeps its weights. Unbiased for every edge with s_j > 0. A layer with no sampled group comes
    back as the same array.
    """
    if plan.exact.all():
        return weight
    groups = plan.groups
    q, m = plan.sensitivities.probabilities, plan.draws
    counts = draw_counts(q, groups.indptr, m, rng)
    edges = groups.take(weight)
    scale = np.divide(counts, groups.spread(m) * q, out=np.zeros(len(q)), where=counts > 0)
    sampled = np.zeros_like(weight)
    sampled[groups.spread(groups.neuron), groups.columns] = np.where(groups.spread(plan.exact), edges, edges * scale)
    return sampled


def as_generator(rng: int | np.random.Generator) -> tuple[int | None, np.random.Generator]:
    """Return (seed, Generator); the seed is None where a Generator came in."""
    if isinstance(rng, np.random.Generator):
        return None, rng
    if isinstance(rng, bool) or not isinstance(rng, (int, np.integer)) or rng < 0:
        raise InvalidParameter(f"rng must be a seed >= 0 or a numpy Generator, got {rng!r}.")
    return int(rng), np.random.Generator(np.random.Philox(int(rng)))
