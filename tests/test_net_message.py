"""Messages of whole nets: they come back, foreign bytes are refused or are messages, limits, bits by part."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.codes.log_grid import LogGridLayer
from boundlab.codes.message import Message
from boundlab.codes.pyramid import PyramidLayer
from boundlab.nets import net_message
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
    feed_forward,
)
from boundlab.nets.net_message import decode, encode
from boundlab.nets.on_codebook import on_log_grid, on_pyramid
from boundlab.nets.toy import random_network
from proofs_checks.boundlab_net_message import equal, random_chain


def grid(weight: list[list[float]], steps: int = 1) -> LogGridLayer:
    return LogGridLayer(steps=steps, weight=np.array(weight), bias=np.zeros(len(weight)))


def pyramid(z: list[list[int]]) -> PyramidLayer:
    return PyramidLayer(z=np.array(z), levels=np.zeros(len(z), np.int64), bias=np.zeros(len(z)))


def fixed() -> FeedForward:
    """Each operation and each code once."""
    return FeedForward(
        features=16,
        ops=(
            Rescale(factor=2, offset=-1, halvings=3),
            Reshape(into=(1, 4, 4)),
            Convolution(layer=grid([[1.0, 0.0, -2.0, 0.5], [0.0] * 4]), size=2, stride=1, padding=1),
            Relu(),
            MaxPool(size=2, stride=1),
            AveragePool(size=2),
            Linear(layer=pyramid([[1, 0, -2, 0, 0, 0, 3, 0], [0] * 8])),
        ),
    )


def test_format_1_says_a_fixed_net_in_these_bytes() -> None:
    # whoever changes these bytes changes the format: nets that were written before can be read no more
    data = encode(fixed()).data
    assert data.hex() == "d8b8ac18900f0c1fcaf39d85c471f4a3"
    assert equal(decode(data, 16).net, fixed())


@pytest.mark.parametrize("seed", range(10))
def test_random_chains_come_back_bit_for_bit_and_compute_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_chain(rng)
    message = encode(net)
    found = decode(message.data, net.features)
    assert equal(found.net, net)
    assert encode(found.net).data == message.data
    assert found.paid == pytest.approx(message.paid, abs=1e-6)
    assert found.layer_bits == pytest.approx(message.layer_bits, abs=1e-6)
    x = rng.normal(size=(5, net.features))
    assert np.array_equal(found.net(x), net(x))


@pytest.mark.parametrize("sizes", [(784, 30, 10), (20, 1, 1), (3, 2)])
def test_trained_nets_on_both_codebooks_come_back(sizes: tuple[int, ...]) -> None:
    net = feed_forward(random_network(sizes, rng=0))
    for rounded in (on_log_grid(net, 4), on_pyramid(net, [50] * len(net.layers))):
        message = encode(rounded)
        assert equal(decode(message.data, sizes[0]).net, rounded)
        assert message.bits == 8 * len(message.data)
        assert message.nats >= message.bits * math.log(2)


def test_bits_by_part_and_by_layer_add_up() -> None:
    message = encode(fixed())
    assert set(message.paid) == {"header", "support", "values"}
    assert len(message.layer_bits) == 2
    whole = math.fsum(message.paid.values())
    assert whole <= message.bits < whole + 9
    assert math.fsum(message.layer_bits) < whole


def test_a_message_depends_on_the_features_that_a_reader_knows() -> None:
    net = FeedForward(features=3, ops=(Linear(layer=grid([[1.0, -1.0, 0.0], [0.0, 2.0, 0.0]])),))
    data = encode(net).data
    assert equal(decode(data, 3).net, net)
    for features in (1, 2, 4, 9):
        try:
            other = decode(data, features)
        except InvalidParameter:
            continue
        assert other.data == data
        assert other.net.features == features


def hostile(data: bytes, features: int) -> bool:
    """Whether the bytes are refused; if not, they are the message of what they say."""
    try:
        found = decode(data, features)
    except InvalidParameter:
        return True
    assert found.data == data
    message = Message(data)
    assert equal(net_message._describe(message, features, None)[0], found.net)
    again = encode(found.net).data  # the shortest of the net's messages, but for the end
    assert len(again) <= len(data) + 2
    assert equal(decode(again, features).net, found.net)
    return False


def flips(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        for bit in range(8):
            yield data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


@pytest.mark.filterwarnings("error")
def test_every_flipped_bit_is_refused_or_another_message() -> None:
    small = FeedForward(features=3, ops=(Linear(layer=grid([[1.0, 0.0, -2.0]] * 2)), Relu()))
    refused = [hostile(data, net.features) for net in (fixed(), small) for data in flips(encode(net).data)]
    assert any(refused)


@pytest.mark.filterwarnings("error")
def test_random_bytes_are_refused_or_a_message() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(3_000):
        data = rng.bytes(int(rng.integers(0, 40)))
        refused += hostile(data, int(rng.choice((1, 3, 16))))
    assert refused > 2_000


def test_the_nets_of_one_byte_by_hand() -> None:
    # 7 of 8 for the end: the eighth part from 7/8 = 0xe0 on; 2 of 8 for a relu and then the end: from 23/64 = 0x5c on
    assert [a for a in range(256) if not hostile(bytes([a]), 1)] == [0x5C, 0xE0]
    assert [type(op) for op in decode(b"\x5c", 1).net.ops] == [Relu]
    assert decode(b"\xe0", 1).net.ops == ()


@pytest.mark.filterwarnings("error")
def test_random_bytes_behind_a_true_beginning_are_refused_or_a_message() -> None:
    rng = np.random.default_rng(1)
    data = encode(fixed()).data
    for _ in range(1_000):
        keep = int(rng.integers(0, len(data)))
        hostile(data[:keep] + rng.bytes(int(rng.integers(0, 30))), 16)


@pytest.mark.parametrize("data", [b"", b"\0", b"\0" * 50, b"\xff", b"\xff" * 50, b"\xe0" * 3])
def test_bytes_without_an_end_are_refused_at_once(data: bytes) -> None:
    hostile(data, 1)
    hostile(data, 784)


def test_one_byte_more_or_less_is_refused() -> None:
    data = encode(fixed()).data
    for other in (data[:-1], data + b"\0", data + b"\xff", data * 2, b"\0" + data):
        with pytest.raises(InvalidParameter, match="must"):
            decode(other, 16)


def written(*numbers: tuple[int, int] | int) -> bytes:
    """A message of choices among n, (n, value), and whole numbers."""
    m = Message()
    for item in numbers:
        if isinstance(item, tuple):
            m.number(*item)
        else:
            m.whole(item)
    return m.finish() + bytes(40)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written((8, 0), 2**28, (8, 0)), "up to 33554432 weights, got a layer of 268435456 x 3 too many"),
        (written((8, 0), 2, (8, 2)), r"a layer must be of a code 0\.\.1, got 2"),
        (written((8, 0), 2, (8, 7)), r"a layer must be of a code 0\.\.1, got 7"),
        (written((8, 5), 1, 3, (8, 1), 1, 1, 2**30), "windows of a point must hold up to"),
        (written((8, 5), 2, 2), "cannot be read as images"),
        (written((8, 3), 1), "an operation on images must read"),
        (written((8, 4), 1, 1), "an operation on images must read"),
        (written((8, 5), 1, 3, (8, 4), 2, 1), "do not fit"),
        (written((8, 5), 1, 3, (8, 7)), "a net must end with a row of outputs"),
    ],
)
def test_messages_of_impossible_nets_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        decode(data, 3)


def test_the_weights_of_all_layers_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = grid([[1.0] * 4] * 4)
    two = FeedForward(features=4, ops=(Linear(layer=layer), Linear(layer=layer)))
    data = encode(two).data
    monkeypatch.setattr(net_message, "LARGEST", 31)
    for call in (lambda: decode(data, 4), lambda: encode(two)):
        with pytest.raises(InvalidParameter, match="a net must have up to 31 weights, got a layer of 4 x 4 too many"):
            call()
    monkeypatch.setattr(net_message, "LARGEST", 32)
    assert equal(decode(data, 4).net, two)


def zeros(out: int, d: int) -> LogGridLayer:
    return LogGridLayer(steps=1, weight=np.zeros((out, d)), bias=np.zeros(out))


SHORT = {
    # nine times 5,608 x 5,608 numbers
    "operations": (
        Convolution(layer=zeros(1, 1), size=1, padding=2_800),
        *[Relu()] * 8,
        AveragePool(size=2_804),
        Linear(layer=zeros(2, 4)),
    ),
    # 4,096 x 4,096 numbers padded, nine of them left, three times
    "padding": (*[Convolution(layer=zeros(1, 1), size=1, stride=2_040, padding=2_044)] * 3, Linear(layer=zeros(2, 9))),
    # four times 2^30 products, of 2^22 numbers with 2^16 weights
    "products": (
        Convolution(layer=zeros(256, 1), size=1, padding=60),
        *[Convolution(layer=zeros(256, 256), size=1)] * 4,
        AveragePool(size=128),
        Linear(layer=zeros(2, 256)),
    ),
}


@pytest.mark.parametrize("ops", SHORT.values(), ids=SHORT)
def test_a_short_message_cannot_ask_for_much_work(ops: tuple[Op, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    net = FeedForward(features=64, ops=(Reshape(into=(1, 8, 8)), *ops))
    with monkeypatch.context() as patch:
        patch.setattr(net_message, "LARGEST", 2**40)
        data = encode(net).data
        assert equal(decode(data, 64).net, net)
    assert len(data) < 50
    for call in (lambda: encode(net), lambda: decode(data, 64)):
        with pytest.raises(InvalidParameter, match="a net must handle up to 33554432 numbers for each point, got more"):
            call()


@pytest.mark.parametrize(
    ("op", "given", "work"),
    [
        (Convolution(layer=zeros(2, 4), size=2, stride=4, padding=3), (1, 1, 1), 49),  # 7 x 7 once it is padded
        (Convolution(layer=zeros(64, 9), size=3), (1, 6, 6), 1_024 + 72),  # 64 x 4 x 4 outputs, 9,216 products
        (MaxPool(size=2, stride=1), (3, 4, 4), 108),  # 27 windows of 4
        (Linear(layer=zeros(64, 10)), (10,), 64 + 5),  # 640 products
        (Relu(), (5,), 5),
    ],
)
def test_the_work_of_a_point_is_its_numbers_and_a_share_of_its_products(
    op: Op, given: tuple[int, ...], work: int
) -> None:
    assert net_message._work(op, given) == work


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Rescale(factor=2**32),), "a whole number must be in"),
        ((Rescale(factor=1, halvings=-1),), "a whole number must be in"),
        ((Linear(layer=grid([[1.5]])),), "every weight and bias must be 0 or a power"),
        ((Linear(layer=grid([[1.0]], steps=3)),), "steps must be one of"),
    ],
)
def test_what_no_message_can_say_is_refused(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        encode(FeedForward(features=1, ops=ops))


def test_plain_weights_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="a layer must be on the codebook of a code before it is written"):
        encode(feed_forward(random_network((3, 2), rng=0)))
    with pytest.raises(InvalidParameter, match="features must be"):
        decode(b"\xe0", 0)


def test_a_net_of_no_operations_is_the_identity() -> None:
    net = FeedForward(features=4, ops=())
    assert len(encode(net).data) == 1
    assert decode(encode(net).data, 4).net.ops == ()
