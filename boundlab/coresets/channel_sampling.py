"""Sampling the channels of a convolution: a filter is a neuron that reads patches, a kernel slice is its weight."""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter
from boundlab._theory import implements
from boundlab.coresets.activations import Activation
from boundlab.coresets.neuron_sampling import Domain, NeuronPlan, assemble, suprema


@implements("mussay2021_convolution")
def channel_plan(
    filters: np.ndarray,
    kernel: np.ndarray,
    activation: Activation,
    patch_radius: float,
    domain: Domain | str = Domain.BALL,
    *,
    bias: np.ndarray | None = None,
) -> NeuronPlan:
    """Return the sampling plan of a convolution's channels: pr(p) proportional to S(p) max_j |W[j, p]|_1.

    One output value is sum_p sum_delta W[j, p, delta] phi(p . patch_delta), with patches of norm at most
    `patch_radius`, so that each channel contributes at most S(p) |W[j, p]|_1. `reweight` scales whole kernel slices.

    Parameters
    ----------
    filters : (n, channels, height, width), the filters that are sampled; correlation, as in deep learning
    kernel : (k, n, height', width'), of the next convolution
    activation, patch_radius, domain, bias : as for `neuron_plan`, of the flattened patches

    Returns
    -------
    NeuronPlan, with kap_j = sum_delta (sum_p pr(p) (W[j,p,delta] lam(p)/om(p))^2)^(1/2), at most the square root of the
    number of offsets times max lam.

    Raises InvalidParameter. Source: Mussay et al. 2021, arXiv:2008.08316, as we understand the paper.

    Examples
    --------
    >>> from boundlab.coresets.activations import RELU
    >>> plan = channel_plan(np.ones((2, 1, 2, 2)), np.array([[[[1.0, -1.0]], [[3.0, 3.0]]]]), RELU, 1.0)
    >>> [round(float(v), 9) for v in plan.probabilities]
    [0.25, 0.75]
    """
    f, w = np.asarray(filters, np.float64), np.asarray(kernel, np.float64)
    if f.ndim != 4 or w.ndim != 4 or w.shape[1] != f.shape[0] or 0 in (*f.shape, *w.shape):
        raise InvalidParameter(
            f"filters (n, c, h, w) and kernel (k, n, h', w') must share n, got shapes {f.shape} and {w.shape}."
        )
    if not np.isfinite(w).all():
        raise InvalidParameter("kernel must be finite.")
    sup, lam = suprema(f.reshape(len(f), -1), activation, patch_radius, domain, bias)
    offsets = w.reshape(len(w), len(f), -1).transpose(0, 2, 1)  # (k, offsets, n)
    return assemble(sup, lam, offsets, nonneg=activation.nonneg)
