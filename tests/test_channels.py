"""Channels: sensitivities, removal, operations, border errors."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.nets.channels import (
    Operation,
    channel_sensitivities,
    error_behind,
    remove_channels,
    single_weight_sensitivities,
)
from boundlab.nets.importance import sensitivities
from boundlab.network import Layer


def test_a_fully_connected_layer_has_the_largest_edge_sensitivities() -> None:
    rng = np.random.default_rng(1)
    weight, a = rng.normal(size=(5, 7)), rng.random((9, 7))
    layer = Layer(weight=weight, bias=np.zeros(5), relu=True)
    edges = sensitivities(layer, [a], theorem="liebenwein2020_channel_sensitivity")
    columns = np.zeros(7)
    np.maximum.at(columns, edges.groups.columns, edges.values)
    ours = channel_sensitivities(weight[:, :, None], a[:, :, None])
    assert ours == pytest.approx(columns, rel=1e-12)
    assert single_weight_sensitivities(weight[:, :, None], a[:, :, None]) == pytest.approx(columns, rel=1e-12)


def test_a_dead_input_has_no_sensitivity() -> None:
    assert channel_sensitivities(np.ones((2, 3, 1)), np.zeros((4, 3, 1))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("operation", Operation)
def test_no_error_stays_no_error(operation: Operation) -> None:
    assert error_behind(operation, 0.0) == 0.0


def test_removal_takes_filter_bias_and_slices() -> None:
    weight, bias, readers = remove_channels(
        np.ones((3, 2, 1, 1)), np.arange(3.0), [np.ones((5, 3)), np.ones((4, 3, 2, 2))], np.array([True, False, True])
    )
    assert weight.shape == (2, 2, 1, 1)
    assert bias.tolist() == [0, 2]
    assert [r.shape for r in readers] == [(5, 2), (4, 2, 2, 2)]


def test_bad_arguments_are_refused() -> None:
    w = np.ones((3, 2))
    for call in (
        lambda: channel_sensitivities(np.ones((2, 3, 1)), np.ones((4, 2, 1))),
        lambda: channel_sensitivities(np.ones((2, 3, 1)), -np.ones((4, 3, 1))),
        lambda: error_behind("relu", 1.0), lambda: error_behind("dropout", 0.1),
        lambda: remove_channels(w, np.ones(3), [], np.zeros(3, bool)),
        lambda: remove_channels(w, np.ones(3), [np.ones((2, 4))], np.ones(3, bool)),
    ):  # fmt: skip
        with pytest.raises(InvalidParameter):
            call()
