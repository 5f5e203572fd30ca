"""A chain of operations from a fixed vocabulary: what a description can name, and a verifier can rebuild by itself.

Points come flat, as data sets give them; a chain that works on images starts with a `Reshape`. Everything that is done
to a point stands in the chain, fixed preprocessing too. Each operation knows its outputs, and a bound on their error in
floating point: `certain_margins` bounds the margins of the chain *in exact arithmetic*. A point that is not counted as
an error is right for everybody, in whatever order sums are taken; only what rounding leaves open may be counted by one
and not by another.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.network import Network

Shape = tuple[int, ...]
LARGEST_POINT = 2**25
"""The most numbers that the windows of one point may hold."""
_BLOCK = 1 << 22  # numbers in a block of points, to bound the memory
_SAFE = 1.0 + 2.0**-20  # past the rounding of the bounds themselves, whose terms are all positive
_TINY = 2.0**-1000  # past underflow


class Affine(Protocol):
    """Weights (out, d) and biases (out,), float64."""

    @property
    def weight(self) -> np.ndarray:
        """(out, d)."""
        ...

    @property
    def bias(self) -> np.ndarray:
        """(out,)."""
        ...


class Op(ABC):
    """One operation on points of one shape."""

    kind: ClassVar[int]
    """Its number in a description, 0..6."""

    @abstractmethod
    def shape(self, given: Shape) -> Shape:
        """The shape of a point after it; InvalidParameter where it cannot read `given`."""

    @abstractmethod
    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs for inputs (points, *shape)."""

    @abstractmethod
    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """Bound |computed - exact| after it, given inputs `a` as computed and a bound `e` of theirs, entry by entry."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Op):
    """W a + b on a point, flattened row by row."""

    kind = 0
    layer: Affine

    def shape(self, given: Shape) -> Shape:
        """The shape (out,)."""
        if math.prod(given) != self.layer.weight.shape[1]:
            raise InvalidParameter(
                f"a linear layer must have {math.prod(given)} columns, got {self.layer.weight.shape}."
            )
        return (len(self.layer.weight),)

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs (points, out)."""
        return self.reads(a) @ self.layer.weight.T + self.layer.bias

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """|W| (e + g |a|) + g |b|, with g of d + 1 operations in any order."""
        return _sums(self.reads(a), self.reads(e), np.abs(self.layer.weight), np.abs(self.layer.bias))

    def reads(self, a: np.ndarray) -> np.ndarray:
        """What the weights are multiplied with, (points, d)."""
        return a.reshape(len(a), -1)

    def with_layer(self, layer: Affine) -> Linear:
        """The same operation with other weights."""
        return replace(self, layer=layer)


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolution(Op):
    """A convolution of (channels, height, width); weight (out, channels * size * size), zeros outside of the image."""

    kind = 1
    layer: Affine
    size: int
    stride: int = 1
    padding: int = 0

    def shape(self, given: Shape) -> Shape:
        """The shape (out, height, width)."""
        if len(given) != 3 or given[0] * self.size**2 != self.layer.weight.shape[1]:
            raise InvalidParameter(f"a convolution with weights {self.layer.weight.shape} cannot read {given}.")
        return (len(self.layer.weight), *places(given, self.size, self.stride, self.padding))

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs (points, out, height, width)."""
        windows = self._windows(a)
        return np.moveaxis(windows @ self.layer.weight.T + self.layer.bias, -1, 1)

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """As of a linear layer, on each window."""
        found = _sums(self._windows(a), self._windows(e), np.abs(self.layer.weight), np.abs(self.layer.bias))
        return np.moveaxis(found, -1, 1)

    def reads(self, a: np.ndarray) -> np.ndarray:
        """What the weights are multiplied with, (points * height * width, d)."""
        found = self._windows(a)
        return found.reshape(-1, found.shape[-1])

    def with_layer(self, layer: Affine) -> Convolution:
        """The same operation with other weights."""
        return replace(self, layer=layer)

    def _windows(self, a: np.ndarray) -> np.ndarray:
        """(points, height, width, channels * size * size)."""
        pad = (self.padding, self.padding)
        found = _windows(np.pad(a, ((0, 0), (0, 0), pad, pad)), self.size, self.stride)
        return np.moveaxis(found, 1, 3).reshape(*(found.shape[i] for i in (0, 2, 3)), -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Relu(Op):
    """max(a, 0)."""

    kind = 2

    def shape(self, given: Shape) -> Shape:
        """Unchanged."""
        return given

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs of the same shape."""
        return np.maximum(a, 0.0)

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """No more than before: it moves no two numbers apart."""
        return e


