"""Norm and margin bounds with every constant: true, and vacuous on trained nets.

Each returns the complexity term that is added to the empirical margin risk r_gamma; confidence terms are separate. The
norms enter as budgets that are fixed before the data: for the realised norms of a trained net each value is a measure,
and a bound only after a union over a grid of budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from boundlab._errors import InvalidParameter, positive, positive_int, probability
from boundlab._theory import implements

_UP = 1.0 + 1e-12


@implements("bartlett2017_spectral", "golowich2018_frobenius", "neyshabur2015_path_norm")
def rademacher_confidence(n: int, delta: float) -> float:
    """Return 3 sqrt(ln(2/delta)/(2n)): the confidence term of a bound through the empirical Rademacher complexity."""
    return 3.0 * math.sqrt(math.log(2.0 / probability("delta", delta)) / (2.0 * positive_int("n", n))) * _UP


@implements("bartlett2017_spectral")
def spectral_complexity(
    spectral: Sequence[float], group: Sequence[float], data_norm: float, width: int, gamma: float, n: int
) -> float:
    """Return 8/n^(3/2) + 72 |X|_F (ln n + ln(2d)/4) sqrt(ln 2W²)/(gamma n) prod s_i (sum (b_i/s_i)^(2/3))^(3/2).

    d is the number of layers; ln(2d)/4 pays for the whole numbers of terms in Maurey's lemma, which the published form
    drops.

    Parameters
    ----------
    spectral, group : sequences of positive floats
        s_i >= |W_i|_2 and b_i >= |W_i^T|_{2,1}, one per layer.
    data_norm : float
        |X|_F, the root of the summed squared Euclidean norms of the n inputs.
    width : int
        W, the largest layer size, the input's included.
    gamma : float
        The margin, fixed before the data.
    n : int
        Examples, at least 2.

    Returns
    -------
    float
        The complexity term, rounded up.

    Raises
    ------
    InvalidParameter
        If a value is not positive, n is below 2 or the sequences differ in length.

    Notes
    -----
    Source: Bartlett, Foster and Telgarsky (2017), arXiv:1706.08498, Theorem 1.1, as we understand the paper; constants
    re-derived in ``proofs_checks/bartlett2017_spectral.py``.
    """
    s, b = _row("spectral", spectral), _row("group", group)
    if s.shape != b.shape:
        raise InvalidParameter(f"spectral and group must have one entry per layer, got {len(s)} and {len(b)}.")
    size, margin = positive_int("n - 1", n - 1) + 1, positive("gamma", gamma)
    log_cover = math.log(2.0 * positive_int("width", width) ** 2)
    product = float(np.prod(s) * ((b / s) ** (2.0 / 3.0)).sum() ** 1.5)
    logs = math.log(size) + math.log(2.0 * len(s)) / 4.0
    spread = positive("data_norm", data_norm) * logs * math.sqrt(log_cover) / (margin * size)
    return (8.0 / size**1.5 + 72.0 * spread * product) * _UP


@implements("neyshabur2018_perturbation")
def perturbation_divergence(
    spectral: Sequence[float], frobenius: Sequence[float], radius: float, width: int, gamma: float
) -> float:
    """Return (42² e²/2) d² B² h ln(4hd) (prod |W_i|_2² / gamma²) sum |W_i|_F²/|W_i|_2² >= KL, rounded up.

    KL = sum |W_i|_F²/(2 sigma²) for balanced layers and the sigma of the perturbation; a factor e² of it pays for a
    spectral norm known within a factor 1 +- 1/d. Parameters and errors as in `perturbation_complexity`.
    """
    s, f = _row("spectral", spectral), _row("frobenius", frobenius)
    if s.shape != f.shape:
        raise InvalidParameter(f"spectral and frobenius must have one entry per layer, got {len(s)} and {len(f)}.")
    d, h = len(s), positive_int("width", width)
    scale = 42.0 * math.e * d * positive("radius", radius) * float(np.prod(s)) / positive("gamma", gamma)
    return 0.5 * scale**2 * h * math.log(4.0 * h * d) * float(((f / s) ** 2).sum()) * _UP


@implements("neyshabur2018_perturbation")
def perturbation_complexity(
    spectral: Sequence[float], frobenius: Sequence[float], radius: float, width: int, gamma: float, n: int, delta: float
) -> float:
    """Return sqrt((2 KL + ln(8 n N/delta))/(2 (n - 1))), the PAC-Bayes term of a Gaussian perturbation of the weights.

        KL <= (42² e²/2) d² B² h ln(4hd) (prod |W_i|_2² / gamma²) sum |W_i|_F²/|W_i|_2²,    N = d n^(1/(2d)).

    Parameters
    ----------
    spectral, frobenius : sequences of positive floats
        One entry per layer, d of them.
    radius : float
        B, the largest Euclidean norm of an input.
    width : int
        h, the largest layer size, the input's included.
    gamma : float
        The margin.
    n : int
        Examples, at least 2.
    delta : float in (0, 1)

    Returns
    -------
    float
        The whole term, confidence included, rounded up.

    Raises
    ------
    InvalidParameter
        If a value is out of range or the sequences differ in length.

    Notes
    -----
    Source: Neyshabur, Bhojanapalli and Srebro (2018), arXiv:1707.09564, Theorem 1, as we understand the paper;
    constants re-derived in ``proofs_checks/neyshabur2018_perturbation.py``.
    """
    kl = perturbation_divergence(spectral, frobenius, radius, width, gamma)
    d, size = len(spectral), positive_int("n - 1", n - 1) + 1
    cover = math.log(d) + math.log(size) / (2.0 * d)
    log_term = math.log(8.0 * size) + cover - math.log(probability("delta", delta))
    return math.sqrt((2.0 * kl + log_term) / (2.0 * (size - 1))) * _UP


@implements("golowich2018_frobenius")
def frobenius_complexity(frobenius: Sequence[float], data_norm: float, classes: int, gamma: float, n: int) -> float:
    """Return (4/gamma) sqrt(K) prod |W_i|_F |X|_F sqrt((1 + s)² + 2 + 2/s)/n, s = sqrt(2 d ln 2), d layers, K classes.

    1 + s would do in the Rademacher complexity of one output; the margin of K outputs costs a vector contraction with
    sqrt(K) and a second moment of the supremum, which is the root.

    Raises
    ------
    InvalidParameter
        If a value is not positive.

    Notes
    -----
    Source: Golowich, Rakhlin and Shamir (2018), arXiv:1712.06541, Theorem 1, as we understand the paper; the step to K
    outputs is ours, ``proofs_checks/golowich2018_frobenius.py``.
    """
    f, size = _row("frobenius", frobenius), positive_int("n", n)
    s = math.sqrt(2.0 * len(f) * math.log(2.0))
    factor = math.sqrt((1.0 + s) ** 2 + 2.0 + 2.0 / s)
    single = factor * float(np.prod(f)) * positive("data_norm", data_norm) / size
    return 4.0 / positive("gamma", gamma) * math.sqrt(positive_int("classes", classes)) * single * _UP


@implements("neyshabur2015_path_norm")
def path_complexity(path: float, depth: int, largest_input: float, dimension: int, n: int) -> float:
    """Return 2^(d-1) phi_1 |x|_inf sqrt(2 ln(2D)/n): the Rademacher complexity of one output under a path-norm budget.

    Parameters
    ----------
    path : float
        phi_1, the sum over paths of the products of |weights|.
    depth : int
        d, the number of weight layers.
    largest_input : float
        The largest absolute entry of an input.
    dimension : int
        D, the number of inputs.
    n : int
        Examples.

    Raises
    ------
    InvalidParameter
        If a value is not positive.

    Notes
    -----
    Source: Neyshabur, Tomioka and Srebro (2015), arXiv:1503.00036, as we understand the paper;
    ``proofs_checks/neyshabur2015_path_norm.py``.
    """
    layers = positive_int("depth", depth)
    linear = positive("largest_input", largest_input) * math.sqrt(
        2.0 * math.log(2.0 * positive_int("dimension", dimension))
    )
    return 2.0 ** (layers - 1) * positive("path", path) * linear / math.sqrt(positive_int("n", n)) * _UP


@implements("long2020_parameter_count")
def lipschitz_cover_complexity(parameters: int, lipschitz: float, n: int, delta: float) -> float:
    """Return 2/n + sqrt((W ln(3 Lambda n) + ln(1/delta))/(2n)): a loss in [0, 1], Lambda-Lipschitz in W weights.

    A cover of the unit ball of weights at 1/(Lambda n) has at most (3 Lambda n)^W points; the loss moves by at most 1/n
    to the nearest one, on the sample and in the mean.

    Raises
    ------
    InvalidParameter
        If a value is out of range; Lambda n must be at least 1.

    Notes
    -----
    Source: after Long and Sedghi (2020), arXiv:1905.12600, whose absolute constant is not specified, as we understand
    the paper; this explicit form is ours, ``proofs_checks/long2020_parameter_count.py``.
    """
    size, lam = positive_int("n", n), positive("lipschitz", lipschitz)
    if lam * size < 1.0:
        raise InvalidParameter(f"lipschitz * n must be at least 1, got {lam * size!r}.")
    nats = positive_int("parameters", parameters) * math.log(3.0 * lam * size) - math.log(probability("delta", delta))
    return (2.0 / size + math.sqrt(nats / (2.0 * size))) * _UP


def _row(name: str, values: Sequence[float]) -> np.ndarray:
    row = np.asarray(values, np.float64)
    if row.ndim != 1 or not len(row) or not np.all(row > 0) or not np.all(np.isfinite(row)):
        raise InvalidParameter(f"{name} must be a row of positive numbers, got {values!r}.")
    return row
