"""SNIP: connection sensitivities by difference quotients and by torch, and what is kept by them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.certificates import certify
from boundlab.compressors.method import compress
from boundlab.compressors.snip import SNIP
from boundlab.nets.gradients import gradients
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network

NET = random_network((6, 5, 4, 3), rng=0, bias=True)
POINTS = np.random.default_rng(1).normal(size=(9, 6))
LABELS = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0])


def loss(net: Network, x: np.ndarray, y: np.ndarray) -> float:
    f = net(x)
    return float((np.logaddexp.reduce(f, axis=1) - f[np.arange(len(y)), y]).mean())


def chain_of(net: Network, *, last_relu: bool = False) -> nn.Sequential:
    """The same net as a torch module in double precision."""
    modules: list[nn.Module] = []
    for layer in net.layers:
        linear = nn.Linear(layer.weight.shape[1], len(layer.weight)).double()
        linear.load_state_dict({"weight": torch.from_numpy(layer.weight), "bias": torch.from_numpy(layer.bias)})
        modules += [linear, nn.ReLU()] if layer.relu else [linear]
    return nn.Sequential(*modules)


def with_relu_after_last(net: Network) -> Network:
    last = net.layers[-1]
    return Network(layers=(*net.layers[:-1], Layer(weight=last.weight, bias=last.bias, relu=True)))


# gradients


def test_gradients_are_difference_quotients_of_the_mean_loss() -> None:
    weights, h = [layer.weight for layer in NET.layers], 1e-6
    for k, slope in enumerate(gradients(NET, POINTS, LABELS)):
        for i, j in itertools.product(*map(range, slope.shape)):
            ends = []
            for side in (h, -h):
                moved = [w.copy() for w in weights]
                moved[k][i, j] += side
                ends.append(loss(NET.with_weights(moved), POINTS, LABELS))
            assert slope[i, j] == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("net", [NET, with_relu_after_last(NET)], ids=["plain", "ReLU after the last layer"])
def test_the_closed_form_is_torchs_gradient(net: Network) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(600, 6)), rng.integers(0, 3, 600)  # more than one block
    module = ModuleNet(chain_of(net), x)
    for one, other in zip(gradients(net, x, y), gradients(module, x, y), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)


def test_large_outputs_neither_overflow_nor_lose_the_gradient_of_a_wrong_point() -> None:
    net = Network(layers=(Layer(weight=np.array([[1e3], [-1e3]]), bias=np.zeros(2), relu=False),))
    (slope,) = gradients(net, np.array([[1.0], [3.0]]), np.array([0, 1]))
    assert slope.tolist() == [[1.5], [-1.5]]  # the right point has none, the wrong one x/2


@pytest.mark.parametrize(
    ("labels", "match"), [(LABELS[:4], "one label per point"), (LABELS + 1, r"0\.\.2"), (LABELS / 2, "whole numbers")]
)
def test_labels_must_fit(labels: np.ndarray, match: str) -> None:
    with pytest.raises(InvalidParameter, match=match):
        compress(NET, SNIP(nnz=20, labels=labels), POINTS, rng=0)


def test_one_output_has_no_classes() -> None:
    net = random_network((6, 3, 1), rng=0)
    with pytest.raises(InvalidParameter, match="at least 2 outputs"):
        compress(net, SNIP(nnz=5, labels=np.zeros(9, int)), POINTS, rng=0)


# what is kept


@pytest.mark.parametrize("nnz", [3, 10, 40, 61, 62, 500])
def test_the_largest_products_are_kept_and_their_number_is_exact(nnz: int) -> None:
    small = compress(NET, SNIP(nnz=nnz, labels=LABELS), POINTS, rng=0)
    scores = [np.abs(w.weight * g) for w, g in zip(NET.layers, gradients(NET, POINTS, LABELS), strict=True)]
    assert small.nnz == small.expected_nnz == min(nnz, NET.nnz)
    ranked = np.sort(np.concatenate([s.ravel() for s in scores]))[::-1]
    for score, old, new in zip(scores, NET.layers, small.net.layers, strict=True):
        kept = new.weight != 0
        assert np.array_equal(new.weight[kept], old.weight[kept])
        assert kept[np.unravel_index(score.argmax(), score.shape)], "each layer keeps its largest"
        assert kept.sum() == 1 or score[kept].min() >= ranked[min(nnz, NET.nnz) - 1]


def test_a_layer_that_the_loss_does_not_feel_keeps_one_edge() -> None:
    # two dead neurons that feed nothing: the first layer has gradient 0, the second only its biases' part
    net = Network(
        layers=(
            Layer(weight=-np.ones((2, 3)), bias=np.zeros(2), relu=True),
            Layer(weight=np.ones((2, 2)), bias=np.ones(2), relu=True),
            Layer(weight=np.array([[1.0, 2.0], [0.5, -1.0]]), bias=np.zeros(2), relu=False),
        )
    )
    small = compress(net, SNIP(nnz=4, labels=np.array([0, 1, 1])), np.ones((3, 3)), rng=0)
    assert [np.count_nonzero(w.weight) for w in small.net.layers] == [1, 1, 2]


def test_a_loss_without_a_gradient_ranks_nothing_and_says_so() -> None:
    net = Network(layers=(Layer(weight=np.array([[1e6], [-1e6]]), bias=np.zeros(2), relu=False),))
    with pytest.raises(InvalidParameter, match="the loss must have a gradient, got 0 in every weight"):
        compress(net, SNIP(nnz=1, labels=np.array([0])), np.array([[1.0]]), rng=0)


def test_nothing_is_promised_and_nothing_is_changed() -> None:
    labels, before = LABELS.copy(), NET.digest
    method = SNIP(nnz=20, labels=labels)
    small = compress(NET, method, POINTS, rng=0)
    assert NET.digest == before
    assert np.array_equal(labels, LABELS)
    assert repr(method) == "SNIP(nnz=20)"
    assert all(np.isinf(p.eps[~p.exact]).all() and p.sensitivities.points == 9 for p in small.plans)
    with pytest.raises(InvalidParameter, match="theorem"):
        certify(small, POINTS)


def test_a_convolutional_net_over_batches_is_pruned_as_over_one_batch() -> None:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=2), nn.Flatten(), nn.Linear(16, 3))
    coins = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=coins))
    module.double()
    x = np.random.default_rng(3).normal(size=(9, 1, 5, 5))
    method = SNIP(nnz=40, labels=LABELS)
    whole = compress(module, method, x, rng=0)
    parts = compress(module, method, lambda: iter(np.split(x, [2, 3])), rng=0)
    assert whole.nnz == parts.nnz == 40
    for one, other in zip(whole.net.layers, parts.net.layers, strict=True):
        assert np.array_equal(one.weight, other.weight)
        assert one.weight.any()
    with pytest.raises(InvalidParameter, match="labels must have shape"):
        compress(module, method, lambda: iter(np.split(x, [2, 3])[:2]), rng=0)


def test_before_training_the_inputs_that_tell_the_classes_apart_keep_most() -> None:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, 400)
    x = rng.normal(size=(400, 16))
    x[:, :4] += 2.0 * y[:, None] - 1.0
    kept: Any = compress(random_network((16, 20, 2), rng=5), SNIP(nnz=108, labels=y), x, rng=0).net
    by_input = np.count_nonzero(kept.layers[0].weight, axis=0)
    assert by_input[:4].min() > by_input[4:].max()
