"""Low-rank factors: what they multiply to, what they discard, how they are counted, and which ranks a budget buys."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.compressors.svd import SVD, common_ranks
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network

NET = random_network((40, 30, 20, 4), rng=0, bias=True)
X = np.random.default_rng(1).normal(size=(6, 40))


def seeded(module: Any, *, double: bool = True) -> Any:
    coins = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=coins) * 0.3)
    return module.eval().double() if double else module.eval()


def of_rank(rank: int, out: int, inputs: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(out, rank)) @ rng.normal(size=(rank, inputs))


# a Network


@pytest.mark.parametrize("nnz", [200, 500, 1000, 1500])
def test_factors_multiply_to_the_truncated_matrix(nnz: int) -> None:
    small = SVD(nnz=nnz).factorise(NET)
    layers: Iterator[Any] = iter(small.net.layers)
    for old, rank, lost, size in zip(NET.layers, small.ranks, small.lost, small.sizes, strict=True):
        first = next(layers)
        if rank is None:
            assert first is old
            assert (lost, size) == (0.0, old.weight.size)
            continue
        second = next(layers)
        product = second.weight @ first.weight
        sigma = np.linalg.svd(old.weight, compute_uv=False)
        assert first.weight.shape == (rank, old.weight.shape[1])
        assert (first.relu, first.bias.any()) == (False, False)
        assert (second.relu, second.bias.tolist()) == (old.relu, old.bias.tolist())
        error = np.linalg.norm(old.weight - product)
        assert error == pytest.approx(np.sqrt((sigma[rank:] ** 2).sum()), rel=1e-9)
        assert lost == pytest.approx(error**2 / np.linalg.norm(old.weight) ** 2, rel=1e-9)
        assert np.linalg.norm(old.weight - product, 2) == pytest.approx(sigma[rank], rel=1e-9)
        assert size == first.weight.size + second.weight.size
    assert next(layers, None) is None


@pytest.mark.parametrize("nnz", [144, 200, 500, 1000, 1500, 1880])
def test_the_count_is_that_of_the_weights_that_are_stored(nnz: int) -> None:
    small = SVD(nnz=nnz).factorise(NET)
    assert small.nnz == sum(layer.weight.size for layer in small.net.layers) == small.net.nnz <= nnz
    assert small.missed == small.nnz - nnz
    assert small.ratio == small.nnz / NET.nnz
    assert sum(row["weights"] for row in small.rows()) == small.nnz


def test_a_budget_of_all_weights_changes_nothing() -> None:
    small = SVD(nnz=NET.nnz).factorise(NET)
    assert small.ranks == (None, None, None)
    for nnz in (NET.nnz, 10 * NET.nnz):
        same = SVD(nnz=nnz).factorise(NET).net
        assert all(new is old for new, old in zip(same.layers, NET.layers, strict=True))


def test_a_budget_below_rank_one_everywhere_is_refused() -> None:
    least = 70 + 50 + 24
    assert SVD(nnz=least).factorise(NET).ranks == (1, 1, 1)
    with pytest.raises(InvalidParameter, match="at least 144"):
        SVD(nnz=least - 1).factorise(NET)
    with pytest.raises(InvalidParameter, match="nnz must be a whole number"):
        SVD(nnz=0).factorise(NET)


def test_a_matrix_of_low_rank_is_factorised_without_loss() -> None:
    net = Network(layers=(Layer(weight=of_rank(3, 30, 40), bias=np.ones(30), relu=False),))
    small = SVD(nnz=1_000).factorise(net)  # 14 components would fit, but 11 of them are rounding
    assert small.ranks == (3,)
    assert small.lost[0] < 1e-28
    np.testing.assert_allclose(small.net(X), net(X), rtol=1e-10)


def test_zeros_of_a_sparse_layer_are_not_paid_for() -> None:
    sparse = np.zeros((30, 40))
    sparse[np.arange(30), np.arange(30)] = np.arange(1.0, 31.0)
    net = Network(layers=(Layer(weight=sparse, bias=np.zeros(30), relu=False),))
    assert SVD(nnz=1_000).factorise(net).ranks == (None,), "its 30 weights are fewer than those of any factors"
    with pytest.raises(InvalidParameter, match="at least 30"):
        SVD(nnz=29).factorise(net)


def test_an_empty_layer_stays() -> None:
    net = Network(
        layers=(
            Layer(weight=np.zeros((30, 40)), bias=np.ones(30), relu=True),
            Layer(weight=of_rank(2, 9, 30), bias=np.ones(9), relu=False),
        )
    )
    assert SVD(nnz=100).factorise(net).ranks == (None, 2)


# ranks


def energy(w: np.ndarray) -> np.ndarray:
    return (np.linalg.svd(w, compute_uv=False) ** 2).sum(axis=0)


@pytest.mark.parametrize("seed", range(4))
def test_no_other_ranks_of_at_most_that_size_discard_less(seed: int) -> None:
    # layers so wide that none is better whole: all ranks are tried
    rng = np.random.default_rng(seed)
    stacks = [rng.normal(size=(1, 6, 90)), rng.normal(size=(1, 7, 80)), 3 * rng.normal(size=(1, 5, 100))]
    costs, shares = [96, 87, 105], [energy(w) / energy(w).sum() for w in stacks]
    for nnz in (400, 600, 800):
        ranks, lost = common_ranks(stacks, nnz)
        assert None not in ranks
        size = sum(c * (r or 0) for c, r in zip(costs, ranks, strict=True))
        best = min(
            sum(s[r:].sum() for s, r in zip(shares, tried, strict=True))
            for tried in itertools.product(range(1, 6), range(1, 7), range(1, 5))
            if sum(c * r for c, r in zip(costs, tried, strict=True)) <= size
        )
        assert sum(lost) == pytest.approx(best, rel=1e-9)


def test_ranks_rise_with_the_budget_and_use_it() -> None:
    stacks = [layer.weight[None] for layer in NET.layers]
    last = [0, 0, 0]
    for nnz in range(150, NET.nnz, 50):
        ranks, _ = common_ranks(stacks, nnz)
        now = [99 if r is None else r for r in ranks]
        assert all(a <= b for a, b in zip(last, now, strict=True))
        last = now


def test_the_unit_of_the_weights_does_not_matter() -> None:
    stacks = [layer.weight[None] for layer in NET.layers]
    scaled = [w * u for w, u in zip(stacks, (1e-3, 1.0, 1e6), strict=True)]
    assert common_ranks(stacks, 700)[0] == common_ranks(scaled, 700)[0]


# modules


CASES: list[tuple[Any, tuple[int, ...]]] = [
    (lambda: nn.Conv1d(6, 12, 5, stride=2, padding=3, dilation=2), (6, 17)),
    (lambda: nn.Conv2d(6, 12, 3, padding="same"), (6, 5, 7)),
    (lambda: nn.Conv2d(6, 12, (3, 5), stride=(2, 1), padding=(0, 2), bias=False), (6, 7, 6)),
    (lambda: nn.Conv2d(12, 18, 3, groups=3, padding=1), (12, 4, 4)),
    (lambda: nn.Conv3d(4, 10, 2), (4, 3, 3, 3)),
    (lambda: nn.Linear(20, 12), (5, 20)),
]


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize(("make", "shape"), CASES)
def test_a_factorised_module_computes_with_the_truncated_kernel(
    make: Any, shape: tuple[int, ...], double: bool
) -> None:
    module = seeded(make(), double=double)
    x = np.random.default_rng(2).normal(size=(3, *shape))
    net = ModuleNet(module, x)
    small = SVD(nnz=net.nnz // 2).factorise(net)
    (rank,) = small.ranks
    assert rank is not None
    truncated = []
    for layer in net.layers:
        u, sigma, vt = np.linalg.svd(layer.weight, full_matrices=False)
        truncated.append(u[:, :rank] * sigma[:rank] @ vt[:rank])
    want = net.with_weights(truncated)
    np.testing.assert_allclose(small.net(x), want(x), atol=1e-12 if double else 2e-5)
    assert small.nnz == small.net.nnz <= net.nnz // 2
    assert [row["name"] for row in small.rows()] == [""]
    assert small.net.parameters == small.nnz + (0 if module.bias is None else len(module.bias))
    error = sum(float(((a.weight - b) ** 2).sum()) for a, b in zip(net.layers, truncated, strict=True))
    assert small.lost[0] == pytest.approx(error / sum(float((w.weight**2).sum()) for w in net.layers), rel=1e-6)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.depthwise, self.inner = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 16, 3, padding=1)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.enter(x)).relu()
        return self.out((x + self.inner(self.depthwise(x))).relu().mean((2, 3)))


def test_a_net_with_skips_and_norms_is_factorised_layer_by_layer() -> None:
    x = np.random.default_rng(3).normal(size=(4, 1, 6, 6))
    module = seeded(Residual())
    before = [p.detach().numpy().copy() for p in module.parameters()]
    chance = torch.get_rng_state()
    net = ModuleNet(module, x)
    small = SVD(nnz=1_200).factorise(net)
    assert torch.equal(chance, torch.get_rng_state()), "no coin of torch is used"
    assert all(np.array_equal(p.detach().numpy(), b) for p, b in zip(module.parameters(), before, strict=True))
    ranks = {row["name"]: row["rank"] for row in small.rows()}
    assert ranks["depthwise"] is None, "rank 1 costs 10 weights a channel, and the kernel has 9"
    assert ranks["inner"] in range(1, 16)
    assert isinstance(small.net, ModuleNet)
    assert small.nnz == small.net.nnz <= 1_200
    assert {"inner.0", "inner.1"} <= set(small.net.modules)
    assert small.net.kept["inner.1.bias"] == "biases are kept exactly"
    assert small.net(x).shape == (4, 3)
    assert SVD(nnz=net.nnz).factorise(net).net(x) == pytest.approx(net(x), abs=0)


def test_a_layer_whose_weights_are_read_and_not_called_stays_whole_and_is_listed() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(30, 30), nn.Linear(30, 30)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x)) * self.a.weight.mean()

    net = ModuleNet(seeded(Reads()), np.ones((2, 30)))
    small = SVD(nnz=1_200).factorise(net)
    assert [(row["rank"], row["replaceable"]) for row in small.rows()] == [(None, False), (5, True)]
    assert small.nnz == small.net.nnz == 1_200
    with pytest.raises(InvalidParameter, match="at least 960"):
        SVD(nnz=959).factorise(net)


def test_an_encoder_layer_with_a_fast_path_still_runs() -> None:
    # torch's fast path reads the weights of both linear layers
    x = np.random.default_rng(4).normal(size=(2, 3, 8))
    net = ModuleNet(seeded(nn.TransformerEncoderLayer(8, 2, 64, batch_first=True)), x)
    small = SVD(nnz=net.nnz).factorise(net)
    assert [row["replaceable"] for row in small.rows()] == [False, False]
    np.testing.assert_allclose(small.net(x), net(x))
