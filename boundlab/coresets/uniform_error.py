"""How far a sampled layer can be from the original, with explicit constants: the error of m draws, and m for an error.

f_j(x) = sum_p w_j(p) phi(<p, x>) is estimated from m independent draws with pr = s/t, s(p) = sup |phi| max_j |w_j(p)|.
What a plan hands over: t (`total`), kap_j in `kap`, and c0, the length of the range of w_j phi/s: 1 or 2.
Errors and sizes are rounded up. All of it is ours; each function names the file with its proof.
"""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, matrix, positive, positive_int, probability
from boundlab._theory import implements

ROUNDING = 1e-12
"""Relative enlargement of every error and size, above the rounding of the few operations that lead to it."""


@implements("boundlab_fixed_inputs")
def fixed_inputs_size(
    total: float,
    eps: float,
    delta: float,
    *,
    outputs: int = 1,
    inputs: int = 1,
    c0: float = 2.0,
    variance: float | None = None,
) -> float:
    """Return m with |f_j - fhat_j| < eps for all k outputs at N inputs fixed before the draws, w.p. >= 1 - delta.

        Hoeffding    c0² t²/(2 eps²) ln(2 k N/delta)
        Bernstein    (2 variance/eps² + 2 c0 t/(3 eps)) ln(2 k N/delta)        where `variance` is given

    Parameters
    ----------
    total : t > 0
    eps : additive error > 0, in the units of f
    delta : failure probability in (0, 1)
    outputs, inputs : k and N, at least 1
    c0 : 1 where all w_j >= 0 and phi >= 0, else 2
    variance : upper bound on `draw_variance` over the outputs and inputs; t sum_p |w_j phi| is one

    Raises InvalidParameter. Proved in ``boundlab_fixed_inputs``.

    Examples
    --------
    >>> fixed_inputs_size(10.0, 1.0, 0.05), fixed_inputs_size(10.0, 1.0, 0.05, variance=4.0)
    (738.0, 79.0)
    """
    t, e = positive("total", total), positive("eps", eps)
    log_events = _log_events(delta, outputs, inputs)
    if variance is None:
        return _whole((_width(c0) * t / e) ** 2 / 2.0 * log_events)
    return _whole((2.0 * _spread(variance) / e / e + 2.0 * _width(c0) * t / (3.0 * e)) * log_events)


@implements("boundlab_fixed_inputs")
def fixed_inputs_error(
    total: float,
    size: float,
    delta: float,
    *,
    outputs: int = 1,
    inputs: int = 1,
    c0: float = 2.0,
    variance: float | None = None,
) -> float:
    """Return the error that `fixed_inputs_size` turns into m: its inverse, parameters and proof as there.

    Examples
    --------
    >>> round(fixed_inputs_error(10.0, 738, 0.05), 4), round(fixed_inputs_error(10.0, 79, 0.05, variance=4.0), 4)
    (0.9998, 0.9972)
    """
    t, m = positive("total", total), positive("size", size)
    rate = _log_events(delta, outputs, inputs) / m
    if variance is None:
        return _up(_width(c0) * t * math.sqrt(rate / 2.0))
    linear = _width(c0) * t * rate / 3.0
    return _up(linear + math.sqrt(linear * linear + 2.0 * _spread(variance) * rate))


@implements("boundlab_fixed_inputs")
def draw_variance(contributions: np.ndarray, sensitivities: np.ndarray) -> np.ndarray:
    """Return the variance of one draw's estimate, t sum_p c_p²/s_p - (sum_p c_p)², in each row c_p = w_j(p) phi(p.x).

    At most t sum_p |c_p|, since |c_p| <= s_p. Rounded up.

    Parameters
    ----------
    contributions : (rows, n)
    sensitivities : (n,), s_p >= |c_p|; a neuron with s_p = 0 contributes nothing

    Examples
    --------
    >>> draw_variance(np.array([[1.0, 1.0], [2.0, 0.0]]), np.array([2.0, 2.0])).round(9)
    array([0., 4.])
    """
    c, s = matrix("contributions", contributions), np.asarray(sensitivities, np.float64)
    if s.shape != c.shape[1:] or not np.all((np.abs(c) <= s) & np.isfinite(s)):
        raise InvalidParameter(
            f"sensitivities must have shape {c.shape[1:]} and be finite and at least |contributions|."
        )
    second = s.sum() * (c * c / np.where(s > 0, s, 1.0)).sum(axis=1)
    return np.maximum(0.0, second * (1.0 + ROUNDING) - c.sum(axis=1) ** 2)


@implements("boundlab_relu_uniform")
def relu_mean(total: float, kap: np.ndarray | float, size: float, *, nonnegative: bool = False) -> np.ndarray:
    """Return 1.5 t kap/sqrt(m): above the mean of sup_x (f - fhat), and of sup_x (fhat - f), over the ball; ReLU.

    On inputs x >= 0 of the ball 1.5 becomes 1/2 + 1/sqrt(2) = 1.207. Parameters and proof as for `relu_error`.

    Examples
    --------
    >>> relu_mean(2.0, np.array([1.0, 0.5]), 100).round(9)
    array([0.3 , 0.15])
    """
    t, m = positive("total", total), positive("size", size)
    kappa = np.atleast_1d(np.asarray(kap, np.float64))
    if kappa.ndim != 1 or not np.all((kappa >= 0.0) & np.isfinite(kappa)):
        raise InvalidParameter(f"kap must be finite and at least 0, one per output, got {kap!r}.")
    return _relu_factor(nonnegative) * t * kappa / math.sqrt(m) * (1.0 + ROUNDING)


