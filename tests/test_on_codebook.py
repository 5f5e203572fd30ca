"""Nets moved onto codebooks: norms, feedback against plain rounding, dead inputs, convolutions, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab._errors import InvalidParameter
from boundlab.codes.log_grid import LogGridLayer
from boundlab.codes.pyramid import SCALES, PyramidLayer
from boundlab.data import load_data
from boundlab.nets.feedforward import (
    AveragePool,
    Convolution,
    FeedForward,
    Linear,
    Relu,
    Reshape,
    feed_forward,
)
from boundlab.nets.net_message import decode, encode
from boundlab.nets.on_codebook import on_log_grid, on_pyramid, with_feedback
from boundlab.nets.toy import random_network, train_mlp
from proofs_checks.boundlab_certain_margins import Plain


def points() -> tuple[np.ndarray, np.ndarray]:
    data = load_data("digits")
    assert data.x_train is not None
    assert data.y_train is not None
    return data.x_train, data.y_train


@pytest.fixture(scope="module")
def digits() -> tuple[FeedForward, np.ndarray, np.ndarray]:
    """A trained net and its points; the corners of a digit are always dark."""
    x, y = points()
    return feed_forward(train_mlp(x, y, (32,), epochs=8, rng=0)), x, y


def pyramids(net: FeedForward) -> list[PyramidLayer]:
    found = [layer for layer in net.layers if isinstance(layer, PyramidLayer)]
    assert len(found) == len(net.layers)
    return found


def test_rows_on_the_pyramid_have_the_norm_asked_for_and_the_scale_of_the_row(digits) -> None:
    net, _, _ = digits
    rounded = on_pyramid(net, [40, 90])
    for layer, own, m in zip(pyramids(rounded), net.layers, (40, 90), strict=True):
        assert (np.abs(layer.z).sum(axis=1) == m).all()
        size = np.abs(own.weight).sum(axis=1) / m
        assert (np.abs(np.log2(SCALES.magnitudes(layer.levels) / size)) <= 1 / 16 + 1e-9).all()
        assert (layer.z * own.weight >= 0).all()
        assert np.abs(layer.weight - own.weight).max() <= 1.1 * size.max() + 0.05 * np.abs(own.weight).max()
    assert [type(op) for op in rounded.ops] == [type(op) for op in net.ops]


def test_finer_codebooks_are_nearer(digits) -> None:
    net, x, _ = digits
    want = net(x)

    def off(rounded: FeedForward) -> float:
        return float(np.abs(rounded(x) - want).mean())

    by_steps = [off(on_log_grid(net, steps)) for steps in (1, 4, 16)]
    by_norm = [off(on_pyramid(net, [m, m])) for m in (16, 128, 1_024)]
    assert by_steps == sorted(by_steps, reverse=True)
    assert by_norm == sorted(by_norm, reverse=True)
    assert all(isinstance(layer, LogGridLayer) and layer.steps == 4 for layer in on_log_grid(net, 4).layers)


@pytest.mark.parametrize("m", [24, 48, 96])
def test_feedback_is_nearer_on_the_fitted_points_than_plain_rounding(digits, m: int) -> None:
    net, x, _ = digits
    want = net(x)
    fed, plain = with_feedback(net, x, [m, m]), on_pyramid(net, [m, m])
    off_fed, off_plain = (float(((rounded(x) - want) ** 2).mean()) for rounded in (fed, plain))
    assert off_fed < 0.7 * off_plain


def test_feedback_ends_near_the_norm_and_a_wider_dead_zone_keeps_fewer(digits) -> None:
    net, x, _ = digits
    kept = []
    for zone in (0.5, 0.7, 0.9):
        layers = pyramids(with_feedback(net, x, [60, 60], dead_zone=zone))
        kept.append(sum(int(np.count_nonzero(layer.z)) for layer in layers))
        assert all(np.abs(layer.z).sum(axis=1).mean() < 120 for layer in layers)
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > kept[2]


def test_inputs_that_no_point_uses_get_no_weights(digits) -> None:
    net, x, _ = digits
    dead = ~x.any(axis=0)
    assert dead.any()
    first = pyramids(with_feedback(net, x, [60, 60]))[0]
    assert not first.z[:, dead].any()
    assert first.z[:, ~dead].any()


def test_points_of_zeros_leave_the_biases() -> None:
    net = feed_forward(random_network((4, 3, 2), rng=1))
    net = net.with_layers([Plain(weight=w.weight, bias=w.bias + 1.0) for w in net.layers])
    rounded = with_feedback(net, np.zeros((5, 4)), [10, 10])
    assert not pyramids(rounded)[0].z.any()
    want = net(np.zeros((1, 4)))
    assert np.abs(rounded(np.zeros((1, 4))) - want).max() < 0.1 * np.abs(want).max() + 0.2


def test_rows_of_zeros_and_a_bias_alone_stay(digits) -> None:
    net, x, _ = digits
    first, last = net.layers
    weight, bias = first.weight.copy(), first.bias.copy()
    weight[3], bias[3] = 0.0, 2.0
    weight[4], bias[4] = 0.0, 0.0
    changed = net.with_layers([Plain(weight=weight, bias=bias), last])
    for rounded in (on_pyramid(changed, [50, 50]), with_feedback(changed, x, [50, 50])):
        layer = pyramids(rounded)[0]
        assert not layer.z[3:5].any()
        assert not layer.levels[3:5].any()
        assert layer.bias[3:5].tolist() == [2.0, 0.0]
        assert np.array_equal(decode(encode(rounded).data, 64).net(x[:9]), rounded(x[:9]))


@pytest.mark.filterwarnings("error")
def test_what_overflows_is_refused_and_named(digits) -> None:
    net, x, _ = digits
    with pytest.raises(InvalidParameter, match="second moments of what a layer reads must be finite"):
        with_feedback(net, 1e200 * x, [10, 10])
    top = max(float(np.abs(w.weight).max()) for w in net.layers)
    large = net.with_layers([Plain(weight=w.weight / top * 1.7e308, bias=w.bias) for w in net.layers])
    for call in (lambda: on_pyramid(large, [10, 10]), lambda: with_feedback(large, x, [10, 10])):
        with pytest.raises(InvalidParameter, match="m times the sum of a row's weights must be finite"):
            call()
    assert not np.isfinite(on_log_grid(large, 1)(x)).all()  # an output all the same


def images() -> tuple[FeedForward, np.ndarray]:
    rng = np.random.default_rng(3)

    def layer(out: int, d: int) -> Plain:
        return Plain(weight=rng.normal(size=(out, d)), bias=rng.normal(size=out))

    net = FeedForward(
        features=64,
        ops=(
            Reshape(into=(1, 8, 8)),
            Convolution(layer=layer(6, 9), size=3, padding=1),
            Relu(),
            AveragePool(size=2),
            Convolution(layer=layer(5, 54), size=3, stride=2),
            Relu(),
            Linear(layer=layer(4, 5)),
        ),
    )
    return net, points()[0][:300]


def test_convolutions_are_fitted_on_their_windows() -> None:
    net, x = images()
    want, norms = net(x), [20, 40, 20]
    fed, plain = with_feedback(net, x, norms), on_pyramid(net, norms)
    assert [layer.weight.shape for layer in fed.layers] == [(6, 9), (5, 54), (4, 5)]
    off_fed, off_plain = (float(((rounded(x) - want) ** 2).mean()) for rounded in (fed, plain))
    assert off_fed < off_plain
    assert np.array_equal(decode(encode(fed).data, 64).net(x), fed(x))


def test_one_point_and_many_alike_points_are_enough_to_run() -> None:
    net, x = images()
    for few in (x[:1], np.repeat(x[:1], 7, axis=0)):
        rounded = with_feedback(net, few, [30, 30, 30])
        assert np.isfinite(rounded(x)).all()


def test_the_argument_is_not_changed(digits) -> None:
    net, x, _ = digits
    before, seen = [w.weight.copy() for w in net.layers], x.copy()
    with_feedback(net, x, [30, 30])
    on_pyramid(net, [30, 30])
    assert all(np.array_equal(a, w.weight) for a, w in zip(before, net.layers, strict=True))
    assert np.array_equal(seen, x)


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ([5], "norms must be 2, one for each layer, got 1"),
        ([5, 5, 5], "got 3"),
        ([5, 0], "a norm must be"),
        ([-1, 5], "a norm must be"),
        ([5, 2.5], "a norm must be"),
    ],
)
def test_bad_norms_are_refused(norms, message: str) -> None:
    net = feed_forward(random_network((4, 3, 2), rng=1))
    for call in (lambda: on_pyramid(net, norms), lambda: with_feedback(net, np.ones((5, 4)), norms)):
        with pytest.raises(InvalidParameter, match=message):
            call()


def test_no_points_and_a_bad_dead_zone_are_refused() -> None:
    net = feed_forward(random_network((4, 3, 2), rng=1))
    with pytest.raises(InvalidParameter, match="x must hold at least one point to fit to, got none"):
        with_feedback(net, np.zeros((0, 4)), [5, 5])
    for zone in (0.4, 1.0, float("nan")):
        with pytest.raises(InvalidParameter, match=r"dead_zone must be in \[0\.5, 1\)"):
            with_feedback(net, np.ones((5, 4)), [5, 5], dead_zone=zone)
    with pytest.raises(InvalidParameter, match="steps must be one of"):
        on_log_grid(net, 3)
