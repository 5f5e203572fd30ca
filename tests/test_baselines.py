"""The baselines: which weights they keep, with which chances, and how exactly a budget is met."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.certificates import certify
from boundlab.compressors.baselines import (
    BASELINES,
    EntrywiseSampling,
    L1Sampling,
    L2Sampling,
    LayerMagnitude,
    Magnitude,
    MixedSampling,
    Uniform,
    largest_of_all,
    layer_shares,
    scored,
)
from boundlab.compressors.method import ModuleCompression, Redraw, compress, redraw
from boundlab.data import load_data
from boundlab.nets.load import load_network
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from boundlab.records import Law

NET = random_network((30, 12, 8, 3), rng=0, bias=True)
POINTS = np.random.default_rng(1).uniform(0, 1, (5, 30))
KINDS: tuple[Any, ...] = BASELINES
SAMPLING: tuple[type[EntrywiseSampling], ...] = (Uniform, L1Sampling, L2Sampling, MixedSampling)

every = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
sampling = pytest.mark.parametrize("kind", SAMPLING, ids=lambda k: k.name)
laws = pytest.mark.parametrize("law", Law)


def net_of(*weights: Any) -> Network:
    layers = [np.array(w, float) for w in weights]
    return Network(
        layers=tuple(Layer(weight=w, bias=np.zeros(len(w)), relu=k < len(layers) - 1) for k, w in enumerate(layers))
    )


def small_conv() -> nn.Module:
    """A net with groups, a skip and a batch norm; no Network."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.inner, self.out = nn.Conv2d(4, 4, 3, padding=1, groups=2), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.enter(x)).relu()
            return self.out((x + self.inner(x)).relu().mean((2, 3)))

    module, coins = Residual(), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=coins))
    return module


IMAGES = np.random.default_rng(2).normal(size=(4, 1, 5, 5))


# magnitudes


def test_global_magnitude_is_a_sort_of_all_weights() -> None:
    absolute = np.concatenate([np.abs(layer.weight).ravel() for layer in NET.layers])
    for nnz in (40, 100, 300):
        small = compress(NET, Magnitude(nnz=nnz), POINTS, rng=0)
        least = np.sort(absolute)[-nnz]
        for old, new in zip(NET.layers, small.net.layers, strict=True):
            assert np.array_equal(new.weight, np.where(np.abs(old.weight) >= least, old.weight, 0.0))


def test_magnitude_per_layer_is_a_sort_of_each() -> None:
    small = compress(NET, LayerMagnitude(nnz=100), POINTS, rng=0)
    for old, new in zip(NET.layers, small.net.layers, strict=True):
        kept = np.count_nonzero(new.weight)
        least = np.sort(np.abs(old.weight).ravel())[-kept]
        assert np.array_equal(new.weight, np.where(np.abs(old.weight) >= least, old.weight, 0.0))
        assert abs(kept - 100 * old.weight.size / NET.nnz) <= 1


@pytest.mark.parametrize("kind", [Magnitude, LayerMagnitude], ids=lambda k: k.name)
@pytest.mark.parametrize("nnz", [3, 4, 57, 479, 480, 9_999])
def test_keeping_the_largest_meets_its_budget_exactly(kind: Any, nnz: int) -> None:
    small = compress(NET, kind(nnz=nnz), POINTS, rng=0)
    assert small.nnz == small.expected_nnz == min(nnz, NET.nnz)
    assert small.unchanged == (nnz >= NET.nnz)
    again = redraw(small, np.random.default_rng(1))
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(small.net.layers, again.layers, strict=True))


@pytest.mark.parametrize("kind", [Magnitude, LayerMagnitude], ids=lambda k: k.name)
def test_a_layer_of_small_weights_keeps_its_largest_and_the_budget_pays(kind: Any) -> None:
    net = net_of([[1e-9, -3e-9], [2e-9, 0.0]], [[5.0, -4.0], [3.0, 2.0]])
    kept = compress(net, kind(nnz=3), np.ones((1, 2)), rng=0)
    assert kept.net.layers[0].weight.tolist() == [[0.0, -3e-9], [0.0, 0.0]]
    assert kept.net.layers[1].weight.tolist() == [[5.0, -4.0], [0.0, 0.0]]
    with pytest.raises(InvalidParameter, match="nnz must be at least 2, or a layer"):
        compress(net, kind(nnz=1), np.ones((1, 2)), rng=0)


