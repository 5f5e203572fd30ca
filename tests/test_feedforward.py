"""Chains of operations: outputs against torch and against a Network, what is refused, margins that are certain."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boundlab._errors import InvalidParameter, PremiseViolated, UnsupportedLayer
from boundlab.nets import feedforward
from boundlab.nets.as_feedforward import as_feed_forward
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
from boundlab.nets.feedforward_of_module import feed_forward_of_module
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import random_network
from boundlab.network import Layer
from proofs_checks.boundlab_certain_margins import Plain, one


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights from a generator of our own."""
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.from_numpy(rng.normal(size=tuple(p.shape)) / 3))
    return module.eval()


def plain(out: int, d: int, seed: int = 0) -> Plain:
    rng = np.random.default_rng(seed)
    return Plain(weight=rng.normal(size=(out, d)), bias=rng.normal(size=out))


MODULES: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), (5,)),
    (nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3, bias=False)), (3, 4)),
    (nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 5 * 4, 3)), (2, 7, 6)),
    (
        nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.Flatten(), nn.Linear(36, 3)),
        (2, 7, 6),
    ),
    (
        nn.Sequential(nn.Conv2d(1, 2, 2, stride=3, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)),
        (1, 7, 6),
    ),
    (nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2 * 3 * 3, 2)), (2, 7, 6)),  # a row is left over
    (nn.Sequential(nn.MaxPool2d(3, stride=2), nn.Flatten(), nn.Linear(2 * 3 * 2, 2)), (2, 7, 6)),
    (nn.Sequential(nn.MaxPool2d(2), nn.Dropout(), nn.Identity(), nn.Flatten(), nn.Linear(2 * 3 * 3, 2)), (2, 7, 6)),
]


@pytest.mark.parametrize(("module", "shape"), MODULES)
def test_a_chain_computes_what_the_module_computes(module: nn.Module, shape: tuple[int, ...]) -> None:
    module = seeded(module).double()
    chain = feed_forward_of_module(module, shape)
    x = np.random.default_rng(1).normal(size=(9, *shape))
    with torch.inference_mode():
        want = module(torch.from_numpy(x)).numpy()
    have = chain(x.reshape(9, -1))
    assert have.dtype == np.float64
    assert np.allclose(have, want, rtol=1e-12, atol=1e-12)
    assert chain.classes == want.shape[1]
    assert chain.features == math.prod(shape)
    same = as_feed_forward(ModuleNet(module, x), x)
    assert np.array_equal(same(x.reshape(9, -1)), have)


class Written(nn.Module):
    """A forward of functions: one tensor, one way of making it flat."""

    def __init__(self, flat) -> None:
        super().__init__()
        self.first, self.last, self.flat = nn.Conv2d(1, 2, 3), nn.Linear(8, 3), flat

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.flat(nn.functional.relu(self.first(x)))))


@pytest.mark.parametrize(
    "flat", [lambda a: a.flatten(1), lambda a: torch.flatten(a, 1), lambda a: torch.flatten(a, start_dim=1)]
)
def test_functions_are_seen_through(flat) -> None:
    module = seeded(Written(flat)).double()
    chain = feed_forward_of_module(module, (1, 4, 4))
    assert [type(op) for op in chain.ops] == [Reshape, Convolution, Relu, Relu, Linear]
    x = np.random.default_rng(8).normal(size=(3, 1, 4, 4))
    assert np.allclose(chain(x.reshape(3, -1)), module(torch.from_numpy(x)).detach().numpy())


@pytest.mark.parametrize("flat", [lambda a: a.flatten(), lambda a: a.view(4, -1), lambda a: torch.flatten(a, 2)])
def test_another_flattening_is_unsupported_or_computes_something_else(flat) -> None:
    module = seeded(Written(flat))
    try:
        chain = feed_forward_of_module(module, (1, 4, 4))
    except UnsupportedLayer:
        return
    assert [type(op) for op in chain.ops] == [Reshape, Convolution, Relu, Relu, Linear]  # view(points, -1) of 4 points


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3), nn.Sigmoid()), (3,), "operations that a message can name, got Sigmoid"),
        (nn.Sequential(nn.Conv2d(2, 2, 3, groups=2), nn.Flatten(), nn.Linear(8, 2)), (2, 4, 4), "no groups"),
        (nn.Sequential(nn.Conv2d(2, 2, 2, dilation=2), nn.Flatten(), nn.Linear(8, 2)), (2, 4, 4), "no dilation"),
        (
            nn.Sequential(nn.Conv2d(1, 2, (1, 2)), nn.Flatten(), nn.Linear(24, 2)),
            (1, 4, 4),
            "alike in height and width",
        ),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding="same"), nn.Flatten(), nn.Linear(16, 2)), (1, 4, 4), "whole numbers"),
        (nn.Sequential(nn.MaxPool2d(2, padding=1), nn.Flatten(), nn.Linear(9, 2)), (1, 4, 4), "no padding"),
        (nn.Sequential(nn.AvgPool2d(2, stride=1), nn.Flatten(), nn.Linear(9, 2)), (1, 4, 4), "its size as its stride"),
        (nn.Sequential(nn.MaxPool2d(3, ceil_mode=True), nn.Flatten(), nn.Linear(4, 2)), (1, 4, 4), "round down"),
        (nn.Sequential(nn.Conv2d(1, 1, 3), nn.Linear(2, 2)), (1, 4, 4), "must fit one another"),
        (nn.Sequential(nn.Flatten(0), nn.Linear(4, 2)), (4,), "a Flatten must make one row of each point"),
    ],
)
def test_what_a_message_cannot_name_is_unsupported(module: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UnsupportedLayer, match=message):
        feed_forward_of_module(module, shape)


