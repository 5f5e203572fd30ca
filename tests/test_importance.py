"""The compiled kernels against the plain formula, on awkward shapes too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boundlab.coresets.alias import draw_counts
from boundlab.nets.condition import condition_numbers, hill_index
from boundlab.nets.groups import parts, side_sums, sign_groups
from boundlab.nets.importance import exceeds, sensitivities
from boundlab.nets.propagate import Schedule, envelope, layer_errors, relative_error
from boundlab.network import Layer, Network

SHAPES = [(1, 1, 1), (1, 5, 1), (7, 3, 4), (65, 33, 17), (130, 1, 40), (3, 200, 9)]


def layer(out: int, width: int, rng: np.random.Generator, *, zeros: float = 0.2) -> Layer:
    weight = rng.normal(size=(out, width)) * (rng.random((out, width)) > zeros)
    return Layer(weight=weight, bias=rng.normal(size=out), relu=True)


def plain(weight: np.ndarray, a: np.ndarray) -> np.ndarray:
    """The dense definition: max_x of each side's share, 0/0 := 0."""
    shares = np.zeros((len(a), *weight.shape))
    for side in (np.maximum(weight, 0), np.maximum(-weight, 0)):
        terms = side[None] * a[:, None, :]
        z = terms.sum(axis=2, keepdims=True)
        shares += np.divide(terms, z, out=np.zeros_like(terms), where=z > 0)
    return shares.max(axis=0)


@pytest.mark.parametrize(("points", "width", "out"), SHAPES)
def test_sensitivities_equal_the_definition(points: int, width: int, out: int) -> None:
    rng = np.random.default_rng(points)
    net, a = layer(out, width, rng), np.maximum(rng.normal(size=(points, width)), 0)
    s = sensitivities(net, [a], theorem="")
    np.testing.assert_allclose(s.values, s.groups.take(plain(net.weight, a)), rtol=1e-13, atol=0)


def test_sensitivities_take_any_memory_layout() -> None:
    rng = np.random.default_rng(0)
    net, wide = layer(6, 10, rng), np.maximum(rng.normal(size=(40, 20)), 0)
    strided, fortran = wide[::2, ::2], np.asfortranarray(wide[::2, ::2])
    one, two = (sensitivities(net, [a], theorem="").values for a in (strided, fortran))
    np.testing.assert_array_equal(one, two)


def test_two_vectors_give_the_larger_share() -> None:
    rng = np.random.default_rng(1)
    net, a, b = layer(5, 8, rng), rng.random((9, 8)), rng.random((4, 8))
    both = sensitivities(net, [a, b], theorem="").values
    each = [sensitivities(net, [v], theorem="").values for v in (a, b)]
    np.testing.assert_array_equal(both, np.maximum(*each))


