"""PFP and the filter baselines: sensitivities by definition, budgets that are met, promises that hold."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom
from torch import nn

from boundlab._errors import InvalidParameter
from boundlab.compressors.filter_baselines import (
    FilterBaseline,
    L1Filters,
    L2Filters,
    LargestFilters,
    UniformFilters,
    same_share,
)
from boundlab.compressors.method import ChannelCompressor, LayerDraw, compress
from boundlab.compressors.pfp import PFP, Form, PFPBudget, Size
from boundlab.nets.channels import single_weight_sensitivities
from boundlab.nets.module_net import ModuleNet
from boundlab.nets.space_sensitivities import parameters_left, space_sensitivities
from boundlab.nets.toy import random_network
from boundlab.network import Layer, Network
from boundlab.records import Law

DETERMINISTIC = (Form.DERANDOMISED, Form.PIVOTAL)


class TwoWays(nn.Module):
    """Two convolutions side by side, read by one convolution and, flattened, by a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=1)
        self.right = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(7)
        self.deep = nn.Conv2d(7, 5, 3)
        self.last = nn.Linear(7 * 16 + 5 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = self.norm(torch.cat([torch.relu(self.left(x)), torch.tanh(self.right(x))], 1))
        return self.last(torch.cat([both.flatten(1), torch.relu(self.deep(both)).flatten(1)], 1))


@pytest.fixture(scope="module")
def two_ways() -> ModuleNet:
    torch.manual_seed(0)
    module = TwoWays().double().eval()
    torch.nn.init.uniform_(module.norm.bias, -0.5, 0.5)
    return ModuleNet(module, images(1))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, 2, 4, 4))


@pytest.fixture(scope="module")
def chain() -> Network:
    return random_network((6, 40, 30, 4), rng=3, bias=True)


def inputs(n: int, features: int = 6) -> np.ndarray:
    return np.abs(np.random.default_rng(n).standard_normal((n, features)))


def seen(net: Any, points: np.ndarray) -> dict[int, np.ndarray]:
    """All vectors that each layer reads, (vectors, in)."""
    found: dict[int, list[np.ndarray]] = {}
    net.visit(points, lambda k, patches: found.setdefault(k, []).append(patches.reshape(-1, patches.shape[-1])))
    return {k: np.concatenate(blocks) for k, blocks in found.items()}


def by_definition(net: Any, points: np.ndarray, *, single: bool = False) -> list[np.ndarray]:
    """The largest share of each channel, in loops."""
    read, best = seen(net, points), []
    for space in net.spaces:
        s = np.zeros(space.size)
        for k, columns in space.readers:
            for row, sign in itertools.product(net.layers[k].weight, (1, -1)):
                w = np.maximum(sign * row, 0)
                for side in (1, -1):
                    terms = w * np.maximum(side * read[k], 0)  # (vectors, in)
                    total = terms.sum(axis=1)
                    own = terms[:, columns].max(axis=2) if single else terms[:, columns].sum(axis=2)
                    share = np.divide(own, total[:, None], out=np.zeros_like(own), where=total[:, None] > 0)
                    s = np.maximum(s, share.max(axis=0))
        best.append(s)
    return best


# -- sensitivities


@pytest.mark.parametrize("single", [False, True])
def test_sensitivities_are_those_of_the_definition(two_ways: ModuleNet, single: bool) -> None:
    points = images(5)
    kind = {"shares": single_weight_sensitivities} if single else {}
    found = space_sensitivities(two_ways, points, **kind)
    assert [s.space.name for s in found] == ["left", "right", "deep"]
    for own, want in zip(found, by_definition(two_ways, points, single=single), strict=True):
        assert np.all(own.values >= want * (1 - 1e-15))
        assert np.allclose(own.values, want, rtol=1e-11, atol=0)


def test_every_sum_that_reads_a_space_is_counted(two_ways: ModuleNet) -> None:
    left, right, deep = space_sensitivities(two_ways, images(5))
    assert (left.filters, left.signs, left.events) == (5 + 3, 2, 2 * 2 * (5 * 4 + 3 * 1))
    assert (right.events, right.positions) == (left.events, 4)
    # what the linear layer reads is signed, for all of its columns
    assert (deep.filters, deep.signs, deep.events, deep.points) == (3, 2, 2 * 2 * 3, 5)


