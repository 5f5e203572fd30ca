"""The budget over layers: limits, published constants, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets.layer_budget import (
    ChannelLayer,
    channel_size,
    common_eps,
    kept_channels,
    parameters,
    published_channel_size,
    released_channel_size,
    smallest_eps,
)

CHAIN = [ChannelLayer(values=np.full(4, 0.5), filters=3, kernel=9), ChannelLayer(values=np.full(3, 0.4), filters=2)]


def test_the_constants_are_3_and_18_at_the_same_logarithm() -> None:
    ours = channel_size(9.0, 0.1, 1e-4, filters=1, C=3.0)
    assert published_channel_size(9.0, 0.1, 1e-4, filters=1, K=3.0) / ours == pytest.approx(3.0, rel=1e-4)
    assert released_channel_size(9.0, 0.1, 4e-4, C=3.0) / ours == pytest.approx(18.0, rel=1e-4)


def test_a_signed_input_and_more_patches_need_more_draws() -> None:
    plain = channel_size(3.0, 0.2, 0.01, filters=4)
    assert channel_size(3.0, 0.2, 0.01, filters=4, signed=True) == channel_size(3.0, 0.2, 0.01, filters=4, patches=2)
    assert channel_size(3.0, 0.2, 0.01, filters=4, signed=True) > plain


def test_every_layer_keeps_a_channel_and_all_at_a_tiny_error() -> None:
    assert kept_channels(CHAIN, 1e9, 0.1).tolist() == [1, 1]
    assert kept_channels(CHAIN, 1e-6, 0.1).tolist() == [4, 3]


def test_parameters_count_inputs_times_outputs_times_kernel() -> None:
    assert parameters(CHAIN, np.array([4, 3])) == 4 * 3 * 9 + 3 * 2
    assert parameters(CHAIN, np.array([2, 1])) == 2 * 1 * 9 + 1 * 2


def test_a_layer_without_sensitivity_keeps_one_channel() -> None:
    dead = [ChannelLayer(values=np.zeros(4), filters=2)]
    assert kept_channels(dead, 0.1, 0.1).tolist() == [1]


def test_a_budget_for_everything_gives_the_smallest_eps_searched() -> None:
    assert common_eps(CHAIN, 10**6, 0.1) == 1e-140


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="smallest size"):
        common_eps(CHAIN, 5, 0.1)
    with pytest.raises(InvalidParameter, match="one before"):
        common_eps([CHAIN[1], CHAIN[0]], 100, 0.1)
    with pytest.raises(InvalidParameter):
        channel_size(1.0, 0.0, 0.1, filters=1)
    with pytest.raises(InvalidParameter):
        smallest_eps(lambda e: 7.0, 3.0)
