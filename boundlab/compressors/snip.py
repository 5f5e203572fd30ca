"""SNIP (arXiv:1810.02340): keep the weights that the loss feels most; one pass over labelled data, no training.

    s_ij = |w_ij dL/dw_ij|,     L the mean cross-entropy on the labelled points

is by how much, to first order, the loss moves as w_ij is switched off. It is meant for a net before it is trained, and
says nothing about the outputs: no theorem.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from boundlab import _errors
from boundlab._errors import InvalidParameter
from boundlab.compressors.baselines import largest_of_all, scored
from boundlab.compressors.method import Batches, Compressor, Net
from boundlab.nets.module_net import batches
from boundlab.network import Network
from boundlab.records import SamplePlan


@dataclass(frozen=True, kw_only=True, eq=False)
class SNIP(Compressor):
    """Keep the `nnz` weights of largest |w dL/dw| in all layers together, exactly `nnz`; each layer keeps its largest.

    `labels` are those of the points that `compress` is given, in their order: (points,), whole numbers 0..classes-1.

    Source: Lee, Ajanthan and Torr 2019, arXiv:1810.02340, with one pass over all points instead of one batch, as we
    understand the paper. Their scores add up to 1; that factor changes no order.
    """

    nnz: int
    labels: np.ndarray = field(repr=False)
    name: ClassVar[str] = "snip"
    modules: ClassVar[bool] = True

    def plan(self, network: Net, points: np.ndarray | Batches) -> tuple[SamplePlan, ...]:
        """Plan all layers by one threshold on the connection sensitivities."""
        slopes = gradients(network, points, self.labels)
        if not any(g.any() for g in slopes):
            raise InvalidParameter("the loss must have a gradient, got 0 in every weight: nothing can be ranked.")
        return largest_of_all(
            [
                scored(layer.weight, np.abs(layer.weight * g), points=len(self.labels))
                for layer, g in zip(network.layers, slopes, strict=True)
            ],
            self.nnz,
        )


def gradients(network: Net, points: np.ndarray | Batches, labels: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of the mean cross-entropy in every weight matrix, each (out, in) float64.

        delta^L = softmax(f) - e_y,     delta^{l-1} = 1[z^{l-1} > 0] (delta^l W^l),     G^l = (1/n) sum_x delta^l a^l

    for a Network; torch differentiates a module, see `ModuleNet.gradients`. At z = 0 the slope of the ReLU is 0.

    Parameters
    ----------
    network : Network or ModuleNet, with at least two outputs
    points : (points, features); for a module (points, ...), or a function that returns an iterator of such batches
    labels : (points,) whole numbers 0..classes-1

    Raises
    ------
    InvalidParameter
        If points and labels do not fit the net or each other.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> net = Network(layers=(Layer(weight=np.zeros((2, 1)), bias=np.zeros(2), relu=False),))
    >>> gradients(net, np.array([[2.0]]), np.array([1]))[0].tolist()
    [[1.0], [-1.0]]
    """
    if not isinstance(network, Network):
        return network.gradients(points, labels)
    x = _errors.matrix("points", points, columns=network.sizes[0])
    classes = network.sizes[-1]
    if classes < 2:
        raise InvalidParameter(f"a net with gradients must have at least 2 outputs, got {classes}.")
    y = _errors.labels("labels", labels, points=len(x), classes=classes, present=1)
    sums, seen = [np.zeros_like(layer.weight) for layer in network.layers], 0
    for block in batches(x):
        read = network.inputs(block)
        f = network.layers[-1](read[-1])
        likely = np.exp(f - f.max(axis=1, keepdims=True))
        delta = likely / likely.sum(axis=1, keepdims=True)  # (points, classes)
        delta[np.arange(len(block)), y[seen : seen + len(block)]] -= 1.0
        for layer, a, total in zip(network.layers[::-1], read[::-1], sums[::-1], strict=True):
            if layer.relu:
                delta = delta * (layer.preactivation(a) > 0)
            total += delta.T @ a
            delta = delta @ layer.weight
        seen += len(block)
    return [total / len(x) for total in sums]
