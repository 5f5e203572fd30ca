"""A whole net as a byte string: operations, sizes and weights in one message, so that nothing is left to trust.

    message = (operation, its sizes, its weights)*, end

An operation takes 3 bits, a size its Elias gamma code; the weights of a layer begin with the number of their code, 3
bits. What a reader must know beforehand is the number of features of a point, which the data show, and this format.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.codes.coded_layer import CodedLayer
from boundlab.codes.log_grid import LogGridLayer
from boundlab.codes.message import Message
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets.feedforward import (
    Affine,
    AveragePool,
    Convolution,
    FeedForward,
    Linear,
    MaxPool,
    Op,
    Relu,
    Rescale,
    Reshape,
    Shape,
    numbers,
    places,
)

CODES: tuple[type[CodedLayer], ...] = (LogGridLayer, PyramidLayer)
"""The codes of layers, by their number; a new one is added at the end."""
LARGEST = 2**25
"""The most weights of a net, for which a reader makes room, and the most work that a point may be, see `_work`."""
_KINDS = 8  # operations and codes, with room for more
_END = 7


@dataclass(frozen=True, kw_only=True, eq=False)
class NetMessage:
    """A net and the message that says it."""

    net: FeedForward
    data: bytes
    layer_bits: tuple[float, ...]  # of each operation with weights, sizes too
    paid: dict[str, float]  # bits by what they say: header, support, values

    @property
    def bits(self) -> int:
        """Eight for each byte: what a bound pays."""
        return 8 * len(self.data)

    @property
    def nats(self) -> float:
        """The same in nats, ln 1/P; rounded up."""
        return self.bits * math.log(2.0) * (1.0 + 2.0**-50)


@implements("boundlab_message_code", "boundlab_net_message")
def encode(net: FeedForward) -> NetMessage:
    """Write a net whose layers are on codebooks.

    Raises
    ------
    InvalidParameter
        If a layer is no `CodedLayer`, or not on its codebook.
    """
    message = Message()
    _, bits = _describe(message, net.features, net)
    return NetMessage(net=net, data=message.finish(), layer_bits=bits, paid=message.paid)


@implements("boundlab_message_code", "boundlab_net_message")
def decode(data: bytes, features: int) -> NetMessage:
    """Read a net on points of `features` numbers: ``decode(encode(net).data, net.features)`` is the net, bit for bit.

    Raises
    ------
    InvalidParameter
        If the bytes are no message, or not exactly one, or its net is too large.
    """
    message = Message(data)
    net, bits = _describe(message, positive_int("features", features), None)
    if message.finish() != data:
        raise InvalidParameter(f"a net must be one whole message, got {len(data)} bytes that are not.")
    return NetMessage(net=net, data=data, layer_bits=bits, paid=message.paid)


def _describe(message: Message, features: int, net: FeedForward | None) -> tuple[FeedForward, tuple[float, ...]]:
    ops: list[Op] = []
    shape: Shape = (features,)
    bits: list[float] = []
    room = work = LARGEST
    while True:
        own = None if net is None or len(ops) == len(net.ops) else net.ops[len(ops)]
        kind = message.number(_KINDS, _END if own is None else own.kind)
        if kind == _END:
            break
        before = message.bits
        op = _op(message, kind, shape, own, room)
        if isinstance(op, (Linear, Convolution)):
            bits.append(message.bits - before)
            room -= op.layer.weight.size
        work -= _work(op, shape)
        if work < 0:
            raise InvalidParameter(f"a net must handle up to {LARGEST} numbers for each point, got more.")
        ops.append(op)
        shape = op.shape(shape)
    message.book("header")
    return FeedForward(features=features, ops=tuple(ops)), tuple(bits)


def _work(op: Op, given: Shape) -> int:
    """What a point costs in an operation: its numbers there; 128 products with weights are as quick as one number."""
    weights = op.layer.weight.size if isinstance(op, (Linear, Convolution)) else 0
    return numbers(op, given) + math.prod(op.shape(given)[1:]) * weights // 128


def _op(message: Message, kind: int, shape: Shape, own: Op | None, room: int) -> Op:
    """One operation, of at most `room` weights; `own` is what a writer writes."""
    if kind == Relu.kind:
        return Relu()
    if kind == Rescale.kind:
        rescale = own if isinstance(own, Rescale) else Rescale(factor=0)
        factor, offset = (_signed(message, v) for v in (rescale.factor, rescale.offset))
        return Rescale(factor=factor, offset=offset, halvings=message.whole(rescale.halvings + 1) - 1)
    if kind == Linear.kind:
        layer = own.layer if isinstance(own, Linear) else None
        return Linear(layer=_layer(message, math.prod(shape), layer, room))
    if kind == AveragePool.kind:
        return AveragePool(size=message.whole(own.size if isinstance(own, AveragePool) else 1))
    if kind == MaxPool.kind:
        pool = own if isinstance(own, MaxPool) else MaxPool(size=1, stride=1)
        return MaxPool(size=message.whole(pool.size), stride=message.whole(pool.stride))
    if kind == Reshape.kind:
        into = own.into if isinstance(own, Reshape) else (1, 1, 1)
        channels, height = (message.whole(n) for n in into[:2])
        return Reshape(into=(channels, height, math.prod(shape) // (channels * height)))
    if kind != Convolution.kind:
        raise InvalidParameter(f"a message must name operations 0..6, got {kind}.")
    own = own if isinstance(own, Convolution) else None
    size, stride = message.whole(own.size if own else 1), message.whole(own.stride if own else 1)
    padding = message.whole((own.padding if own else 0) + 1) - 1
    places(shape, size, stride, padding)  # before room is made for weights
    layer = _layer(message, shape[0] * size**2, own.layer if own else None, room)
    return Convolution(layer=layer, size=size, stride=stride, padding=padding)


def _layer(message: Message, d: int, layer: Affine | None, room: int) -> CodedLayer:
    """The weights of an operation: how many rows, which code, the layer by it."""
    if layer is not None and not isinstance(layer, CodedLayer):
        raise InvalidParameter("a layer must be on the codebook of a code before it is written, got plain weights.")
    out = message.whole(1 if layer is None else len(layer.weight))
    kind = message.number(_KINDS, 0 if layer is None else layer.kind)
    if kind >= len(CODES):
        raise InvalidParameter(f"a layer must be of a code 0..{len(CODES) - 1}, got {kind}.")
    if out * d > room:
        raise InvalidParameter(f"a net must have up to {LARGEST} weights, got a layer of {out} x {d} too many.")
    message.book("header")
    return CODES[kind].describe(message, out, d, layer)


def _signed(message: Message, value: int) -> int:
    """A whole number of either sign: its zig-zag image by Elias' gamma."""
    image = message.whole(2 * value if value > 0 else 1 - 2 * value)
    return image // 2 if image % 2 == 0 else -(image // 2)
