"""A whole net as one message: over all nets on points of one size, sum 2^-(8 bytes) <= 1, and nothing is left to trust.

Proof. The message is one description: again and again 3 bits for an operation or the end; the sizes of the operation
by Elias' gamma, signed ones after the zig-zag map; of a layer its rows by Elias' gamma, 3 bits for its code, then its
walk (`boundlab_log_grid_code_kraft`, `boundlab_pyramid_code_kraft`). Each law depends on what was said before and on
the number of features alone. So `boundlab_message_code` holds: prefix-free, sum 256^-bytes <= 1. A reader writes down
what it reads and compares with its bytes: it accepts nothing but a whole message of a walk that a writer could take.
The walk fixes operations, sizes and float64 weights, so that decode(encode(net)) is the net bit for bit; a net may have
more messages than the one that is written, which the sum has paid for. Nets with too many weights, or too much to do
for a point, have no message: terms left out of the sum.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import flint
import numpy as np

from boundlab.codes.coded_layer import CodedLayer
from boundlab.codes.log_grid import LogGridLayer
from boundlab.codes.message import Message
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets.feedforward import (
    AveragePool,
    Convolution,
    FeedForward,
    Linear,
    MaxPool,
    Op,
    Relu,
    Rescale,
    Reshape,
)
from boundlab.nets.net_message import NetMessage, decode, encode
from proofs_checks import Evidence, Mutation, Theorem, not_applicable, require
from proofs_checks.boundlab_log_grid_code_kraft import same
from proofs_checks.boundlab_message_code import kraft, prefix_free, refused
from proofs_checks.judging import smallest_sabotage

THEOREM = Theorem(
    name="Kraft inequality of messages of whole nets",
    source="ours",
    given=("the number of features of a point and the format, fixed before the data",),
    claim=r"\sum_h 2^{-8\,\mathrm{bytes}(h)} \le 1 \text{ over all chains of the vocabulary, and }"
    r"\mathrm{decode}(\mathrm{encode}(h)) = h",
    status="holds",
)

MUTATIONS = (
    Mutation(file="nets/net_message.py", old="    if message.finish() != data:", new="    if False:"),
    Mutation(
        file="nets/net_message.py",
        old="halvings=message.whole(rescale.halvings + 1) - 1)",
        new="halvings=message.whole(rescale.halvings + 1))",
    ),
    Mutation(file="nets/net_message.py", old="return 8 * len(self.data)", new="return 8 * len(self.data) - 8"),
    Mutation(
        file="nets/net_message.py",
        old="return self.bits * math.log(2.0) * (1.0 + 2.0**-50)",
        new="return self.bits * math.log(2.0) * (1.0 - 2.0**-50)",
    ),
    Mutation(
        file="nets/net_message.py",
        old="image = message.whole(2 * value if value > 0 else 1 - 2 * value)",
        new="image = message.whole(2 * value if value > 0 else 1 + 2 * value)",
    ),
    Mutation(
        file="nets/net_message.py",
        old="padding = message.whole((own.padding if own else 0) + 1) - 1",
        new="padding = 0",
    ),
    Mutation(
        file="nets/net_message.py",
        old="return MaxPool(size=message.whole(pool.size), stride=message.whole(pool.stride))",
        new="return MaxPool(size=message.whole(pool.size), stride=pool.size)",
    ),
    Mutation(
        file="nets/net_message.py",
        old="CODES: tuple[type[CodedLayer], ...] = (LogGridLayer, PyramidLayer)",
        new="CODES: tuple[type[CodedLayer], ...] = (LogGridLayer, LogGridLayer)",
    ),
)


def symbolic() -> str:
    with flint.ctx.workprec(200):
        for size in (1, 100, 12_345, 10**6):
            message = NetMessage(net=world()[0], data=bytes(size), layer_bits=(), paid={})
            exact = flint.arb(8 * size) * flint.arb(2).log()
            require(flint.arb(message.nats) >= exact, f"the nats of {size} bytes are rounded down")
            require(flint.arb(message.nats) <= exact * (1 + flint.arb(2) ** -48), f"the nats of {size} bytes are loose")
    return "nats from above, by ball arithmetic; the rest of the proof is that of boundlab_message_code"


def ops() -> list[Op]:
    """Operations on one number, tiny layers of either code among them."""
    found: list[Op] = [Relu(), Rescale(factor=2, offset=-1), Rescale(factor=-1, offset=1, halvings=2)]
    for w, b in itertools.product((0.0, -1.0, 2.0), (0.0, 1.0)):
        found.append(Linear(layer=LogGridLayer(steps=1, weight=np.array([[w]]), bias=np.array([b]))))
    for z, level, b in ((0, 0, 0.0), (-3, 0, 0.0), (1, -8, 0.0), (1, 0, -1.0), (2, 0, 1.0)):
        found.append(Linear(layer=PyramidLayer(z=np.array([[z]]), levels=np.array([level]), bias=np.array([b]))))
    return found


@lru_cache
def world() -> tuple[FeedForward, ...]:
    """Every chain of at most two of these operations."""
    chains = itertools.chain.from_iterable(itertools.product(ops(), repeat=n) for n in range(3))
    return tuple(FeedForward(features=1, ops=chain) for chain in chains)


@lru_cache
def messages() -> tuple[bytes, ...]:
    return tuple(encode(net).data for net in world())


def equal(a: FeedForward, b: FeedForward) -> bool:
    """The same operations, sizes, and weights, bit for bit; codes too."""
    if a.features != b.features or len(a.ops) != len(b.ops):
        return False
    return all(_equal(p, q) for p, q in zip(a.ops, b.ops, strict=True))


def _equal(a: Op, b: Op) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (Linear, Convolution)) and isinstance(b, (Linear, Convolution)):
        if type(a.layer) is not type(b.layer) or not same(a.layer.weight, b.layer.weight):
            return False
        sizes = [{k: v for k, v in vars(op).items() if k != "layer"} for op in (a, b)]
        return same(a.layer.bias, b.layer.bias) and sizes[0] == sizes[1]
    return vars(a) == vars(b)


def layer_of(rng: np.random.Generator, out: int, d: int) -> CodedLayer:
    """A random sparse layer of either code."""
    bias, used = rng.choice((0.0, 1.0, -2.0, 0.5), size=out), rng.random((out, d)) < rng.random()
    if rng.random() < 0.5:
        z = rng.integers(-3, 4, size=(out, d)) * used
        return PyramidLayer(z=z, levels=np.where(z.any(axis=1), rng.integers(-40, 9, size=out), 0), bias=bias)
    powers = 2.0 ** rng.integers(-4, 5, size=(out, d)) * rng.choice((-1.0, 1.0), size=(out, d))
    return LogGridLayer(steps=int(rng.choice((1, 2, 4, 8, 16))), weight=np.where(used, powers, 0.0), bias=bias)


def random_chain(rng: np.random.Generator) -> FeedForward:
    """A chain with every operation."""
    channels, height, width = int(rng.integers(1, 4)), int(rng.integers(5, 9)), int(rng.integers(5, 9))
    out, size = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    rows = int(rng.integers(1, 5))
    front: list[Op] = [
        Rescale(factor=int(rng.integers(-9, 10)), offset=int(rng.integers(-9, 10)), halvings=int(rng.integers(0, 9))),
        Reshape(into=(channels, height, width)),
        Convolution(
            layer=layer_of(rng, out, channels * size**2),
            size=size,
            stride=int(rng.integers(1, 3)),
            padding=int(rng.integers(0, 3)),
        ),
        Relu(),
        MaxPool(size=int(rng.integers(1, 3)), stride=int(rng.integers(1, 3))),
        AveragePool(size=1),
    ]
    shape: tuple[int, ...] = (channels * height * width,)
    for op in front:
        shape = op.shape(shape)
    last = (Linear(layer=layer_of(rng, rows, math.prod(shape))), Relu(), Linear(layer=layer_of(rng, 3, rows)))
    return FeedForward(features=channels * height * width, ops=(*front, *last))


def exact() -> str:
    for net, data in zip(world(), messages(), strict=True):
        found = decode(data, 1)
        require(equal(found.net, net), f"{net.ops} must come back, bit for bit")
        require(found.bits == 8 * len(data), "eight bits for each byte are paid")
    require(prefix_free(messages()), "the message of a net is the beginning of another one")
    require(kraft(messages()) <= 1, f"Kraft sum {float(kraft(messages()))}")
    rng = np.random.default_rng(6)
    for _ in range(20):
        comes_back(random_chain(rng))
    total = float(kraft(messages()))
    return f"{len(world())} nets, Kraft sum {total:.4f}; 20 random chains of all operations come back"


def comes_back(net: FeedForward) -> None:
    """Written, read and written again; with a byte more or less it is no message."""
    message = encode(net)
    found = decode(message.data, net.features)
    require(equal(found.net, net) and found.data == message.data, "a random chain must come back, bit for bit")
    require(encode(found.net).data == message.data, "what was read is written alike")
    for other in (message.data + b"\0", message.data + b"x", message.data[:-1], b""):
        require(refused(lambda d=other: decode(d, net.features)), "more or fewer bytes are no message")
    booked = math.fsum(message.paid.values())
    require(booked - 1e-6 <= message.bits < booked + 9 + 1e-6, "bits by part are those of the message but for its end")


monte_carlo = not_applicable("a statement about sets of strings, on which no probability is claimed")


def teeth() -> Evidence:

    def caught(factor: float) -> bool:
        return sum(2.0 ** (-8 * len(m) / factor) for m in messages()) > 1

    slack = smallest_sabotage(caught)
    require(not prefix_free(m[:-1] for m in messages()), "one byte less was not caught")
    bare = [_weights(net) for net in world()]
    require(not prefix_free(bare), "weights without operations were not caught")
    return Evidence(text=f"refuted: bits divided by {slack:g}, a byte less, operations left out", slack=slack)


def _weights(net: FeedForward) -> bytes:
    """What an encoder would write that took operations, sizes and codes for known."""
    writer = Message()
    for layer in net.layers:
        if isinstance(layer, CodedLayer):
            type(layer).describe(writer, 1, 1, layer)
    return writer.finish()
