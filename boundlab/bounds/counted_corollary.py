"""CoreNet's generalization corollary re-derived: counts on a sphere, relative margins, and no hidden constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from boundlab._errors import PremiseViolated
from boundlab._theory import implements
from boundlab.bounds.arora_margin import margin_losses
from boundlab.bounds.compressed_class import ROUNDING, SHAPE, relative_margins
from boundlab.bounds.generalization_bound import (
    IID,
    GeneralizationBound,
    Subject,
    chance,
    compression_of,
    evidence,
    telescope,
)
from boundlab.bounds.occam import occam_binomial
from boundlab.codes.counts import log_sphere_size
from boundlab.codes.log_grid import LogGrid
from boundlab.nets.feedforward import feed_forward
from boundlab.nets.net_message import encode
from boundlab.nets.on_codebook import on_log_grid
from boundlab.network import Layer, Network
from boundlab.promises import Bound, Premise, Status
from boundlab.records import Compression, Coreset, Law

STEPS = 8
"""Values of single draws are rounded to +-2^(k/8)."""
_UP = 1.0 + 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedLayer:
    """One layer as counts times values on a grid, and what such a layer costs."""

    layer: Layer
    sizes: np.ndarray  # (out,) int64: m_i, all draws of neuron i and its certain edges
    nats: float  # of any layer of these sizes with values in this range


@implements("boundlab_counted_corollary", "boundlab_relative_margin", "fischer1986_pyramid_code")
@dataclass(frozen=True, kw_only=True)
class CountedCorollary(GeneralizationBound):
    """Risk of the sampled net g, as drawn, from the relative margins of the original f and the sizes of its samples.

        R_0(g) <= Bin+( #{rho <= shift}, n, delta e^-K )
        K = sum over neurons of [ ln N(d, m_i) + min(d, m_i) ln M + len(m_i) ] + biases

    g has the weights c_j v_j: counts c with the signs of f on the sphere |c|_1 = m_i, N(d, m) of them, and the value
    v_j = |w_j| / (m q_j) of one draw on the grid 2^(k/8), of which a layer uses M levels. rho(x) is the relative margin
    of f, the shift of a point the smallest eps at which all outputs of g, as drawn and rounded, are within (1 ± eps) of
    f's: it is observed, not bounded, and needs no eps that all points share. g is a function of real numbers: what
    rounding leaves open counts as an error. K depends on the sizes, which a theorem gives before any coin, and on M,
    the range of the values. ``facts["a_posteriori"]`` is Occam's bound at the price of a message, of a net that is g
    only where every count is a power of 2^(1/8): its weights are those of g on the grid once more, and its errors are
    ``facts["a_posteriori_errors"]``.

    Raises
    ------
    PremiseViolated
        On evaluation, if the net is no compression of a fully connected net, or not the one that was drawn.

    Notes
    -----
    Our replacement for the corollary of arXiv:1804.05345; proved in ``boundlab_counted_corollary``. At the sizes that
    CoreNet's theorem asks for, m_i far above d, K exceeds what counting all parameters would take: the corollary says
    less than nothing was compressed.
    """

    name: str = "CoreNet corollary, re-derived"

    def __call__(self, net: Subject, x: Any, y: Any) -> Bound:
        """Put the draw on the grid, look how far it moved, and invert; rounded up."""
        compression = compression_of(net)
        x, y = evidence(compression, x, y)
        compression.original.require_finite(x)
        counted = counted_layers(compression)
        g = Network(layers=tuple(own.layer for own in counted))
        g.require_finite(x)
        n, f, certain = len(x), compression.original(x), feed_forward(g).certain_margins(x, y)
        rho = relative_margins(f, y)
        losses = int(np.count_nonzero(margin_losses(rho, _shift(f, g(x)), certain)))
        wrong = int(np.count_nonzero(rho <= 0.0))
        price = math.fsum(own.nats for own in counted) * _UP
        levels = [occam_binomial(losses, n, (nats - math.log(self.delta)) * _UP) for nats in (0.0, price)]
        message = encode(on_log_grid(feed_forward(g), STEPS))
        after = message.net.count_errors(x, y)
        return Bound(
            name=self.name,
            terms=telescope(
                ("risk of the original", "margins lost", "confidence", "sizes"), (wrong / n, losses / n, *levels)
            ),
            delta=self.delta,
            theorem="boundlab_counted_corollary",
            chance=chance(y),
            premises=(
                IID,
                Premise(
                    text="the code is fixed before the data, and its lengths satisfy Kraft's inequality",
                    status=Status.CHECKED,
                    evidence="by construction: sizes and ranges by Elias' gamma code, counts and values uniform",
                ),
                SHAPE,
                ROUNDING,
            ),
            facts={
                "margin_losses": losses,
                "errors": n - int(np.count_nonzero(certain > 0.0)),
                "n": n,
                "nats": price,
                "draws": float(sum(own.sizes.sum() for own in counted)),
                "a_posteriori": occam_binomial(after, n, (message.nats - math.log(self.delta)) * _UP),
                "a_posteriori_errors": after,
                "a_posteriori_nats": message.nats,
            },
        )


def counted_layers(compression: Compression) -> list[CountedLayer]:
    """The layers of a drawn net as counts times values on the grid, with the prices of their sizes.

    Raises
    ------
    PremiseViolated
        If a layer has no plan, as in a net that was not sampled, or the net has other weights than those drawn.
    """
    by_layer = {coreset.plan.layer: coreset for coreset in compression.coresets}
    layers = compression.original.layers
    if len(by_layer) != len(layers):
        raise PremiseViolated(
            f"a sampled net must have a plan for each of its {len(layers)} layers, got {len(by_layer)}."
        )
    drawn = [np.zeros(layer.weight.shape) for layer in layers]
    for k, weight in enumerate(drawn, 2):
        weight[by_layer[k].neuron, by_layer[k].column] = by_layer[k].weights
    if compression.net.digest != compression.original.with_weights(drawn).digest:
        raise PremiseViolated("a sampled net must have the weights that were drawn and its own biases, got others.")
    return [_counted(layer, by_layer[k]) for k, layer in enumerate(layers, 2)]


def _counted(layer: Layer, coreset: Coreset) -> CountedLayer:
    plan, grid = coreset.plan, LogGrid(STEPS)
    groups, out = plan.groups, len(layer.weight)
    edges = (groups.spread(groups.neuron), groups.columns)
    share = np.zeros(layer.weight.shape)  # m q_j: the expected count, 1 where an edge is certain
    each = plan.law is not Law.MULTINOMIAL
    share[edges] = np.where(plan.certain, 1.0, np.inf if each else groups.spread(plan.draws) * plan.probabilities)
    at = (coreset.neuron, coreset.column)
    size, expected = np.abs(coreset.weights), share[at]
    counts = np.ones(len(size)) if each else np.maximum(1.0, np.rint(size * expected / np.abs(layer.weight[at])))
    value = grid.nearest(size / counts)
    counts[value == 0] = 0.0  # below the smallest float of the grid: such an edge is none, and is not told
    weight = np.zeros(layer.weight.shape)
    weight[at] = np.sign(coreset.weights) * counts * value
    sizes = np.zeros(out, np.int64)
    np.add.at(sizes, coreset.neuron, counts.astype(np.int64))
    bias = grid.nearest(layer.bias)
    values = np.concatenate([value[value > 0], np.abs(bias[bias != 0])])
    nats = _nats(sizes, layer.weight.shape[1], values, out)
    return CountedLayer(layer=Layer(weight=weight, bias=bias, relu=layer.relu), sizes=sizes, nats=nats)


def _nats(sizes: np.ndarray, d: int, values: np.ndarray, out: int) -> float:
    """The price of any layer of such sizes whose values lie in the range of these."""
    levels = LogGrid(STEPS).levels(values) if len(values) else np.zeros(1, np.int64)
    low, width = int(levels.min()), int(levels.max() - levels.min()) + 1
    parts = [_gamma(2 * low if low > 0 else 1 - 2 * low), _gamma(width), out * math.log(2.0 * width + 1.0)]
    for m in sizes.tolist():
        parts.append(_gamma(m + 1))
        if m:
            parts += [log_sphere_size(d, m), min(d, m) * math.log(width)]
    return math.fsum(parts) * _UP


def _gamma(m: int) -> float:
    """Elias' gamma code of a whole number >= 1, in nats."""
    return (2 * m.bit_length() - 1) * math.log(2.0)


def _shift(f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The largest over the outputs of |g_j - f_j| / |f_j|, rounded up and above 0; inf where a zero moved."""
    gap, size = np.abs(g - f), np.abs(f)
    ratio = np.divide(gap, size, out=np.where(gap > 0, np.inf, 0.0), where=size > 0)
    return ratio.max(axis=1) * (1.0 + 2.0**-50) + 1e-300
