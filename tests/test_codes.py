"""The log-grid code: rounding, lengths by hand, layers that come back, what it refuses."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import gammaln

from boundlab._errors import InvalidParameter
from boundlab.codes.log_grid import STEPS, LogGrid, LogGridLayer
from boundlab.codes.message import Message
from boundlab.network import Layer, Network

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def one_layer(weight: np.ndarray, bias: np.ndarray | None = None) -> Network:
    return Network(layers=(Layer(weight=weight, bias=np.zeros(len(weight)) if bias is None else bias, relu=False),))


def coded(weight: np.ndarray, bias: np.ndarray | None = None, *, steps: int = 1) -> Message:
    """The writer of a layer's message."""
    layer = LogGridLayer(steps=steps, weight=weight, bias=np.zeros(len(weight)) if bias is None else bias)
    message, (out, d) = Message(), weight.shape
    LogGridLayer.describe(message, out, d, layer)
    return message


def sparse_net(keep: float, seed: int = 0, sizes: tuple[int, ...] = (784, 300, 100, 10)) -> Network:
    rng = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(sizes))
    layers = [
        Layer(
            weight=rng.normal(size=(o, i)) * (rng.random((o, i)) < keep),
            bias=0.1 * rng.normal(size=o),
            relu=k < len(shapes) - 1,
        )
        for k, (i, o) in enumerate(shapes)
    ]
    return Network(layers=tuple(layers))


@pytest.mark.parametrize("steps", STEPS)
@settings(max_examples=40, deadline=None)
@given(w=arrays(np.float64, (3, 4), elements=FLOATS))
def test_rounding_is_near_keeps_signs_and_zeros_and_changes_nothing_twice(steps: int, w: np.ndarray) -> None:
    grid = LogGrid(steps)
    net = grid.round(one_layer(w))
    r = net.layers[0].weight
    assert np.isfinite(r).all()
    assert np.array_equal(grid.round(net).layers[0].weight, r)
    assert not np.signbit(r[r == 0]).any()
    used = np.abs(w) >= 2.0**-1022
    assert np.array_equal(r == 0, ~used)
    assert np.array_equal(np.sign(r[used]), np.sign(w[used]))
    inside = used & (np.abs(w) < 2.0**1023)
    ratio = r[inside] / w[inside]
    assert (np.abs(np.log2(ratio)) <= 0.5 / steps + 1e-9).all()
    reader = Message(coded(r, steps=steps).finish())
    found = LogGridLayer.describe(reader, 3, 4, None)
    assert found.weight.tobytes() == r.tobytes()
    assert found.steps == steps


def test_powers_of_two_are_on_every_grid_and_stay() -> None:
    w = np.array([[0.0, 1.0, -2.0, 2.0**-1022, 2.0**1023, -0.0]])
    for steps in STEPS:
        assert np.array_equal(LogGrid(steps).round(one_layer(w)).layers[0].weight, w)


def test_architecture_and_activations_are_kept() -> None:
    net = sparse_net(0.05)
    rounded = LogGrid(4).round(net)
    assert rounded.sizes == net.sizes
    assert [w.relu for w in rounded.layers] == [w.relu for w in net.layers]


def test_a_ternary_layer_by_hand() -> None:
    # 2 x 3 weights, 4 of them 1 or -1, no bias: log2 5 for the grid, 3 bits for the variant, log2 7 for q of 6,
    # log2 C(6, 4) = log2 15, log2 3 for no bias of 2, gamma(zigzag(0) = 1) = 1 bit, gamma(one level) = 1 bit, 4 signs.
    message = coded(np.array([[1.0, -1.0, 0.0], [1.0, 0.0, 1.0]]))
    assert message.paid["header"] == pytest.approx(math.log2(5) + 3 + math.log2(7) + math.log2(3) + 2, abs=1e-9)
    assert message.paid["support"] == pytest.approx(math.log2(15), abs=1e-9)
    assert message.paid["values"] == pytest.approx(4.0, abs=1e-9)
    assert message.bits == pytest.approx(math.fsum(message.paid.values()), abs=1e-9)
    assert message.bits <= 8 * len(message.finish()) < message.bits + 9


def test_two_levels_by_hand() -> None:
    # exponents 1 and 2: gamma(zigzag(1) = 2) = 3 bits, gamma(2 levels) = 3 bits; 1 bit for each sign and each level
    message = coded(np.array([[2.0, 4.0]]))
    assert message.paid["values"] == pytest.approx(2 + 2, abs=1e-9)
    assert message.paid["header"] == pytest.approx(math.log2(5) + 3 + math.log2(3) + math.log2(2) + 6, abs=1e-9)


def test_an_empty_layer_pays_its_counts_only() -> None:
    message = coded(np.zeros((3, 4)), steps=2)
    assert message.paid.get("values", 0.0) == 0.0
    assert message.paid["support"] == pytest.approx(0.0, abs=1e-9)
    assert message.bits == pytest.approx(math.log2(5) + 3 + math.log2(13) + math.log2(4), abs=1e-9)


