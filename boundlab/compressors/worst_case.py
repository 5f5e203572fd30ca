"""How far two ReLU nets of one shape are apart at the worst input of a ball: searched, enclosed, exact where small.

Three numbers beside each other: what ascent found at an input that it hands out (lower), what is certified (upper), and
both in one where branch and bound closes the gap (exact). No data are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab._theory import implements
from boundlab.coresets.layer_coreset import in_fewer_dimensions
from boundlab.coresets.worst_input import ball_upper
from boundlab.nets.branch_and_bound import Difference, search
from boundlab.nets.norms import spectral_norm
from boundlab.network import Network
from boundlab.records import Record, Row

UP = 1.0 + 2.0**-40
"""Enlargement of a bound, above the rounding of the few operations behind it."""
BLUR = 1e-12
"""Share of the size of an output's terms that is taken off a value found."""
NODES, SMALL = 2000, 128
"""Regions that branch and bound may look at by default, in nets of so many neurons together."""
CLOSED = 1e-6
"""A gap of this share of the upper bound counts as closed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WorstCase(Record):
    """sup over |x|_2 <= radius of the largest |f_i(x) - g_i(x)|: between `lower` and `upper`.

    `x` is the worst input that was found, and `output` where it shows; `nodes` tells how many regions branch and bound
    looked at.
    """

    radius: float
    lower: float
    upper: float
    x: np.ndarray  # (features,)
    output: int
    nodes: int

    @property
    def exact(self) -> float | None:
        """The supremum, rounded up, where both bounds agree to a share of 1e-6; else None."""
        return self.upper if self.upper - self.lower <= CLOSED * self.upper else None

    def rows(self) -> list[Row]:
        """One line."""
        told = {"radius": self.radius, "lower": self.lower, "upper": self.upper}
        return [told | {"exact": self.exact, "output": self.output, "nodes": self.nodes}]


@implements("boundlab_ball_branch_and_bound", "boundlab_worst_input_sweep")
def worst_case_error(
    original: Network,
    compressed: Network,
    radius: float,
    *,
    points: np.ndarray | None = None,
    starts: int = 16,
    steps: int = 60,
    nodes: int | None = None,
    rng: int | np.random.Generator = 0,
) -> WorstCase:
    """Return how far two nets of one shape are apart at the worst input of a ball, max over outputs: lower and upper.

    Lower: projected gradient ascent from random directions, from the heaviest neurons of the first layer and from
    `points`; the value is that of an input, however badly the ascent goes. Upper: the smaller of `deviation_upper` and
    of a branch and bound on the signs of the neurons, stopped after `nodes` regions.

    Parameters
    ----------
    original, compressed : Network
        Of one shape. A net that lost neurons is put in the original's shape by zeros in the columns that read them;
        `worst_case` of ``compressors.sup_promise`` does so.
    radius : float > 0
    points : (n, features), further starts, those outside the ball are pulled in; none by default
    starts, steps : int >= 1, of the ascent
    nodes : int >= 0; 0 leaves branch and bound out. By default 2000 where both nets have at most 128 neurons together,
        outputs included, and 0 in larger ones, where regions are dear and far too few to close the gap
    rng : seed or generator of the random starts; no bound depends on it, only how good `lower` is

    Returns
    -------
    WorstCase

    Raises
    ------
    InvalidParameter
        If the shapes or activations differ, or an argument is out of its range.

    Notes
    -----
    Ours; proved in ``boundlab_ball_branch_and_bound``.

    Examples
    --------
    >>> from boundlab.network import Layer
    >>> def net(*w):
    ...     first = Layer(weight=np.array([[3.0, 0.0], [0.0, 4.0]]), bias=np.zeros(2), relu=True)
    ...     return Network(layers=(first, Layer(weight=np.array([w]), bias=np.zeros(1), relu=False)))
    >>> found = worst_case_error(net(1.0, 1.0), net(2.0, 0.0), 1.0)
    >>> round(found.lower, 6), round(found.exact, 6)
    (4.0, 4.0)
    """
    radius = positive("radius", radius)
    starts, steps = positive_int("starts", starts), positive_int("steps", steps)
    _same_shape(original, compressed)
    if nodes is None:
        nodes = NODES if 2 * sum(original.sizes[1:]) <= SMALL else 0
    if isinstance(nodes, bool) or not isinstance(nodes, (int, np.integer)) or nodes < 0:
        raise InvalidParameter(f"nodes must be a whole number of at least 0, got nodes={nodes!r}.")
    given = np.zeros((0, original.sizes[0])) if points is None else points
    own = matrix("points", given, columns=original.sizes[0]) if len(given) else given
    x = _starts(original, radius, starts, own, np.random.default_rng(rng))
    x, output, lower = _ascend(original, compressed, x, radius, steps)
    upper, seen = float(deviation_upper(original, compressed, radius).max()), 0
    if nodes and upper > lower:
        closed = search(Difference(original, compressed), radius, lower, int(nodes), tolerance=0.1 * CLOSED)
        seen, upper = closed.nodes, min(upper, closed.upper)
        value = _blurred(original, compressed, closed.x[None])[0]
        if value.max() > lower:
            x, output, lower = closed.x, int(value.argmax()), float(value.max())
    return WorstCase(radius=radius, lower=lower, upper=max(upper, lower), x=x, output=output, nodes=seen)


@implements("boundlab_ball_branch_and_bound", "boundlab_spectral_deviation", "boundlab_worst_input_sweep")
def deviation_upper(original: Network, compressed: Network, radius: float) -> np.ndarray:
    """Return certified bounds on |f_i(x) - g_i(x)| for all |x|_2 <= radius, (outputs,), rounded up.

    With W, b of f, V, c of g, and a what f reads, V ahat + c - W a - b = (V - W) a + (c - b) + V (ahat - a). Entry by
    entry and in the Euclidean norm, the smaller of the two at each step; a lies in a box and in a ball of its own. What
    reads a first layer that both share is bounded by `ball_upper`, which uses that its errors cancel.

    Parameters and errors as for `worst_case_error`.
    """
    r = positive("radius", radius)
    _same_shape(original, compressed)
    box, ball, signed = np.full(original.sizes[0], r), r, True
    entry, norm = np.zeros(original.sizes[0]), 0.0
    for k, (f, g) in enumerate(zip(original.layers, compressed.layers, strict=True)):
        moved, shift = g.weight - f.weight, np.abs(g.bias - f.bias)
        own = np.minimum(np.abs(moved) @ box, np.linalg.norm(moved, axis=1) * ball)
        if k == 1 and original.layers[0].relu and not norm:
            first = original.layers[0]
            neurons = in_fewer_dimensions(np.column_stack([first.weight, first.bias]))
            rows = np.flatnonzero(moved.any(axis=1))
            own[rows] = np.minimum(own[rows], [ball_upper(neurons, moved[i], float(np.hypot(r, 1.0))) for i in rows])
        own = (own + shift) * UP
        passed = np.minimum(np.abs(g.weight) @ entry, np.linalg.norm(g.weight, axis=1) * norm)
        entry = (own + passed) * UP
        norm = min(float(np.linalg.norm(entry)), spectral_norm(g.weight) * norm + float(np.linalg.norm(own))) * UP
        entry = np.minimum(entry, norm)
        reach = np.linalg.norm(f.weight, axis=1) * ball
        high = f.bias + np.minimum(reach, np.abs(f.weight) @ box if signed else np.maximum(f.weight, 0.0) @ box)
        low = f.bias - np.minimum(reach, np.abs(f.weight) @ box if signed else np.maximum(-f.weight, 0.0) @ box)
        size = np.abs(f.bias) + reach
        box = (np.maximum(high, 0.0) if f.relu else np.maximum(high, -low)) + size * (UP - 1.0)
        ball = min(float(np.linalg.norm(box)), spectral_norm(f.weight) * ball + float(np.linalg.norm(f.bias))) * UP
        signed = not f.relu
    return entry


def _same_shape(f: Network, g: Network) -> None:
    if f.sizes != g.sizes or [w.relu for w in f.layers] != [w.relu for w in g.layers]:
        raise InvalidParameter(f"nets must have one shape, got {f.sizes} and {g.sizes}; put zeros for removed neurons.")


def _starts(net: Network, radius: float, starts: int, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first = net.layers[0].weight
    heavy = first[np.argsort(-np.linalg.norm(first, axis=1))[:starts]]
    x = np.concatenate([rng.standard_normal((starts, first.shape[1])), heavy, -heavy])
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return _pulled_in(np.concatenate([radius * x / np.where(size > 0.0, size, 1.0), points]), radius)


def _ascend(f: Network, g: Network, x: np.ndarray, radius: float, steps: int) -> tuple[np.ndarray, int, float]:
    """The best input found: (x, output, |f - g| there, rounded down).

    A start climbs the output and sign that are largest there; and each output and sign has its best start.
    """
    outputs = f.sizes[-1]
    best_x, best_output, best = np.zeros(x.shape[1]), 0, -1.0
    signed = f(x) - g(x)
    signed = np.concatenate([signed, -signed], axis=1)  # (starts, 2 outputs)
    which = np.concatenate([signed.argmax(axis=1), np.arange(2 * outputs)])
    x = np.concatenate([x, x[signed.argmax(axis=0)]])
    toward = np.zeros((len(which), outputs))
    toward[np.arange(len(which)), which % outputs] = np.where(which < outputs, 1.0, -1.0)
    for step in range(steps + 1):
        value = _blurred(f, g, x)
        place = int(value.max(axis=1).argmax())
        if value[place].max() > best:
            best_x, best_output, best = x[place].copy(), int(value[place].argmax()), float(value[place].max())
        slope = _gradient(f, x, toward) - _gradient(g, x, toward)
        size = np.linalg.norm(slope, axis=1, keepdims=True)
        x = _pulled_in(x + radius * 2.0 / (1.0 + 0.5 * step) * slope / np.where(size > 0.0, size, 1.0), radius)
    return best_x, best_output, max(0.0, best)


def _pulled_in(x: np.ndarray, radius: float) -> np.ndarray:
    """The rows, those outside the ball scaled onto its sphere; rounding never leaves the ball."""
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return x * np.minimum(1.0, radius * (1.0 - 1e-14) / np.where(size > 0.0, size, 1.0))


def _gradient(net: Network, x: np.ndarray, toward: np.ndarray) -> np.ndarray:
    """The gradients of <toward, net(x)> at each row of x."""
    on = [layer.preactivation(a) > 0.0 for layer, a in zip(net.layers, net.inputs(x), strict=True)]
    slope = toward
    for layer, active in zip(reversed(net.layers), reversed(on), strict=True):
        slope = (slope * active if layer.relu else slope) @ layer.weight
    return slope


def _blurred(f: Network, g: Network, x: np.ndarray) -> np.ndarray:
    """|f(x) - g(x)|, (points, outputs), less what rounding may have added in any layer."""
    size = np.zeros((len(x), f.sizes[-1]))
    for net in (f, g):
        terms = np.abs(x)
        for layer in net.layers:
            terms = terms @ np.abs(layer.weight).T + np.abs(layer.bias)
        size = size + terms
    return np.abs(f(x) - g(x)) - BLUR * size