@dataclass(frozen=True, kw_only=True, eq=False)
class AveragePool(Op):
    """Means of windows of size x size, side by side; what is left over at the lower and right edge is not looked at."""

    kind = 3
    size: int

    def shape(self, given: Shape) -> Shape:
        """The shape (channels, height // size, width // size)."""
        return (*_image(given)[:1], *places(given, self.size, self.size, 0))

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs (points, channels, height, width)."""
        height, width = places(a.shape[1:], self.size, self.size, 0)
        whole = a[:, :, : height * self.size, : width * self.size]
        return whole.reshape(*a.shape[:2], height, self.size, width, self.size).mean(axis=(3, 5))

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """The mean of e, and of size^2 + 1 operations on |a|."""
        return self(e + _unit(self.size**2 + 1) * np.abs(a)) * _SAFE + _TINY


@dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Op):
    """The largest number of each window of size x size."""

    kind = 4
    size: int
    stride: int

    def shape(self, given: Shape) -> Shape:
        """The shape (channels, height, width)."""
        return (*_image(given)[:1], *places(given, self.size, self.stride, 0))

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs (points, channels, height, width)."""
        return _windows(a, self.size, self.stride).max(axis=(-2, -1))

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """The largest error in the window."""
        return self(e)


@dataclass(frozen=True, kw_only=True, eq=False)
class Reshape(Op):
    """The same numbers as (channels, height, width)."""

    kind = 5
    into: Shape

    def shape(self, given: Shape) -> Shape:
        """The shape asked for."""
        if len(self.into) != 3 or math.prod(self.into) != math.prod(given):
            raise InvalidParameter(f"points of shape {given} cannot be read as images of shape {self.into}.")
        return self.into

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs (points, channels, height, width)."""
        return a.reshape(len(a), *self.into)

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """In the new shape."""
        return self(e)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescale(Op):
    """(factor a + offset) / 2^halvings with whole factor and offset: 2 a - 1 is ``Rescale(factor=2, offset=-1)``."""

    kind = 6
    factor: int
    offset: int = 0
    halvings: int = 0

    def shape(self, given: Shape) -> Shape:
        """Unchanged."""
        return given

    def __call__(self, a: np.ndarray) -> np.ndarray:
        """Outputs of the same shape."""
        return np.ldexp(self.factor * a + self.offset, -self.halvings)

    def error(self, a: np.ndarray, e: np.ndarray) -> np.ndarray:
        """|factor| e and two operations, halved as often."""
        found = abs(self.factor) * (e + _unit(2) * np.abs(a)) + _unit(2) * abs(self.offset)
        return np.ldexp(found, -self.halvings) * _SAFE + _TINY


@implements("boundlab_certain_margins")
@dataclass(frozen=True, kw_only=True, eq=False)
class FeedForward:
    """Operations in order, on points of `features` numbers.

    Raises
    ------
    InvalidParameter
        If an operation cannot read what the one before it gives, or the last one gives no row of outputs.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> w = Layer(weight=np.array([[1.0, -1.0], [-1.0, 1.0]]), bias=np.zeros(2), relu=False)
    >>> net = FeedForward(features=2, ops=(Linear(layer=w),))
    >>> net.count_errors(np.array([[0.3, 0.1], [0.1, 0.1], [0.1, 0.1 + 1e-17]]), np.array([0, 0, 1]))  # ties are errors
    2
    """

    features: int
    ops: tuple[Op, ...]

    def __post_init__(self) -> None:
        if len(self.shapes[-1]) != 1:
            raise InvalidParameter(f"a net must end with a row of outputs, got shape {self.shapes[-1]}.")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of a point before the first operation and after each."""
        found: list[Shape] = [(self.features,)]
        for op in self.ops:
            found.append(op.shape(found[-1]))
        return tuple(found)

    @property
    def classes(self) -> int:
        """Numbers in the last row."""
        return self.shapes[-1][0]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs (points, classes) for points (points, features), float64."""
        return np.concatenate([np.zeros((0, self.classes)), *(self._outputs(block) for block in self._blocks(x))])

    def enclosed(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (points, classes) as computed, at least one point, and a bound on how far each is from the exact one.

        The bound is inf where there is none.
        """
        found = [self._run(block) for block in self._blocks(x)]
        f, e = (np.concatenate([run[side] for run in found]) for side in (0, 1))
        return f, np.where(np.isnan(e), np.inf, e)

    def certain_margins(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Lower bounds of the exact margins f_y - max over j != y of f_j, for points (n, features) and labels (n,).

        The float64 numbers of weights and points are taken as exact, the operations as those of real numbers. The
        outputs are computed with the bound of `Op.error` beside them, for sums in any order. One bound serves all
        points of a block, since it grows with every |a|; what it leaves open at 0 is asked again, point by point.

        Returns
        -------
        array (n,)
            -inf where a bound is no number.
        """
        found = [np.zeros(0)]
        for start, block in zip(_starts(self._size, len(x)), self._blocks(x), strict=True):
            own = y[start : start + len(block)]
            f, e = self._run(block, together=True)
            lower = _gaps(f, e, own)
            again = np.flatnonzero(~(lower > 0.0) & (_gaps(f, np.zeros_like(e), own) > 0.0))
            if len(again):
                lower[again] = _gaps(*self._run(block[again]), own[again])
            found.append(lower)
        return np.concatenate(found)

    def count_errors(self, x: np.ndarray, y: np.ndarray) -> int:
        """Points whose exact margin is not certainly above 0: errors, ties, and what rounding leaves open."""
        return len(x) - int(np.count_nonzero(self.certain_margins(x, y) > 0.0))

    def with_layers(self, layers: Sequence[Affine]) -> FeedForward:
        """The same chain with other weights in the order of `layers`."""
        left = iter(layers)
        ops = [op.with_layer(next(left)) if isinstance(op, (Linear, Convolution)) else op for op in self.ops]
        return replace(self, ops=tuple(ops))

    @property
    def front(self) -> tuple[Op, ...]:
        """The operations before the first weights."""
        weighted = [k for k, op in enumerate(self.ops) if isinstance(op, (Linear, Convolution))]
        return self.ops[: weighted[0]] if weighted else self.ops

    @property
    def layers(self) -> tuple[Affine, ...]:
        """The weights of its linear and convolutional operations, in order."""
        return tuple(op.layer for op in self.ops if isinstance(op, (Linear, Convolution)))

    @property
    def _size(self) -> int:
        """Numbers that one point takes at most, windows of convolutions too."""
        shapes = self.shapes
        return max([self.features, *(numbers(op, given) for op, given in zip(self.ops, shapes[:-1], strict=True))])

    def _blocks(self, x: np.ndarray) -> Iterator[np.ndarray]:
        for start in _starts(self._size, len(x)):
            yield np.asarray(x[start : start + _points(self._size)], np.float64)

    @np.errstate(over="ignore", invalid="ignore")  # an overflow is an output too: of no use, and no bug
    def _outputs(self, a: np.ndarray) -> np.ndarray:
        for op in self.ops:
            a = op(a)
        return a

    def _run(self, a: np.ndarray, *, together: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of a block, and the bound on their error: of each point, or, `together`, one for all of them."""

        def sizes(a: np.ndarray) -> np.ndarray:
            return np.abs(a).max(axis=0, keepdims=True) if together else a

        e = np.full_like(sizes(a), _TINY)  # what products of the smallest floats lose, before weights enlarge it
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows has no certain margin
            for op in self.ops:
                e, a = op.error(sizes(a), e), op(a)
                e = np.where(np.isfinite(sizes(a)), e, np.inf)  # before a relu or a maximum hides an overflow
        return a, e


def _gaps(f: np.ndarray, e: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lower bounds of the margins for outputs f (points, classes) and a bound e on their errors, (points or 1, ...)."""
    at = np.arange(len(f))
    e = np.broadcast_to(e, f.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        gap = f[at, y][:, None] - f - (e[at, y][:, None] + e) * _SAFE - _TINY
        gap -= _unit(4) * (np.abs(f[at, y])[:, None] + np.abs(f) + e)
    gap[at, y] = np.inf
    return np.where(np.isnan(gap), -np.inf, gap).min(axis=1)


def numbers(op: Op, given: Shape) -> int:
    """How many numbers a point is at most in an operation that reads it: padded, in windows, or behind it."""
    after, pad, windows = op.shape(given), 0, 0
    if isinstance(op, Convolution):
        pad, windows = 2 * op.padding, math.prod(after[1:]) * op.layer.weight.shape[1]
    elif isinstance(op, MaxPool):
        windows = math.prod(after) * op.size**2
    whole = math.prod(given[:-2]) * math.prod(n + pad for n in given[-2:])
    return max(whole, windows, math.prod(after))


def feed_forward(network: Network) -> FeedForward:
    """A fully connected net as a chain: the same outputs."""
    ops: list[Op] = []
    for layer in network.layers:
        ops += [Linear(layer=layer), *([Relu()] if layer.relu else [])]
    return FeedForward(features=network.sizes[0], ops=tuple(ops))


def _sums(a: np.ndarray, e: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Bound the error of a @ weight.T + bias: d products and d sums in any order, each with relative error 2^-53."""
    g = _unit(weight.shape[1] + 1)
    return ((e + g * np.abs(a)) @ weight.T + g * bias) * _SAFE + _TINY


def _unit(operations: int) -> float:
    """gamma_k = k u / (1 - k u) with u = 2^-53, rounded up (Higham, Accuracy and Stability, lemma 3.1)."""
    return operations * 2.0**-53 * (1.0 + 2.0**-20)


def _windows(a: np.ndarray, size: int, stride: int) -> np.ndarray:
    """(points, channels, height, width, size, size)."""
    return np.lib.stride_tricks.sliding_window_view(a, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]


def places(given: Shape, size: int, stride: int, padding: int) -> Shape:
    """How many windows fit in height and width; InvalidParameter where none does, or they hold too many numbers."""
    channels, height, width = _image(given)
    fit = tuple((n + 2 * padding - size) // max(1, stride) + 1 for n in (height, width))
    if min(size, stride) < 1 or padding < 0 or min(fit) < 1:
        raise InvalidParameter(f"windows of {size} with stride {stride} and padding {padding} do not fit in {given}.")
    padded = (height + 2 * padding) * (width + 2 * padding)
    if channels * max(padded, math.prod(fit) * size**2) > LARGEST_POINT:
        raise InvalidParameter(f"windows of a point must hold up to {LARGEST_POINT} numbers, {given} has more.")
    return fit


def _image(given: Shape) -> Shape:
    if len(given) != 3:
        raise InvalidParameter(f"an operation on images must read (channels, height, width), got {given}.")
    return given


def _points(size: int) -> int:
    return max(1, _BLOCK // size)


def _starts(size: int, n: int) -> range:
    return range(0, n, _points(size))
