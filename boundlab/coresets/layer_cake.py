"""An error in proportion to the value itself: m of order t/eps², at the price of the dimension; non-negative weights.

E h is the integral over r of P(h > r). Vapnik and Chervonenkis bound |P - P_m| by eta sqrt(P) for all sets {h > r} at
once, and integrating carries the square root over: |f - fhat| <= eta sqrt(t max(f, fhat)) for all inputs.
"""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements

ROUNDING = 1e-12
"""Relative enlargement of every value returned, above the rounding of the few operations that lead to it."""


@implements("anthony1993_relative_deviation")
def log_growth(points: float, vc: int) -> float:
    """Return an upper bound on ln of the number of subsets that a class of VC-dimension `vc` cuts out of points.

        vc ln(e points/vc) from points = vc on (Sauer's lemma), and at most points ln 2

    Parameters
    ----------
    points : > 0; a float, since sizes may exceed every integer type
    vc : >= 1

    Examples
    --------
    >>> round(log_growth(100, 3), 4), round(log_growth(2, 3), 4)
    (13.5197, 1.3863)
    """
    n, v = positive("points", points), positive_int("vc", vc)
    everything = n * math.log(2.0)
    return (min(everything, v * (1.0 + math.log(n / v))) if n >= v else everything) * (1.0 + ROUNDING)


@implements("anthony1993_relative_deviation", "boundlab_layer_cake")
def relative_deviation(size: float, delta: float, *, vc: int, classes: int = 1) -> float:
    """Return eta with P(A) - P_m(A) <= eta sqrt(P(A)) and P_m(A) - P(A) <= eta sqrt(P_m(A)) for all sets A at once.

        eta² = (4/m) (log_growth(2m, vc) + ln(8 classes/delta)),        with probability at least 1 - delta

    Parameters
    ----------
    size : m > 0, independent draws
    delta : in (0, 1)
    vc : VC-dimension of each class of sets
    classes : how many classes there are, at least 1

    Raises InvalidParameter. Source: Anthony and Shawe-Taylor (1993) after Vapnik, as we understand the paper; proved
    in ``anthony1993_relative_deviation``.

    Examples
    --------
    >>> round(relative_deviation(10_000, 0.05, vc=3), 4)
    0.1175
    """
    m, log_classes = positive("size", size), math.log(positive_int("classes", classes))
    log_events = math.log(8.0) + log_classes - math.log(probability("delta", delta))
    return math.sqrt(4.0 / m * (log_growth(2.0 * m, vc) + log_events)) * (1.0 + ROUNDING)


@implements("boundlab_layer_cake", "boundlab_homogeneous_sensitivity")
def layer_cake_error(
    value: np.ndarray | float, total: float, size: float, delta: float, *, dimension: int, outputs: int = 1
) -> np.ndarray:
    """Return a bound on |f_j(x) - fhat_j(x)| for all x of the ball and all j, from either value; ReLU, w >= 0.

        a (a + sqrt(a² + 4 value))/2 with a = eta sqrt(t), the root of E = a sqrt(value + E)

    Parameters
    ----------
    value : array of f_j(x), or of fhat_j(x), >= 0
    total : t > 0
    size : m > 0 draws, fixed beforehand
    delta : in (0, 1)
    dimension : d, entries of an input; a bias counts as one
    outputs : k

    Raises InvalidParameter. Proved in ``boundlab_layer_cake``. With sensitivities of |<p, x>| for s (no ball), `value`
    and the result are in units of sum_p om |<p, x>|, and value = 1 covers every input.

    Examples
    --------
    >>> layer_cake_error(np.array([0.0, 1.0, 4.0]), 10.0, 100_000, 0.05, dimension=2).round(4)
    array([0.0166, 0.1372, 0.2658])
    """
    f = np.asarray(value, np.float64)
    if not np.all((f >= 0.0) & np.isfinite(f)):
        raise InvalidParameter("value must be finite and at least 0: the weights and the activation are.")
    eta = relative_deviation(size, delta, vc=positive_int("dimension", dimension) + 1, classes=outputs)
    a = eta * math.sqrt(positive("total", total))
    return 0.5 * a * (a + np.sqrt(a * a + 4.0 * f)) * (1.0 + ROUNDING)


@implements("boundlab_layer_cake", "boundlab_homogeneous_sensitivity")
def layer_cake_size(total: float, eps: float, delta: float, *, dimension: int, outputs: int = 1) -> float:
    """Return m after which |f_j(x) - fhat_j(x)| <= eps max(1, f_j(x)) for all x of the ball and all j; ReLU, w >= 0.

        m >= (4 (1 + eps) t/eps²) ((d + 1) ln(2 e m/(d + 1)) + ln(8k/delta)),   2 m >= d + 1

    Parameters
    ----------
    total : t > 0
    eps : > 0
    delta : in (0, 1)
    dimension : d, entries of an input; a bias counts as one
    outputs : k

    Raises InvalidParameter. For weights of both signs, apply it to the positive and to the negative parts (twice the
    outputs, errors add). Proved in ``boundlab_layer_cake``; it is what a published claim of size t/eps² becomes.

    Examples
    --------
    >>> layer_cake_size(10.0, 0.5, 0.05, dimension=2)
    8129.0
    """
    t, e = positive("total", total), positive("eps", eps)
    v = positive_int("dimension", dimension) + 1
    factor = 4.0 * (1.0 + e) * t / e / e
    log_events = math.log(8.0 * positive_int("outputs", outputs)) - math.log(probability("delta", delta))

    def lacking(m: float) -> bool:
        return m < factor * (v * (1.0 + math.log(2.0 * m / v)) + log_events) * (1.0 + ROUNDING)

    low = max(0.5 * v, factor * v)  # from here on the left side grows faster than the right one
    if not lacking(low):
        return float(max(1.0, np.ceil(low)))
    high = 2.0 * low
    while math.isfinite(high) and lacking(high):
        low, high = high, 2.0 * high
    while high - low > max(0.5, 1e-15 * high) and math.isfinite(high):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if lacking(middle) else (low, middle)
    return float(np.ceil(high))
