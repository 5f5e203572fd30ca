"""The log-grid code: rounding, exact lengths, what it refuses."""

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
from boundlab.codes.log_grid import STEPS, CodeLength, LogGridCode
from boundlab.network import Layer, Network

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def one_layer(weight: np.ndarray, bias: np.ndarray | None = None) -> Network:
    return Network(layers=(Layer(weight=weight, bias=np.zeros(len(weight)) if bias is None else bias, relu=False),))


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
    code = LogGridCode(steps)
    net = code.round(one_layer(w))
    r = net.layers[0].weight
    assert np.isfinite(r).all()
    assert np.array_equal(code.round(net).layers[0].weight, r)
    used = np.abs(w) >= 2.0**-1022
    assert np.array_equal(r == 0, ~used)
    assert np.array_equal(np.sign(r[used]), np.sign(w[used]))
    inside = used & (np.abs(w) < 2.0**1023)
    ratio = r[inside] / w[inside]
    assert (np.abs(np.log2(ratio)) <= 0.5 / steps + 1e-9).all()
    assert code.length(net).total_bits > 0


def test_powers_of_two_are_on_every_grid_and_stay() -> None:
    w = np.array([[0.0, 1.0, -2.0, 2.0**-1022, 2.0**1023, -0.0]])
    for steps in STEPS:
        assert np.array_equal(LogGridCode(steps).round(one_layer(w)).layers[0].weight, w)


def test_architecture_and_activations_are_kept() -> None:
    net = sparse_net(0.05)
    rounded = LogGridCode(4).round(net)
    assert rounded.sizes == net.sizes
    assert [w.relu for w in rounded.layers] == [w.relu for w in net.layers]


def test_a_ternary_layer_by_hand() -> None:
    # 2 x 3 weights, 4 of them 1 or -1, no bias: 3 bits for the variant, log2 7 for q of 6, log2 C(6, 4) = log2 15,
    # log2 3 for no bias of 2, gamma(zigzag(0) = 1) = 1 bit, gamma(one level) = 1 bit, 4 signs.
    length = LogGridCode(1).length(one_layer(np.array([[1.0, -1.0, 0.0], [1.0, 0.0, 1.0]])))
    assert length.variants == (("whole", "uniform"),)
    assert length.header_bits == pytest.approx(3 + math.log2(7) + math.log2(3) + 2, rel=1e-10)
    assert length.support_bits == pytest.approx(math.log2(15), rel=1e-10)
    assert length.value_bits == pytest.approx(4.0, rel=1e-10)
    total = length.header_bits + length.support_bits + length.value_bits
    assert total <= length.total_bits <= total * (1 + 1e-10)


def test_two_levels_by_hand() -> None:
    # exponents 1 and 2: gamma(zigzag(1) = 2) = 3 bits, gamma(2 levels) = 3 bits; 1 bit for the level or the mixture
    length = LogGridCode(1).length(one_layer(np.array([[2.0, 4.0]])))
    assert length.value_bits == pytest.approx(2 + 2, rel=1e-10)
    assert length.header_bits == pytest.approx(3 + math.log2(3) + math.log2(2) + 6, rel=1e-10)


def test_an_empty_layer_pays_its_counts_only() -> None:
    length = LogGridCode(2).length(one_layer(np.zeros((3, 4))))
    assert length.value_bits == 0.0
    assert length.support_bits == 0.0
    assert length.header_bits == pytest.approx(3 + math.log2(13) + math.log2(4), rel=1e-10)


def test_skewed_levels_are_coded_adaptively_and_dead_columns_cheaply() -> None:
    rng = np.random.default_rng(0)
    w = np.zeros((50, 400))
    alive = rng.choice(400, size=30, replace=False)
    w[:, alive] = 2.0 ** rng.choice([0, 1, 7], p=[0.9, 0.09, 0.01], size=(50, 30)) * (rng.random((50, 30)) < 0.5)
    length = LogGridCode(1).length(one_layer(w))
    assert length.variants == (("alive", "adaptive"),)
    q = np.count_nonzero(w)
    assert length.support_bits < q * math.log2(math.e * 400 * 50 / q) / 2
    assert length.value_bits < 2 * q


def test_more_steps_cost_more_bits_and_fewer_weights_fewer() -> None:
    bits = [LogGridCode(s).length(LogGridCode(s).round(sparse_net(0.1))).total_bits for s in STEPS]
    assert bits == sorted(bits)
    code = LogGridCode(4)
    bits = [code.length(code.round(sparse_net(keep))).total_bits for keep in (0.0, 0.01, 0.1, 1.0)]
    assert bits == sorted(bits)


@settings(max_examples=100, deadline=None)
@given(out=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_support_is_never_below_the_best_of_its_variants(out: int, columns: int, seed: int, share: float) -> None:
    used = np.random.default_rng(seed).random((out, columns)) < share
    length = LogGridCode(1).length(one_layer(used.astype(np.float64)))
    paid = length.header_bits + length.support_bits - 3 - math.log2(out + 1) - (2 if used.any() else 0)

    def subset(n: int, k: int) -> float:
        return math.log2(n + 1) + math.log2(math.comb(n, k))

    rows, cols, q = int(used.any(axis=1).sum()), int(used.any(axis=0).sum()), int(used.sum())
    exact = (
        subset(out * columns, q),
        subset(out, rows) + subset(columns, cols) + subset(rows * cols, q),
        sum(subset(columns, int(k)) for k in used.sum(axis=1)),
        sum(subset(out, int(k)) for k in used.sum(axis=0)),
    )
    assert min(exact) - 1e-11 <= paid <= min(exact) * (1 + 1e-9) + 1e-9


def test_the_log_gamma_function_is_as_accurate_as_the_rounding_allows() -> None:
    # 64 roundoffs are allowed for; the whole and half-whole arguments that lengths use
    points = [*np.arange(0.5, 200, 0.5), *(10.0**k + s for k in range(3, 9) for s in (0.0, 0.5, 1.0))]
    with mpmath.workdps(40):
        for x in points:
            truth = mpmath.loggamma(x)
            assert abs(float(gammaln(x)) - truth) <= 16 * 2.0**-52 * abs(truth)


@pytest.mark.parametrize("steps", [0, 3, 32, -1, True, 2.5])
def test_unknown_grids_are_refused(steps) -> None:
    with pytest.raises(InvalidParameter, match=r"steps must be one of \(1, 2, 4, 8, 16\), got steps="):
        LogGridCode(steps)


def test_a_weight_or_bias_off_the_grid_is_refused() -> None:
    code = LogGridCode(2)
    with pytest.raises(InvalidParameter, match=r"power of 2\^\(1/2\), got 1 of 2 others in layer 0: round the net"):
        code.length(one_layer(np.array([[1.0, 1.1]])))
    with pytest.raises(InvalidParameter, match="got 1 of 1 others"):
        code.length(one_layer(np.zeros((1, 2)), bias=np.array([3.0])))
    with pytest.raises(InvalidParameter, match="got 1 of 1 others"):  # one step away in the last place
        code.length(one_layer(np.array([[math.nextafter(1.0, 2.0)]])))


def test_a_length_has_one_row() -> None:
    length = LogGridCode(1).length(one_layer(np.eye(2)))
    assert isinstance(length, CodeLength)
    (row,) = length.rows()
    assert row["total_bits"] == length.total_bits