def test_of_equal_weights_the_first_are_kept() -> None:
    small = compress(net_of(np.ones((2, 3)), -np.ones((1, 2))), Magnitude(nnz=4), np.ones((1, 3)), rng=0)
    assert small.net.layers[0].weight.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert small.net.layers[1].weight.tolist() == [[-1, 0]]


def test_a_score_of_zero_is_kept_when_the_budget_reaches_it() -> None:
    own = [scored(np.ones((1, 4)), np.array([[0.0, 2.0, 0.0, 1.0]]))]
    assert largest_of_all(own, 3)[0].certain.tolist() == [True, True, False, True]
    (plan,) = largest_of_all([scored(np.ones((1, 4)), np.zeros((1, 4)))], 2)
    assert plan.certain.tolist() == [True, True, False, False]


def test_an_empty_layer_needs_nothing() -> None:
    net = net_of(np.ones((2, 3)), np.zeros((2, 2)), np.ones((1, 2)))
    for kind in KINDS:
        small = compress(net, kind(nnz=4), np.ones((1, 3)), rng=0)
        assert not small.net.layers[1].weight.any()
        assert small.plans[1].groups.edges.sum() == 0


def test_shares_are_whole_in_proportion_and_add_up() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        edges = rng.integers(0, 1_000, 6)
        least = rng.integers(0, edges + 1)
        nnz = int(rng.integers(max(1, least.sum()), edges.sum() + 10)) if edges.sum() else 1
        share = layer_shares(edges, least, nnz)
        assert share.sum() == min(nnz, edges.sum())
        assert ((least <= share) & (share <= edges)).all()
        left = edges - least
        ideal = least + (min(nnz, edges.sum()) - least.sum()) * left / max(1, left.sum())
        assert np.abs(share - ideal).max() <= 1
    assert layer_shares(np.array([3 * 10**9, 10**9]), np.array([0, 0]), 4 * 10**9 - 4).tolist() == [
        2_999_999_997,
        999_999_999,
    ], "beyond 2^31, exactly"


# sampling


def law_of(kind: type[EntrywiseSampling], w: np.ndarray) -> np.ndarray:
    """The papers' law, written down once more."""
    one, two = np.abs(w) / np.abs(w).sum(), w**2 / (w**2).sum()
    even = (w != 0) / np.count_nonzero(w)
    return {"uniform": even, "l1": one, "l2": two, "l1-l2": (one + two) / 2}[kind.name]


@sampling
def test_the_law_within_a_group_is_that_of_the_paper(kind: type[EntrywiseSampling]) -> None:
    for plan, layer in zip(kind(nnz=200).plan(NET, POINTS), NET.layers, strict=True):
        p = plan.groups.take(law_of(kind, layer.weight))
        q = p / plan.groups.spread(plan.groups.sums(p))
        np.testing.assert_allclose(plan.probabilities, q, rtol=1e-12)


@sampling
def test_draws_are_shared_out_in_proportion_to_the_law(kind: type[EntrywiseSampling]) -> None:
    for plan, layer in zip(kind(nnz=300).plan(NET, POINTS), NET.layers, strict=True):
        total = plan.groups.sums(plan.groups.take(law_of(kind, layer.weight)))
        assert ((plan.size - 1) / total).max() <= (plan.size / total).min() * (1 + 1e-9), "m = ⌈c S⌉"


