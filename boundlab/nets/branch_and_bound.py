"""The largest difference of two small ReLU nets on a ball, by branch and bound on the signs of their neurons.

f - g is one ReLU net. In a region where some signs are fixed, every neuron lies between two affine functions of x; what
is left is an affine function on the part of a ball cut out by half-spaces, bounded by Lagrange multipliers. Fixing
every sign makes the bound exact.
"""

from __future__ import annotations

import heapq
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog, minimize

from boundlab._theory import implements
from boundlab.network import Network

ROUNDING = 1e-12
"""Share of the sum of all terms' sizes that is added to a bound, above its rounding in float64."""
EMPTY = 1e-9
"""A region counts as empty where its half-spaces, of unit normals, miss each other by this share of the radius."""


class Difference:
    """f - g as one net: a neuron of f and an equal one of g are one neuron, and their outgoing weights are subtracted.

    Neurons of one net are never merged: their weights would be added with a rounding error that may be all of the sum.

    `hidden` holds (weight, bias, relu) of the layers before the last, `weight` and `bias` those of the last one.
    """

    def __init__(self, f: Network, g: Network) -> None:
        """Join two nets of one depth, with the same inputs, outputs and activations."""
        self.hidden: list[tuple[np.ndarray, np.ndarray, bool]] = []
        own = other = np.eye(f.sizes[0])  # what each net reads, of what the joint one has
        for k, (a, b) in enumerate(zip(f.layers, g.layers, strict=True)):
            left, right = a.weight @ own, b.weight @ other
            if k == len(f.layers) - 1 and not a.relu:
                self.weight, self.bias = left - right, a.bias - b.bias
                return
            mine, theirs = np.column_stack([left, a.bias]), np.column_stack([right, b.bias])
            rows = np.concatenate([np.column_stack([v, _repeats(v)]) for v in (mine, theirs)]) + 0.0
            joint, place = np.unique(rows, axis=0, return_inverse=True)
            self.hidden.append((joint[:, :-2].copy(), joint[:, -2].copy(), a.relu))
            own, other = np.eye(len(joint))[place[: len(left)]], np.eye(len(joint))[place[len(left) :]]
        self.weight, self.bias = own - other, np.zeros(len(own))

    @property
    def features(self) -> int:
        """Entries of an input."""
        return (self.hidden[0][0] if self.hidden else self.weight).shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(f - g)(x), shape (outputs,), at one input."""
        for weight, bias, relu in self.hidden:
            x = weight @ x + bias
            x = np.maximum(x, 0.0) if relu else x
        return self.weight @ x + self.bias

    def scale(self, radius: float) -> np.ndarray:
        """The sum of the sizes of all terms of each output on the ball."""
        size = np.full(self.features, radius)
        for weight, bias, _ in self.hidden:
            size = np.abs(weight) @ size + np.abs(bias)
        return np.abs(self.weight) @ size + np.abs(self.bias)


def _repeats(rows: np.ndarray) -> np.ndarray:
    """How many equal rows stand before each, (rows,)."""
    _, place = np.unique(rows + 0.0, axis=0, return_inverse=True)
    order, rank = np.argsort(place, kind="stable"), np.empty(len(rows))
    rank[order] = np.arange(len(rows)) - np.searchsorted(place[order], place[order])
    return rank


@dataclass(frozen=True, kw_only=True, eq=False)
class Closed:
    """What a search found: a bound on every |f_i - g_i|, the best input and how many regions were looked at."""

    upper: float
    x: np.ndarray
    nodes: int


@dataclass(frozen=True, eq=False)
class _Region:
    """Fixed signs (+1 on, -1 off, 0 open) of each hidden layer, and what follows for one output of one sign."""

    signs: tuple[np.ndarray, ...]
    row: np.ndarray  # weights of the last layer, with the sign
    bias: float
    slack: float


@implements("boundlab_ball_branch_and_bound")
def search(net: Difference, radius: float, lower: float, nodes: int, *, tolerance: float) -> Closed:
    """Return a bound on max_i |(f - g)_i| over the ball, at most `tolerance` above the truth if `nodes` suffice.

    The region of the largest bound is split at the open neuron whose relaxation costs most, lowest layer first; one
    whose bound is at most (1 + tolerance) times the best value found is closed. Rounded up.
    """
    open_signs = tuple(np.zeros(len(bias), np.int8) for _, bias, _ in net.hidden)
    slack = ROUNDING * net.scale(radius)
    best, best_x, done, seen = lower, np.zeros(net.features), 0.0, 0
    heap: list[tuple[float, int, _Region, tuple[int, int]]] = []

    def enter(region: _Region) -> None:
        nonlocal best, best_x, done, seen
        seen += 1
        bound, x, branch = _bound(net, region, radius, best * (1.0 + tolerance))
        value = float(np.abs(net(x)).max()) - float(slack.max())
        if value > best:
            best, best_x = value, x
        if bound <= best * (1.0 + tolerance) or branch is None:
            done = max(done, bound)
        else:
            heapq.heappush(heap, (-bound, seen, region, branch))

    with _one_thread():
        for i in range(len(net.weight)):
            for sign in (1.0, -1.0):
                enter(_Region(open_signs, sign * net.weight[i], sign * float(net.bias[i]), float(slack[i])))
        while heap and seen < nodes and -heap[0][0] > best * (1.0 + tolerance):
            _, _, region, (k, place) = heapq.heappop(heap)
            for sign in (1, -1):
                signs = [own.copy() for own in region.signs]
                signs[k][place] = sign
                enter(_Region(tuple(signs), region.row, region.bias, region.slack))
    return Closed(upper=float(max(done, best, *(-bound for bound, *_ in heap))), x=best_x, nodes=seen)


def _one_thread() -> AbstractContextManager[object]:
    """Linear algebra on one thread: on problems of this size the others only wait for each other."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1)


