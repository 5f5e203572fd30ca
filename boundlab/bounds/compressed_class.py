"""What a compressed net certifies: itself through its margin, and the original net through unlabelled data."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.bounds.occam import occam_kl
from boundlab.concentration.binomial import upper_limit


@implements("arora2018_margin")
def margin_radius(deviation: float, *, norm: str = "entrywise") -> float:
    """Return by how much a margin can move when the outputs move by `deviation`.

    2 deviation where each output moves by at most that ("entrywise"), sqrt(2) deviation where the vector of outputs
    moves by at most that in the Euclidean norm ("euclidean"). A published condition "|f(x)_y - g(x)_y| <= gamma" keeps
    the classes of points with margin above 2 gamma, not above gamma.

    Raises
    ------
    InvalidParameter
        If the deviation is not positive, or the norm is another one.

    Examples
    --------
    >>> margin_radius(0.5), round(margin_radius(0.5, norm="euclidean"), 6)
    (1.0, 0.707107)
    """
    factors = {"entrywise": 2.0, "euclidean": math.sqrt(2.0) * (1.0 + 2.0**-52)}
    if norm not in factors:
        raise InvalidParameter(f"norm must be entrywise or euclidean, got {norm!r}.")
    return factors[norm] * positive("deviation", deviation)


@implements("arora2018_margin", "arora2018_random_failures", "arora2018_helper_string")
def compressed_risk(margin_errors: int, failed: int, n: int, nats: float, delta: float) -> float:
    """Return an upper bound on the risk of a compressed classifier g from the margins of the original f.

        R_0(g) <= kl^-1( min(1, r + phi), (nats + ln(1/delta))/n )

    r is the share of the n examples on which f has margin at most `margin_radius(gamma)`, phi the share on which the
    outputs of g, as drawn, deviate by more than gamma: it is observed, not bounded. `nats` prices g under a code or a
    prior that is fixed before the examples. A seed that drives sampling probabilities computed from the data is no
    helper string: its outcome must be paid in `nats`.

    Parameters
    ----------
    margin_errors, failed : int
        Counts among the n examples.
    n : int
        Independent examples, at least 1.
    nats : float, at least 0
        -ln of the prior of g.
    delta : float in (0, 1)

    Returns
    -------
    float
        Rounded up, in [0, 1].

    Raises
    ------
    InvalidParameter
        If a count is outside [0, n], nats is negative or delta is outside (0, 1).

    Notes
    -----
    Source: Arora, Ge, Neyshabur and Zhang (2018), Theorem 2.1, as we understand the paper; constants ours.

    Examples
    --------
    >>> compressed_risk(0, 0, 1000, 100.0, 0.05) < 0.1
    True
    """
    size = positive_int("n", n)
    if not (0 <= margin_errors <= size and 0 <= failed <= size):
        raise InvalidParameter(f"counts must lie in [0, {size}], got {margin_errors!r} and {failed!r}.")
    if not nats >= 0:
        raise InvalidParameter(f"nats must be at least 0, got nats={nats!r}.")
    total = nats - math.log(probability("delta", delta))
    return occam_kl(min(size, margin_errors + failed), size, total) if math.isfinite(total) else 1.0


@implements("boundlab_unlabelled_transfer")
def original_risk(
    margin_errors: int, n: int, nats: float, deviating: int, unlabelled: int, delta: float, *, grid: int = 1
) -> float:
    """Return an upper bound on the risk of the ORIGINAL net f through its compression g and unlabelled points.

        R_0(f) <= kl^-1( r_t(g), (nats + ln(2 G/delta))/n ) + Bin+( k_u, u, delta/(2 G) )

    r_t(g) is the share of the n labelled examples on which g has margin at most t, and k_u counts those of u fresh
    unlabelled points, used for neither f, g nor t, on which sqrt(2) |f - g|_2 > t. The threshold t is fixed before
    both samples, or one of G values of a grid.

    Parameters
    ----------
    margin_errors, n : int
        Of g, on the labelled examples.
    nats : float, at least 0
        Price of g under a prior fixed before the labelled examples.
    deviating, unlabelled : int
        Counts on the unlabelled points.
    delta : float in (0, 1)
        Half of it goes to either sample.
    grid : int
        G, how many thresholds could have been chosen.

    Returns
    -------
    float
        Rounded up, at most 1.

    Raises
    ------
    InvalidParameter
        As `compressed_risk`.

    Examples
    --------
    >>> 0.03 < original_risk(50, 10_000, 300.0, 20, 5_000, 0.05) < 0.07
    True
    """
    share = probability("delta", delta) / (2.0 * positive_int("grid", grid)) * (1.0 - 2.0**-52)
    first = compressed_risk(margin_errors, 0, n, nats, share)
    return min(1.0, (first + upper_limit(deviating, unlabelled, share)) * (1.0 + 2.0**-52))


@implements("boundlab_relative_margin")
def relative_margins(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return rho(x) = min over j != y of (f_y - f_j)/(|f_y| + |f_j|), 0/0 := 0, rounded down.

    If every output of g is within (1 +- eps) of f's and rho(x) > eps, then g classifies x as y.

    Parameters
    ----------
    outputs : array (points, classes)
    labels : array (points,) of class numbers

    Returns
    -------
    array (points,), in [-1, 1]

    Raises
    ------
    InvalidParameter
        If there are fewer than two classes or a label names none.

    Examples
    --------
    >>> relative_margins(np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([0, 1])).round(6).tolist()
    [0.5, 0.0]
    """
    f, y = np.asarray(outputs, np.float64), np.asarray(labels)
    fits = f.ndim == 2 and f.shape[1] >= 2 and y.shape == (len(f),) and np.issubdtype(y.dtype, np.integer)
    if not fits or np.any(y < 0) or np.any(y >= f.shape[1]):
        raise InvalidParameter(f"labels must name one of at least 2 outputs of each point, got {f.shape}, {y.shape}.")
    own = f[np.arange(len(f)), y][:, None]
    size = np.abs(own) + np.abs(f)
    gap = np.divide(own - f, size, out=np.zeros_like(f), where=size > 0)
    gap[np.arange(len(f)), y] = np.inf
    rho = gap.min(axis=1)
    return rho - np.abs(rho) * 2.0**-51