@sampling
@laws
@pytest.mark.parametrize("nnz", [60, 150, 300, 470])
def test_sampling_meets_its_budget_in_the_mean(kind: type[EntrywiseSampling], law: Law, nnz: int) -> None:
    small = compress(NET, kind(nnz=nnz, law=law), POINTS, rng=0)
    assert nnz - len(NET.layers) <= small.expected_nnz <= nnz + 1e-9
    if law is Law.PIVOTAL:
        assert small.nnz == small.expected_nnz == nnz
    if law is not Law.POISSON:
        for plan, layer in zip(small.plans, small.net.layers, strict=True):
            assert (plan.groups.sums(plan.groups.take(layer.weight) != 0) > 0).all(), "no neuron and sign is emptied"


@sampling
@laws
def test_a_budget_of_all_weights_keeps_the_net(kind: type[EntrywiseSampling], law: Law) -> None:
    small = compress(NET, kind(nnz=NET.nnz, law=law), POINTS, rng=0)
    assert small.unchanged
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(NET.layers, small.net.layers, strict=True))


@sampling
def test_a_budget_below_a_draw_for_each_neuron_and_sign_is_refused(kind: type[EntrywiseSampling]) -> None:
    groups = sum(int((w.weight > 0).any(1).sum() + (w.weight < 0).any(1).sum()) for w in NET.layers)
    assert compress(NET, kind(nnz=groups), POINTS, rng=0).nnz == groups
    with pytest.raises(InvalidParameter, match=f"nnz must be at least {groups}"):
        compress(NET, kind(nnz=groups - 1), POINTS, rng=0)


@sampling
@laws
def test_sampled_weights_are_unbiased(kind: type[EntrywiseSampling], law: Law) -> None:
    # 5 means of 4,000 draws, each within 5 standard errors: by the normal law false in 3e-6 of all runs
    w = np.array([[1.0, 2.0, 3.0, -1.0, -0.5]])
    small = compress(net_of(w), kind(nnz=3, law=law), np.ones((1, 5)), rng=0)
    rng, draw = np.random.default_rng(4), Redraw(small)
    draws = np.array([draw(rng).layers[0].weight[0] for _ in range(4_000)])
    spread = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(axis=0) - w[0]) <= 5 * spread + 1e-12).all()


@sampling
def test_one_draw_weighs_its_weight_over_its_chance(kind: type[EntrywiseSampling]) -> None:
    # two groups, one draw each: the kept weight is w/q, which for l1 is the group's sum of |w|
    w = np.array([[1.0, 3.0, -2.0, -6.0]])
    drawn = compress(net_of(w), kind(nnz=2), np.ones((1, 4)), rng=1).net.layers[0].weight[0]
    p = law_of(kind, w)[0]
    for group in ([0, 1], [2, 3]):
        (j,) = [j for j in group if drawn[j] != 0]
        assert drawn[j] == pytest.approx(w[0, j] * p[group].sum() / p[j], rel=1e-14)


@sampling
def test_the_unit_of_the_weights_does_not_matter(kind: type[EntrywiseSampling]) -> None:
    tiny = NET.with_weights([w.weight * 2.0**-500 for w in NET.layers])  # w² would underflow
    for one, other in zip(kind(nnz=200).plan(NET, POINTS), kind(nnz=200).plan(tiny, POINTS), strict=True):
        assert np.array_equal(one.size, other.size)
        np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=1e-14)


def test_groups_that_are_alike_leave_no_budget_unused() -> None:
    net = net_of(np.ones((10, 20)))
    assert 94 < compress(net, Uniform(nnz=95), np.ones((1, 20)), rng=0).expected_nnz <= 95
    assert compress(net, Uniform(nnz=95, law=Law.PIVOTAL), np.ones((1, 20)), rng=0).nnz == 95


def test_weights_too_small_to_be_drawn_do_not_stall_a_plan() -> None:
    net = net_of([[1.0, 1e-200, 2.0, 1e-170]])  # squares of 1e-400: two edges of chance 0
    small = compress(net, L2Sampling(nnz=3), np.ones((1, 4)), rng=0)
    assert small.net.layers[0].weight[0, [1, 3]].tolist() == [0.0, 0.0]
    assert small.expected_nnz <= 2