@pytest.mark.parametrize(("points", "width", "out"), SHAPES)
def test_a_point_exceeds_exactly_where_some_share_does(points: int, width: int, out: int) -> None:
    rng = np.random.default_rng(points + 1)
    net, a = layer(out, width, rng), np.maximum(rng.normal(size=(points, width)), 0)
    s = sensitivities(net, [a[: max(1, points // 2)]], theorem="")
    limit = np.full(net.weight.shape, np.inf)
    limit[s.groups.spread(s.groups.neuron), s.groups.columns] = s.values
    broken = np.array([(plain(net.weight, a[k : k + 1]) > 1.5 * limit * (1 + 1e-9)).any() for k in range(points)])
    got = exceeds(net, a, s, 1.5, np.zeros(len(s.groups), bool))
    np.testing.assert_array_equal(got, broken)
    assert not exceeds(net, a, s, 1.0, np.ones(len(s.groups), bool)).any(), "exact groups need no premise"


def test_groups_hold_every_weight_once_and_no_zero() -> None:
    weight = np.array([[1.0, -2.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    groups = sign_groups(weight)
    assert groups.neuron.tolist() == [0, 0, 2]
    assert groups.sign.tolist() == [1, -1, 1]
    assert groups.columns.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(groups.sums(np.abs(groups.take(weight))), [1, 2, 7])


def test_a_matrix_of_zeros_has_no_group() -> None:
    groups = sign_groups(np.zeros((2, 3)))
    assert len(groups) == 0
    assert groups.sums(np.zeros(0)).shape == (0,)


def test_signed_activations_have_two_parts() -> None:
    a = np.array([[1.0, -2.0]])
    assert [p.tolist() for p in parts(a)] == [[[1.0, 0.0]], [[0.0, 2.0]]]
    assert len(parts(np.abs(a))) == 1


@pytest.mark.parametrize("draws", [0, 1, 1000, 100_000])
def test_counts_add_up_and_never_hit_a_zero(draws: int) -> None:
    q = np.array([0.5, 0.0, 0.5, 1.0, 0.25, 0.75])
    indptr, size = np.array([0, 3, 4, 6]), np.array([draws, draws, draws])
    counts = draw_counts(q, indptr, size, np.random.default_rng(3))
    assert np.add.reduceat(counts, indptr[:-1]).tolist() == [draws] * 3
    assert counts[1] == 0


def test_the_same_seed_draws_the_same_counts_on_any_number_of_threads() -> None:
    import numba

    rng = np.random.default_rng(0)
    q = rng.random(600)
    indptr = np.arange(0, 601, 30)
    q /= np.repeat(np.add.reduceat(q, indptr[:-1]), 30)
    size, threads = np.full(20, 500), numba.get_num_threads()
    two = draw_counts(q, indptr, size, np.random.default_rng(7))
    try:
        numba.set_num_threads(1)
        one = draw_counts(q, indptr, size, np.random.default_rng(7))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(one, two)


def test_condition_numbers_follow_their_conventions() -> None:
    net = Layer(weight=np.array([[1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]), bias=np.zeros(3), relu=True)
    got = condition_numbers(net, np.array([[2.0, 1.0], [1.0, 1.0]]))
    np.testing.assert_array_equal(got, [[3.0, 1.0, 1.0], [np.inf, 1.0, 1.0]])


def test_hill_index_finds_the_exponent_of_a_pareto_tail() -> None:
    rng = np.random.default_rng(0)
    for alpha in (0.5, 1.0, 3.0):
        sample = rng.pareto(alpha, 200_000) + 1
        assert hill_index(sample) == pytest.approx(alpha, rel=0.1)
    assert np.isnan(hill_index(np.ones(5)))


@pytest.mark.parametrize("schedule", list(Schedule))
def test_every_schedule_keeps_its_promise_in_the_exact_recursion(schedule: Schedule) -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        depth = int(rng.integers(1, 8))
        condition, cost = np.exp(rng.uniform(0, 8, depth)), np.exp(rng.uniform(0, 5, depth))
        eps = float(rng.uniform(0.01, 1.0))
        errors = layer_errors(eps, condition, cost, schedule)
        assert relative_error(errors, condition)[-1] <= eps * (1 + 1e-10)


def test_the_envelope_of_an_exact_net_is_zero_and_grows_with_eps() -> None:
    rng = np.random.default_rng(5)
    net = Network(layers=(layer(6, 8, rng), layer(4, 6, rng)))
    x = rng.normal(size=(20, 8))
    groups = [sign_groups(la.weight) for la in net.layers]
    e = [envelope(net, x, groups, [np.full(len(g), eps) for g in groups])[1] for eps in (0.0, 0.1, 0.5)]
    assert not e[0].any()
    assert (e[1] <= e[2]).all()
    assert (e[2] > 0).any()


def test_one_point_has_the_side_sums_that_many_have() -> None:
    rng = np.random.default_rng(3)
    layer = Layer(weight=rng.normal(size=(7, 130)) * (rng.random((7, 130)) < 0.8), bias=np.zeros(7), relu=True)
    a = rng.random((260, 5)).T[:, ::2]  # no row is contiguous
    many = side_sums(layer.weight, a)
    for k in range(5):
        for one, all_of_them in zip(side_sums(layer.weight, a[k : k + 1]), many, strict=True):
            np.testing.assert_allclose(one, all_of_them[k : k + 1], rtol=1e-13)
    exact = [math.fsum(w * x for w, x in zip(row, a[0], strict=True) if w > 0) for row in layer.weight]
    np.testing.assert_allclose(side_sums(layer.weight, a[:1])[0][0], exact, rtol=1e-13)