def test_a_residual_is_unsupported_and_a_batch_norm_violates_a_premise() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.layer(x)

    with pytest.raises(UnsupportedLayer, match="must read the one before it alone"):
        feed_forward_of_module(Residual(), (3,))
    with pytest.raises(PremiseViolated, match=r"must be part of the message, got the statistics of 1 \(BatchNorm1d\)"):
        feed_forward_of_module(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), (3,))


def test_a_module_that_computes_something_else_than_its_chain_is_refused() -> None:
    linear = nn.Linear(3, 2)
    module = seeded(nn.Sequential(linear))
    linear.register_forward_hook(lambda _m, _x, out: 2 * out + 1)  # no graph shows it
    x = np.random.default_rng(0).normal(size=(5, 3))
    net = ModuleNet(seeded(nn.Sequential(nn.Linear(3, 2))), x)
    net.module = module
    with pytest.raises(UnsupportedLayer, match="a module must compute what its chain computes, got other outputs"):
        as_feed_forward(net, x)


def test_a_fully_connected_net_is_its_chain() -> None:
    net = random_network((6, 5, 4), rng=2)
    x = np.random.default_rng(3).normal(size=(11, 6))
    chain = feed_forward(net)
    assert np.allclose(chain(x), net(x), rtol=1e-14, atol=0)
    assert np.array_equal(chain(x), as_feed_forward(net, x)(x))
    assert [layer.weight.shape for layer in chain.layers] == [(5, 6), (4, 5)]
    assert chain.front == ()
    doubled = chain.with_layers([Plain(weight=2 * w.weight, bias=2 * w.bias) for w in chain.layers])
    assert doubled.shapes == chain.shapes == ((6,), (5,), (5,), (4,))


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Linear(layer=plain(2, 11)),), "a linear layer must have 12 columns, got"),
        ((Reshape(into=(2, 2, 3)),), "a net must end with a row of outputs, got shape"),
        ((Reshape(into=(2, 2, 2)),), "cannot be read as images"),
        ((Convolution(layer=plain(2, 4), size=2),), "a convolution with weights"),
        ((Reshape(into=(1, 3, 4)), Convolution(layer=plain(2, 8), size=2)), "a convolution with weights"),
        ((Reshape(into=(1, 3, 4)), Convolution(layer=plain(2, 25), size=5)), "do not fit"),
        ((Reshape(into=(1, 3, 4)), Convolution(layer=plain(2, 4), size=2, stride=0)), "do not fit"),
        ((Reshape(into=(1, 3, 4)), Convolution(layer=plain(2, 4), size=2, padding=-1)), "do not fit"),
        ((Reshape(into=(1, 3, 4)), MaxPool(size=4, stride=1)), "do not fit"),
        ((AveragePool(size=1),), r"must read \(channels, height, width\), got \(12,\)"),
    ],
)
def test_operations_that_do_not_fit_are_refused(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        FeedForward(features=12, ops=ops)


def images() -> FeedForward:
    return FeedForward(
        features=2 * 6 * 5,
        ops=(
            Rescale(factor=2, offset=-1, halvings=1),
            Reshape(into=(2, 6, 5)),
            Convolution(layer=plain(3, 18), size=3, padding=1),
            Relu(),
            MaxPool(size=2, stride=1),
            AveragePool(size=2),
            Linear(layer=plain(4, 3 * 2 * 2)),
        ),
    )


def test_rescaling_is_exact_on_whole_and_halved_numbers() -> None:
    net = FeedForward(features=3, ops=(Rescale(factor=-3, offset=5, halvings=2),))
    assert net(np.array([[0.0, 1.0, 0.5]])).tolist() == [[1.25, 0.5, 0.875]]
    assert [type(op) for op in images().front] == [Rescale, Reshape]


def test_points_of_any_numbers_are_read_as_floats() -> None:
    rng = np.random.default_rng(4)
    grey = rng.integers(0, 256, size=(7, 60)).astype(np.uint8)
    y = rng.integers(0, 4, size=7)
    for x in (grey, grey.astype(np.float32), grey.astype(np.int64)):
        assert np.array_equal(images()(x), images()(grey.astype(np.float64)))
        assert np.array_equal(images().certain_margins(x, y), images().certain_margins(grey.astype(np.float64), y))


def test_blocks_make_no_difference_and_no_points_give_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(23, 60)), rng.integers(0, 4, size=23)
    f, margins = images()(x), images().certain_margins(x, y)
    monkeypatch.setattr(feedforward, "_BLOCK", 2_000)
    assert np.allclose(images()(x), f, rtol=1e-12)
    again = images().certain_margins(x, y)
    assert again.shape == (23,)
    assert np.allclose(again, margins, rtol=1e-9)
    assert images()(x[:0]).shape == (0, 4)
    assert images().certain_margins(x[:0], y[:0]).shape == (0,)
    assert images().count_errors(x[:0], y[:0]) == 0