def test_points_in_batches_give_the_same(two_ways: ModuleNet) -> None:
    points = images(7)
    whole = space_sensitivities(two_ways, points)
    parts = space_sensitivities(two_ways, lambda: iter([points[:1], points[1:6], points[6:]]))
    for a, b in zip(whole, parts, strict=True):
        assert np.allclose(a.values, b.values, rtol=1e-12, atol=0)
        assert (a.points, a.events) == (b.points, b.events) == (7, a.events)


def test_a_network_and_its_module_have_the_same_sensitivities(chain: Network) -> None:
    parts: list[nn.Module] = []
    for layer in chain.layers:
        linear = nn.Linear(*layer.weight.shape[::-1]).double()
        linear.weight.data, linear.bias.data = torch.from_numpy(layer.weight), torch.from_numpy(layer.bias)
        parts += [linear, nn.ReLU()] if layer.relu else [linear]
    x = inputs(9)
    module = ModuleNet(nn.Sequential(*parts), x)
    for a, b, want in zip(
        space_sensitivities(chain, x), space_sensitivities(module, x), by_definition(chain, x), strict=True
    ):
        assert np.allclose(a.values, want, rtol=1e-11)
        assert np.allclose(b.values, want, rtol=1e-11)
        assert (a.events, a.signs) == (b.events, b.signs) == (2 * a.filters, 1)
    assert parameters_left(chain, [3, 5]) == 6 * 3 + 3 + 3 * 5 + 5 + 5 * 4 + 4
    assert parameters_left(module, [3, 5]) == parameters_left(chain, [3, 5])


# -- sizes by theorem


def test_sizes_are_those_of_the_theorem(chain: Network) -> None:
    x = inputs(50)
    plans = PFP(eps=100.0, delta=0.1, K=2.0).plan(chain, x)
    for plan, layer in zip(plans, chain.layers[1:], strict=True):
        S, filters = plan.sensitivities.values.sum(), len(layer.weight)
        m = (6 + 200) * 2 * S * math.log(4 * filters / (0.1 / 2 / 2)) / (3 * 100.0**2)
        assert plan.size[0] == math.ceil(m)
        assert 0 < plan.eps[0] <= 100
        assert (plan.law, plan.theorem) == (Law.MULTINOMIAL, "liebenwein2020_sample_size")
    published = PFP(eps=100.0, delta=0.1, K=2.0, size=Size.PUBLISHED).plan(chain, x)
    released = PFP(eps=100.0, delta=0.1, K=2.0, size=Size.RELEASED).plan(chain, x)
    for plan, other, third in zip(plans, published, released, strict=True):
        assert 3 * (plan.size[0] - 1) <= other.size[0] <= 3 * plan.size[0] + 1
        assert other.eps[0] <= plan.eps[0]  # more draws certify no less
        assert third.size[0] > other.size[0]


@pytest.mark.parametrize("form", Form)
def test_what_is_asked_for_is_certified_and_a_small_error_keeps_the_net(form: Form, chain: Network) -> None:
    x = inputs(50)
    for eps in (0.5, 3.0, 60.0):
        plans = PFP(eps=eps, form=form).plan(chain, x)
        assert all(0 <= plan.eps[0] <= eps for plan in plans)
    small: Any = compress(chain, PFP(eps=1e-9, form=form), x, rng=0)
    assert small.net.sizes == (6, *(np.count_nonzero(s) for s in by_definition(chain, x)), 4)
    assert np.allclose(small.net(x), chain(x), rtol=1e-12)
    assert all(plan.eps[0] == 0 for plan in small.plans)


def test_the_fewest_channels_that_certify_are_kept(chain: Network) -> None:
    x = inputs(50)
    (own, _) = by_definition(chain, x)
    for eps in (1.0, 5.0, 20.0):
        (plan, _) = PFP(eps=eps, form=Form.DERANDOMISED).plan(chain, x)
        assert plan.top is not None
        dropped = [3.0 * np.sort(own)[: len(own) - k].sum() for k in range(len(own) + 1)]
        assert plan.top[0] == next(k for k, loss in enumerate(dropped) if loss <= eps)


# -- budgets


