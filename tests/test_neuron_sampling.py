"""Sampling neurons and channels: borders, limits, and the radius along a net."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import InvalidParameter
from boundlab.coresets import activations as acts
from boundlab.coresets.channel_sampling import channel_plan
from boundlab.coresets.neuron_cleanup import append_bias, clean, split_bias
from boundlab.coresets.neuron_sampling import include, neuron_plan, published_size, reweight, sup_sensitivities
from boundlab.nets.layerwise import layer_deltas, norm_reach

P, W = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[1.0, -1.0]])
ALL = (acts.RELU, acts.LEAKY_RELU, acts.SIGMOID, acts.TANH, acts.SOFTPLUS, acts.ELU, acts.GELU, acts.SILU, acts.STEP)


@pytest.mark.parametrize(
    "call",
    [
        lambda: sup_sensitivities(P, acts.RELU, radius=0.0),
        lambda: sup_sensitivities(P, acts.RELU, radius=1.0, domain="sphere"),
        lambda: sup_sensitivities(P, acts.RELU, radius=1.0, bias=np.zeros(3)),
        lambda: neuron_plan(P, np.ones((1, 3)), acts.RELU, 1.0),
        lambda: neuron_plan(P * np.nan, W, acts.RELU, 1.0),
        lambda: reweight(W, np.array([1, 2]), np.array([0.5, 0.5]), 2),
        lambda: reweight(W, np.array([0, 2]), np.array([1.0, 0.0]), 2),
        lambda: include(np.ones(2), 0),
        lambda: published_size(1.0, 0.0, 0.1, dimension=1),
        lambda: channel_plan(np.ones((2, 1, 1, 1)), np.ones((1, 3, 1, 1)), acts.RELU, 1.0),
        lambda: clean(P, W, acts.RELU, bias=np.zeros(3), next_bias=np.zeros(1)),
        lambda: split_bias(np.ones((2, 1))),
        lambda: append_bias(P, np.zeros(3)),
        lambda: layer_deltas([1.0], [1.0, 2.0]),
        lambda: norm_reach([-1.0], [0.0], 1.0),
    ],
)
def test_the_border_refuses(call) -> None:
    with pytest.raises(InvalidParameter):
        call()


@pytest.mark.parametrize("activation", ALL, ids=lambda a: a.name)
def test_extreme_radii_stay_finite(activation: acts.Activation) -> None:
    r = np.array([0.0, 1e-300, 1e-8, 1.0, 700.0, 1e6])
    for phi in (activation, acts.centred(activation)):
        assert np.isfinite(phi.sup(r)).all()
        assert not np.isnan(phi.lam(r)).any()
        assert float(phi.value(np.zeros(1))[0]) == pytest.approx(phi.at_zero)


def test_a_layer_without_weight_has_an_empty_plan() -> None:
    plan = neuron_plan(P, np.zeros((2, 2)), acts.RELU, 1.0)
    assert plan.total == 0.0
    assert not plan.probabilities.any()


def test_a_dead_neuron_of_a_domain_is_never_drawn() -> None:
    plan = neuron_plan(-P, W, acts.RELU, 1.0, "nonnegative", bias=np.array([0.0, -1.0]))
    assert plan.total == 0.0
