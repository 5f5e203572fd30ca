"""How many draws make an SVM coreset: explicit sizes, for all queries at once and for a fixed list of them.

D is the number of coordinates of w: the features, and one more with an intercept. t is the sum of valid sensitivity
bounds. A draw's normalised loss g(p) = u_p f(p, w)/(s_p F(P, w)) is in [0, 1] with mean at most 1/t.
"""

from __future__ import annotations

import math

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements

UP = 1.0 + 1e-12


@implements("tukan2021_vc_dimension", "boundlab_svm_size")
def log_growth(size: float, dimension: int, *, hinge_only: bool = True) -> float:
    """Return ln S(2m), rounded up: the number of ways in which the ranges {g > r} can cut 2m points.

        hinge only       (2em/(D+1))^(D+1):            positivity sets of 1 - <z, w> - r c, an affine family of rank D+1
        whole objective  (2m+1) (2em/(D+1))^(D+1):     the union of such a set with {c < threshold}

    Parameters
    ----------
    size : m, at least (D+1)/2
    dimension : D >= 1
    hinge_only : whether the regulariser is kept exactly

    Raises
    ------
    InvalidParameter
        If size or dimension is out of range.

    Notes
    -----
    c_p = s_p/u_p differs between points: this is what makes the ranges richer than half-spaces.
    """
    vc = positive_int("dimension", dimension) + 1
    m = positive("size", size)
    if 2.0 * m < vc:
        raise InvalidParameter(f"size must be at least (D+1)/2 = {vc / 2:g}, got size={size!r}.")
    cuts = vc * (math.log(2.0 * m / vc) + 1.0)
    return (cuts if hinge_only else cuts + math.log(2.0 * m + 1.0)) * UP


@implements("boundlab_svm_size")
def certified_eps(total: float, size: float, delta: float, *, dimension: int, hinge_only: bool = True) -> float:
    """Return the eps that `size` draws certify for all queries at once, rounded up.

    With e² = (4 t/m)(ln S(2m) + ln(8/delta)), eps is the solution of eps²/(1 + eps) = e²: with probability at least
    1 - delta, |F_C(w) - F(P, w)| <= eps F(P, w) for every w. It may exceed 1, and then says nothing.

    Parameters
    ----------
    total : t > 0, the sum of valid sensitivity bounds
    size : m, the number of draws
    delta : in (0, 1)
    dimension : D >= 1, the number of coordinates of w
    hinge_only : whether the regulariser is kept exactly, with the bounds that belong to it

    Raises
    ------
    InvalidParameter
        If a parameter is out of range, or size is below (D+1)/2.

    Examples
    --------
    >>> round(certified_eps(10.0, 1e6, 0.05, dimension=3), 3)
    0.051
    """
    events = log_growth(size, dimension, hinge_only=hinge_only) + math.log(8.0 / probability("delta", delta))
    square = 4.0 * positive("total", total) * events / size
    return 0.5 * (square + math.sqrt(square * square + 4.0 * square)) * UP


@implements("boundlab_svm_size")
def coreset_size(total: float, eps: float, delta: float, *, dimension: int, hinge_only: bool = True) -> float:
    """Return a number of draws m that certifies eps for all queries at once: an explicit size, rounded up.

        m >= (4 (1 + eps) t/eps²) [(D+1) ln(2em/(D+1)) + ln(8/delta)]                          hinge only
        m >= (4 (1 + eps) t/eps²) [(D+1) ln(2em/(D+1)) + ln(2m+1) + ln(8/delta)]               whole objective

    Where m reaches the number of points, keep all of them.

    Parameters
    ----------
    total, delta, dimension, hinge_only : as for ``certified_eps``
    eps : positive and finite, the relative error

    Returns
    -------
    float, a whole number; the smallest such m to a share of 1e-12

    Raises
    ------
    InvalidParameter
        If a parameter is out of range.

    Notes
    -----
    Ours: relative VC deviations integrated over levels; ``proofs_checks/boundlab_svm_size.py``.

    Examples
    --------
    >>> coreset_size(475.8, 0.2, 0.05, dimension=9)
    9090129.0
    """
    eps = positive("eps", eps)
    low = high = max(
        1.0, 4.0 * positive("total", total) * (1.0 + eps) / eps / eps, positive_int("dimension", dimension)
    )
    while certified_eps(total, high, delta, dimension=dimension, hinge_only=hinge_only) > eps:
        low, high = high, 2.0 * high
    while high - low > max(0.5, 1e-13 * high):
        mid = 0.5 * (low + high)
        good = certified_eps(total, mid, delta, dimension=dimension, hinge_only=hinge_only) <= eps
        low, high = (low, mid) if good else (mid, high)
    return float(math.ceil(high * UP))


@implements("boundlab_svm_size")
def fixed_query_size(total: float, eps: float, delta: float, *, queries: int = 1) -> float:
    """Return m = (2 t/eps²)(1 + eps/3) ln(2N/delta), rounded up: enough for N queries that do not see the draws.

    Parameters
    ----------
    total : t > 0, the sum of valid sensitivity bounds, of either kind
    eps : positive and finite, the relative error
    delta : in (0, 1), for all N together
    queries : N >= 1

    Raises
    ------
    InvalidParameter
        If a parameter is out of range.

    Notes
    -----
    Bernstein's inequality: a draw's estimate is in [0, t F] with mean at most F, and variance at most t F².

    Examples
    --------
    >>> fixed_query_size(10.0, 0.5, 0.05)
    345.0
    """
    eps = positive("eps", eps)
    events = math.log(2.0 * positive_int("queries", queries) / probability("delta", delta))
    return float(math.ceil(2.0 * positive("total", total) * (1.0 + eps / 3.0) * events / eps / eps * UP))


@implements("tukan2021_size")
def published_size(total: float, eps: float, delta: float, *, features: int, constant: float = 1.0) -> float:
    """Return (constant t/eps²)(d ln t + ln(1/delta)), rounded up: the published form; its constant is not stated.

    Parameters
    ----------
    total : t >= 1
    eps, delta : in (0, 1)
    features : d >= 1
    constant : positive; 1 is the most favourable reading, for which no proof is known to us

    Source: Tukan et al. 2021, arXiv:2002.06469, as we understand the paper; item number not known to us.

    Examples
    --------
    >>> published_size(475.8, 0.2, 0.05, features=8)
    622296.0
    """
    eps, t = probability("eps", eps), positive("total", total)
    if t < 1.0:
        raise InvalidParameter(f"total must be at least 1, got total={total!r}.")
    events = positive_int("features", features) * math.log(t) + math.log(1.0 / probability("delta", delta))
    return float(math.ceil(positive("constant", constant) * t * events / eps / eps))
