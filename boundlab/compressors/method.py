"""What every compressor shares: a plan per layer, draws, reweighting, bookkeeping."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast, overload

import numpy as np
from numba import njit

from boundlab import _errors
from boundlab._errors import InvalidParameter, UnsupportedLayer
from boundlab._theory import implements
from boundlab.coresets.alias import Multinomials
from boundlab.coresets.inclusions import Inclusions
from boundlab.coresets.threshold_sampling import threshold_probabilities
from boundlab.nets.given_points import fingerprints
from boundlab.nets.load import as_network
from boundlab.nets.module_net import Batches, ModuleNet, batches
from boundlab.nets.passes import Progress, recording
from boundlab.network import Network
from boundlab.records import Compressed, Compression, Coreset, Law, Row, SamplePlan

if TYPE_CHECKING:
    import torch

    Module = torch.nn.Module | ModuleNet


Net = Network | ModuleNet
"""What methods compress: both have `layers`, each with a `weight` of shape (out, in), and ``visit(points, see)``."""


class Method(ABC):
    """A method of compression: a frozen dataclass whose `plan` says who matters and how many draws suffice.

    A method that needs no more than the weight matrices and what they read sets `modules` to True: it then compresses
    any torch module, without a theorem.
    """

    name: ClassVar[str]
    modules: ClassVar[bool] = False

    @abstractmethod
    def plan(self, network: Any, points: Any) -> tuple[SamplePlan, ...]:
        """Return the plans, from the original net and calibration points; no coin is drawn here."""


class Compressor(Method):
    """A method that thins out weights: its `plan` has one entry for each of ``network.layers``."""


class ChannelCompressor(Method):
    """A method that removes neurons or channels: its `plan` has one entry for each of ``network.spaces``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ModuleCompression(Compressed):
    """A torch module before and after; no theorem covers it, a hold-out does."""

    net: ModuleNet
    original: ModuleNet

    @property
    def kept(self) -> Mapping[str, str]:
        """The parameters that no method touches, each with the reason."""
        return self.original.kept

    def rows(self) -> list[Row]:
        """One line per weight layer."""
        told = zip(self.original.layers, super().rows(), strict=True)
        return [{"name": layer.name, "kind": layer.kind} | row for layer, row in told]


@dataclass(frozen=True, kw_only=True, eq=False)
class ChannelCompression(Compressed):
    """A net before and after some of its neurons or channels were removed; the one after is smaller, not sparse.

    Each space has a plan over one group of edges, its channels, whose weights are 1; what is drawn is by how much a
    channel counts for all who read it.
    """

    net: Net
    original: Net

    @property
    def stay(self) -> Mapping[str, str]:
        """The layers that keep some or all of their channels, each with the reason."""
        if isinstance(self.original, ModuleNet):
            return self.original.channels.stay
        return {f"weight {len(self.original.layers) - 1}": "they are outputs of the net"}

    @property
    def scales(self) -> tuple[np.ndarray, ...]:
        """How often each channel counts, one array for each space; 0 where it is removed."""
        found = []
        for coreset in self.coresets:
            scale = np.zeros(int(coreset.plan.groups.edges[0]))
            scale[coreset.column] = coreset.weights
            found.append(scale)
        return tuple(found)

    @property
    def nnz(self) -> int:
        """Non-zero weights of the smaller net."""
        return self.net.nnz

    @property
    def ratio(self) -> float:
        """Weights kept, as a share of the original's non-zero weights."""
        return self.net.nnz / max(1, self.original.nnz)

    def rows(self) -> list[Row]:
        """One line per space: its channels, and how many are kept."""
        return [
            {"name": space.name, "channels": space.size, "kept": coreset.nnz}
            for space, coreset in zip(self.original.spaces, self.coresets, strict=True)
        ]


