"""A fully connected network as plain float64 arrays: what every guarantee is computed on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One affine map and what follows it: a -> relu(W a + b), or W a + b where `relu` is False."""

    weight: np.ndarray  # (out, in) float64
    bias: np.ndarray  # (out,) float64
    relu: bool

    def __post_init__(self) -> None:
        weight = np.ascontiguousarray(self.weight, dtype=np.float64)
        bias = np.ascontiguousarray(self.bias, dtype=np.float64)
        if weight.ndim != 2 or 0 in weight.shape:
            raise InvalidParameter(f"a weight must have shape (out, in) with out, in >= 1, got {weight.shape}.")
        if bias.shape != (weight.shape[0],):
            raise InvalidParameter(f"a bias must have shape ({weight.shape[0]},), as its weight has, got {bias.shape}.")
        for name, array in (("weight", weight), ("bias", bias)):
            if not np.isfinite(array).all():
                bad = array.size - int(np.isfinite(array).sum())
                raise InvalidParameter(f"a {name} must be finite, got {bad} NaN or infinite of {array.size} entries.")
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def preactivation(self, a: np.ndarray) -> np.ndarray:
        """W a + b for inputs of shape (points, in): -> (points, out)."""
        return a @ self.weight.T + self.bias

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """What the next layer reads, shape (points, out)."""
        z = self.preactivation(a)
        return np.maximum(z, 0.0) if self.relu else z


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """Neurons or channels that can be removed: who puts them out, and who reads them.

    Channel j is rows[j] of weight layer k for each (k, rows) of `writers`, and stands in its columns[j] for each
    (k, columns) of `readers`.
    """

    name: str
    size: int
    writers: tuple[tuple[int, np.ndarray], ...]  # rows: (size, r) int64
    readers: tuple[tuple[int, np.ndarray], ...]  # columns: (size, c) int64, c values of each channel
    own: int  # numbers that a channel has beside these: biases, batch norms, kernels of its own


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Layers in order. Layer `k` here carries the paper's weight matrix W^{k+2}: layer 1 is the input."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise InvalidParameter("a network must have at least one layer, got none.")
        for k, (left, right) in enumerate(zip(self.layers[:-1], self.layers[1:], strict=True)):
            if right.weight.shape[1] != left.weight.shape[0]:
                raise InvalidParameter(
                    f"weight {k + 1} must have {left.weight.shape[0]} columns, the outputs of weight {k}, "
                    f"got {right.weight.shape[1]}."
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons in each layer, the input first: (784, 300, 100, 10)."""
        return (self.layers[0].weight.shape[1], *(layer.weight.shape[0] for layer in self.layers))

    @property
    def nnz(self) -> int:
        """Non-zero weights (biases not counted)."""
        return sum(int(np.count_nonzero(layer.weight)) for layer in self.layers)

    @property
    def parameters(self) -> int:
        """All weights and biases, zeros too."""
        return sum(layer.weight.size + layer.bias.size for layer in self.layers)

    @property
    def digest(self) -> str:
        """The blake2b-128 digest, in hex, of sizes, weights, biases and activations: equal nets, equal digests."""
        found = hashlib.blake2b(repr([(*w.weight.shape, w.relu) for w in self.layers]).encode(), digest_size=16)
        for layer in self.layers:
            found.update(layer.weight.tobytes())
            found.update(layer.bias.tobytes())
        return found.hexdigest()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs f(x), shape (points, classes), for x of shape (points, features)."""
        for layer in self.layers:
            x = layer(x)
        return x

    def inputs(self, x: np.ndarray) -> list[np.ndarray]:
        """What each layer reads: [a^1 = x, a^2, ..., a^{L-1}], each (points, in)."""
        read = [x]
        for layer in self.layers[:-1]:
            read.append(layer(read[-1]))
        return read

    def visit(self, points: np.ndarray, see: Callable[[int, np.ndarray], None]) -> None:
        """Show ``see(k, patches)`` what layer k reads, patches of shape (points, 1, in); see `nets.module_net`."""
        for k, a in enumerate(self.inputs(points)):
            see(k, a[:, None, :])

    def require_finite(self, x: np.ndarray) -> None:
        """Raise InvalidParameter where a value inside the net could overflow on x: NaN compares as no error at all."""
        reach = max(float(np.max(x, initial=0.0)), -float(np.min(x, initial=0.0)))  # no copy of x
        with np.errstate(over="ignore"):
            for layer in self.layers:
                reach = float((np.abs(layer.weight).sum(axis=1) * reach + np.abs(layer.bias)).max())
        if not reach < 1e300:
            raise InvalidParameter(f"the net's outputs must stay below 1e300, they may reach {reach:g}.")

    def with_weights(self, weights: Sequence[np.ndarray] | Iterable[np.ndarray]) -> Network:
        """The same net with other weight matrices; biases and activations are kept exactly."""
        return Network(
            layers=tuple(
                Layer(weight=w, bias=layer.bias, relu=layer.relu) for layer, w in zip(self.layers, weights, strict=True)
            )
        )

    @property
    def spaces(self) -> tuple[Space, ...]:
        """The hidden layers, in order: what can be removed from them."""
        found = []
        for k, n in enumerate(self.sizes[1:-1], 1):
            each = np.arange(n)[:, None]
            found.append(Space(name=f"hidden {k}", size=n, writers=((k - 1, each),), readers=((k, each),), own=1))
        return tuple(found)

    def shrink(self, scales: Sequence[np.ndarray]) -> Network:
        """The net in which neuron j of hidden layer k counts scales[k][j] times; those that count 0 times are gone.

        A layer that would lose all of its neurons keeps the first one, and its readers get a zero for it.
        """
        layers = list(self.layers)
        for k, scale in enumerate(scales):
            if scale.shape != (len(layers[k].weight),):
                raise InvalidParameter(f"scales[{k}] must have shape ({len(layers[k].weight)},), got {scale.shape}.")
            kept = scale != 0
            kept[0] |= not kept.any()
            own, reader = layers[k], layers[k + 1]
            layers[k] = Layer(weight=own.weight[kept], bias=own.bias[kept], relu=own.relu)
            layers[k + 1] = Layer(weight=(reader.weight * scale)[:, kept], bias=reader.bias, relu=reader.relu)
        return Network(layers=tuple(layers))

    def errors(self, x: np.ndarray, y: np.ndarray) -> int:
        """How many of the points are classified wrongly; a tie or a NaN counts as an error (the safe side)."""
        return misclassified(self(x), y)


def misclassified(outputs: np.ndarray, y: np.ndarray) -> int:
    """How many rows of (points, classes) are not largest at the label alone; a tie or a NaN counts."""
    own = outputs[np.arange(len(y)), y]
    others = outputs.copy()
    others[np.arange(len(y)), y] = -np.inf
    return int(np.count_nonzero(~(own > others.max(axis=1))))