@implements("boundlab_relu_uniform", "boundlab_homogeneous_sensitivity")
def relu_error(
    total: float, kap: np.ndarray | float, size: float, delta: float, *, c0: float = 2.0, nonnegative: bool = False
) -> np.ndarray:
    """Return a bound on sup over |x| <= beta of |f_j - fhat_j|, for all k outputs at once w.p. >= 1 - delta; ReLU.

        (t/sqrt(m)) (1.5 kap_j + c0 sqrt(ln(2k/delta)/2)),        free of the dimension and of n

    Parameters
    ----------
    total : t > 0, of the ball: sum_p S(p) max_j |w_j(p)|
    kap : (k,), (sum_p pr (w_j/om)² lam²)^(1/2) with lam = beta |p|/S(p); at most 1 where S(p) = beta |p|
    size : m > 0 draws, fixed beforehand
    delta : in (0, 1)
    c0 : 1 where all w_j >= 0, else 2
    nonnegative : bool, the domain is the part x >= 0 of the ball: 1.207 for 1.5

    The bias, if any, is one more input, so that beta² contains its 1. Raises InvalidParameter. Proved in
    ``boundlab_relu_uniform``.

    Examples
    --------
    >>> relu_error(2.0, np.array([1.0, 0.5]), 10_000, 0.01).round(4)
    array([0.0992, 0.0842])
    """
    return _with_deviation(relu_mean(total, kap, size, nonnegative=nonnegative), total, size, delta, c0)


@implements("boundlab_relu_uniform")
def relu_size(
    total: float,
    eps: float,
    delta: float,
    *,
    outputs: int = 1,
    c0: float = 2.0,
    kap: float = 1.0,
    nonnegative: bool = False,
) -> float:
    """Return m with `relu_error` <= eps: (t/eps)² (1.5 kap + c0 sqrt(ln(2k/delta)/2))², parameters as there.

    `kap` is the largest of the outputs; it is at most 1 where S(p) = beta |p|.

    Examples
    --------
    >>> relu_size(2.0, 1.0, 0.01), relu_size(2.0, 1.0, 0.01, c0=1.0)
    (91.0, 40.0)
    """
    unit = relu_error(1.0, np.full(positive_int("outputs", outputs), kap), 1.0, delta, c0=c0, nonnegative=nonnegative)
    return _whole((positive("total", total) / positive("eps", eps) * float(unit[0])) ** 2)


@implements("boundlab_relu_bousquet")
def relu_error_bousquet(
    total: float,
    kap: np.ndarray | float,
    size: float,
    delta: float,
    *,
    spread: np.ndarray | float,
    c0: float = 2.0,
    nonnegative: bool = False,
) -> np.ndarray:
    """Return Bousquet's form of `relu_error`, better where few neurons are active at a time.

        t (Z + sqrt(2 tau (spread_j + 2 c0 Z)/m) + c0 tau/(3 m)),   Z = 1.5 kap_j/sqrt(m),   tau = ln(2k/delta)

    Parameters
    ----------
    spread : (k,) from `direction_spread`
    total, kap, size, delta, c0, nonnegative : as for `relu_error`

    Raises InvalidParameter. Proved in ``boundlab_relu_bousquet`` from Bousquet's inequality.

    Examples
    --------
    >>> relu_error_bousquet(2.0, 1.0, 10_000, 0.01, spread=0.01).round(4)
    array([0.0479])
    """
    mean = relu_mean(1.0, kap, size, nonnegative=nonnegative)
    lam = np.broadcast_to(np.asarray(spread, np.float64), mean.shape)
    if not np.all((lam >= 0.0) & np.isfinite(lam)):
        raise InvalidParameter(f"spread must be finite and at least 0, got {spread!r}.")
    m, width, tau = positive("size", size), _width(c0), _log_events(delta, len(mean))
    deviation = np.sqrt(2.0 * tau * (lam + 2.0 * width * mean) / m) + width * tau / (3.0 * m)
    return positive("total", total) * (mean + deviation * (1.0 + ROUNDING))


