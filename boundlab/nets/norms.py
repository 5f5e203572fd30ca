"""Norms that generalization bounds are stated in: of matrices, of paths through a net, of convolutions."""

from __future__ import annotations

import math

import numpy as np

from boundlab._errors import InvalidParameter, positive_int
from boundlab._theory import implements
from boundlab.network import Network

_UP = 1.0 + 1e-12  # norms are rounded up: LAPACK's singular values are off by far less
_U = 2.0**-53
_LN2 = math.log(2.0)


@implements("boundlab_certified_spectral_norm")
def spectral_norm(weight: np.ndarray) -> float:
    """Return the largest singular value of a matrix (out, in), rounded up: a value that a factorisation has certified.

    With A the smaller way round, m rows and k columns, the largest eigenvalue of A A^T in floating point is only a
    guess at c = |A|². What certifies it is that the Cholesky factorisation of c I - A A^T runs to its end: then
    |A|² <= c (1 + 2 (m + 1)(k + m + 2) u), u = 2^-53, whatever the rounding errors of the product, the difference and
    the factorisation were. About 1e-10 above the truth at 784 x 300.
    """
    a, exponent = _scaled(_matrix(weight))
    if not a.any():
        return 0.0
    a = a if a.shape[0] <= a.shape[1] else a.T
    gram = a @ a.T
    slack = 2.0 * (len(a) + 1) * (sum(a.shape) + 2) * _U
    square = float(np.linalg.eigvalsh(gram)[-1]) * (1.0 + slack)
    further = slack
    while not exceeds(square, gram):
        square *= 1.0 + further
        further *= 2.0
    return raised(math.sqrt(square * (1.0 + slack)), exponent)


@implements("boundlab_certified_spectral_norm")
def exceeds(square: float, gram: np.ndarray) -> bool:
    """Whether the Cholesky factorisation of square I - gram runs to its end, gram being symmetric."""
    difference = -gram
    difference[np.diag_indices_from(gram)] += square
    try:
        np.linalg.cholesky(difference)
    except np.linalg.LinAlgError:
        return False
    return True


@implements("bartlett2017_spectral")
def group_norm(weight: np.ndarray) -> float:
    """Return |W^T|_{2,1}: the sum over the rows of W, one per output neuron, of their Euclidean norms, rounded up."""
    a, exponent = _scaled(_matrix(weight))
    return raised(float(np.linalg.norm(a, axis=1).sum()) * (1.0 + (sum(a.shape) + 4) * _U), exponent)


def frobenius_norm(weight: np.ndarray) -> float:
    """Return the Euclidean norm of all entries of a matrix, rounded up at every scale of them."""
    a, exponent = _scaled(_matrix(weight))
    return raised(float(np.linalg.norm(a)) * (1.0 + (a.size + 4) * _U), exponent)


@implements("neyshabur2015_path_norm")
def path_norm(network: Network, p: float = 1.0) -> float:
    """Return the p-norm of all path weights, (sum over paths of prod |w|^p)^(1/p), the largest over the outputs.

    One forward pass of |W|^p on ones, in logarithms; rounded up. Rescaling a neuron, its row by t > 0 and its column by
    1/t, leaves it unchanged. Biases are left out: the bound that uses it is for nets without.

    Raises
    ------
    InvalidParameter
        If p is below 1 or infinite.
    """
    if not 1.0 <= p < np.inf:
        raise InvalidParameter(f"p must be at least 1 and finite, got p={p!r}.")
    log_flow, slack = np.zeros(network.sizes[0]), 0.0
    for layer in network.layers:
        with np.errstate(divide="ignore", over="ignore"):  # in logarithms: |w|^p and products of |w| would underflow
            paths = np.log(np.abs(layer.weight)) + log_flow  # (out, in), -inf where there is no path
            top = paths.max(axis=1)
            shifted = paths - np.where(np.isfinite(top), top, 0.0)[:, None]
            log_flow = top + np.log(np.exp(p * shifted).sum(axis=1)) / p
        size = np.abs(paths).max(initial=0.0, where=np.isfinite(paths))
        slack += (layer.weight.shape[1] + 8.0 * (1.0 + size)) * _U  # sums, logarithms and powers, all rounded
    largest = float(log_flow.max())
    if largest == -math.inf:
        return 0.0
    whole = math.floor(largest / _LN2)
    return raised(math.exp(largest - whole * _LN2) * (1.0 + 2.0 * slack), whole)