def nets(chain: Network, two_ways: ModuleNet) -> list[tuple[Any, np.ndarray]]:
    return [(chain, inputs(50)), (two_ways, images(20))]


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_the_net_that_is_left_fits_the_budget(form: Form, share: float, chain: Network, two_ways: ModuleNet) -> None:
    for net, x in nets(chain, two_ways):
        budget = int(share * net.parameters)
        small: Any = compress(net, PFPBudget(parameters=budget, form=form), x, rng=1)
        planned = [math.ceil(plan.expected_distinct[0] - 1e-9) for plan in small.plans]
        assert parameters_left(net, planned) <= budget
        if form in (*DETERMINISTIC, Form.PARTIAL):
            assert small.net.parameters <= budget
        assert small.net.parameters == parameters_left(net, [int(np.count_nonzero(s)) for s in small.scales])


def test_no_smaller_common_eps_fits_the_budget(chain: Network, two_ways: ModuleNet) -> None:
    for net, x in nets(chain, two_ways):
        budget = net.parameters // 2
        plans = PFPBudget(parameters=budget).plan(net, x)
        kept = [int(plan.expected_distinct[0]) for plan in plans]
        own = space_sensitivities(net, x)

        def left(eps: float, net: Any = net, own: Any = own) -> list[int]:
            """Kept channels at an eps, by the formulas of the theorem."""
            found = []
            for s in own:
                log = math.log(2 * s.events / (0.05 / 2 / len(own)))
                m = math.ceil((6 + 2 * eps) * 3 * s.values.sum() * log / (3 * eps**2) * (1 + 1e-9))
                found.append(math.ceil((1 - (1 - s.values / s.values.sum()) ** m).sum() - 1e-9))
            return found

        grid = np.geomspace(0.05, 500, 4000)
        sizes = [parameters_left(net, left(eps)) for eps in grid]
        first = next(i for i, n in enumerate(sizes) if n <= budget)
        assert sizes[first - 1] > budget >= sizes[first]
        assert kept == left(grid[first])


def test_the_forms_of_one_budget_differ_in_how_they_choose(chain: Network) -> None:
    x, budget = inputs(50), chain.parameters // 2
    found: dict[Form, Any] = {
        form: compress(chain, PFPBudget(parameters=budget, form=form, K=1.0), x, rng=2) for form in Form
    }
    (own, _) = by_definition(chain, x)
    for form, small in found.items():
        (plan, _), (scale, _) = small.plans, small.scales
        kept = scale[scale != 0]
        q = plan.probabilities
        if form is Form.DERANDOMISED:
            assert set(kept) == {1.0}
            assert own[scale != 0].min() >= own[scale == 0].max()
        if form is Form.RANDOM:
            counts = scale * plan.size[0] * q
            assert np.allclose(counts, np.round(counts))
            assert counts.sum() == pytest.approx(plan.size[0])
            assert np.allclose(q, own / own.sum(), rtol=1e-9)
        if form in (Form.THRESHOLD, Form.PIVOTAL):
            assert plan.law is (Law.POISSON if form is Form.THRESHOLD else Law.PIVOTAL)
            assert np.all(kept >= 1)
            assert own[scale == 0].size
        if form is Form.PARTIAL:
            assert plan.top is not None
            assert len(kept) <= plan.top[0] + plan.size[0]
            assert (
                plan.eps[0] <= min(found[Form.DERANDOMISED].plans[0].eps[0], found[Form.RANDOM].plans[0].eps[0]) + 1e-9
            )


def test_a_dead_neuron_is_the_first_to_go() -> None:
    hidden = Layer(weight=np.array([[1.0], [-1.0], [2.0], [1.0]]), bias=np.zeros(4), relu=True)
    net = Network(layers=(hidden, Layer(weight=np.ones((1, 4)), bias=np.zeros(1), relu=False)))
    for form in Form:
        small: Any = compress(net, PFPBudget(parameters=10, form=form), np.ones((3, 1)), rng=0)  # 3 neurons left
        assert small.net.sizes == (1, 3, 1)
        assert small.plans[0].eps[0] == 0.0  # the second neuron is silent on these points
        assert small.net(np.ones((1, 1))) == net(np.ones((1, 1)))


# -- promises


def worst(net: Any, small: Any, points: np.ndarray) -> float:
    """The largest relative error of the two parts of any sum that reads removed channels, at the original inputs."""
    found = 0.0
    read = seen(net, points)
    for k, layer in enumerate(net.layers):
        factor = np.ones(layer.weight.shape[1])
        for space, scale in zip(net.spaces, small, strict=True):
            for reader, columns in space.readers:
                if reader == k:
                    factor[columns] = scale[:, None]
        for sign, side in itertools.product((1, -1), (1, -1)):
            w, u = np.maximum(sign * layer.weight, 0), np.maximum(side * read[k], 0)
            z, changed = u @ w.T, u @ (w * factor).T
            found = max(found, float(np.divide(np.abs(changed - z), z, out=np.zeros_like(z), where=z > 0).max()))
    return found