def test_certain_margins_are_the_margins_but_for_rounding() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(40, 60))
    f = images()(x)
    y = rng.integers(0, 4, size=40)
    rival = np.where(np.arange(4) == y[:, None], -np.inf, f).max(axis=1)
    margin = f[np.arange(40), y] - rival
    found = images().certain_margins(x, y)
    assert (found < margin).all()
    assert (found > margin - 1e-10).all()
    assert images().count_errors(x, y) == np.count_nonzero(margin <= 0)


def test_a_tie_is_an_error_and_one_rounding_is_left_open() -> None:
    x, y = np.array([[1.0, 1.0]]), np.array([0])
    assert FeedForward(features=2, ops=()).count_errors(x, y) == 1
    assert FeedForward(features=2, ops=()).count_errors(np.array([[math.nextafter(1.0, 2.0), 1.0]]), y) == 1
    assert FeedForward(features=2, ops=()).count_errors(np.array([[1.0 + 1e-14, 1.0]]), y) == 0
    sums = FeedForward(features=3, ops=(one([[0.1, 0.2, 0.0], [0.0, 0.0, 0.3]]),))
    assert 0.1 + 0.2 > 0.3
    for label in (0, 1):  # in floats class 0 wins; in exact arithmetic too, but by less than a rounding
        assert sums.count_errors(np.ones((1, 3)), np.array([label])) == 1


@pytest.mark.filterwarnings("error")
def test_an_overflow_is_an_error_even_behind_a_relu() -> None:
    x = np.full((1, 5), 1.7e308)
    signs = one([[-1.0, -1.0, 1.0, 1.0, 1.0]])  # 1.7e308, where floats make -inf of it
    net = FeedForward(features=5, ops=(signs, Relu(), one([[-1.0], [0.0]], [1.0, 0.0])))
    assert net.count_errors(x, np.array([0])) == net.count_errors(x, np.array([1])) == 1
    both = FeedForward(features=5, ops=(one([[1.0] * 5, [0.0] * 5]),))
    assert both.certain_margins(x, np.array([0])).tolist() == [-np.inf]


def test_shuffled_inputs_never_decide_otherwise() -> None:
    rng = np.random.default_rng(7)
    weights = rng.normal(size=(2, 300)) * 10.0 ** rng.integers(-8, 9, size=300)
    weights[1] = weights[0] + 1e-9 * rng.normal(size=300)
    x = rng.normal(size=(50, 300))
    decided: list[np.ndarray] = []
    for _ in range(5):
        order = rng.permutation(300)
        net = FeedForward(features=300, ops=(one(weights[:, order].tolist()),))
        decided.append(np.stack([net.certain_margins(x[:, order], np.full(50, label)) > 0 for label in (0, 1)]))
    all_ = np.any(decided, axis=0)
    assert not (all_[0] & all_[1]).any()


def test_one_class_has_no_rival() -> None:
    net = FeedForward(features=1, ops=(one([[2.0]]),))
    found: Any = net.certain_margins(np.ones((3, 1)), np.zeros(3, int))
    assert (found == np.inf).all()


def test_a_layer_of_a_network_is_an_affine_map() -> None:
    layer = Layer(weight=np.eye(2), bias=np.zeros(2), relu=False)
    assert FeedForward(features=2, ops=(Linear(layer=layer),)).layers == (layer,)
