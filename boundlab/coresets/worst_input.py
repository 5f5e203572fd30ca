"""How far a reweighted ReLU layer is from the original at the worst input of a ball: exact in the plane, else enclosed.

D(x) = sum_p c_p ReLU(<p, x>) with c = w - u, the original minus the reweighted outgoing weights, is homogeneous and
piecewise linear: its extremes over a ball lie on the sphere, and a bound for the radius 1 times r is one for r.
"""

from __future__ import annotations

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int
from boundlab._theory import implements

ROUNDING = 2.0**-50
"""Share of sum_p |c_p| |p|, the largest value in sight, allowed for float64 rounding, for each of n + 8 terms."""


@implements("boundlab_worst_input_sweep")
def plane_sup(
    points: np.ndarray, coefficients: np.ndarray, radius: float = 1.0, *, nonnegative: bool = False
) -> np.ndarray:
    """Return sup |D(x)| over a disc, exact up to rounding, rounded up: the larger side of `plane_range`.

    Parameters, shapes, errors and source as there; one number for each row of coefficients.

    Examples
    --------
    >>> plane_sup(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 4.0], [3.0, -4.0]])).round(9)
    array([5., 4.])
    """
    low, high = plane_range(points, coefficients, radius, nonnegative=nonnegative)
    return np.maximum(high, -low)