def _bound(
    net: Difference, region: _Region, r: float, enough: float
) -> tuple[float, np.ndarray, tuple[int, int] | None]:
    """An upper bound on the output over the region, a promising input, and the neuron to branch on (None: none open).

    low, high: affine functions of x, (n, d) and (n,), between which the neurons of a layer lie in this region.
    """
    low = high = (np.eye(net.features), np.zeros(net.features))
    cuts, levels = [np.zeros((0, net.features))], [np.zeros(0)]
    branch, after = None, [w for w, _, _ in net.hidden[1:]] + [region.row[None]]
    for k, ((weight, bias, relu), signs) in enumerate(zip(net.hidden, region.signs, strict=True)):
        plus, minus = np.maximum(weight, 0.0), np.minimum(weight, 0.0)
        high, low = (
            (plus @ high[0] + minus @ low[0], plus @ high[1] + minus @ low[1] + bias),
            (plus @ low[0] + minus @ high[0], plus @ low[1] + minus @ high[1] + bias),
        )
        if not relu:
            continue
        on, off = signs > 0, signs < 0
        cuts += [-high[0][on], low[0][off]]  # on: high >= 0; off: low <= 0
        levels += [high[1][on], -low[1][off]]
        top, floor = high[1] + r * _norm(high[0]), low[1] - r * _norm(low[0])
        unsure = ~on & ~off & (top > 0.0) & (floor < 0.0)
        on |= ~off & (floor >= 0.0)
        slope = np.where(unsure, top / np.where(unsure, top - floor, 1.0), on.astype(np.float64))
        below = np.where(unsure, (top > -floor).astype(np.float64), on.astype(np.float64))
        high = (slope[:, None] * high[0], slope * high[1] - np.where(unsure, slope * floor, 0.0))
        low = (below[:, None] * low[0], below * low[1])
        if branch is None and unsure.any():
            cost = np.where(unsure, -slope * floor, -1.0) * (np.abs(after[k]).sum(axis=0) + 1e-300)
            branch = (k, int(cost.argmax()))
    plus, minus = np.maximum(region.row, 0.0), np.minimum(region.row, 0.0)
    g, constant = plus @ high[0] + minus @ low[0], float(plus @ high[1] + minus @ low[1]) + region.bias
    cut, level = np.concatenate(cuts), np.concatenate(levels)
    constant += region.slack
    bound, x = _on_the_ball(g, cut, level, r, enough=enough - constant, corner=branch is None)
    return bound + constant, x, branch


