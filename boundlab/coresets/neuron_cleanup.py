"""What can be taken out of a layer before sampling without changing its function: duplicates, constants, dead ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, matrix
from boundlab._theory import implements
from boundlab.coresets.activations import Activation, centred


@dataclass(frozen=True, kw_only=True)
class CleanLayer:
    """A layer and its next one after the clean-up: f_j(x) = sum_p weights[j, p] phi(p.x + b) + next_bias[j]."""

    points: np.ndarray  # (n', d)
    bias: np.ndarray  # (n',)
    weights: np.ndarray  # (k, n')
    next_bias: np.ndarray  # (k,)
    activation: Activation  # centred, unless the given one had phi(0) = 0 or centring was not wanted
    origin: np.ndarray  # (n',) which neuron of the given layer each one is


@implements("boundlab_neuron_cleanup")
def clean(
    points: np.ndarray,
    weights: np.ndarray,
    activation: Activation,
    *,
    bias: np.ndarray,
    next_bias: np.ndarray,
    centre: bool = True,
) -> CleanLayer:
    """Return the layer with neurons merged, folded or dropped; the same function, and t does not grow by merging.

        no outgoing weight       dropped
        no input weights         constant phi(b): next_bias += w phi(b)
        phi(0) != 0              phi -> phi - phi(0): next_bias += sum_p w(p) phi(0)
        (p', b') = c (p, b)      w(p) += c w(p'), c > 0 for a homogeneous activation, c = 1 for the others

    Two rows count as collinear if their quotients by the largest entry agree to the last bit, so that the function
    changes by rounding alone. Raises InvalidParameter.

    Parameters
    ----------
    points : (n, d), input weights
    weights : (k, n), of the next layer
    activation : of `activations`
    bias : (n,)
    next_bias : (k,), bias of the next layer
    centre : whether to centre the activation; halves t for a sigmoid on a ball without a bias beside the points, but
        does not pay with large negative biases, nor always for a softplus

    Examples
    --------
    >>> from boundlab.coresets.activations import RELU
    >>> p, w = np.array([[1.0, 2.0], [3.0, 6.0], [0.0, 0.0]]), np.array([[1.0, 1.0, 5.0]])
    >>> layer = clean(p, w, RELU, bias=np.array([0.0, 0.0, 2.0]), next_bias=np.zeros(1))
    >>> layer.points.tolist(), layer.weights.tolist(), layer.next_bias.tolist()
    ([[1.0, 2.0]], [[4.0]], [10.0])
    """
    p = matrix("points", points)
    w = matrix("weights", weights, columns=len(p))
    b, extra = np.asarray(bias, np.float64), np.array(next_bias, np.float64)
    if b.shape != (len(p),) or extra.shape != (len(w),) or not (np.isfinite(b).all() and np.isfinite(extra).all()):
        raise InvalidParameter(
            f"bias ({len(p)},) and next_bias ({len(w)},) must be finite, got shapes {b.shape} and {extra.shape}."
        )
    moving = p.any(axis=1)
    extra += w[:, ~moving] @ activation.value(b[~moving])
    alive = np.flatnonzero(moving & w.any(axis=0))
    if centre and activation.at_zero != 0.0:
        extra += w[:, alive].sum(axis=1) * activation.at_zero
        activation = centred(activation)
    first, merged = _merge(np.column_stack([p, b])[alive] + 0.0, w[:, alive], activation.homogeneous)
    used = np.flatnonzero(merged.any(axis=0))
    origin = alive[first[used]]
    return CleanLayer(
        points=p[origin],
        bias=b[origin],
        weights=merged[:, used],
        next_bias=extra,
        activation=activation,
        origin=origin,
    )


def _merge(rows: np.ndarray, weights: np.ndarray, homogeneous: bool) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each direction (of each value where not homogeneous), and the summed weights."""
    scale = np.abs(rows).max(axis=1) if homogeneous else np.ones(len(rows))
    place: dict[bytes, int] = {}
    first: list[int] = []
    target = np.empty(len(rows), np.int64)
    for k, row in enumerate(rows / scale[:, None]):
        target[k] = place.setdefault(row.tobytes(), len(first))
        if target[k] == len(first):
            first.append(k)
    index = np.array(first, np.int64)
    merged = np.zeros((len(index), len(weights)))
    np.add.at(merged, target, (weights * (scale / scale[index[target]])).T)
    return index, merged.T


@implements("mussay2020_bias_column")
def append_bias(points: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return (points, bias) as (n, d + 1): the bias is the LAST column, and inputs become (x, 1).

    Examples
    --------
    >>> append_bias(np.array([[1.0, 2.0]]), np.array([3.0]))
    array([[1., 2., 3.]])
    """
    p, b = matrix("points", points), np.asarray(bias, np.float64)
    if b.shape != (len(p),):
        raise InvalidParameter(f"bias must have shape ({len(p)},), one per point, got {b.shape}.")
    return np.column_stack([p, b])


@implements("mussay2020_bias_column")
def split_bias(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (points, bias) from points whose last column is the bias; the inverse of `append_bias`.

    Examples
    --------
    >>> split_bias(np.array([[1.0, 2.0, 3.0]]))[1]
    array([3.])
    """
    p = matrix("points", points)
    if p.shape[1] < 2:
        raise InvalidParameter(f"points must have a weight and a bias column at least, got {p.shape[1]} columns.")
    return p[:, :-1].copy(), p[:, -1].copy()