def test_dropping_loses_no_more_than_is_promised(chain: Network, two_ways: ModuleNet) -> None:
    for net, x in nets(chain, two_ways):
        for share in (0.2, 0.5, 0.8):
            small: Any = compress(net, PFPBudget(parameters=int(share * net.parameters), K=1.0), x, rng=0)
            # a row that reads several spaces errs by at most the sum of their eps
            assert worst(net, small.scales, x) <= sum(plan.eps[0] for plan in small.plans)


@pytest.mark.parametrize("form", [Form.RANDOM, Form.PARTIAL, Form.THRESHOLD, Form.PIVOTAL])
def test_draws_err_by_more_than_is_promised_with_probability_delta_at_most(form: Form) -> None:
    # delta/2 for the coins of the one space; the test fails by chance with probability at most 1e-9
    net = random_network((5, 400, 2), rng=1, positive=True)
    x = np.abs(np.random.default_rng(0).standard_normal((20, 5)))
    method = PFP(eps=0.5, delta=0.4, K=1.0, form=form)
    small: Any = compress(net, method, x, rng=0)
    (plan,) = small.plans
    assert not plan.exact[0]
    assert small.net.sizes[1] < 400
    rng = np.random.default_rng(4)
    draw, trials = LayerDraw(np.ones((1, 400)), plan), 200
    broken = sum(worst(net, [draw(rng)[0]], x) > plan.eps[0] for _ in range(trials))
    assert binom.sf(broken - 1, trials, 0.2) > 1e-9


