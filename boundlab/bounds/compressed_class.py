"""What a compressed net costs, and what it certifies: itself through a margin, the original through unlabelled data."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements
from boundlab.codes.log_grid import LogGrid
from boundlab.concentration.binomial import tail_inverse
from boundlab.nets.feedforward import feed_forward
from boundlab.nets.net_message import encode
from boundlab.nets.on_codebook import on_log_grid
from boundlab.network import Network
from boundlab.promises import Premise, Status

GRIDS = (1, 2, 4, 8)
"""Steps for each factor of 2 of the grids that a net is rounded to."""

SHAPE = Premise(
    text="layer sizes and activations are fixed before the data",
    status=Status.ASSUMED,
    evidence="the architecture is not coded; one chosen among M by looking at the data needs delta / M",
)

ROUNDING = Premise(
    text="floats are IEEE doubles, rounded to nearest, and sums of products are sums in some order",
    status=Status.ASSUMED,
    evidence="a property of the machine that counts the errors: no fast matrix product, no number flushed to 0",
)

_UP = 1.0 + 1e-14  # nats are rounded up past the error of a logarithm and three sums


def listed(name: str, values: Any) -> tuple[float, ...]:
    """Return numbers among which a bound may choose as a tuple: at least one, none twice.

    Raises
    ------
    InvalidParameter
        If they are anything else.
    """
    try:
        found = np.asarray(values)
    except ValueError:  # a ragged list
        found = np.zeros(0)
    if found.ndim != 1 or found.dtype.kind not in "iuf" or not len(found) or len(np.unique(found)) != len(found):
        raise InvalidParameter(f"{name} must hold at least one number and none twice, got {values!r}.")
    return tuple(float(v) for v in found)


def told(name: str, nats: Any) -> float:
    """Return the price of a message that the caller states, in nats: finite, at least 0.

    Raises
    ------
    InvalidParameter
        If it is anything else.
    """
    number = isinstance(nats, (int, float, np.integer, np.floating)) and not isinstance(nats, bool)
    if not number or not 0.0 <= nats < math.inf:
        raise InvalidParameter(f"{name} must be a finite number of nats, at least 0, got {name}={nats!r}.")
    return float(nats)


@implements("boundlab_net_message")
def priced(net: Network) -> list[tuple[Network, float]]:
    """Return the net as each grid of a prefix code holds it, with the length in nats of the message that says it.

    The prices are -ln of a prior that is fixed before the data, so that any of the nets may be picked by looking. A
    coarse grid is cheap and moves the outputs; which is best depends on the bound.

    Parameters
    ----------
    net : Network

    Returns
    -------
    list of (Network, float)
        The price belongs to the net beside it, not to the one given; rounded up.

    Examples
    --------
    >>> from boundlab import random_network
    >>> [round(nats) for _, nats in priced(random_network((2, 3, 2), rng=0))]
    [72, 89, 100, 111]
    """
    found = []
    for steps in GRIDS:
        coded = LogGrid(steps).round(net)
        found.append((coded, encode(on_log_grid(feed_forward(coded), steps)).nats))
    return found


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

        R_0(g) <= Bin+( min(n, k + m), n, delta e^-nats )

    k counts the n examples on which f has margin at most `margin_radius(gamma)`, m those on which the outputs of g, as
    drawn, deviate by more than gamma: it is observed, not bounded. gamma may be picked by looking: k + m is at least
    the number of errors of g for every gamma at once. `nats` prices g under a code or a prior that is fixed before the
    examples. A seed that drives sampling probabilities computed from the data is no helper string: its outcome must be
    paid in `nats`.

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
    return tail_inverse(min(size, margin_errors + failed), size, -total * _UP)


@implements("boundlab_unlabelled_transfer", "arora2018_random_failures")
def margin_shift(f: np.ndarray, g: np.ndarray, within: np.ndarray | float = 0.0) -> np.ndarray:
    """Return max_j d_j - min_j d_j for d = f - g: by how much the margins of two nets can differ, whatever the label.

    At most 2 max_j |d_j| and sqrt(2) |d|_2, and attained.

    Parameters
    ----------
    f, g : array (points, classes)
        Finite outputs.
    within : array (points, classes) or float, at least 0
        How far d may be from what f and g should be: the result is the largest shift within it.

    Returns
    -------
    array (points,)
        Rounded up.

    Raises
    ------
    InvalidParameter
        If an output is not finite, the shapes differ or there are fewer than two classes.

    Examples
    --------
    >>> margin_shift(np.array([[3.0, 1.0]]), np.array([[2.5, 1.0]])).round(6).tolist()
    [0.5]
    """
    if np.shape(f) != np.shape(g) or np.ndim(f) != 2 or np.shape(f)[1] < 2:
        raise InvalidParameter(f"f and g must be (points, classes >= 2) alike, got {np.shape(f)} and {np.shape(g)}.")
    d = np.asarray(f, np.float64) - np.asarray(g, np.float64)
    if not np.all(np.isfinite(d)):
        raise InvalidParameter("f, g and f - g must be finite, got NaN or infinite entries.")
    spread = (d + within).max(axis=1) - (d - within).min(axis=1)
    return spread + (np.abs(d) + within).max(axis=1) * 2.0**-49  # five roundings of numbers up to twice |d| + within


@implements("boundlab_unlabelled_transfer")
def original_risk(
    margin_errors: int,
    n: int,
    nats: float,
    deviating: int,
    unlabelled: int,
    delta: float,
    *,
    grid: int = 1,
    nets: int = 1,
) -> float:
    """Return an upper bound on the risk of the ORIGINAL net f through its compression g and unlabelled points.

        R_0(f) <= Bin+( k_t, n, delta e^-nats/(2 G) ) + Bin+( k_u, u, delta/(2 G H) )

    k_t counts the n labelled examples on which g has margin at most t, and k_u those of u fresh unlabelled points,
    used for neither f, g nor t, on which `margin_shift` exceeds t; for t = 0, those on which f and g do not have one
    and the same largest output. The threshold t is fixed before both samples, or one of G values of a grid: unlike
    `compressed_risk` it is no free choice, for the event behind either term is one of g and t. Nor is g: the price
    pays for it on the labelled side alone, and on the unlabelled side it is one of H nets.

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
    nets : int
        H, how many nets g, known before the unlabelled points, could have been chosen.

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
    halves = math.log(2.0 * positive_int("grid", grid))
    total = halves + math.log(positive_int("nets", nets)) - math.log(probability("delta", delta))
    first = compressed_risk(margin_errors, 0, n, nats + halves * _UP, delta)
    return min(1.0, (first + tail_inverse(deviating, unlabelled, -total * _UP)) * (1.0 + 2.0**-52))


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
        If an output is not finite, there are fewer than two classes or a label names none.

    Examples
    --------
    >>> relative_margins(np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([0, 1])).round(6).tolist()
    [0.5, 0.0]
    """
    f, y = np.asarray(outputs, np.float64), np.asarray(labels)
    fits = f.ndim == 2 and f.shape[1] >= 2 and y.shape == (len(f),) and np.issubdtype(y.dtype, np.integer)
    if not fits or np.any(y < 0) or np.any(y >= f.shape[1]):
        raise InvalidParameter(f"labels must name one of at least 2 outputs of each point, got {f.shape}, {y.shape}.")
    if not np.all(np.isfinite(f)):
        raise InvalidParameter("outputs must be finite, got NaN or infinite entries.")
    own = f[np.arange(len(f)), y][:, None]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(own) + np.abs(f)
        gap = np.divide(own - f, size, out=np.zeros_like(f), where=size > 0)
    gap[np.isinf(size)] = -1.0  # beyond the largest float: no margin at all
    gap[np.arange(len(f)), y] = np.inf
    rho = gap.min(axis=1)
    return rho - np.abs(rho) * 2.0**-51
