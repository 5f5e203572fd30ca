"""Gradients of the loss in the weight matrices: one pass over labelled points, whatever the kind of net."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from boundlab._errors import InvalidParameter, labels, matrix
from boundlab.nets.module_net import Batches, ModuleNet, batches
from boundlab.nets.passes import Pass, look
from boundlab.network import Network

Net = Network | ModuleNet


def gradients(net: Net, points: np.ndarray | Batches, y: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of the mean cross-entropy in every weight matrix, each (out, in) float64.

        delta^L = softmax(f) - e_y,     delta^{l-1} = 1[z^{l-1} > 0] (delta^l W^l),     G^l = (1/n) sum_x delta^l a^l

    for a Network, where at z = 0 the slope of the ReLU is 0; torch differentiates a module, see `ModuleNet.gradients`.

    Parameters
    ----------
    net : Network or ModuleNet, with at least two outputs
    points : (points, features), for a module (points, ...); or a function that returns an iterator of such batches
    y : (points,) whole numbers 0..classes-1, in the order of the points

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
    if np.ndim(y) != 1:
        raise InvalidParameter(f"labels must have shape (points,), got {np.shape(y)}.")
    if isinstance(net, Network) and net.sizes[-1] < 2:
        raise InvalidParameter(f"a net with gradients must have at least 2 outputs, got {net.sizes[-1]}.")
    seen = look(_Slopes(net, np.asarray(y)), batches(points))
    if not seen.count or len(y) != seen.count:
        raise InvalidParameter(
            f"labels must have shape ({seen.count},), one for each of at least one point, got {np.shape(y)}."
        )
    return [total / seen.count for total in seen.sums]


class _Slopes(Pass):
    """The sums of the gradients so far."""

    def __init__(self, net: Net, y: np.ndarray) -> None:
        self.net, self.y = net, y
        self.sums, self.count = [np.zeros_like(layer.weight) for layer in net.layers], 0

    def see(self, batch: np.ndarray) -> None:
        own = self.y[self.count : self.count + len(batch)]
        found = _of_network(self.net, batch, own) if isinstance(self.net, Network) else self.net.gradients(batch, own)
        for total, part in zip(self.sums, found, strict=True):
            total += part
        self.count += len(batch)

    def state(self) -> dict[str, np.ndarray]:
        return {f"sum {k}": total for k, total in enumerate(self.sums)} | {"count": np.array(self.count)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for k, total in enumerate(self.sums):
            total[...] = state[f"sum {k}"]
        self.count = int(state["count"])


def _of_network(net: Network, batch: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    x = matrix("points", batch, columns=net.sizes[0])
    own = labels("labels", y, points=len(x), classes=net.sizes[-1], present=1)
    read = net.inputs(x)
    f = net.layers[-1](read[-1])
    likely = np.exp(f - f.max(axis=1, keepdims=True))
    delta = likely / likely.sum(axis=1, keepdims=True)  # (points, classes)
    delta[np.arange(len(x)), own] -= 1.0
    found = []
    for layer, a in zip(net.layers[::-1], read[::-1], strict=True):
        if layer.relu:
            delta = delta * (layer.preactivation(a) > 0)
        found.append(delta.T @ a)
        delta = delta @ layer.weight
    return found[::-1]