@pytest.mark.parametrize("form", [Form.RANDOM, Form.THRESHOLD, Form.PIVOTAL])
def test_every_channel_counts_once_in_the_mean(form: Form, chain: Network) -> None:
    # |mean of n scales - 1| <= 6 standard errors for each of 70 channels: fails by chance with probability about 1e-7
    plans = PFPBudget(parameters=chain.parameters // 2, form=form).plan(chain, inputs(50))
    rng, n = np.random.default_rng(5), 2000
    for plan, space in zip(plans, chain.spaces, strict=True):
        alive = plan.sensitivities.values > 0.02  # a rarer one has too long a tail for n draws
        draw = LayerDraw(np.ones((1, space.size)), plan)
        drawn = np.array([draw(rng)[0] for _ in range(n)])[:, alive]
        assert np.all(np.abs(drawn.mean(axis=0) - 1) <= 6 * drawn.std(axis=0) / math.sqrt(n) + 1e-12)


def test_the_refuted_sensitivities_promise_nothing(two_ways: ModuleNet) -> None:
    x = images(20)
    own = PFPBudget(parameters=300, single_weights=True).plan(two_ways, x)
    assert all(plan.eps[0] in (0.0, math.inf) for plan in own)
    assert {plan.theorem for plan in own} == {""}
    assert {plan.sensitivities.theorem for plan in own} == {"liebenwein2020_channel_sensitivity_in_code"}
    proper = PFPBudget(parameters=300).plan(two_ways, x)
    assert all(np.all(a.sensitivities.values <= b.sensitivities.values) for a, b in zip(own, proper, strict=True))


# -- baselines

BASELINES: tuple[type[FilterBaseline], ...] = (UniformFilters, L1Filters, L2Filters, LargestFilters)


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_baselines_keep_the_largest_share_that_fits(
    method: type[FilterBaseline], share: float, chain: Network, two_ways: ModuleNet
) -> None:
    for net, x in nets(chain, two_ways):
        budget = int(share * net.parameters)
        small: Any = compress(net, method(parameters=budget), x, rng=3)
        sizes = [s.size for s in net.spaces]
        shares = sorted({Fraction(k, n) for n in sizes for k in range(n + 1)})
        fits = [[max(1, math.floor(t * n)) for n in sizes] for t in shares]
        fits = [kept for kept in fits if parameters_left(net, kept) <= budget]
        assert [np.count_nonzero(s) for s in small.scales] == fits[-1] == same_share(net, budget)
        assert small.net.parameters == parameters_left(net, fits[-1])
        assert all(plan.eps[0] == math.inf or plan.exact[0] for plan in small.plans)


@pytest.mark.parametrize("method", BASELINES)
def test_as_many_channels_stay_as_are_asked_for(method: Any, chain: Network) -> None:
    first, second = (space.size for space in chain.spaces)
    small: Any = compress(chain, method(channels=(2, second)), inputs(5), rng=0)
    assert small.net.sizes == (6, 2, second, 4)
    for wrong in ((2,), (0, 1), (first + 1, 1), (True, 1), (1.0, 1)):
        with pytest.raises(InvalidParameter, match=r"channels must be at least 1 and at most \["):
            compress(chain, method(channels=wrong), inputs(5), rng=0)
    for both in ({}, {"channels": (2, 2), "parameters": 300}):
        with pytest.raises(InvalidParameter, match="either parameters or channels must be given"):
            compress(chain, method(**both), inputs(5), rng=0)


def test_scores_are_norms_of_the_filters(two_ways: ModuleNet) -> None:
    module: Any = two_ways.module
    for space, source, columns in zip(
        two_ways.spaces, (module.left, module.right, module.deep), (range(4), range(4, 7), None), strict=True
    ):
        rows = source.weight.flatten(1)
        l1, l2 = torch.linalg.vector_norm(rows, 1, 1), torch.linalg.vector_norm(rows, 2, 1)
        assert np.allclose(L1Filters(parameters=1).scores(two_ways, space), l1)
        assert np.allclose(L2Filters(parameters=1).scores(two_ways, space), l2)
        last = module.last.weight
        if columns is None:
            read = last[:, 112:].reshape(3, 5, 4).norm(dim=(0, 2))
        else:
            flat = last[:, :112].reshape(3, 7, 16)[:, list(columns)]
            read = torch.sqrt(flat.square().sum((0, 2)) + module.deep.weight[:, list(columns)].square().sum((0, 2, 3)))
        assert np.allclose(LargestFilters(parameters=1).scores(two_ways, space), l2 * read)


def test_uniform_filters_are_unweighted_among_themselves(chain: Network) -> None:
    small: Any = compress(chain, UniformFilters(parameters=chain.parameters // 2), inputs(3), rng=0)
    for scale in small.scales:
        kept = scale[scale != 0]
        assert np.allclose(kept, len(scale) / len(kept))
    again = compress(chain, UniformFilters(parameters=chain.parameters // 2), inputs(3), rng=1)
    assert any((a != b).any() for a, b in zip(small.scales, again.scales, strict=True))


# -- the door


@pytest.mark.parametrize("method", [PFPBudget, *BASELINES])
def test_a_budget_below_one_channel_each_is_refused(method: Any, chain: Network) -> None:
    least = parameters_left(chain, [1, 1])
    with pytest.raises(InvalidParameter, match=f"parameters must be at least {least}, .* got {least - 1}"):
        compress(chain, method(parameters=least - 1), inputs(5), rng=0)
    small: Any = compress(chain, method(parameters=least), inputs(5), rng=0)
    assert small.net.sizes == (6, 1, 1, 4)
    with pytest.raises(InvalidParameter, match="parameters must be a whole number"):
        compress(chain, method(parameters=0), inputs(5), rng=0)


@pytest.mark.parametrize("method", [PFP(), *(m(parameters=10) for m in (PFPBudget, *BASELINES))])
def test_a_net_of_one_layer_has_nothing_to_remove(method: ChannelCompressor) -> None:
    with pytest.raises(
        InvalidParameter, match="must have some that can be removed, got none: weight 0: they are outputs"
    ):
        compress(random_network((4, 3), rng=0), method, inputs(5, 4), rng=0)
    with pytest.raises(InvalidParameter, match="got none: : they are outputs of the module"):
        compress(ModuleNet(nn.Linear(4, 3), inputs(1, 4)), method, inputs(5, 4), rng=0)


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        (PFP(eps=0.0), "eps must be finite and positive"),
        (PFP(delta=1.0), r"delta must be in \(0, 1\)"),
        (PFP(K=0.5), "K must be at least 1"),
        (PFPBudget(parameters=400, delta=0.0), r"delta must be in \(0, 1\)"),
    ],
)
def test_arguments_out_of_range_are_refused(method: ChannelCompressor, rule: str, chain: Network) -> None:
    with pytest.raises(InvalidParameter, match=rule):
        compress(chain, method, inputs(5), rng=0)
