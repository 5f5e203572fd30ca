"""Channels: how much each one matters to all filters that read it, and how it is removed.

A filter is a row of weights on channels and kernel positions, a patch the part of the input that it sees. What channel
j gives to filter i at patch p is the inner product over the kernel positions, for each sign of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from boundlab._errors import InvalidParameter, choice
from boundlab._theory import implements

BLOCK = 1 << 21
"""Entries of one block of inner products: filters x patches x channels."""


class Operation(StrEnum):
    """What stands between two layers."""

    RELU = "relu"
    MAX_POOL = "max_pool"  # of non-negative maps
    AVERAGE_POOL = "average_pool"  # of non-negative maps
    SCALE = "scale"
    SUM_OF_NON_NEGATIVE = "sum_of_non_negative"
    SHIFT = "shift"  # a batch normalisation's, or any constant
    SKIP_ADDITION = "skip_addition"  # of maps with signs
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


PRESERVES = frozenset(
    {Operation.RELU, Operation.MAX_POOL, Operation.AVERAGE_POOL, Operation.SCALE, Operation.SUM_OF_NON_NEGATIVE}
)
"""Operations behind which an entrywise relative error is no larger than before."""


@implements("liebenwein2020_network")
def error_behind(operation: Operation | str, eps: float) -> float:
    """Return the entrywise relative error behind an operation whose inputs have the relative error eps < 1.

    eps itself where the operation preserves it, and inf where no finite number holds for all inputs. A shift right
    behind a weight layer can be read as its bias instead, and then enlarges that layer's condition number.

    Examples
    --------
    >>> error_behind("max_pool", 0.1), error_behind("shift", 0.1)
    (0.1, inf)
    """
    if not 0.0 <= eps < 1.0:
        raise InvalidParameter(f"eps must be in [0, 1): a ReLU keeps no larger error, got eps={eps!r}.")
    return eps if choice("operation", operation, Operation) in PRESERVES or eps == 0.0 else math.inf


@implements("liebenwein2020_channel_sensitivity")
def channel_sensitivities(weight: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Return s_j, the largest share of a filter's sum that channel j gives, over filters, patches and signs.

        s_j = max_{i, p, ±}  <w_ij^±, U_jp> / sum_k <w_ik^±, U_kp>,      0/0 := 0

    Parameters
    ----------
    weight : (filters, channels, k1 k2)
    patches : (patches of all points, channels, k1 k2), all entries >= 0; a signed input is given as its two parts

    Returns
    -------
    (channels,) float64 in [0, 1], rounded up. Memory: 16 MiB beside the arguments and the result.

    Raises
    ------
    InvalidParameter
        If shapes do not fit, or an entry is not finite, or one of `patches` is negative.

    Source: PFP (arXiv:1911.07412), as we understand the paper.

    Examples
    --------
    >>> w = np.array([[[1.0, 1.0], [2.0, 0.0]]])
    >>> channel_sensitivities(w, np.ones((1, 2, 2))).round(6)
    array([0.5, 0.5])
    """
    w, u = _checked(weight, patches)
    return _largest(w, u, summed=True)


@implements("liebenwein2020_channel_sensitivity_in_code")
def single_weight_sensitivities(weight: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """Return the released code's channel sensitivity: the largest share of a SINGLE weight. Refuted, kept to show.

        max over kernel positions t of  w_ijt^± U_jpt / sum_k <w_ik^±, U_kp>

    It lies between 1/(k1 k2) of `channel_sensitivities` and that itself. Parameters as there.
    """
    w, u = _checked(weight, patches)
    return _largest(w, u, summed=False)


@implements("liebenwein2020_propagation")
def remove_channels(
    weight: np.ndarray, bias: np.ndarray, readers: Sequence[np.ndarray], kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return (weight, bias, readers) without the channels that are not kept.

    The smaller net computes what the net with zeros in these slices of ALL readers does. A skip addition reads every
    channel and has no slice: a layer that feeds one must keep all.

    Parameters
    ----------
    weight : (filters, ...) of the layer that puts the channels out
    bias : (filters,)
    readers : every layer that reads them, each (filters of its own, filters, ...)
    kept : (filters,) bool

    Raises
    ------
    InvalidParameter
        If no channel is kept, or shapes do not fit.
    """
    keep = np.asarray(kept)
    if keep.dtype != bool or keep.shape != (len(weight),) or not keep.any():
        raise InvalidParameter(f"kept must be {len(weight)} bools with one True at least, got {keep!r}.")
    if len(bias) != len(weight) or any(r.ndim < 2 or r.shape[1] != len(weight) for r in readers):
        raise InvalidParameter(f"bias and readers must belong to {len(weight)} channels, got other shapes.")
    return weight[keep], bias[keep], [r[:, keep] for r in readers]


def _largest(w: np.ndarray, u: np.ndarray, *, summed: bool) -> np.ndarray:
    filters, channels, positions = w.shape
    rounding = 1.0 + 4.0 * (channels * positions + 2) * np.finfo(np.float64).eps
    best = np.zeros(channels)
    step = max(1, BLOCK // (filters * channels * (1 if summed else positions)))
    for side in (np.maximum(w, 0.0), np.maximum(-w, 0.0)):
        by_channel = np.ascontiguousarray(side.transpose(1, 0, 2))  # (channels, filters, positions)
        for first in range(0, len(u), step):
            block = u[first : first + step].transpose(1, 2, 0)  # (channels, positions, patches)
            part = by_channel @ block  # (channels, filters, patches)
            total = part.sum(axis=0)
            top = part if summed else np.max(by_channel[:, :, :, None] * block[:, None], axis=2)
            share = np.divide(top, total, out=np.zeros_like(top), where=total > 0)
            best = np.maximum(best, share.max(axis=(1, 2)))
    return np.minimum(1.0, best * rounding)


def _checked(weight: np.ndarray, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    w, u = np.asarray(weight, np.float64), np.asarray(patches, np.float64)
    if w.ndim != 3 or u.ndim != 3 or w.shape[1:] != u.shape[1:] or 0 in (*w.shape, *u.shape):
        raise InvalidParameter(
            f"weight (filters, channels, positions) and patches (patches, channels, positions) must fit, "
            f"got {w.shape} and {u.shape}."
        )
    if not (np.isfinite(w).all() and np.isfinite(u).all() and np.all(u >= 0)):
        raise InvalidParameter("weight must be finite and patches finite and at least 0, got other entries.")
    return w, u
