"""What a walk through a graph carries along the data path, until it is a `Network`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boundlab._errors import UnsupportedLayer
from boundlab.network import Layer, Network


def unsupported(fact: str) -> UnsupportedLayer:
    """Return the refusal of a graph, its rule first."""
    return UnsupportedLayer(f"fully connected ReLU networks are supported; got {fact}.")


@dataclass(frozen=True, kw_only=True, eq=False)
class Chain:
    """A tensor on the data path: which neuron each of its entries holds, and the layers that lead there.

    Entry ``where[i]`` is ``row * neurons + neuron``, so a reshape or a transpose of the tensor is the same reshape or
    transpose of `where`, and a change of order is folded into the next weight matrix instead of being guessed.
    """

    where: np.ndarray  # int, any shape with batch * neurons entries
    batch: int
    layers: tuple[Layer, ...] = ()
    scale: np.ndarray | None = None  # (neurons,) an elementwise a -> scale * a + shift still to be folded
    shift: np.ndarray | None = None

    @classmethod
    def start(cls, shape: tuple[int, ...], batch: int) -> Chain:
        """Return the net's input, a tensor of that shape with `batch` points in it."""
        return cls(where=np.arange(int(np.prod(shape))).reshape(shape), batch=batch)

    @property
    def neurons(self) -> int:
        """How many neurons each point has here."""
        return self.where.size // self.batch

    def moved(self, where: np.ndarray) -> Chain:
        """Return the same entries in another shape or order."""
        if where.size != self.where.size:
            raise unsupported(f"an operation that takes {self.where.size} entries to {where.size}")
        return replace(self, where=where)

    def affine(self, scale: Any = 1.0, shift: Any = 0.0) -> Chain:
        """Return scale * a + shift, both constants that broadcast against the tensor."""
        s, t = self._per_neuron(scale), self._per_neuron(shift)
        if self.scale is None and self.layers and not self.layers[-1].relu:
            last = self.layers[-1]
            folded = Layer(weight=last.weight * s[:, None], bias=last.bias * s + t, relu=False)
            return replace(self, layers=(*self.layers[:-1], folded))
        before, offset = (1.0, 0.0) if self.scale is None or self.shift is None else (self.scale, self.shift)
        return replace(self, scale=s * before, shift=s * offset + t)

    def linear(self, weight: np.ndarray, bias: np.ndarray | None = None, *, axis: int = -1) -> Chain:
        """Return W a + b along one axis of the tensor, for `weight` of shape (out, in)."""
        weight = np.asarray(weight, dtype=np.float64)
        moved = np.moveaxis(self.where, axis, -1)
        rows = moved.reshape(-1, moved.shape[-1])  # (batch, in) where the axis holds all neurons of a point
        order = rows[0]
        if rows.shape != (self.batch, self.neurons) or weight.ndim != 2 or weight.shape[1] != self.neurons:
            raise unsupported(
                f"a linear layer of shape {weight.shape} on {self.neurons} neurons in {rows.shape[0]} rows"
            )
        if not np.array_equal(rows, order + self.neurons * np.arange(self.batch)[:, None]) or order.max() >= len(order):
            raise unsupported("a linear layer that mixes the points of a batch")
        w = np.empty_like(weight)
        w[:, order] = weight
        b = np.zeros(len(w)) if bias is None else np.asarray(bias, dtype=np.float64).reshape(-1)
        b = np.broadcast_to(b, (len(w),))
        if self.scale is not None and self.shift is not None:  # W (s x + t) + b = (W diag s) x + (W t + b)
            w, b = w * self.scale, w @ self.shift + b
        where = np.arange(self.batch * len(w)).reshape(*moved.shape[:-1], len(w))
        return Chain(
            where=np.moveaxis(where, -1, axis),
            batch=self.batch,
            layers=(*self.layers, Layer(weight=w, bias=b, relu=False)),
        )

    def relu(self) -> Chain:
        """Return max(a, 0)."""
        if not self.layers:
            raise unsupported("a ReLU before the first linear layer")
        if self.scale is not None:
            raise unsupported("a ReLU on a rescaled ReLU, without a linear layer between")
        return replace(self, layers=(*self.layers[:-1], replace(self.layers[-1], relu=True)))

    def network(self) -> Network:
        """Return the layers as a Network, if the tensor is that network's output in its own order."""
        if not self.layers:
            raise unsupported("a net without a linear layer")
        if self.scale is not None:
            raise unsupported("an elementwise operation after the last ReLU")
        if not np.array_equal(self.where.ravel(), np.arange(self.where.size)):
            raise unsupported("a change of order after the last linear layer")
        return Network(layers=self.layers)

    def _per_neuron(self, value: Any) -> np.ndarray:
        value = np.asarray(value, dtype=np.float64)
        try:
            full = np.broadcast_to(value, self.where.shape)
        except ValueError:
            raise unsupported(f"a constant of shape {value.shape} on a tensor of shape {self.where.shape}") from None
        if not np.isfinite(full).all():
            raise unsupported("an elementwise operation with a constant that is not finite")
        flat = np.empty(self.where.size)
        flat[self.where.ravel()] = full.ravel()
        rows = flat.reshape(self.batch, self.neurons)
        if not (rows == rows[0]).all():
            raise unsupported("a constant that differs between the points of a batch")
        return rows[0]


def product(left: Any, right: Any, refusal: UnsupportedLayer) -> Chain:
    """Return the matrix product of a Chain with a constant, in either order, with the shapes of numpy's matmul."""
    if isinstance(left, Chain) and not isinstance(right, Chain):
        w, chain, axis = np.asarray(right, dtype=np.float64).T, left, -1
    elif isinstance(right, Chain) and not isinstance(left, Chain):
        w, chain, axis = np.asarray(left, dtype=np.float64), right, -min(2, right.where.ndim)
    else:
        raise refusal
    result = chain.linear(np.atleast_2d(w), axis=axis)
    return result if w.ndim == 2 else result.moved(result.where.squeeze(axis))


def walked(build: Callable[[tuple[int, ...], int], Chain], shape: tuple[int, ...]) -> tuple[Network, int]:
    """Walk with the first dimension as the batch, or else with the whole tensor as one point: (network, batch)."""
    batches = [1] if len(shape) < 2 or shape[0] == 1 else [shape[0], 1]
    refused: list[UnsupportedLayer] = []
    for batch in batches:
        try:
            return build(shape, batch).network(), batch
        except UnsupportedLayer as error:
            refused.append(error)
    raise refused[0]


def require_equal(
    net: Network,
    run: Callable[[np.ndarray], np.ndarray],
    *,
    shape: tuple[int, ...],
    batch: int,
    points: int,
    eps: float,
) -> None:
    """Raise UnsupportedLayer unless `run` and `net` agree on random inputs, to `eps` of the largest output."""
    rng = np.random.default_rng(0)
    for _ in range(-(-points // batch)):
        x = rng.standard_normal(shape)
        got, want = net(x.reshape(batch, -1)), run(x)
        if want.size != got.size:
            raise unsupported(f"{want.size // batch} outputs where its layers give {got.shape[1]}")
        difference = np.abs(got - want.reshape(got.shape)).max()
        if not difference <= eps * np.abs(want).max():
            raise unsupported(f"a graph whose layers give other outputs, by {difference:.3g}")