@implements("boundlab_relu_bousquet")
def direction_spread(points: np.ndarray, weights: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return lambda_max(sum_p pr v_p² p p^T/|p|²) for each row v of `weights`: the largest variance, rounded up.

    Parameters
    ----------
    points : (n, d)
    weights : (k, n), v_p = w_j(p) lam(p)/om(p)
    probabilities : (n,), pr

    Examples
    --------
    >>> direction_spread(np.eye(2), np.array([[1.0, -1.0], [0.5, 0.0]]), np.array([0.5, 0.5])).round(9)
    array([0.5  , 0.125])
    """
    p = matrix("points", points)
    v, q = matrix("weights", weights, columns=len(p)), np.asarray(probabilities, np.float64)
    length = np.linalg.norm(p, axis=1, keepdims=True)
    unit = p / np.where(length > 0.0, length, 1.0)
    tops = [np.linalg.eigvalsh((unit * (q * row * row)[:, None]).T @ unit)[-1] for row in v]
    return np.maximum(0.0, np.array(tops)) + (v * v) @ q * ROUNDING


@implements("boundlab_lipschitz_uniform")
def lipschitz_error(total: float, kap: np.ndarray | float, size: float, delta: float, *, c0: float = 2.0) -> np.ndarray:
    """Return `relu_error` for any Lipschitz activation: (t/sqrt(m)) (2 kap_j + c0 sqrt(ln(2k/delta)/2)).

    kap_j = (sum_p pr (w_j/om)² lam(p)²)^(1/2) with lam(p) = r Lip(phi on [-r, r])/S(p), r = beta |p|; it may exceed 1.
    The activation may have a bias inside; c0 = 1 needs w_j >= 0 and phi >= 0. Proved in
    ``boundlab_lipschitz_uniform``.

    Examples
    --------
    >>> lipschitz_error(2.0, np.array([1.0, 0.5]), 10_000, 0.01).round(4)
    array([0.1092, 0.0892])
    """
    return _with_deviation(relu_mean(total, kap, size) * (2.0 / _relu_factor(False)), total, size, delta, c0)


@implements("boundlab_l2_outputs")
def vector_error(total: float, size: float, delta: float) -> float:
    """Return a bound on sup over |x| <= beta of |f(x) - fhat(x)|_2 over ALL outputs, w.p. >= 1 - delta; ReLU.

        (t2/sqrt(m)) (4 + sqrt(2 ln(1/delta))),        free of the number of outputs, of n and of the dimension

    Parameters
    ----------
    total : t2 = sum_p beta |p| |w(p)|_2 > 0, where draws have pr proportional to its terms
    size : m > 0 draws, fixed beforehand
    delta : in (0, 1)

    Raises InvalidParameter. Proved in ``boundlab_l2_outputs``.

    Examples
    --------
    >>> round(vector_error(2.0, 10_000, 0.01), 4)
    0.1407
    """
    t, m = positive("total", total), positive("size", size)
    return _up(t / math.sqrt(m) * (4.0 + math.sqrt(2.0 * -math.log(probability("delta", delta)))))


@implements("boundlab_l2_outputs")
def vector_sensitivities(sup: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return s(p) = S(p) |w(p)|_2, (n,): what `vector_error` wants the draws proportional to; their sum is its t2.

    Parameters
    ----------
    sup : (n,), S(p) = beta |p|
    weights : (k, n), the outgoing weights w_j(p)

    Examples
    --------
    >>> vector_sensitivities(np.array([1.0, 2.0]), np.array([[3.0, 0.0], [4.0, 1.0]]))
    array([5., 2.])
    """
    w, largest = matrix("weights", weights), np.asarray(sup, np.float64)
    if largest.shape != w.shape[1:] or not np.all((largest >= 0.0) & np.isfinite(largest)):
        raise InvalidParameter(f"sup must have shape {w.shape[1:]} and be finite and at least 0.")
    return largest * np.linalg.norm(w, axis=0) * (1.0 + ROUNDING)


@implements("boundlab_l2_outputs")
def vector_size(total: float, eps: float, delta: float) -> float:
    """Return m with `vector_error` <= eps, parameters as there.

    Examples
    --------
    >>> vector_size(2.0, 1.0, 0.01)
    198.0
    """
    return _whole((positive("total", total) / positive("eps", eps) * vector_error(1.0, 1.0, delta)) ** 2)


def _log_events(delta: float, *counts: int) -> float:
    """ln(2 k N .../delta), two sides for each event."""
    logs = [math.log(positive_int("outputs and inputs", c)) for c in counts]
    return math.log(2.0) + sum(logs) - math.log(probability("delta", delta))


def _with_deviation(mean: np.ndarray, total: float, size: float, delta: float, c0: float) -> np.ndarray:
    """Add McDiarmid's term for both sides of every output."""
    return mean + _up(total * _width(c0) * math.sqrt(_log_events(delta, len(mean)) / (2.0 * size)))


def _relu_factor(nonnegative: bool) -> float:
    return 0.5 + math.sqrt(0.5) if nonnegative else 1.5


def _width(c0: float) -> float:
    if c0 not in (1.0, 2.0):
        raise InvalidParameter(f"c0 must be 1 (everything >= 0) or 2, got c0={c0!r}.")
    return float(c0)


def _spread(variance: float) -> float:
    if not 0.0 <= variance < math.inf:
        raise InvalidParameter(f"variance must be finite and at least 0, got variance={variance!r}.")
    return float(variance)


def _up(value: float) -> float:
    return value * (1.0 + ROUNDING)


def _whole(value: float) -> float:
    """At least 1, rounded up past float64 rounding; inf where it is beyond the floats."""
    return float(max(1.0, np.ceil(_up(value))))
