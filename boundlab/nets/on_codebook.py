"""A trained net moved onto a codebook: to the nearest point of it, or with what rounding loses fed back into the rest.

However the point of the codebook is found, a bound pays for its message alone: data may be looked at here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab.codes.coded_layer import CodedLayer
from boundlab.codes.log_grid import LogGrid, LogGridLayer
from boundlab.codes.pyramid import SCALES, PyramidLayer, nearest_on_sphere
from boundlab.nets.feedforward import Convolution, FeedForward, Linear, Op

_DAMPING = 0.01  # of the mean diagonal: rounding errors are fed back along directions that the points use
_WIDTH = 64  # columns whose errors are moved on to the others at once


def on_log_grid(net: FeedForward, steps: int) -> FeedForward:
    """Every weight and bias at its nearest level +-2^(k/steps), or 0."""
    grid = LogGrid(steps)
    return net.with_layers(
        [LogGridLayer(steps=steps, weight=grid.nearest(w.weight), bias=grid.nearest(w.bias)) for w in net.layers]
    )


def on_pyramid(net: FeedForward, norms: Sequence[int]) -> FeedForward:
    """Row by row to the nearest point of the sphere of norm m, times the scale |w|_1 / m on its grid.

    Parameters
    ----------
    norms : m of each layer with weights, at least 1

    Raises
    ------
    InvalidParameter
        If there are not as many norms as layers, or one is below 1.
    """
    return net.with_layers(
        [
            _layer(levels=scale_levels(w.weight, m), z=nearest_on_sphere(w.weight, m), bias=w.bias)
            for w, m in zip(net.layers, _checked(net, norms), strict=True)
        ]
    )


def with_feedback(net: FeedForward, x: np.ndarray, norms: Sequence[int], *, dead_zone: float = 0.5) -> FeedForward:
    """Column by column to whole numbers times the scale |w|_1 / m, each rounding error made up by the columns after it.

    Layer by layer: the weights are first fitted, by least squares on the points, from what the rounded layers before
    give to what the original layer gave; then column j is rounded and its error e_j moved on to the columns k > j in
    the way that changes the outputs on the points least: w_k -= e_j U_jk / U_jj, with U^T U the inverse of the inputs'
    second moments. The bias comes last. As GPTQ does it (Frantar et al., 2023, as we understand the paper).

    Parameters
    ----------
    x : array (points, features)
        Points to fit to; a few thousand do.
    norms : as in `on_pyramid`; rows end near these norms, not at them
    dead_zone : float in [0.5, 1)
        What is below that many scales becomes 0.

    Raises
    ------
    InvalidParameter
        As `on_pyramid`, or if there are no points, or for a dead zone out of its range.
    """
    if not 0.5 <= dead_zone < 1.0:
        raise InvalidParameter(f"dead_zone must be in [0.5, 1), got dead_zone={dead_zone!r}.")
    return Feedback(net, x).rounded(norms, dead_zone=dead_zone)


class Feedback:
    """`with_feedback` for many norms: what the layers before a changed one have given is kept."""

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused once it is used
    def __init__(self, net: FeedForward, x: np.ndarray) -> None:
        """The net and the points to fit to."""
        if not len(x):
            raise InvalidParameter("x must hold at least one point to fit to, got none.")
        self._net, self._x = net, x
        self._seen: dict[tuple[float, ...], tuple[CodedLayer, np.ndarray]] = {}
        self._inputs = [_Inputs(x)]  # of the original layers, each before its operation
        for op in net.ops:
            self._inputs.append(self._inputs[-1].after(op))

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused
    def rounded(self, norms: Sequence[int], *, dead_zone: float = 0.5) -> FeedForward:
        """The net rounded at these norms."""
        left = iter(_checked(self._net, norms))
        layers: list[CodedLayer] = []
        key: tuple[float, ...] = (dead_zone,)
        now = self._inputs[0]
        for op, was in zip(self._net.ops, self._inputs, strict=False):
            if isinstance(op, (Linear, Convolution)):
                key = (*key, next(left))
                if key not in self._seen:
                    layer = _fed_back(_fitted(op, was, now), now.factor(op), int(key[-1]), dead_zone)
                    self._seen = {k: v for k, v in self._seen.items() if k == key[: len(k)]}  # one path at a time
                    self._seen[key] = layer, op.with_layer(layer)(now.a)
                layers.append(self._seen[key][0])
                now = _Inputs(self._seen[key][1])
            else:
                now = now.after(op)
        return self._net.with_layers(layers)


class _Inputs:
    """What an operation reads, (points, ...), and what it takes to fit weights to it, computed once."""

    def __init__(self, a: np.ndarray) -> None:
        self.a = a
        self._next: _Inputs | None = None
        self._rows: np.ndarray | None = None
        self._factor: tuple[np.ndarray, np.ndarray] | None = None

    def after(self, op: Op) -> _Inputs:
        """What the operation behind this one reads."""
        if self._next is None:
            self._next = _Inputs(op(self.a))
        return self._next

    def rows(self, op: Linear | Convolution) -> np.ndarray:
        """What the weights are multiplied with, (rows, d + 1) with a last 1 for the bias."""
        if self._rows is None:
            read = op.reads(self.a)
            self._rows = np.column_stack([read, np.ones(len(read))])
        return self._rows

    def factor(self, op: Linear | Convolution) -> tuple[np.ndarray, np.ndarray]:
        """The used columns, and U with U^T U the inverse of their damped second moments."""
        if self._factor is None:
            read = self.rows(op)
            used = np.flatnonzero(read.any(axis=0))
            moments = _finite("second moments of what a layer reads", read[:, used].T @ read[:, used] / len(read))
            damped = moments + np.eye(len(used)) * (_DAMPING * np.trace(moments) / read.shape[1])
            self._factor = used, np.linalg.cholesky(np.linalg.inv(damped)).T
        return self._factor


def _fed_back(w: np.ndarray, factor: tuple[np.ndarray, np.ndarray], m: int, dead_zone: float) -> PyramidLayer:
    """Round the columns of w, (out, d + 1) with the bias last; those that no point uses become 0."""
    used, upper = factor
    left, d = w[:, used], w.shape[1] - 1
    levels = scale_levels(left[:, :-1], m)
    scale = SCALES.magnitudes(levels)
    z = np.zeros((len(w), d), np.int64)
    last = len(used) - 1
    for start in range(0, last, _WIDTH):
        end = min(start + _WIDTH, last)
        errors = np.zeros((len(w), end - start))
        for j in range(start, end):
            exact = left[:, j] / scale
            whole = np.where(np.abs(exact) < dead_zone, 0.0, np.rint(exact))
            z[:, used[j]] = whole
            errors[:, j - start] = (left[:, j] - whole * scale) / upper[j, j]
            left[:, j + 1 : end] -= np.outer(errors[:, j - start], upper[j, j + 1 : end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return _layer(z, levels, left[:, last])


def _fitted(op: Linear | Convolution, was: _Inputs, now: _Inputs) -> np.ndarray:
    """Weights with the bias as last column that take `now` to where the original ones take `was`, and stay close."""
    w = np.column_stack([op.layer.weight, op.layer.bias])
    if np.array_equal(was.a, now.a):
        return w
    before, read = was.rows(op), now.rows(op)
    moments = _finite("second moments of what a layer reads", read.T @ read)
    ridge = 1e-6 * np.trace(moments) / len(moments) * np.eye(len(moments))
    return _finite("fitted weights", w + np.linalg.solve(moments + ridge, read.T @ (before @ w.T - read @ w.T)).T)


def _layer(z: np.ndarray, levels: np.ndarray, bias: np.ndarray) -> PyramidLayer:
    return PyramidLayer(z=z, levels=np.where(z.any(axis=1), levels, 0), bias=SCALES.nearest(bias))


@np.errstate(over="ignore")
def scale_levels(weight: np.ndarray, m: int) -> np.ndarray:
    """The levels of |w_i|_1 / m on the grid of scales; 0 for a row of zeros.

    Raises InvalidParameter where m |w_i|_1 is no float.
    """
    total = np.abs(weight).sum(axis=1)
    _finite("m times the sum of a row's weights", m * total)
    size = total / m
    levels = np.zeros(len(weight), np.int64)
    levels[size > 0] = SCALES.levels(size[size > 0])
    return levels


def _finite(name: str, value: np.ndarray) -> np.ndarray:
    if not np.isfinite(value).all():
        raise InvalidParameter(f"{name} must be finite, got an overflow.")
    return value


def _checked(net: FeedForward, norms: Sequence[int]) -> list[int]:
    if len(norms) != len(net.layers):
        raise InvalidParameter(f"norms must be {len(net.layers)}, one for each layer, got {len(norms)}.")
    return [positive_int("a norm", m) for m in norms]
