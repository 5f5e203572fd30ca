"""Every compressor: what it draws, what it keeps, what it refuses, and what its sensitivities do not depend on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boundlab import (
    Compression,
    Compressor,
    CoreNet,
    CoreNetAdditive,
    CoreNetBudget,
    CoreNetRelative,
    InvalidParameter,
    Layer,
    Network,
    Rule,
    SamplePlan,
    certify,
    compress,
    constants,
    random_network,
    redraw,
    sample_size,
)
from boundlab.compressors.corenet import METHODS
from boundlab.compressors.method import draw_layer
from boundlab.nets.condition import condition_numbers
from boundlab.nets.groups import parts, sign_groups
from boundlab.nets.importance import sensitivities

BUDGET = 900
ALL: tuple[Compressor, ...] = (
    CoreNet(eps=0.5, delta=0.1),
    CoreNetRelative(eps=0.5, delta=0.1, K=1.25),
    CoreNetAdditive(eps=0.5, delta=0.1, K=1.25),
    CoreNetBudget(nnz=BUDGET, delta=0.1, K=1.25),
)
SAMPLING = ALL[1:]
NET = random_network((600, 4, 2), rng=0, positive=True, bias=True)
POINTS = np.random.default_rng(1).uniform(0.5, 1.5, (150, 600))

every = pytest.mark.parametrize("method", ALL, ids=lambda m: m.name)
sampling = pytest.mark.parametrize("method", SAMPLING, ids=lambda m: m.name)


def net_of(*weights: list[list[float]], bias: list[list[float]] | None = None) -> Network:
    layers = []
    for k, weight in enumerate(weights):
        w = np.array(weight, float)
        b = np.zeros(len(w)) if bias is None else np.array(bias[k], float)
        layers.append(Layer(weight=w, bias=b, relu=k < len(weights) - 1))
    return Network(layers=tuple(layers))


def weights_of(net: Network) -> bytes:
    return b"".join(layer.weight.tobytes() for layer in net.layers)


def values(weight: np.ndarray, *points: np.ndarray) -> np.ndarray:
    """Sensitivities of one layer as a dense matrix."""
    layer = Layer(weight=weight, bias=np.zeros(len(weight)), relu=False)
    s = sensitivities(layer, list(points), theorem="")
    dense = np.zeros_like(layer.weight)
    dense[s.groups.spread(s.groups.neuron), s.groups.columns] = s.values
    return dense


def distinct_variance(plan: SamplePlan) -> float:
    """The exact variance of the number of edges that one draw keeps (q and m as planned)."""
    groups, total = plan.groups, 0.0
    q_all = plan.sensitivities.probabilities
    for r, m in enumerate(plan.draws.tolist()):
        q = q_all[groups.indptr[r] : groups.indptr[r + 1]]
        if m:
            miss = (1 - q) ** m
            both = (1 - np.minimum(1.0, q[:, None] + q[None, :])) ** m - miss[:, None] * miss[None, :]
            np.fill_diagonal(both, miss * (1 - miss))
            total += float(both.sum())
    return total


# what is drawn


def test_the_four_methods_are_the_ones_tested() -> None:
    assert tuple(type(m) for m in ALL) == METHODS


@every
def test_same_seed_same_net(method: Compressor) -> None:
    first, second = compress(NET, method, POINTS, rng=7), compress(NET, method, POINTS, rng=7)
    third = compress(NET, method, POINTS, rng=np.random.Generator(np.random.Philox(7)))
    assert weights_of(first.net) == weights_of(second.net) == weights_of(third.net)
    assert (first.seed, third.seed) == (7, None)


@sampling
def test_different_seed_different_net(method: Compressor) -> None:
    first, second = compress(NET, method, POINTS, rng=7), compress(NET, method, POINTS, rng=8)
    assert weights_of(first.net) != weights_of(second.net)
    assert weights_of(first.net) != weights_of(NET)


@every
def test_arguments_are_never_changed(method: Compressor) -> None:
    net, points = random_network((600, 4, 2), rng=0, positive=True, bias=True), POINTS.copy()
    before = weights_of(net), b"".join(w.bias.tobytes() for w in net.layers), points.tobytes(), repr(method)
    small = compress(net, method, points, rng=0)
    redraw(small, np.random.default_rng(0))
    certify(small, points)
    assert before == (weights_of(net), b"".join(w.bias.tobytes() for w in net.layers), points.tobytes(), repr(method))


@every
def test_biases_and_activations_are_kept(method: Compressor) -> None:
    small = compress(NET, method, POINTS, rng=0).net
    assert [w.bias.tolist() for w in small.layers] == [w.bias.tolist() for w in NET.layers]
    assert [w.relu for w in small.layers] == [True, False]
    assert small.sizes == NET.sizes


@every
def test_every_weight_keeps_its_sign_or_goes(method: Compressor) -> None:
    net = random_network((300, 5, 2), rng=2)
    small = compress(net, method, np.random.default_rng(3).uniform(-1, 1, (50, 300)), rng=0).net
    for old, new in zip(net.layers, small.layers, strict=True):
        assert np.all((new.weight == 0) | (np.sign(new.weight) == np.sign(old.weight)))


@every
def test_nnz_counts_the_non_zeros_of_the_net(method: Compressor) -> None:
    small = compress(NET, method, POINTS, rng=3)
    assert small.nnz == small.net.nnz == sum(row["nnz"] for row in small.rows())
    assert small.ratio == small.nnz / NET.nnz
    for coreset, layer in zip(small.coresets, small.net.layers, strict=True):
        assert np.array_equal(layer.weight[coreset.neuron, coreset.column], coreset.weights)
    for plan, layer in zip(small.plans, small.net.layers, strict=True):
        kept = plan.groups.sums(plan.groups.take(layer.weight) != 0)
        limit = np.where(plan.exact, plan.groups.edges, np.minimum(plan.draws, plan.groups.edges))
        assert np.all(kept <= limit)


@every
def test_expected_nnz_is_the_mean_over_redraws(method: Compressor) -> None:
    small, rng, redraws = compress(NET, method, POINTS, rng=3), np.random.default_rng(4), 300
    mean = np.mean([redraw(small, rng).nnz for _ in range(redraws)])
    sd = math.sqrt(sum(distinct_variance(p) for p in small.plans) / redraws)
    assert abs(mean - small.expected_nnz) <= 6 * sd + 1e-9  # 6 sigma: wrong once in 10^9


@sampling
def test_redraws_are_unbiased(method: Compressor) -> None:
    small, rng, redraws = compress(NET, method, POINTS, rng=3), np.random.default_rng(5), 300
    plan, edges = small.plans[0], small.plans[0].groups.take(NET.layers[0].weight)
    total = sum(plan.groups.take(redraw(small, rng).layers[0].weight) for _ in range(redraws))
    m, q = plan.groups.spread(plan.draws), plan.sensitivities.probabilities
    sd = np.abs(edges) * np.sqrt((1 - q) / (m * q) / redraws)
    assert np.abs(total / redraws - edges).max() <= 6.5 * sd.max()
    assert abs(float(((total / redraws - edges) / sd).mean())) <= 6 / math.sqrt(len(edges))


# budgets


@pytest.mark.parametrize("target", [50, 300, 900, 1500, 2400])
def test_budget_is_met_in_the_mean_and_missed_tells_the_rest(target: int) -> None:
    small = compress(NET, CoreNetBudget(nnz=target), POINTS, rng=0)
    assert small.missed == small.nnz - target
    # the mean moves in steps: about one weight per group, or the rest of a group whose draws reach its edges
    rest = max(float((p.groups.edges - p.expected_distinct).max()) for p in small.plans)
    assert target - 1.5 * sum(len(p.groups) for p in small.plans) - rest <= small.expected_nnz <= target
    sd = math.sqrt(sum(distinct_variance(p) for p in small.plans))
    assert abs(small.nnz - small.expected_nnz) <= 6 * sd


@pytest.mark.parametrize("extra", [0, 1, 10**9])
def test_a_budget_of_all_weights_keeps_all(extra: int) -> None:
    small = compress(NET, CoreNetBudget(nnz=NET.nnz + extra), POINTS, rng=0)
    assert weights_of(small.net) == weights_of(NET)
    assert small.missed == -extra
    assert certify(small, POINTS).vacuous


def test_a_budget_between_63_percent_and_all_of_one_group_is_missed_and_says_so() -> None:
    # with as many draws as edges about 1 - 1/e of them are met, and from there on the group is kept exactly
    net = random_network((600, 1), rng=0, positive=True)
    small = compress(net, CoreNetBudget(nnz=540), POINTS, rng=0)
    assert 0.58 < small.ratio < 0.64
    assert small.missed == small.nnz - 540 < -150


def test_a_budget_below_one_draw_per_group_is_reported_as_missed() -> None:
    small = compress(NET, CoreNetBudget(nnz=1), POINTS, rng=0)
    groups = sum(len(p.groups) for p in small.plans)
    assert small.nnz == groups == 6
    assert small.missed == 5


@pytest.mark.parametrize("method", ALL[:3], ids=lambda m: m.name)
def test_a_method_without_budget_misses_none(method: Compressor) -> None:
    assert compress(NET, method, POINTS, rng=0).missed == 0


# sensitivities


@st.composite
def layers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    out, width, points = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 5))
    weight = rng.normal(size=(out, width)) * (rng.random((out, width)) < 0.8)
    return weight, rng.exponential(size=(points, width)) * (rng.random((points, width)) < 0.7), rng


def brute_force(weight: np.ndarray, points: np.ndarray) -> np.ndarray:
    """s_j by its definition, one edge and one point at a time."""
    found = np.zeros_like(weight)
    for i, j in np.argwhere(weight != 0):
        same = np.sign(weight[i]) == np.sign(weight[i, j])
        for a in points:
            z = math.fsum(np.abs(weight[i][same]) * a[same])
            found[i, j] = max(found[i, j], abs(weight[i, j]) * a[j] / z if z > 0 else 0.0)
    return found


@given(layers())
@settings(max_examples=60, deadline=None)
def test_sensitivities_are_their_definition(case: tuple[np.ndarray, np.ndarray, Any]) -> None:
    weight, points, _ = case
    np.testing.assert_allclose(values(weight, points), brute_force(weight, points), rtol=1e-12)


@given(layers())
@settings(max_examples=60, deadline=None)
def test_sensitivities_do_not_change_with_scale_or_order(case: tuple[np.ndarray, np.ndarray, Any]) -> None:
    weight, points, rng = case
    s = values(weight, points)
    rows = np.exp(rng.normal(0, 5, (len(weight), 1)))
    each = np.exp(rng.normal(0, 5, (len(points), 1)))
    t = np.exp(rng.normal(0, 5, weight.shape[1]))
    np.testing.assert_allclose(values(weight * rows, points), s, rtol=1e-11)
    np.testing.assert_allclose(values(weight, points * each), s, rtol=1e-11)
    np.testing.assert_allclose(values(weight / t, points * t), s, rtol=1e-11)
    np.testing.assert_allclose(values(-weight, points), s, rtol=1e-11)
    order, neurons = rng.permutation(weight.shape[1]), rng.permutation(len(weight))
    np.testing.assert_allclose(values(weight[:, order], points[:, order]), s[:, order], rtol=1e-11)
    np.testing.assert_allclose(values(weight[neurons], points), s[neurons], rtol=1e-11)
    assert np.array_equal(values(weight, points[rng.permutation(len(points))]), s)


@given(layers())
@settings(max_examples=60, deadline=None)
def test_total_sensitivity_is_within_its_bounds(case: tuple[np.ndarray, np.ndarray, Any]) -> None:
    weight, points, _ = case
    s = sensitivities(Layer(weight=weight, bias=np.zeros(len(weight)), relu=False), [points], theorem="")
    live = s.total > 0
    assert np.all(s.total[live] >= 1 - 1e-12)
    assert np.all(s.total <= np.minimum(s.groups.edges, len(points)) + 1e-12)


def test_the_smallest_instance_by_hand() -> None:
    # w = (1, 2, 3) on (1, 1, 0) and (0, 1, 1): shares 1/3 2/3 0 and 0 2/5 3/5
    s = values(np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]))
    np.testing.assert_allclose(s, [[1 / 3, 2 / 3, 3 / 5]], rtol=1e-15)


def test_duplicates_and_all_zero_points_change_nothing() -> None:
    layer, a = NET.layers[0].weight, POINTS[:20]
    s = values(layer, a).tobytes()
    assert values(layer, np.concatenate([a, a])).tobytes() == s
    assert values(layer, np.concatenate([a, np.zeros_like(a)])).tobytes() == s


# edge cases


@every
def test_a_group_that_no_point_activates_goes_and_is_counted_as_bad(method: Compressor) -> None:
    net = net_of([[1.0, 2.0], [1.0, -1.0]], [[1.0, 1.0]], bias=[[0.5, 0.25], [1.0]])
    small = compress(net, method, np.zeros((5, 2)), rng=0)
    assert small.net.layers[0].weight.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert np.array_equal(small.net(np.zeros((1, 2))), net(np.zeros((1, 2))))
    assert certify(small, np.zeros((50, 2))).delta <= 0.05 + 0.2
    if not isinstance(method, CoreNet):
        promise = certify(small, np.ones((50, 2)))
        assert promise.budget["bad points"] == 1.0
        assert not promise.met
        assert promise.vacuous


@sampling
def test_a_dead_input_is_dropped_from_sampled_groups_and_counted_as_bad_when_it_acts(method: Compressor) -> None:
    points = POINTS.copy()
    points[:, :10] = 0.0
    small = compress(NET, method, points, rng=0)
    assert bool((small.plans[0].draws > 0).all())
    assert not small.net.layers[0].weight[:, :10].any()
    assert certify(small, points).budget["bad points"] < 0.05
    assert certify(small, POINTS).budget["bad points"] == 1.0


@every
def test_empty_sign_groups_and_empty_rows_are_left_out(method: Compressor) -> None:
    net = net_of([[1.0, 2.0, 0.0], [-1.0, 0.0, -2.0], [0.0, 0.0, 0.0]], [[1.0, -1.0, 3.0]], bias=[[0, 5, 2], [1]])
    small = compress(net, method, np.array([[1.0, 1.0, 1.0], [0.5, 2.0, 1.0]]), rng=0)
    groups = small.plans[0].groups
    assert list(zip(groups.neuron.tolist(), groups.sign.tolist(), strict=True)) == [(0, 1), (1, -1)]
    assert groups.edges.tolist() == [2, 2]
    assert not small.net.layers[0].weight[net.layers[0].weight == 0].any()


def test_a_zero_weight_is_in_no_group() -> None:
    groups = sign_groups(np.array([[0.0, 1.0, -0.0, -2.0]]))
    assert groups.columns.tolist() == [1, 3]
    assert groups.sign.tolist() == [1, -1]


@every
def test_a_dead_relu_is_handled(method: Compressor) -> None:
    net = net_of([[-1.0, -1.0], [1.0, 1.0]], [[2.0, 1.0], [1.0, 3.0]])
    x = np.random.default_rng(0).uniform(0.5, 1.5, (60, 2))
    small = compress(net, method, x, rng=0)
    assert np.isfinite(small.net(x)).all()
    assert np.isfinite(small.expected_nnz)
    promise = certify(small, x)
    assert 0.0 <= promise.delta <= 1.0


@every
def test_a_vanishing_preactivation_keeps_relative_methods_exact(method: Compressor) -> None:
    net = net_of([[1.0, -1.0], [1.0, 1.0]], [[1.0, 1.0]])
    x = np.ones((8, 2))
    assert condition_numbers(net.layers[0], x)[0].tolist() == [math.inf, 1.0]
    small = compress(net, method, x, rng=0)
    assert np.isfinite(small.net(x)).all()
    if isinstance(method, (CoreNet, CoreNetRelative)):
        assert weights_of(small.net) == weights_of(net)
        assert certify(small, x).vacuous


def test_condition_numbers_of_nothing_are_one_and_biases_make_them_small() -> None:
    layer = Layer(weight=np.array([[1.0, 1.0]]), bias=np.zeros(1), relu=False)
    assert condition_numbers(layer, np.zeros((1, 2))).tolist() == [[1.0]]
    assert condition_numbers(replace(layer, bias=np.array([6.0])), np.ones((1, 2))).tolist() == [[0.25]]
    plan = CoreNetRelative().plan(net_of([[1.0, 1.0]], [[1.0]], bias=[[6.0], [9.0]]), np.ones((4, 2)))
    assert [p.condition for p in plan] == [1.0, 1.0]


def test_signed_inputs_are_covered_by_their_two_parts() -> None:
    weight, x = NET.layers[0].weight, np.random.default_rng(2).uniform(-1, 1, (40, 600))
    both = np.maximum(values(weight, np.maximum(x, 0)), values(weight, np.maximum(-x, 0)))
    plan = CoreNetAdditive(eps=0.5, delta=0.1, K=1.25).plan(NET, x)[0]
    dense = np.zeros_like(weight)
    dense[plan.groups.spread(plan.groups.neuron), plan.groups.columns] = plan.sensitivities.values
    np.testing.assert_allclose(dense, both, rtol=1e-12)
    row_delta = 0.1 / 2 / 6
    need = sample_size(plan.sensitivities.total, 0.5, row_delta, K=1.25, upper=2, lower=2)
    assert np.array_equal(plan.size, need)
    assert len(parts(x)) == 2
    assert len(parts(np.abs(x))) == 1


@every
@pytest.mark.parametrize("sizes", [(1, 1), (600, 1), (3, 1, 1), (1, 1, 1)])
def test_single_layers_and_single_neurons_work(method: Compressor, sizes: tuple[int, ...]) -> None:
    net = random_network(sizes, rng=0, positive=True, bias=True)
    x = np.random.default_rng(0).uniform(0.5, 1.5, (100, sizes[0]))
    small = compress(net, method, x, rng=0)
    assert small.net.sizes == sizes
    assert 0 < small.nnz <= net.nnz
    assert certify(small, x).delta <= 1.0


@pytest.mark.parametrize(
    "method", [CoreNet(eps=1.0), CoreNetRelative(eps=1e-3), CoreNetAdditive(eps=1e-3)], ids=lambda m: m.name
)
def test_a_group_whose_draws_reach_its_edges_is_kept_exactly(method: Compressor) -> None:
    small = compress(NET, method, POINTS, rng=0)
    assert weights_of(small.net) == weights_of(NET)
    for plan in small.plans:
        assert np.all(plan.size >= plan.groups.edges)
        assert plan.exact.all()
        assert not plan.eps.any()
        assert not plan.draws.any()
    assert small.expected_nnz == small.nnz == NET.nnz
    assert small.ratio == 1.0


@pytest.mark.parametrize("eps", [1e-12, 1e-20, 1e-60])
@pytest.mark.parametrize("make", [CoreNet, CoreNetRelative, CoreNetAdditive])
def test_huge_sizes_do_not_overflow(make: Callable[..., Compressor], eps: float) -> None:
    net = random_network((20, 10, 10, 10, 2), rng=4)
    small = compress(net, make(eps=eps), np.random.default_rng(0).uniform(0, 1, (50, 20)), rng=0)
    sizes = np.concatenate([p.size for p in small.plans])
    assert np.all(sizes[sizes > 0] > 1e15)
    assert weights_of(small.net) == weights_of(net) or not np.all(sizes)


def test_draws_are_capped_before_they_become_integers() -> None:
    plan = compress(NET, ALL[3], POINTS, rng=0).plans[0]
    huge = replace(plan, size=np.full(len(plan.size), np.inf))
    assert huge.draws.tolist() == [2**62] * len(plan.size)
    assert np.isfinite(huge.expected_distinct).all()


def test_the_law_of_a_layer_drawn_alone_is_that_of_its_plan() -> None:
    plan = compress(NET, ALL[2], POINTS, rng=0).plans[0]
    weight = draw_layer(NET.layers[0].weight, plan, np.random.default_rng(0))
    counts = plan.groups.take(weight / NET.layers[0].weight) * plan.groups.spread(plan.draws)
    counts *= plan.sensitivities.probabilities
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)
    np.testing.assert_allclose(plan.groups.sums(counts), plan.draws, rtol=1e-12)


# what is refused

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "width": (lambda: compress(NET, ALL[1], POINTS[:, :5], rng=0), "must have 600 features"),
    "empty": (lambda: compress(NET, ALL[1], POINTS[:0], rng=0), "at least one point"),
    "one point": (lambda: compress(NET, ALL[1], POINTS[0], rng=0), "must have shape"),
    "NaN": (lambda: compress(NET, ALL[1], POINTS * np.nan, rng=0), "must be finite"),
    "infinite": (lambda: compress(NET, ALL[1], POINTS / 0.0, rng=0), "must be finite"),
    "text": (lambda: compress(NET, ALL[1], np.array([["a"]]), rng=0), "must be an array of numbers"),
    "certify width": (lambda: certify(compress(NET, ALL[1], POINTS, rng=0), POINTS[:, :5]), "must have 600 features"),
    "certify empty": (lambda: certify(compress(NET, ALL[1], POINTS, rng=0), POINTS[:0]), "at least one point"),
    "seed": (lambda: compress(NET, ALL[1], POINTS, rng=-1), "rng must be a seed >= 0"),
    "nnz": (lambda: compress(NET, CoreNetBudget(nnz=0), POINTS, rng=0), "nnz must be a whole number"),
    "nnz float": (lambda: compress(NET, replace(CoreNetBudget(nnz=1), nnz=1.5), POINTS, rng=0), "nnz must be"),
    "constants": (lambda: constants((784, 300, 10), 1.5), r"delta must be in \(0, 1\)"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(call: Callable[[], Any], message: str) -> None:
    with np.errstate(divide="ignore"), pytest.raises(InvalidParameter, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("eps", [0.0, -1.0, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("make", [CoreNet, CoreNetRelative])
def test_a_relative_eps_is_in_0_1(make: Callable[..., Compressor], eps: float) -> None:
    with pytest.raises(InvalidParameter, match=r"eps must be in \(0, 1\]"):
        compress(NET, make(eps=eps), POINTS, rng=0)


@pytest.mark.parametrize("eps", [0.0, -1.0, math.nan, math.inf])
def test_an_additive_eps_is_positive_and_may_exceed_one(eps: float) -> None:
    with pytest.raises(InvalidParameter, match="eps must be finite and positive"):
        compress(NET, CoreNetAdditive(eps=eps), POINTS, rng=0)
    assert compress(NET, CoreNetAdditive(eps=1.5), POINTS, rng=0).nnz < NET.nnz


@every
@pytest.mark.parametrize("delta", [0.0, 1.0, -0.5, 2.0, math.nan])
def test_delta_is_in_0_1(method: Any, delta: float) -> None:
    with pytest.raises(InvalidParameter, match=r"delta must be in \(0, 1\)"):
        compress(NET, replace(method, delta=delta), POINTS, rng=0)


@sampling
@pytest.mark.parametrize("K", [0.5, 0.0, -1.0, math.nan])
def test_k_is_at_least_one(method: Any, K: float) -> None:
    with pytest.raises(InvalidParameter, match="K must be at least 1 and at most"):
        compress(NET, replace(method, K=K), POINTS, rng=0)


@pytest.mark.parametrize("method", ALL[1:3], ids=lambda m: m.name)
def test_a_rule_that_does_not_certify_is_refused(method: Any) -> None:
    with pytest.raises(InvalidParameter, match="must certify"):
        compress(NET, replace(method, rule=Rule.BINOMIAL), POINTS, rng=0)


@pytest.mark.parametrize("method", ALL[1:3], ids=lambda m: m.name)
def test_certifying_rules_are_ordered_by_their_sizes(method: Any) -> None:
    kl, bernstein, published = (
        np.concatenate([p.size for p in replace(method, rule=rule).plan(NET, POINTS)])
        for rule in (Rule.KL, Rule.BERNSTEIN, Rule.PUBLISHED)
    )
    assert np.all(kl <= bernstein)
    assert np.all(bernstein <= published)


def test_a_compression_tells_what_it_is() -> None:
    small: Compression = compress(NET, ALL[3], POINTS, rng=0)
    assert [row["layer"] for row in small.rows()] == [2, 3]
    assert small.original is NET
    assert small.compressor == ALL[3]
    assert {p.theorem for p in small.plans} == {"boundlab_theorem_b"}