def test_skewed_levels_are_coded_adaptively_and_dead_columns_cheaply() -> None:
    rng = np.random.default_rng(0)
    w = np.zeros((50, 400))
    alive = rng.choice(400, size=30, replace=False)
    w[:, alive] = 2.0 ** rng.choice([0, 1, 7], p=[0.9, 0.09, 0.01], size=(50, 30)) * (rng.random((50, 30)) < 0.5)
    message = coded(w)
    q = np.count_nonzero(w)
    sets = math.log2(math.comb(400, 30)) + math.log2(math.comb(1_500, q))
    assert message.paid["support"] == pytest.approx(sets, abs=1e-6)
    seen = np.bincount(np.log2(w[w > 0]).astype(int), minlength=8)
    mixture = math.lgamma(4) - math.lgamma(q + 4) + sum(math.lgamma(c + 0.5) - math.lgamma(0.5) for c in seen)
    assert message.paid["values"] == pytest.approx(q - mixture / math.log(2), abs=1e-6)


def test_more_steps_cost_more_bits_and_fewer_weights_fewer() -> None:
    def bits(net: Network, steps: int) -> float:
        return sum(coded(v.weight, v.bias, steps=steps).bits for v in LogGrid(steps).round(net).layers)

    sizes = (100, 60, 10)
    by_steps = [bits(sparse_net(0.1, sizes=sizes), s) for s in STEPS]
    assert by_steps == sorted(by_steps)
    by_share = [bits(sparse_net(keep, sizes=sizes), 4) for keep in (0.0, 0.01, 0.1, 1.0)]
    assert by_share == sorted(by_share)


@settings(max_examples=60, deadline=None)
@given(out=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_the_support_is_paid_by_the_best_of_its_variants(out: int, columns: int, seed: int, share: float) -> None:
    used = np.random.default_rng(seed).random((out, columns)) < share
    message = coded(used.astype(np.float64))
    fixed = math.log2(5) + 3 + math.log2(out + 1) + (2 + used.sum() if used.any() else 0)

    def subset(n: int, k: int) -> float:
        return math.log2(n + 1) + math.log2(math.comb(n, k))

    rows, cols, q = int(used.any(axis=1).sum()), int(used.any(axis=0).sum()), int(used.sum())
    exact = (
        subset(out * columns, q),
        subset(out, rows) + subset(columns, cols) + subset(rows * cols, q),
        sum(subset(columns, int(k)) for k in used.sum(axis=1)),
        sum(subset(out, int(k)) for k in used.sum(axis=0)),
    )
    assert message.bits - fixed == pytest.approx(min(exact), abs=1e-6)


def test_the_log_gamma_function_is_as_accurate_as_the_rounding_allows() -> None:
    # 64 roundoffs are allowed for; the whole and half-whole arguments that closed-form prices use
    points = [*np.arange(0.5, 200, 0.5), *(10.0**k + s for k in range(3, 9) for s in (0.0, 0.5, 1.0))]
    with mpmath.workdps(40):
        for x in points:
            truth = mpmath.loggamma(x)
            assert abs(float(gammaln(x)) - truth) <= 16 * 2.0**-52 * abs(truth)


@pytest.mark.parametrize("steps", [0, 3, 32, -1, True, 2.5])
def test_unknown_grids_are_refused(steps) -> None:
    with pytest.raises(InvalidParameter, match=r"steps must be one of \(1, 2, 4, 8, 16\), got steps="):
        LogGrid(steps)
    with pytest.raises(InvalidParameter, match="steps must be one of"):
        coded(np.eye(2), steps=steps)


@pytest.mark.parametrize("value", [1.1, math.nextafter(1.0, 2.0), 3.0, 1e-320, math.inf, -math.inf, math.nan])
def test_a_weight_or_bias_off_the_grid_is_refused(value: float) -> None:
    with pytest.raises(InvalidParameter, match=r"power of 2\^\(1/2\), got 1 of 2 others: round the net"):
        coded(np.array([[1.0, value]]), steps=2)
    with pytest.raises(InvalidParameter, match="got 1 of 1 others"):
        coded(np.zeros((1, 2)), np.array([value]), steps=2)


def test_a_layer_of_another_shape_or_code_is_refused() -> None:
    layer = LogGridLayer(steps=1, weight=np.eye(2), bias=np.zeros(2))
    for out, d in ((2, 3), (3, 2), (1, 4)):
        with pytest.raises(InvalidParameter, match="must be"):
            LogGridLayer.describe(Message(), out, d, layer)
    from boundlab.codes.pyramid import PyramidLayer

    with pytest.raises(InvalidParameter, match="a layer to write must be a PyramidLayer, got LogGridLayer"):
        PyramidLayer.describe(Message(), 2, 2, layer)