def _norm(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1) * (1.0 + ROUNDING)


def _on_the_ball(
    g: np.ndarray, cut: np.ndarray, level: np.ndarray, r: float, *, enough: float, corner: bool
) -> tuple[float, np.ndarray]:
    """A bound on max <g, x> over |x| <= r, cut x <= level: r |g - cut^T y| + <level, y>, and an input to try.

    Any y >= 0 gives a bound; the search for the best one stops below `enough`. If y is optimal, the input attains the
    bound, unless the maximum is a corner inside the ball: a linear program finds it.
    """
    size = np.linalg.norm(cut, axis=1)
    keep = size > 0.0
    if np.any(level[~keep] < -EMPTY * r):
        return -np.inf, np.zeros(len(g))
    cut, level = cut[keep] / size[keep, None], level[keep] / size[keep]
    unit, best = float(np.linalg.norm(g)), np.zeros(len(cut))
    if len(cut) and unit > 0.0:

        def dual(y: np.ndarray) -> tuple[float, np.ndarray]:
            v = g / unit - y @ cut
            length = float(np.linalg.norm(v))
            return r * length + float(level @ y), level - r * (cut @ v) / (length or 1.0)

        def stop(y: np.ndarray) -> None:
            nonlocal best
            best = np.maximum(y, 0.0) * unit
            if dual(y)[0] * unit < enough - abs(enough) * 1e-9:
                raise StopIteration

        minimize(
            dual,
            best,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * len(cut),
            callback=stop,
            options={"ftol": 1e-15, "maxiter": 400 if corner else 40},
        )
    bound, x = _dual_bound(g, cut, level, r, best)
    if corner and len(cut):
        found = linprog(-g, A_ub=cut, b_ub=level, bounds=(-r, r), method="highs")
        if found.x is not None:
            bound = min(bound, _dual_bound(g, cut, level, r, np.maximum(-found.ineqlin.marginals, 0.0))[0])
            x = found.x if np.linalg.norm(found.x) <= r else x
        elif _empty(cut, level, r):
            bound = -np.inf
    return bound, x


def _empty(cut: np.ndarray, level: np.ndarray, r: float) -> bool:
    """Whether some y >= 0 with sum 1 shows <y, cut x - level> > 0 on the whole ball: then no x satisfies all cuts."""
    least = np.append(np.zeros(cut.shape[1]), 1.0)  # the smallest violation that all cuts can share
    shared = np.column_stack([cut, -np.ones(len(cut))])
    found = linprog(least, A_ub=shared, b_ub=level, bounds=[(-r, r)] * cut.shape[1] + [(None, None)], method="highs")
    if found.x is None:
        return False
    y = np.maximum(-found.ineqlin.marginals, 0.0)
    return float(-r * np.linalg.norm(y @ cut) - level @ y) > EMPTY * r


def _dual_bound(g: np.ndarray, cut: np.ndarray, level: np.ndarray, r: float, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The bound of multipliers y >= 0, rounded up, and the input of the ball that attains it where they are optimal."""
    v = g - y @ cut
    length = float(np.linalg.norm(v))
    rounding = ROUNDING * (r * float(np.linalg.norm(g) + y.sum()) + float(np.abs(level) @ y))
    return r * length + float(level @ y) + rounding, r * (1.0 - 1e-14) * v / (length or 1.0)
