"""The pyramid code: layers that come back, lengths against closed forms, the nearest point of a sphere, borders."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from boundlab._errors import InvalidParameter
from boundlab.codes.counts import sphere_nats, support_first_nats
from boundlab.codes.message import LETTERS, Message
from boundlab.codes.pyramid import LARGEST, SCALES, PyramidLayer, nearest_on_sphere
from proofs_checks.fischer1986_pyramid_code import vectors


def layer(z: np.ndarray, levels: np.ndarray | int = 0, bias: np.ndarray | None = None) -> PyramidLayer:
    rows = np.where(z.any(axis=1), levels, 0)
    return PyramidLayer(z=z, levels=rows, bias=np.zeros(len(z)) if bias is None else bias)


def coded(own: PyramidLayer) -> Message:
    message, (out, d) = Message(), own.z.shape
    PyramidLayer.describe(message, out, d, own)
    return message


@settings(max_examples=60, deadline=None)
@given(
    z=arrays(np.int64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.integers(-4, 4)),
    data=st.data(),
)
def test_a_layer_comes_back_bit_for_bit(z: np.ndarray, data: st.DataObject) -> None:
    levels = data.draw(arrays(np.int64, len(z), elements=st.integers(-8_000, 8_000)))
    k = data.draw(arrays(np.int64, len(z), elements=st.integers(-20, 20)))
    bias = SCALES.magnitudes(k) * data.draw(arrays(np.int64, len(z), elements=st.integers(-1, 1))) + 0.0
    own = layer(z, levels, bias)
    data_ = coded(own).finish()
    reader = Message(data_)
    found = PyramidLayer.describe(reader, z.shape[0], z.shape[1], None)
    assert reader.finish() == data_
    assert np.array_equal(found.z, z)
    assert np.array_equal(found.levels, own.levels)
    for a, b in ((found.weight, own.weight), (found.bias, bias)):
        assert a.dtype == np.float64
        assert a.tobytes() == b.tobytes()
        assert not np.signbit(a[a == 0]).any()
    assert np.allclose(found.weight, z * 2.0 ** (own.levels[:, None] / 8), rtol=1e-12, atol=0.0)


def test_a_row_by_hand() -> None:
    # 1 x 3, z = (2, 0, -1), scale 1, no bias. log2 7 for the variant. By the sphere: log2 2 for one row of 1, nothing
    # for which; 1 bit for equal norms; gamma(3) = 3 bits; log2 N(3, 3) = log2 38. Then the scale: gamma(zigzag(0) = 1)
    # and gamma(1 level), a bit each, no sign; log2 2 for no bias. It is the shortest: letters take a sign bit for each
    # of 2 and gamma(3) = 3, and (1/2 1/2 1/2) / (3/2 5/2 7/2) = 1/105 for the letters 2, 0, 1: 11.7 bits.
    message = coded(layer(np.array([[2, 0, -1]])))
    count = len(vectors(3, 3))
    assert count == 38
    assert message.bits == pytest.approx(math.log2(7) + 1 + 1 + 3 + math.log2(count) + 2 + 1, abs=1e-4)


@pytest.mark.parametrize(("d", "m"), [(5, 40), (60, 200), (400, 100), (784, 1_000)])
def test_rows_cost_what_the_closed_forms_say(d: int, m: int) -> None:
    rng = np.random.default_rng(d)
    z = np.stack([np.bincount(rng.integers(0, d, size=m), minlength=d) for _ in range(8)])
    z *= rng.choice((-1, 1), size=z.shape)
    message = coded(layer(z))
    nats = min(sum(sphere_nats(row) for row in z), sum(support_first_nats(row) for row in z))
    # 8 rows of 8, equal norms, the norm, one scale for all, no bias
    fixed = math.log2(7) + math.log2(9) + 1 + 2 * math.floor(math.log2(m)) + 1 + 2 + math.log2(9)
    assert message.bits <= nats / math.log(2) + fixed + 0.01  # or letters are shorter still


def test_equal_norms_are_said_once_and_scales_have_no_sign() -> None:
    rng = np.random.default_rng(3)
    z = np.zeros((40, 5), np.int64)
    z[np.arange(40), rng.integers(0, 5, size=40)] = 1
    same, z[0] = coded(layer(z)).bits, 2 * z[0]
    assert coded(layer(z)).bits > same + 10  # otherwise a gamma code for each norm
    # 40 rows of 1 place among 5, a sign each: nothing is paid for 40 scales, all equal
    bits = math.log2(7) + math.log2(41) + 1 + 1 + 40 * math.log2(10) + 2 + math.log2(41)
    assert same == pytest.approx(bits, abs=1e-3)


def test_long_rows_and_large_norms_are_coded_by_letters() -> None:
    rng = np.random.default_rng(4)
    wide = rng.integers(-1, 2, size=(2, LARGEST + 1))
    heavy = np.array([[LARGEST, 1], [3, -(LETTERS - 1)]])
    for z in (wide, heavy):
        message = coded(layer(z))
        found = PyramidLayer.describe(Message(message.finish()), z.shape[0], z.shape[1], None)
        assert np.array_equal(found.z, z)
    assert coded(layer(wide)).bits < 1.6 * wide.size + 100  # log2 3 each


def test_columns_of_one_class_share_a_mixture() -> None:
    rng = np.random.default_rng(5)
    z = rng.integers(0, 2, size=(30, 60)) * (rng.random(60) < 0.2)  # dead columns
    z[:, :3] = rng.integers(5, 9, size=(30, 3))  # and three heavy ones
    one = Message()
    one.letters(9, z.size, z)
    assert coded(layer(z)).bits < one.bits + np.count_nonzero(z) - 300


def test_the_largest_sphere_is_coded_in_reasonable_time() -> None:
    z = np.zeros((1, 2_048), np.int64)
    z[0, ::2] = 2
    found = PyramidLayer.describe(Message(coded(layer(z)).finish()), 1, 2_048, None)
    assert np.array_equal(found.z, z)


@pytest.mark.parametrize(
    ("own", "shape", "message"),
    [
        (layer(np.array([[LETTERS]])), (1, 1), "whole numbers below 1048576, got int64"),
        (PyramidLayer(z=np.array([[0.5]]), levels=np.zeros(1, int), bias=np.zeros(1)), (1, 1), "got float64"),
        (layer(np.eye(2, dtype=int)), (2, 3), r"z must be 2 x 3 whole numbers"),
        (layer(np.eye(2, dtype=int)), (4, 1), r"z must be 4 x 1 whole numbers"),
        (PyramidLayer(z=np.ones((2, 1), int), levels=np.zeros((2, 1), int), bias=np.zeros(2)), (2, 1), "z must be"),
        (PyramidLayer(z=np.ones((2, 1), int), levels=np.zeros(2, int), bias=np.zeros(3)), (2, 1), "z must be"),
        (layer(np.ones((1, 1), int), 100_000), (1, 1), r"scales must be normal floats, got levels 100000\.\."),
        (layer(np.ones((1, 1), int), -100_000), (1, 1), "scales must be normal floats"),
        (layer(np.full((1, 1), 2), 1_024 * 8 - 1), (1, 1), "finite weights, got one beyond the floats"),
        (layer(np.ones((1, 1), int), bias=np.array([1.1])), (1, 1), "every weight and bias must be 0 or a power"),
        (layer(np.ones((1, 1), int), bias=np.array([np.nan])), (1, 1), "every weight and bias must be 0 or a power"),
    ],
)
def test_what_is_not_on_the_codebook_is_refused(own: PyramidLayer, shape: tuple[int, int], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        PyramidLayer.describe(Message(), shape[0], shape[1], own)


def test_a_message_of_rows_too_long_for_a_sphere_is_refused() -> None:
    m = Message()
    for n, value in ((7, 0), (2, 1), (2, 1)):  # by the sphere, one row of one alive, norms are equal
        m.number(n, value)
    m.whole(LARGEST + 1)
    with pytest.raises(InvalidParameter, match="rows on a sphere must have a norm up to 16384, got 16385"):
        PyramidLayer.describe(Message(m.finish() + bytes(50)), 1, 1, None)


@pytest.mark.parametrize(("d", "m"), [*itertools.product((1, 2, 3, 4), (1, 2, 3, 5))])
def test_the_nearest_point_is_nearest_among_all(d: int, m: int) -> None:
    rng = np.random.default_rng(100 * d + m)
    points = np.array(vectors(d, m))
    w = rng.normal(size=(40, d)) * np.exp(rng.normal(size=(40, d)))
    w[:10] = np.round(w[:10])  # ties and zeros among them
    for row, z in zip(w, nearest_on_sphere(w, m), strict=True):
        if not row.any():
            assert not z.any()
            continue
        aim = m * row / np.abs(row).sum()
        distances = ((points - aim) ** 2).sum(axis=1)
        assert np.abs(z).sum() == m
        assert ((z - aim) ** 2).sum() <= distances.min() + 1e-12


@settings(max_examples=100, deadline=None)
@given(
    w=arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-1e30, 1e30)),
    m=st.integers(1, 500),
)
def test_the_norm_is_met_and_signs_are_kept(w: np.ndarray, m: int) -> None:
    z = nearest_on_sphere(w, m)
    alive = w.any(axis=1)
    assert z.dtype == np.int64
    assert np.array_equal(np.abs(z).sum(axis=1), m * alive)
    assert (z * np.sign(w) >= 0).all()
    total = np.abs(w).sum(axis=1, keepdims=True)
    aim = m * w / np.where(total > 0, total, 1.0)
    assert (np.abs(z - aim) < 1 + 1e-9).all()


def test_the_nearest_point_keeps_the_shape_and_takes_the_first_of_equals() -> None:
    assert nearest_on_sphere(np.ones(4), 2).tolist() == [1, 1, 0, 0]
    assert nearest_on_sphere(np.ones(4), 4).tolist() == [1, 1, 1, 1]
    assert nearest_on_sphere(np.zeros((2, 3)), 4).tolist() == [[0, 0, 0]] * 2
    with pytest.raises(InvalidParameter, match="m must be"):
        nearest_on_sphere(np.ones(3), 0)
