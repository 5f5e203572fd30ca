"""What is done to a point before a net reads it, made part of the chain, so that a message says it."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab.nets.feedforward import AveragePool, FeedForward, Linear, Op, Rescale, Reshape, Shape
from boundlab.network import Layer

_RANGE = 1e6
_HALVINGS = 10  # scale and shift in 1024ths are whole numbers in a message


def prepared(
    net: FeedForward, *, shape: Shape | None = None, pool: int = 1, scale: float = 1.0, shift: float = 0.0
) -> FeedForward:
    """The chain that reads images of `shape`, flat, pools them, and gives scale * x + shift to `net`.

    A scale and a shift that are multiples of 1/1024 become a `Rescale`. Others, such as the mean and the spread of the
    training set, are folded into the first layer, which is what the message then says of them; a convolution with
    padding, which reads zeros too, cannot take them up.

    Parameters
    ----------
    shape : (channels, height, width) of a point as the data give it; needed where there is a pool
    pool : size of an average pool in front, 1 for none

    Raises
    ------
    InvalidParameter
        If the net cannot read what is in front of it, or scale and shift can be in no message.
    """
    front: list[Op] = []
    if positive_int("pool", pool) > 1:
        if shape is None:
            raise InvalidParameter("a pool needs the shape of an image: channels, height and width.")
        front += [Reshape(into=shape), AveragePool(size=pool)]
    features = net.features if shape is None else int(np.prod(shape))
    if not (math.isfinite(scale) and math.isfinite(shift) and scale != 0 and max(abs(scale), abs(shift)) < _RANGE):
        raise InvalidParameter(
            f"scale and shift must be below {_RANGE:g} in size, scale not 0, got scale={scale!r} and shift={shift!r}."
        )
    a, b = Fraction(scale) * 2**_HALVINGS, Fraction(shift) * 2**_HALVINGS
    if (scale, shift) != (1.0, 0.0):
        if a.denominator == b.denominator == 1:
            halvings = _HALVINGS
            while halvings and int(a) % 2 == int(b) % 2 == 0:
                a, b, halvings = a / 2, b / 2, halvings - 1
            front.append(Rescale(factor=int(a), offset=int(b), halvings=halvings))
        else:
            net = _folded(net, scale, shift)
    return FeedForward(features=features, ops=(*front, *net.ops))


def _folded(net: FeedForward, scale: float, shift: float) -> FeedForward:
    """W (scale a + shift) + b = (scale W) a + (b + shift W 1)."""
    k = len(net.front)
    first = net.ops[k]
    if not isinstance(first, Linear) or any(not isinstance(op, Reshape) for op in net.front):
        raise InvalidParameter(
            "scale and shift must be multiples of 1/1024, or be folded into a linear first layer: others were computed "
            f"from data, and no message says them, got scale={scale!r} and shift={shift!r}."
        )
    own = first.layer
    layer = Layer(weight=own.weight * scale, bias=own.bias + shift * own.weight.sum(axis=1), relu=False)
    return replace(net, ops=(*net.ops[:k], replace(first, layer=layer), *net.ops[k + 1 :]))
