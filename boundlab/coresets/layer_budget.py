"""One error for all layers: how many channels each layer keeps when a number of parameters is given.

A common eps makes the largest of the layers' errors as small as the budget allows. The size of the net is a falling
step function of eps; the smallest eps that fits is found among the float64 numbers by bisection of their bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.concentration.multiplicative import ROUNDING
from boundlab.coresets.allocation import expected_distinct
from boundlab.coresets.sensitivity_sampling import Rule, sample_size

SMALLEST, LARGEST = 1e-140, 1e140
"""Between these the common eps is searched; their squares are still float64 numbers."""


@dataclass(frozen=True, kw_only=True)
class ChannelLayer:
    """What the budget needs of one layer."""

    values: np.ndarray  # (in,) channel sensitivities
    filters: int  # output channels
    kernel: int = 1  # k1 k2: weights per filter and channel
    patches: int = 1


@implements("liebenwein2020_sample_size", "bernstein_multiplicative")
def channel_size(
    total: float, eps: float, delta: float, *, filters: int, patches: int = 1, C: float = 1.0, signed: bool = False
) -> float:
    """Return the draws of channels after which all filters, patches and signs of a layer err by less than eps.

        m = ceil((6 + 2 eps) C S ln(4 filters patches/delta) / (3 eps²)),      8 for 4 if the layer's input is signed

    Parameters
    ----------
    total : S >= 0, sum of the channel sensitivities
    eps : float > 0, relative error of every filter's positive and negative part
    delta : float in (0, 1), failure probability of the layer
    filters, patches : how many sums the layer has; each has two signs
    C : finite float >= 1, by how much a share may exceed its sensitivity
    signed : the input has negative entries, and its two parts are two points

    Returns
    -------
    float, a whole number, rounded up. Source: PFP (arXiv:1911.07412), as we understand the paper, with our constant.

    Examples
    --------
    >>> channel_size(5.0, 0.5, 0.01, filters=10)
    388.0
    """
    positive("eps", eps)
    events = 2.0 * positive_int("filters", filters) * positive_int("patches", patches) * (2.0 if signed else 1.0)
    share = probability("delta", delta) / events
    return float(sample_size(np.array([total]), eps, share, K=C, rule=Rule.BERNSTEIN)[0])


@implements("liebenwein2020_sample_size")
def published_channel_size(total: float, eps: float, delta: float, *, filters: int, K: float = 1.0) -> float:
    """Return ceil((6 + 2 eps) S K ln(4 eta/delta) / eps²), PFP's size as we understand the paper; kept to compare."""
    log = math.log(4.0 * positive_int("filters", filters) / probability("delta", delta))
    return float(math.ceil((6.0 + 2.0 * positive("eps", eps)) * total * K * log / eps / eps))


@implements("liebenwein2020_sample_size")
def released_channel_size(
    total: float, eps: float, delta: float, *, patches: int = 1, kernel: int = 1, C: float = 3.0
) -> float:
    """Return max(1, ceil(3 (6 + 2 eps) 2 C ln(8 (P+1) k1k2/delta) S / eps²)), the released code's size, to compare."""
    log = math.log(8.0 * (positive_int("patches", patches) + 1) * positive_int("kernel", kernel) / delta)
    return float(max(1, math.ceil(3.0 * (6.0 + 2.0 * positive("eps", eps)) * 2.0 * C * log * total / eps / eps)))


def kept_channels(layers: Sequence[ChannelLayer], eps: float, delta: float, *, C: float = 1.0) -> np.ndarray:
    """Return how many input channels each layer keeps at a relative error eps, at least 1 of each; (layers,) int64.

    The expected number of different channels among `channel_size` draws, rounded up. It falls with eps.
    """
    kept = []
    for layer in layers:
        s = np.asarray(layer.values, np.float64)
        m = channel_size(float(s.sum()), eps, delta, filters=layer.filters, patches=layer.patches, C=C)
        kept.append(distinct_channels(s, m))
    return np.array(kept, np.int64)


def distinct_channels(values: np.ndarray, size: float) -> int:
    """Return the expected number of different channels among `size` draws with p_j = s_j/S, rounded up, at least 1.

    Examples
    --------
    >>> distinct_channels(np.array([0.5, 0.5, 0.0]), 3), distinct_channels(np.zeros(3), 0)
    (2, 1)
    """
    shares = values / values.sum() if values.any() else values
    distinct = float(expected_distinct(shares, np.array([0, len(values)]), np.array([size]))[0])
    return min(max(1, math.ceil(distinct * (1.0 - ROUNDING))), len(values))


def parameters(layers: Sequence[ChannelLayer], kept: np.ndarray) -> int:
    """Return the number of weights of a chain of layers: kept inputs x kept outputs x kernel, the last outputs in full.

    A channel that layer l + 1 does not read is a filter that layer l does not need.
    """
    outputs = [*(int(k) for k in kept[1:]), layers[-1].filters]
    return sum(int(k) * out * layer.kernel for k, out, layer in zip(kept, outputs, layers, strict=True))


@implements("liebenwein2020_common_eps")
def smallest_eps(size: Callable[[float], float], budget: float) -> float:
    """Return the smallest float64 eps in [1e-140, 1e140] with size(eps) <= budget, for a falling function of eps.

    Positive float64 numbers are ordered as their bits are, so that 62 halvings of a whole number are exact: there is
    no tolerance, and steps do no harm.

    Raises
    ------
    InvalidParameter
        If even the largest eps does not fit into the budget.

    Examples
    --------
    >>> smallest_eps(lambda e: 1 / e, 4.0)
    0.25
    """
    if not size(LARGEST) <= budget:
        raise InvalidParameter(f"budget must be at least {size(LARGEST):g}, the smallest size, got {budget!r}.")
    if size(SMALLEST) <= budget:
        return SMALLEST
    low, high = (int(np.float64(v).view(np.int64)) for v in (SMALLEST, LARGEST))
    while high - low > 1:
        middle = (low + high) // 2
        if size(float(np.int64(middle).view(np.float64))) <= budget:
            high = middle
        else:
            low = middle
    return float(np.int64(high).view(np.float64))


@implements("liebenwein2020_common_eps")
def common_eps(layers: Sequence[ChannelLayer], budget: int, delta: float, *, C: float = 1.0) -> float:
    """Return the smallest eps, common to all layers, at which the chain of layers has at most `budget` weights.

    No allocation of that size has a smaller largest error. `kept_channels` at the result is the allocation.

    Parameters
    ----------
    layers : a chain: the filters of one are the channels of the next
    budget : number of weights
    delta, C : as in `channel_size`, per layer

    Source: PFP (arXiv:1911.07412), as we understand the paper; the search is ours.
    """
    for before, after in pairwise(layers):
        if before.filters != len(after.values):
            raise InvalidParameter(
                f"each layer must read what the one before gives, got {before.filters} filters and "
                f"{len(after.values)} channels."
            )
    return smallest_eps(lambda eps: parameters(layers, kept_channels(layers, eps, delta, C=C)), budget)
