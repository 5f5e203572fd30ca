"""What holds for every method of every paper, on a fully connected net and on a convolutional one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from boundlab import InvalidParameter, Network, UnsupportedLayer, certify, random_network, verify
from boundlab.compressors.baselines import Magnitude
from boundlab.compressors.corenet_neurons import CoreNetPlusPlus, amplify
from boundlab.compressors.method import ChannelCompression, Compressor, Method, ModuleCompression, compress
from boundlab.holdout import certify_on_holdout
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.space_sensitivities import space_sensitivities
from tests import cases

every = pytest.mark.parametrize("method", cases.METHODS, ids=lambda m: m.name)
on_modules = pytest.mark.parametrize("method", [m for m in cases.METHODS if m.modules], ids=lambda m: m.name)
NET = random_network((20, 12, 8, 3), rng=0, bias=True)
X = np.random.default_rng(1).random((cases.POINTS, 20))
IMAGES = np.random.default_rng(2).random((cases.POINTS, 2, 6, 6)).astype(np.float32)


class Residual(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.BatchNorm2d(6)
        self.inner, self.outer = torch.nn.Conv2d(6, 5, 3, padding=1), torch.nn.Conv2d(5, 6, 1)
        self.last = torch.nn.Linear(6 * 9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.outer(torch.relu(self.inner(x))))
        return self.last(torch.nn.functional.avg_pool2d(x, 2).flatten(1))


def module() -> torch.nn.Module:
    torch.manual_seed(0)
    net = Residual()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(50, 2, 6, 6))  # in train mode: the batch norm has seen something
    return net.eval()


def weights(net: Network | ModuleNet) -> bytes:
    return b"".join(layer.weight.tobytes() for layer in net.layers)


@every
def test_the_same_seed_gives_the_same_net_and_the_net_is_not_changed(method: Method) -> None:
    before = weights(NET)
    first, second = (compress(NET, method, X, rng=3) for _ in range(2))
    assert weights(first.net) == weights(second.net)
    assert weights(NET) == before
    assert first.net(X).shape == NET(X).shape
    assert first.seed == 3
    assert np.isfinite(first.net(X)).all()


@every
def test_a_hold_out_certifies_the_net(method: Method) -> None:
    small = compress(NET, method, X, rng=3)
    found = certify_on_holdout(small, np.random.default_rng(9).random((300, 20)), independent=True)
    assert not found.void
    assert found.delta >= 1.0 - found.error["agreement"]
    assert certify_on_holdout(small, X).void, "the calibration points are no hold-out"


@on_modules
def test_any_module_is_compressed_and_left_alone(method: Method) -> None:
    net = module()
    state = copy.deepcopy(net.state_dict())
    small: Any = compress(net, method, IMAGES, rng=3)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert isinstance(small, ModuleCompression | ChannelCompression)
    assert small.net(IMAGES).shape == (cases.POINTS, 3)
    original: Any = small.original
    assert original.kept["norm.weight"], "what no method touches is named"
    if isinstance(small, ModuleCompression):
        assert small.nnz == small.net.nnz
        assert all(
            b.weight[a.weight == 0].any() == 0 for a, b in zip(small.original.layers, small.net.layers, strict=True)
        )
    else:
        assert small.net.parameters <= sum(p.numel() for p in net.parameters())


@on_modules
def test_batches_give_what_one_array_gives(method: Method) -> None:
    def batches() -> Any:
        return np.split(IMAGES, [7, 50, 51])

    whole, parts = (compress(module(), method, points, rng=3) for points in (IMAGES, batches))
    for a, b in zip(whole.coresets, parts.coresets, strict=True):
        one, other = a.plan.sensitivities.values, b.plan.sensitivities.values
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6 * one.max())  # gradients cancel in single precision
    assert whole.calibration == parts.calibration


@on_modules
def test_batches_of_a_fully_connected_net_give_what_one_array_gives(method: Method) -> None:
    whole, parts = (compress(NET, method, points, rng=3) for points in (X, lambda: np.split(X, [7, 50, 51])))
    for a, b in zip(whole.coresets, parts.coresets, strict=True):
        np.testing.assert_allclose(a.plan.sensitivities.values, b.plan.sensitivities.values, rtol=1e-9, atol=0)
        np.testing.assert_allclose(a.plan.size, b.plan.size, rtol=1e-9)
    assert whole.calibration == parts.calibration
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidParameter, match="same order"):
        compress(NET, method, lambda: [X[rng.permutation(len(X))]], rng=0)
    for bad in (lambda: [X[:, :5]], lambda: [np.full((3, 20), np.nan)], lambda: iter(())):
        with pytest.raises(InvalidParameter):
            compress(NET, method, bad, rng=0)


@pytest.mark.parametrize("method", [m for m in cases.METHODS if not m.modules], ids=lambda m: m.name)
def test_a_theorem_of_whole_nets_reads_one_array(method: Method) -> None:
    with pytest.raises(InvalidParameter, match="reads its points as one array, got a function"):
        compress(NET, method, lambda: [X], rng=0)


@pytest.mark.parametrize("method", [m for m in cases.METHODS if not m.modules], ids=lambda m: m.name)
def test_a_method_of_a_theorem_refuses_what_the_theorem_does_not_cover(method: Method) -> None:
    with pytest.raises(UnsupportedLayer, match="fully connected"):
        compress(module(), method, IMAGES, rng=0)


@pytest.mark.parametrize("method", [m for m in cases.METHODS if hasattr(m, "nnz")], ids=lambda m: m.name)
def test_a_budget_is_kept(method: Compressor) -> None:
    wanted: Any = method
    found = [compress(NET, method, X, rng=seed) for seed in range(20)]
    if all((c.plan.draws == 0).all() or c.plan.law == "pivotal" for c in found[0].coresets):
        assert {f.nnz for f in found} == {wanted.nnz}
    else:
        spread = np.sqrt(20 * wanted.nnz / 4)  # each edge is a coin of variance <= 1/4; 5 standard deviations below
        assert abs(sum(f.nnz for f in found) - 20 * wanted.nnz) <= 5 * spread + 20 * 8


@every
def test_nonsense_points_are_refused(method: Method) -> None:
    for bad in (X[:, :5], np.where(X > 0.99, np.nan, X), X[:0]):
        with pytest.raises(InvalidParameter):
            compress(NET, method, bad, rng=0)


def test_a_stream_that_changes_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidParameter, match="same order"):
        compress(module(), Magnitude(nnz=50), lambda: [IMAGES[rng.permutation(len(IMAGES))]], rng=0)


def test_what_promises_nothing_over_coins_is_neither_certified_nor_verified() -> None:
    small = compress(NET, CoreNetPlusPlus(eps=0.5, K=1.0), X, rng=0)
    with pytest.raises(InvalidParameter, match="mean error"):
        verify(small, X)
    best = amplify(small, np.random.default_rng(8).random((300, 20)), rng=0, tau=3)
    for judge in (lambda: certify(best, X), lambda: verify(best, X, eps=0.5)):
        with pytest.raises(InvalidParameter, match="best of several draws"):
            judge()
    assert certify_on_holdout(best, np.random.default_rng(8).random((300, 20))).void, "they chose the rows"
    with pytest.raises(InvalidParameter, match="promises nothing"):
        certify(compress(NET, Magnitude(nnz=50), X, rng=0), X)


class Twice(torch.nn.Module):
    """One layer reads both halves of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.reader = torch.nn.Conv1d(2, 4, 1), torch.nn.Conv1d(4, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        n = x.shape[2] // 2
        return (self.reader(x[:, :, :n]) + self.reader(x[:, :, n:])).mean(2)


def test_every_patch_that_a_reader_reads_is_an_event() -> None:
    short, long = (np.random.default_rng(3).random((10, 2, n)).astype(np.float32) for n in (8, 40))
    net = ModuleNet(Twice(), long[:1])
    for order in ((short, long), (long, short)):
        (found,) = space_sensitivities(net, lambda order=order: order)
        assert (found.events, found.points) == (2 * 3 * 40, 20), "two signs, three filters, 40 places"