# all of them


@every
def test_a_plan_of_a_baseline_promises_nothing(kind: Any) -> None:
    for plan in kind(nnz=200).plan(NET, POINTS):
        assert plan.theorem == plan.sensitivities.theorem == ""
        assert np.isinf(plan.eps[~plan.exact]).all()
        assert plan.sensitivities.points == 0
    with pytest.raises(InvalidParameter, match="theorem"):
        certify(compress(NET, kind(nnz=200), POINTS, rng=0), POINTS)


@every
def test_points_do_not_matter(kind: Any) -> None:
    one, other = (compress(NET, kind(nnz=200), x, rng=3).net for x in (POINTS, POINTS[:1] * 7))
    assert all(np.array_equal(a.weight, b.weight) for a, b in zip(one.layers, other.layers, strict=True))


@every
def test_same_seed_same_net_and_nothing_is_changed(kind: Any) -> None:
    before = NET.digest
    one, other = (compress(NET, kind(nnz=200), POINTS, rng=3).net.digest for _ in range(2))
    assert one == other
    assert before == NET.digest


@every
@pytest.mark.parametrize("nnz", [0, -3, 2.5, True])
def test_a_budget_is_a_whole_number(kind: Any, nnz: Any) -> None:
    with pytest.raises(InvalidParameter, match="nnz must be a whole number"):
        compress(NET, kind(nnz=nnz), POINTS, rng=0)


def test_a_law_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="law must be one of multinomial, poisson, pivotal"):
        compress(NET, KINDS[2](nnz=200, law="systematic"), POINTS, rng=0)


@every
def test_a_module_is_compressed_as_it_stands(kind: Any) -> None:
    module = small_conv()
    small = compress(module, kind(nnz=60), IMAGES, rng=0)
    assert isinstance(small, ModuleCompression)
    assert [row["name"] for row in small.rows()] == ["enter", "inner[0]", "inner[1]", "out"]
    assert small.kept["norm.weight"] == "BatchNorm2d is no linear or convolutional layer"
    assert small.expected_nnz == pytest.approx(60, abs=4)
    assert small.net.nnz == small.nnz == sum(row["nnz"] for row in small.rows())
    assert all(row["nnz"] for row in small.rows())
    assert np.isfinite(small.net(IMAGES)).all()


def test_a_module_and_its_network_lose_the_same_weights() -> None:
    chain = nn.Sequential(nn.Linear(30, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    numbers = [torch.from_numpy(v) for layer in NET.layers for v in (layer.weight, layer.bias)]
    chain.load_state_dict(dict(zip(chain.state_dict(), numbers, strict=True)))
    for kind in (Magnitude, L1Sampling):
        one, other = (compress(net, kind(nnz=200), POINTS, rng=3).net(POINTS) for net in (chain, NET))
        np.testing.assert_allclose(one, other, atol=1e-12)


# the nets of others


@pytest.fixture(scope="module")
def lenet(boundlab_data: Path) -> tuple[Network, Any]:
    return load_network(str(boundlab_data / "nets/lenet300/dns_original.npz")), load_data("mnist")


def test_the_ranking_of_the_baselines_on_lenet(lenet: tuple[Network, Any]) -> None:
    # prune only, as measured by the authors' implementation on a net of theirs: magnitude far ahead, uniform last
    net, data = lenet
    x, y = data.x_test[:2000], data.y_test[:2000]

    def accuracy(method: Any) -> float:
        return 1 - compress(net, method, data.x_train[:10], rng=0).net.errors(x, y) / len(y)

    found = {kind.name: accuracy(kind(nnz=net.nnz // 5)) for kind in KINDS}
    assert found["magnitude"] > 0.96 > found["magnitude-per-layer"] > found["l1"] > found["uniform"]
    for a, b in itertools.pairwise([0.5, 0.1, 0.05]):
        assert accuracy(Magnitude(nnz=round(a * net.nnz))) > accuracy(Magnitude(nnz=round(b * net.nnz)))