@implements("sedghi2019_convolution_norm")
def convolution_norm(kernel: np.ndarray, height: int, width: int) -> float:
    """Return the operator norm of a circular convolution of stride 1: the largest over frequencies of |K_hat(f)|.

    Parameters
    ----------
    kernel : array (out, in, kh, kw)
    height, width : int
        Of the input map, at least the kernel's.

    Returns
    -------
    float
        Rounded up. The convolution with zero padding is a compression of a circular one on a larger map, so that its
        norm is at most the value at height + kh - 1, width + kw - 1.

    Raises
    ------
    InvalidParameter
        If the kernel is not 4-dimensional or larger than the map.

    Notes
    -----
    Source: Sedghi, Gupta and Long (2019), as we understand the paper; ``proofs_checks/sedghi2019_convolution_norm.py``.
    """
    k, exponent = _scaled(_kernel(kernel))
    if k.shape[2] > height or k.shape[3] > width:
        raise InvalidParameter(f"the map must be at least as large as the kernel, got {height} x {width}, {k.shape}.")
    frequencies = np.fft.fft2(k, (height, width)).transpose(2, 3, 0, 1)  # (height, width, out, in)
    return raised(float(np.linalg.norm(frequencies, 2, axis=(-2, -1)).max()), exponent)


@implements("boundlab_operator_chain")
def padded_convolution_norm(
    kernel: np.ndarray,
    height: int,
    width: int,
    *,
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> float:
    """Return an upper bound on the operator norm of a convolution with zero padding, of any padding and any stride.

    A stride s makes a convolution of stride 1 on the s x s shifted and thinned copies of each channel. Its circular
    norm on a map so large that nothing wraps around bounds the norm with zeros in place of wrapping, at every padding:
    padding only chooses which of the outputs are kept.

    Parameters
    ----------
    kernel : array (out, in, kh, kw)
        Of one group.
    height, width : int
        Of the input map, without its padding.
    stride, dilation : pairs of int, at least 1

    Returns
    -------
    float
        Rounded up. Attained in the limit of a large map; at stride 1 above the norm by the border effect alone.

    Raises
    ------
    InvalidParameter
        If the kernel is not 4-dimensional or a size is not positive.

    Examples
    --------
    >>> kernel = np.ones((1, 1, 2, 2))
    >>> [round(padded_convolution_norm(kernel, 8, 8, stride=(s, s)), 6) for s in (1, 2)]
    [4.0, 2.0]
    """
    k = _kernel(kernel)
    for axis, (step, gap) in enumerate(zip(stride, dilation, strict=True), 2):
        step, gap = positive_int("stride", step), positive_int("dilation", gap)
        spread = gap * (k.shape[axis] - 1) + 1
        spread += -spread % step  # zeros, up to whole blocks of the stride
        wide = np.zeros((*k.shape[:axis], spread, *k.shape[axis + 1 :]))
        where = [slice(None)] * 4
        where[axis] = slice(0, gap * (k.shape[axis] - 1) + 1, gap)
        wide[tuple(where)] = k
        k = wide
    out, inside, kh, kw = (int(v) for v in k.shape)
    sh, sw = stride
    k = k.reshape(out, inside, kh // sh, sh, kw // sw, sw).transpose(0, 1, 3, 5, 2, 4)
    k = k.reshape(out, inside * sh * sw, kh // sh, kw // sw)
    # a shifted map of H entries touches at most ceil((H - 1)/s) + 1 blocks of s
    rows = -(-(positive_int("height", height) - 1) // sh) + k.shape[2]
    columns = -(-(positive_int("width", width) - 1) // sw) + k.shape[3]
    return convolution_norm(k, rows, columns)


@implements("sedghi2019_convolution_norm")
def flattened_kernel_norm(kernel: np.ndarray) -> float:
    """Return the spectral norm of the kernel as a matrix (out, in kh kw): NOT the norm of the convolution.

    The convolution's lies between it and sqrt(kh kw) times it; used as if it were the norm, it makes "bounds" that are
    none. Kept to show that.
    """
    k = _kernel(kernel)
    return float(np.linalg.norm(k.reshape(len(k), -1), 2))


def raised(value: float, exponent: int = 0) -> float:
    """Return value 2^exponent, rounded up at every scale: by 1e-12, and by one step; infinite where it is too large."""
    if value == 0.0:
        return 0.0
    try:
        found = math.ldexp(value * _UP, exponent)
    except OverflowError:
        return math.inf
    return math.nextafter(found, math.inf)  # among the subnormals, a factor of 1e-12 is less than a step


def _scaled(a: np.ndarray) -> tuple[np.ndarray, int]:
    """The array divided by a power of two, its largest entry in [1/2, 1): squares neither overflow nor vanish."""
    exponent = math.frexp(float(np.abs(a).max()))[1]
    return np.ldexp(a, -exponent), exponent


def _matrix(weight: np.ndarray) -> np.ndarray:
    return _numbers("weight must be a matrix (out, in)", weight, 2)


def _kernel(kernel: np.ndarray) -> np.ndarray:
    return _numbers("kernel must be an array (out, in, kh, kw)", kernel, 4)


def _numbers(rule: str, value: np.ndarray, axes: int) -> np.ndarray:
    found = np.asarray(value)
    if found.dtype.kind not in "buif" or found.ndim != axes or not found.size:
        raise InvalidParameter(f"{rule}, got {found.dtype} of shape {found.shape}.")
    found = found.astype(np.float64)
    if not np.isfinite(found).all():
        raise InvalidParameter(f"{rule} of finite numbers, got NaN or infinite entries.")
    return found