@implements("boundlab_worst_input_sweep")
def plane_range(
    points: np.ndarray, coefficients: np.ndarray, radius: float = 1.0, *, nonnegative: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return inf D and sup D over a disc: the angular sweep, exact up to rounding, rounded outwards.

    The directions orthogonal to the points cut the circle into arcs on which D(x) = <g, x>, and g changes by one
    term from arc to arc. On an arc the extreme is radius |g| where g points into it, else at an end.

    Parameters
    ----------
    points : (n, 2) float64, one neuron's input weights in each row
    coefficients : (rows, n) float64, one D in each row
    radius : float > 0
    nonnegative : bool, the inputs are those of the disc with both entries >= 0

    Returns
    -------
    low, high : (rows,) float64, low <= 0 <= high. Time O(n log n + rows n), memory O(rows n).

    Raises
    ------
    InvalidParameter
        If a shape is another one or an entry is not finite.

    Notes
    -----
    Ours; proved in ``boundlab_worst_input_sweep``.

    Examples
    --------
    >>> low, high = plane_range(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, -4.0]]))
    >>> low.round(9), high.round(9)
    (array([-4.]), array([3.]))
    """
    points = matrix("points", points, columns=2)
    coefficients = matrix("coefficients", coefficients, columns=len(points))
    radius = positive("radius", radius)
    moving = np.any(points != 0.0, axis=1)
    p, c = points[moving], coefficients[:, moving]
    if not len(p):
        return np.zeros(len(c)), np.zeros(len(c))
    ends, toggled, sign, first = _arcs(p, nonnegative)
    steps = (c[:, toggled] * sign)[:, :, None] * p[toggled]  # (rows, arcs - 1, 2)
    g = np.concatenate([(c[:, first] @ p[first])[:, None, :], steps], axis=1).cumsum(axis=1)  # (rows, arcs, 2)
    u = np.stack([np.cos(ends), np.sin(ends)], axis=1)
    at = np.stack([(g * u[:-1]).sum(axis=2), (g * u[1:]).sum(axis=2)])  # (2, rows, arcs)
    left, right = _cross(u[:-1], g), _cross(g, u[1:])
    length = np.hypot(g[..., 0], g[..., 1])
    high = np.maximum(at.max(axis=0), np.where((left >= 0) & (right >= 0), length, 0.0)).max(axis=1)
    low = np.minimum(at.min(axis=0), np.where((left <= 0) & (right <= 0), -length, 0.0)).min(axis=1)
    slack = _slack(p, c)
    return radius * (np.minimum(low, 0.0) - slack), radius * (np.maximum(high, 0.0) + slack)


@implements("boundlab_worst_input_sweep")
def ascent_lower(
    points: np.ndarray,
    coefficients: np.ndarray,
    radius: float = 1.0,
    *,
    rng: np.random.Generator,
    starts: int = 32,
    steps: int = 60,
) -> float:
    """Return a lower bound on sup |D(x)| over the ball of any dimension: projected gradient ascent, rounded down.

    From each start x moves to the sphere along the gradient, x <- radius y/|y| with y = x + h g/|g| and a falling
    step h, for D and for -D. Starts: random directions, the points of the largest |c_p| |p|, and the gradient at each.
    The value is that of a point of the ball, so that it is a lower bound however badly the ascent goes.

    Parameters
    ----------
    points : (n, d) float64
    coefficients : (n,) float64
    radius : float > 0
    rng : generator of the random starts
    starts, steps : int >= 1

    Returns
    -------
    float >= 0; the exact supremum is at least this.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Ours; checked in ``boundlab_worst_input_sweep``.

    Examples
    --------
    >>> found = ascent_lower(np.eye(3), np.array([2.0, 3.0, 6.0]), rng=np.random.default_rng(0))
    >>> round(found, 6)
    7.0
    """
    p, c = _layer(points, coefficients)
    radius = positive("radius", radius)
    starts, steps = positive_int("starts", starts), positive_int("steps", steps)
    heavy = np.argsort(-np.abs(c) * np.linalg.norm(p, axis=1))[:starts]
    x = np.concatenate([rng.standard_normal((starts, p.shape[1])), p[heavy], -p[heavy]])
    x = np.concatenate([x, _gradient(p, c, x), -_gradient(p, c, x)])
    best = 0.0
    for sign in (1.0, -1.0):
        y = _on_sphere(x)
        for k in range(steps):
            best = max(best, float((sign * (np.maximum(y @ p.T, 0.0) @ c)).max()))
            y = _on_sphere(y + 8.0 / (1.0 + k) * _on_sphere(sign * _gradient(p, c, y)))
    return max(0.0, radius * (best - float(_slack(p, c))))


@implements("boundlab_worst_input_sweep")
def ball_upper(points: np.ndarray, coefficients: np.ndarray, radius: float = 1.0) -> float:
    """Return a certified upper bound on sup |D(x)| over the ball of any dimension, rounded up.

        the smaller of   radius max(N+, N-)   and   (radius/2) (|sum_p c_p p| + max(B+, B-)),

    N± = sum of |c_p| |p| and B± = sqrt(N± lambda_max(sum of |c_p| p p^T/|p|)) <= N±, over the c_p of one sign. Both are
    at most radius sum_p |c_p| |p|, the sum of the neurons' own suprema.

    Parameters
    ----------
    points : (n, d) float64
    coefficients : (n,) float64
    radius : float > 0

    Returns
    -------
    float >= 0; the exact supremum is at most this.

    Raises
    ------
    InvalidParameter
        If an argument is out of its range.

    Notes
    -----
    Ours: ReLU(u) = u/2 + |u|/2 and Cauchy-Schwarz; proved in ``boundlab_worst_input_sweep``.

    Examples
    --------
    >>> round(ball_upper(np.eye(2), np.array([3.0, -4.0])), 9)
    4.0
    """
    p, c = _layer(points, coefficients)
    radius = positive("radius", radius)
    size = np.linalg.norm(p, axis=1)
    sides = [_side(p, size, np.maximum(sign * c, 0.0)) for sign in (1.0, -1.0)]
    plain = max(total for total, _ in sides)
    split = 0.5 * (float(np.linalg.norm(c @ p)) + max(spectral for _, spectral in sides))
    return radius * (min(plain, split) + float(_slack(p, c)))


def _slack(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    return ROUNDING * (len(p) + 8.0) * (np.abs(c) @ np.linalg.norm(p, axis=1))


def _side(p: np.ndarray, size: np.ndarray, c: np.ndarray) -> tuple[float, float]:
    """N and B of one sign: sum c |p|, and its refinement by the largest eigenvalue."""
    total = float(c @ size)
    moment = (p * (c / np.where(size > 0, size, 1.0))[:, None]).T @ p
    return total, float(np.sqrt(total * max(0.0, np.linalg.eigvalsh(moment)[-1])))


def _layer(points: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = matrix("points", points)
    if np.ndim(coefficients) != 1:
        raise InvalidParameter(f"coefficients must have shape ({len(p)},), got {np.shape(coefficients)}.")
    return p, matrix("coefficients", np.asarray(coefficients)[None], columns=len(p))[0]


def _arcs(p: np.ndarray, nonnegative: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ends of the arcs in rising order; at each inner end who switches, +1 (on) or -1 (off); who is on at first.

    Who is on at first is read from the same angles, so that no rounding can switch a neuron on twice.
    """
    stop = 0.5 * np.pi if nonnegative else 2.0 * np.pi
    angle = np.arctan2(p[:, 1], p[:, 0])
    on, off = np.mod(angle - 0.5 * np.pi, 2.0 * np.pi), np.mod(angle + 0.5 * np.pi, 2.0 * np.pi)
    cuts = np.concatenate([on, off])
    order = np.argsort(cuts)
    order = order[(cuts[order] > 0.0) & (cuts[order] < stop)]
    sign = np.where(order < len(p), 1.0, -1.0)
    ends = np.concatenate([[0.0], cuts[order], [stop]])
    return ends, order % len(p), sign, (on == 0.0) | ((on > off) & (off > 0.0))


def _gradient(p: np.ndarray, c: np.ndarray, x: np.ndarray) -> np.ndarray:
    return ((x @ p.T > 0.0) * c) @ p


def _on_sphere(x: np.ndarray) -> np.ndarray:
    """The unit vectors of the rows; a zero row stays zero."""
    size = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(size > 0.0, size, 1.0)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