@overload
def compress(
    network: Network | Module,
    method: ChannelCompressor,
    points: np.ndarray | Batches,
    *,
    rng: int | np.random.Generator,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> ChannelCompression: ...
@overload
def compress(
    network: Network,
    method: Compressor,
    points: np.ndarray | Batches,
    *,
    rng: int | np.random.Generator,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> Compression: ...
@overload
def compress(
    network: Network | Module,
    method: Method,
    points: np.ndarray | Batches,
    *,
    rng: int | np.random.Generator,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> Compression | ModuleCompression | ChannelCompression: ...
def compress(
    network: Network | Module,
    method: Method,
    points: np.ndarray | Batches,
    *,
    rng: int | np.random.Generator,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> Compression | ModuleCompression | ChannelCompression:
    """Compress a network: plan every layer with `method` on `points`, then draw once. `network` is never changed.

    Parameters
    ----------
    network : Network, torch module or ModuleNet
        A fully connected ReLU module is read as a Network, and theorems apply. Any other module is compressed as it
        stands, by a method that can: its linear and convolutional layers, everything else is kept exactly and named.
        So is a ModuleNet, whatever it holds.
    method : a compressor, such as ``CoreNetBudget(nnz=10_000)``
    points : (points, features) calibration inputs, as the net reads them, for a module (points, ...); or, where the
        method needs no theorem of whole nets, a function without arguments that returns an iterator of such batches,
        for data larger than memory
    rng : seed or Generator; the same seed gives the same coreset on any number of threads
    record : a folder that keeps what passes over the points have seen: after an interruption the same call goes on
        from it, to the same coreset. With another seed it serves again.
    progress : called as ``progress(k, n)`` when the method's k-th pass over points or layers has seen n vectors

    Raises
    ------
    InvalidParameter
        If `points` does not fit the net or is not finite, the method needs a fully connected net and gets none, or
        `record` is of another net, method or points.
    """
    if not isinstance(method, Method):
        raise InvalidParameter(f"method must be a Compressor such as CoreNet(), got {type(method).__name__}.")
    seed, generator = as_generator(rng)
    net, seen, stream = _net(network, method, points)
    if net.nnz == 0:
        raise InvalidParameter("a net to compress must have at least one non-zero weight, got none.")
    identity = "" if record is None else _identity(net, method, points, stream)
    with recording(record, identity, progress):
        plans = method.plan(net, points)
    if callable(points) and [d for b in batches(points) for d in fingerprints(b)] != stream:
        raise InvalidParameter("points must be the same, in the same order, each time that they are asked for.")
    removes = isinstance(method, ChannelCompressor)
    before = [np.ones((1, s.size)) for s in net.spaces] if removes else [layer.weight for layer in net.layers]
    weights, coresets = [], []
    for matrix, plan in zip(before, plans, strict=True):
        weight = draw_layer(matrix, plan, generator)
        neuron, column = np.nonzero(weight)
        coresets.append(Coreset(neuron=neuron, column=column, weights=weight[neuron, column], plan=plan))
        weights.append(weight)
    told: dict[str, Any] = {"coresets": tuple(coresets), "compressor": method, "calibration": seen, "seed": seed}
    if removes:
        return ChannelCompression(net=net.shrink([w[0] for w in weights]), original=net, **told)
    if isinstance(net, Network):
        return Compression(net=net.with_weights(weights), original=net, **told)
    return ModuleCompression(net=net.with_weights(weights), original=net, **told)


def _net(network: Any, method: Method, points: np.ndarray | Batches) -> tuple[Net, frozenset[bytes], list[bytes]]:
    """The net to compress, and the digests of its calibration points, as a set and in the order of a stream."""
    as_it_stands = isinstance(network, ModuleNet) or callable(points) or np.ndim(points) > 2
    if isinstance(network, Network) or not as_it_stands:
        try:
            net = as_network(network)
        except UnsupportedLayer as fact:
            if not method.modules:
                raise UnsupportedLayer(f"{method.name} needs a fully connected net: {fact}") from None
        else:
            if callable(points) and not method.modules:
                raise InvalidParameter(f"{method.name} reads its points as one array, got a function.")
            stream = []
            for batch in batches(points) if callable(points) else [points]:
                rows = _errors.matrix("points", batch, columns=net.sizes[0])
                net.require_finite(rows)
                stream += fingerprints(rows)
            if not stream:
                raise InvalidParameter("points must hold at least one point, got none.")
            return net, frozenset(stream), stream
    elif not method.modules:
        raise UnsupportedLayer(f"{method.name} needs a fully connected net and points of shape (points, features).")
    example, seen = None, []
    for batch in batches(points):
        example = batch[:1] if example is None else example
        seen += fingerprints(batch)
    if example is None:
        raise InvalidParameter("points must hold at least one point, got none.")
    module: Any = network
    return module if isinstance(module, ModuleNet) else ModuleNet(module, example), frozenset(seen), seen


def _identity(net: Net, method: Method, points: np.ndarray | Batches, stream: list[bytes]) -> str:
    """A digest of all that the passes of a method depend on."""
    found = hashlib.blake2b(f"{net.digest} {type(method).__qualname__}".encode(), digest_size=16)
    for field in fields(cast(Any, method)):
        value = getattr(method, field.name)
        found.update(f"{field.name} {value!r}".encode())
        if isinstance(value, np.ndarray):
            found.update(np.ascontiguousarray(value).tobytes())
    found.update(b"".join(stream) if callable(points) else np.ascontiguousarray(points).tobytes())
    return found.hexdigest()


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
        mean = groups.spread(m) * q
        if plan.law is not Law.MULTINOMIAL and drawn.any():
            left = np.where(certain, 0.0, plan.sensitivities.values)
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
